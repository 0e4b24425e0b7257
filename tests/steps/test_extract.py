"""Extract: text and notes on the page, what passes untouched, what is dropped, what is quarantined."""

from __future__ import annotations

import time

import pytest

from pipeline.errors import Quarantine
from pipeline.extractors import ENGINES
from pipeline.record import Page
from pipeline.steps.extract import Extract

SENTENCE = "The miller opened the gate at dawn, and the water, cold from the hills, began to turn the wheel. "
ARTICLE = f"""<html><head><title>The mill at dawn</title></head><body>
<nav><ul><li><a href="/">Home</a></li><li><a href="/a">News</a></li><li><a href="/b">Shop</a></li></ul></nav>
<main><article><h1>The mill at dawn</h1><p>{SENTENCE * 3}</p><p>Second: {SENTENCE * 3}</p></article></main>
<footer><p>Copyright, imprint, all rights reserved</p></footer></body></html>"""


def page_of(html: str, **given: str) -> Page:
    page = Page(record_id="0" * 32, file="f", offset=0, length=len(html), record_type="response", **given)
    page.html = html
    return page


@pytest.mark.parametrize("engine", ENGINES)
class TestEveryEngine:
    def test_finds_the_article_and_says_who_found_it(self, engine):
        page, step = page_of(ARTICLE), Extract(engine=engine)
        assert step.check(page) is None
        assert page.text.count(SENTENCE.strip()) == 6
        assert "Second:" in page.text.split("\n", 1)[1]  # paragraphs stay apart
        assert "Shop" not in page.text
        assert "Copyright" not in page.text
        assert page.notes["extractor"] == f"{engine} {step.version}"
        assert page.values["extract.chars"] == len(page.text)

    def test_same_page_same_text(self, engine):
        step = Extract(engine=engine)
        first, second = page_of(ARTICLE), page_of(ARTICLE)
        step.check(first)
        step.check(page_of(ARTICLE.replace("miller", "baker")))
        step.check(second)
        assert first.text == second.text

    @pytest.mark.parametrize("html", ["", " ", "<html></html>", "<script>alert(1)</script>", "<!-- only -->"])
    def test_drops_what_holds_no_text(self, engine, html):
        drop = Extract(engine=engine).check(page_of(html))
        assert drop is not None
        assert (drop.rule, drop.value, drop.limit) == ("empty_text", 0.0, 1.0)

    @pytest.mark.parametrize(
        "html",
        [
            "<p>" + "<" * 500_000,
            "<a" * 300_000,
            "<p>text \x00 with nulls" + "\x00" * 100_000,
            "<p><b><i><u>x" * 3_000,
            "<p>lone \ud800 surrogate and \udfff another</p>",
            "<p>" + "&amp" * 300_000,
            "<table><tr><td>" * 1_000 + SENTENCE,
            "<div>" * 400 + SENTENCE,
            "<plaintext>" + SENTENCE,
            "<svg><math><mi><p>" * 500,
            "<p>" + "‮" * 1_000 + SENTENCE,
        ],
        ids=lambda html: html[:12].encode("ascii", "replace").decode(),
    )
    def test_survives_odd_markup(self, engine, html):
        started = time.process_time()
        page = page_of(html)
        Extract(engine=engine).check(page)
        page.text.encode()
        assert time.process_time() - started < 5

    def test_quarantines_a_hundred_thousand_levels(self, engine):
        for tag in ("div", "b", "span", "section"):
            with pytest.raises(Quarantine) as caught:
                Extract(engine=engine).check(page_of(f"<{tag}>" * 100_000 + SENTENCE + f"</{tag}>" * 100_000))
            assert caught.value.rule == "tree_too_deep"

    def test_quarantines_fifty_megabytes_of_marks(self, engine):
        with pytest.raises(Quarantine) as caught:
            Extract(engine=engine).check(page_of("<" * 50_000_000))
        assert caught.value.rule == "html_too_large"

    @pytest.mark.parametrize("attribute", ["a{}=1 ", "a{} ", "a{}='1'"])
    def test_quarantines_an_element_of_a_hundred_thousand_attributes(self, engine, attribute):
        many = "".join(attribute.format(i) for i in range(100_000))
        with pytest.raises(Quarantine) as caught:
            Extract(engine=engine).check(page_of(f"<p {many}>{SENTENCE}"))
        assert caught.value.rule == "too_many_attributes"


def test_a_page_with_text_passes_untouched():
    page = Page(record_id="0" * 32, file="f", offset=0, length=9, record_type="conversion")
    page.text = "Plain\ttext, as  given.\n"
    assert Extract().check(page) is None
    assert page.text == "Plain\ttext, as  given.\n"
    assert "extractor" not in page.notes


def test_text_of_a_wet_record_is_never_read_as_html():
    page = Page("0" * 32, file="f", offset=0, length=9, record_type="conversion", payload=b"<p>hello</p>")
    assert Extract().check(page).rule == "empty_text"


def test_many_siblings_and_unclosed_paragraphs_are_no_depth():
    html = "<body>" + f"<p>{SENTENCE}" * 3_000 + "<br>x" * 20_000
    assert Extract(engine="resiliparse").check(page_of(html)) is None


def test_min_chars_none_keeps_empty_pages():
    assert Extract(min_chars=None).check(page_of("<html></html>")) is None


def test_resiliparse_keeps_the_first_of_repeated_lines():
    menu = "<div><p>Read more of this story in the evening edition</p></div>"
    page = page_of(f"<main>{menu}<p>{SENTENCE}</p>{menu}{menu}</main>")
    Extract(engine="resiliparse").check(page)
    assert page.text.count("Read more") == 1
