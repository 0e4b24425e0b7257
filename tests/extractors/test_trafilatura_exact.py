"""The exact engine gives trafilatura's text in every mode, and leaves the user's trafilatura alone."""

from __future__ import annotations

from pathlib import Path

import pytest
import trafilatura
from lxml.etree import XPath

from pipeline.extractors import trafilatura_twin
from pipeline.extractors.mill_labels import MEASURING_SETS, pages_of
from pipeline.extractors.trafilatura_rules import KNOWN_VERSIONS
from pipeline.extractors.trafilatura_twin import extract_text

DATA = Path(__file__).parents[3] / "shared/data/curation/extraction"
MODES = ("precision", "balanced", "recall")
EVERY = 30  # page of the labelled sets; all of them were compared when this was written

P = "<p>The miller opened the gate at dawn, and the water, cold from the hills, began to turn the wheel again.</p>"
MADE = {
    "plain": f"<html><body><article><h1>Mill</h1>{P * 4}</article></body></html>",
    "first attribute decides": f"<html><body><div class='x' id='cookie'>{P}</div><div id='cookie' class='x'>{P * 2}</div>"
    f"<div id='reply-1'>{P}</div><div class='main' id='bottom'>{P * 3}</div></body></html>",
    "hidden": f"<html><body><main><div style='display: none'>{P}</div><p aria-hidden='true'>no</p><p id='hidden'>x</p>"
    f"<div style='x:hidden' id='a'>{P}</div><span class='post hide'>y</span>{P * 3}</main></body></html>",
    "comments": f"<html><body><div class='post-content'>{P * 3}</div><div id='comments'><ul class='commentlist'><li>{P}</ul>"
    f"</div><ol class='comment-list'><li>{P}</li></ol><details class='Comments'>{P}</details></body></html>",
    "teaser and roles": f"<html><body><div role='Navigation'>{P}</div><div class='big-Teaser'>{P}</div><section role='main'>"
    f"{P * 3}</section><div data-component='MostPopularStories'>{P}</div></body></html>",
    "endless scroll": f"<html><body><div id='mvp-post-add-box'><h1>Next</h1>{P * 6}</div><div class='infinite-scroll'>{P}"
    f"</div><div class='entry-content'>{P * 3}</div></body></html>",
    "forum": '<html><head><script type=\'application/ld+json\'>{"@type": "DiscussionForumPosting"}</script></head><body>'
    f"<div class='comment-1'>{P * 3}</div><div class='comment-2'>{P * 2}</div></body></html>",
    "only json": '<html><body><script type=\'application/ld+json\'>{"@type": "Article", "articleBody": "'
    + "The miller opened the gate. " * 20
    + "\"}</script><div id='app'></div></body></html>",
    "short in a long page": f"<html><body><article><p>Short one here, that is all there is of it.</p></article><div>{P * 30}</div>"
    "</body></html>",
    "links and tables": "<html><body><main><table><tr><th>a<td>b<tr><td><a href=x>c</a><td>d</table><ul>"
    + "".join(f"<li><a href='{i}'>Link number {i}</a></li>" for i in range(30))
    + f"</ul>{P * 2}</main></body></html>",
    "unclean readability": f"<html><body><div><figure>{P}</figure><button>{P}</button><form>{P * 5}</form></div></body></html>",
    "control characters": f"<html\n/><body><article>{P * 3}\x01\x0b<p>a\ufffeb</p></article></body></html>",
    "self-closing doctype": f"<!DOCTYPE html SYSTEM 'about:legacy-compat'/>\n<html lang='en'/>\n<body>{P * 4}</body>",
    "empty": "",
    "no html": "just text, and no more than that",
}


def reference(html: str, mode: str) -> str:
    text = trafilatura.extract(
        html,
        favor_precision=mode == "precision",
        favor_recall=mode == "recall",
        include_comments=False,
        deduplicate=False,
    )
    return text or ""


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", MADE)
def test_same_text_on_made_pages(name, mode):
    assert extract_text(MADE[name], mode) == reference(MADE[name], mode)


@pytest.mark.skipif(not DATA.is_dir(), reason="the labelled pages are not beside the checkout")
@pytest.mark.parametrize("name", MEASURING_SETS)
def test_same_text_on_labelled_pages(name):
    differ = []
    for number, (truth, html) in enumerate(pages_of(DATA, name)):
        if number % EVERY:
            continue
        mode = MODES[number // EVERY % 3]
        if extract_text(html, mode) != reference(html, mode):
            differ.append((truth["id"], mode))
    assert not differ


def test_the_installed_trafilatura_is_known_and_stays_as_it_was():
    from trafilatura import core, utils, xpaths

    assert trafilatura_twin._installed() in KNOWN_VERSIONS  # else every page takes the slow way
    before = utils.repair_faulty_html
    extract_text(MADE["plain"], "precision")
    assert all(isinstance(rule, XPath) for rule in xpaths.OVERALL_DISCARD_XPATH)
    assert utils.repair_faulty_html is before
    assert core.RAW_TREE_PRUNE_XPATH is xpaths.RAW_TREE_PRUNE_XPATH


def test_an_unknown_release_is_called_as_it_is(monkeypatch):
    monkeypatch.setattr(trafilatura_twin, "KNOWN_VERSIONS", frozenset())
    monkeypatch.setattr(trafilatura_twin, "_twin", None)
    assert extract_text(MADE["plain"], "balanced") == reference(MADE["plain"], "balanced")
