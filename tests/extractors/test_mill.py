"""The learned engine: what it keeps of pages, its kernel against the Python twin, its labels and its model file."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from pipeline.extractors import load_engine
from pipeline.extractors.blocks import COLUMN
from pipeline.extractors.features import (
    CONTEXT,
    context,
    feature_names,
    features,
    features_python,
    numbers_kernel,
    page_arrays,
)
from pipeline.extractors.forest import Forest, logistic
from pipeline.extractors.mill import MODEL, choose, choose_python, hidden_column, load_model
from pipeline.extractors.mill_labels import _by_text, label_pages
from pipeline.extractors.mill_train import NameTable, fold_of, shortened
from pipeline.extractors.names import HINTS, NameScores, name_hints, name_tokens, verdict_table
from pipeline.extractors.reading import pages_kernel, read_page
from pipeline.extractors.render import as_markdown, as_text, as_text_python
from pipeline.record import Page
from pipeline.steps.extract import Extract
from tests.extractors.test_blocks import PIECES

DATA = Path(__file__).parents[3] / "shared/data/curation/extraction"
needs_kernel = pytest.mark.skipif(pages_kernel() is None, reason="the kernel in C is not built")
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="the labelled pages are not beside the checkout")

PARAGRAPHS = {
    "en": "The miller opened the gate at dawn, and the water, cold from the hills, began to turn the great wheel again. ",
    "de": "Der Müller öffnete im Morgengrauen das Wehr, und das kalte Wasser aus den Bergen trieb wieder das große Rad. ",
    "ru": "Мельник открыл затвор на рассвете, и холодная вода с холмов снова начала вращать большое колесо мельницы. ",
    "el": "Ο μυλωνάς άνοιξε την πύλη την αυγή και το κρύο νερό από τους λόφους άρχισε πάλι να γυρίζει τον μεγάλο τροχό. ",
    "zh": "磨坊主在黎明时分打开了水闸,从山上流下来的冷水又开始转动巨大的水车,整个山谷都能听到它的声音。人们纷纷走出家门。",
}
MENU = "".join(f"<li><a href='/{i}'>Section {i}</a></li>" for i in range(12))
TEASERS = "".join(f"<div class='card'><h3><a href='/t{i}'>Another story number {i}</a></h3></div>" for i in range(8))


def article(language: str) -> str:
    text = PARAGRAPHS[language] * 3
    return (
        f"<html><head><title>{PARAGRAPHS[language][:30]} | Daily Mill</title><meta name='author' content='A. Miller'>"
        "<meta property='article:published_time' content='2026-03-01'></head><body>"
        f"<header class='site-header'><nav><ul>{MENU}</ul></nav></header><div class='wrap'><article class='post'>"
        f"<h1>{PARAGRAPHS[language][:30]}</h1><p>{text}</p><p>{text}</p><h2>{PARAGRAPHS[language][30:50]}</h2><p>{text}</p>"
        f"</article><aside class='sidebar related'>{TEASERS}</aside></div>"
        f"<footer class='footer'><ul>{MENU}</ul><p>Copyright 2026 Daily Mill. All rights reserved.</p></footer></body></html>"
    )


def page_of(html: str) -> Page:
    page = Page("0" * 32, file="f", offset=0, length=len(html), record_type="response")
    page.html = html
    return page


def read(html: str):
    found = read_page(html)
    return found.blocks, found.head


class TestWhatStays:
    @pytest.mark.parametrize("language", PARAGRAPHS)
    def test_the_article_and_not_its_surroundings(self, language):
        page = page_of(article(language))
        assert Extract(engine="mill").check(page) is None
        lines = page.text.split("\n")
        assert sum(line == (PARAGRAPHS[language] * 3).strip() for line in lines) == 3
        assert "Section 3" not in page.text
        assert "All rights reserved" not in page.text
        assert "Another story number 4" not in page.text

    def test_title_author_and_date(self):
        page = page_of(article("en"))
        Extract(engine="mill").check(page)
        assert page.notes["title"].endswith("| Daily Mill")
        assert (page.notes["author"], page.notes["published"]) == ("A. Miller", "2026-03-01")

    def test_lists_tables_and_code_keep_their_form(self):
        step = Extract(engine="mill")
        page = page_of(with_forms())
        step.check(page)
        assert f"- First {PARAGRAPHS['en'].strip()}" in page.text.split("\n")
        assert "Wheel | 12 m | Oak" in page.text.split("\n")
        assert "def turn(wheel):\n    return wheel + 1" in page.text

    def test_markdown(self):
        page = page_of(with_forms())
        Extract(engine="mill", output="markdown").check(page)
        assert "## The parts" in page.text
        assert "```\ndef turn(wheel):\n    return wheel + 1\n```" in page.text
        assert "| Wheel | 12 m | Oak |" in page.text
        assert re.search(r"^- First The miller", page.text, re.M)
        assert page.notes["extractor"].endswith("/markdown")

    def test_markdown_wants_mill(self):
        with pytest.raises(ValueError, match="writes no Markdown"):
            Extract(engine="trafilatura", output="markdown")

    def test_markdown_of_chosen_blocks_escapes_bars_and_opens_items_once(self):
        blocks, _ = read("<ul><li>a<p>b</p></li><li>c</li></ul><table><tr><td>x|y</td><td>z</td></tr></table>")
        assert as_markdown(blocks, range(5)) == "- a\n  b\n- c\n\n| x\\|y | z |\n| --- | --- |"


def with_forms() -> str:
    text = PARAGRAPHS["en"]
    return (
        f"<html><body><nav><ul>{MENU}</ul></nav><main><article><h1>How a mill works</h1><p>{text * 3}</p><h2>The parts</h2>"
        f"<ul><li>First {text}</li><li>Second {text}</li></ul><p>{text * 2}</p><pre><code>def turn(wheel):\n    return wheel + 1"
        f"</code></pre><p>{text * 2}</p><table><tr><th>Part</th><th>Size</th><th>Made of</th></tr><tr><td>Wheel</td><td>12 m"
        f"</td><td>Oak</td></tr><tr><td>Stone</td><td>1.5 m</td><td>Granite</td></tr></table><p>{text * 3}</p><p>{text * 2}</p><p>{text * 3}</p>"
        f"</article></main><footer class='footer'><ul>{MENU}</ul></footer></body></html>"
    )


class TestChoice:
    def test_sure_pages_are_cut_at_about_one_half_and_doubtful_ones_lower(self):
        blocks, _ = read("".join(f"<p>{'word ' * 20}</p>" for _ in range(6)))
        assert choose(blocks, np.array([0.99, 0.98, 0.97, 0.96, 0.3, 0.02])).tolist() == [0, 1, 2, 3]
        assert choose(blocks, np.array([0.4, 0.4, 0.4, 0.38, 0.1, 0.1])).tolist() == [0, 1, 2, 3]

    def test_what_is_surely_not_main_text_never_stays(self):
        blocks, _ = read("<p>Home</p><p>News</p>")
        assert choose(blocks, np.array([0.03, 0.02])).tolist() == []

    @pytest.mark.parametrize("how", ["hidden", "style='display: none'", "aria-hidden=true"])
    def test_what_a_page_hides_counts_half(self, how, monkeypatch):
        blocks, head = read(f"<main><p>{PARAGRAPHS['en']}</p><div {how}><p>{PARAGRAPHS['en']}</p></div></main>")
        halved = load_model(MODEL).chances(blocks, head)
        monkeypatch.setattr("pipeline.extractors.mill.HIDDEN_SHARE", 1.0)
        whole = load_model(MODEL).chances(blocks, head)
        assert (halved / whole).tolist() == [1, 0.5]

    def test_length_counts(self):
        blocks, _ = read(f"<p>{'long ' * 200}</p><p>short</p>")
        assert 0 in choose(blocks, np.array([0.45, 0.9]))


def grown(draw, width, leaves):
    """A forest of trees of so many leaves, each split at random where a leaf was."""
    feature, threshold, left, right, values, roots = [], [], [], [], [], []
    for wanted in leaves:
        root = [0]
        open_leaves = [(root, 0)]  # the list and the place where a leaf's number will stand
        while len(open_leaves) < wanted:
            where, place = open_leaves.pop(int(draw.integers(len(open_leaves))))
            where[place] = len(feature)
            feature.append(int(draw.integers(width)))
            threshold.append(float(draw.integers(-3, 4)))
            left.append(0)
            right.append(0)
            open_leaves += [(left, len(left) - 1), (right, len(right) - 1)]
        for where, place in open_leaves:
            where[place] = ~len(values)
            values.append(float(draw.normal()))
        roots += root
    feature, left, right, roots = (np.array(part, np.int32) for part in (feature, left, right, roots))
    threshold, values = (np.array(part, np.float32) for part in (threshold, values))
    return Forest(feature, threshold, left, right, values, roots)


@needs_kernel
class TestTwins:
    @given(st.lists(st.sampled_from(PIECES), min_size=1, max_size=60), st.integers(0, 2**32))
    @settings(max_examples=200, deadline=None)
    def test_numbers_agree_to_the_last_bit(self, pieces, seed):
        blocks, head = read(
            f"<title>word 漢字 two</title><main class='post-body nav'>{''.join(pieces)}<p>word</p></main>"
        )
        assume(blocks.texts)
        model = load_model(MODEL)
        assert np.array_equal(features(blocks, head, model.names), features_python(blocks, head, model.names))
        chance = np.random.default_rng(seed).random(len(blocks.texts))
        both = np.concatenate([features_python(blocks, head, model.names), context(blocks, chance)], axis=1)
        got = numbers_kernel().numbers(page_arrays(blocks, head, model.names), chance)
        assert np.array_equal(np.frombuffer(got, np.float32).reshape(both.shape), both)
        assert np.array_equal(model.chances(blocks, head), model.chances_python(blocks, head))
        assert choose(blocks, chance).tolist() == choose_python(blocks, chance).tolist()
        kept = np.flatnonzero(chance > 0.4)
        assert as_text(blocks, kept) == as_text_python(blocks, kept)
        rough = np.round(chance, 1)
        assert choose(blocks, rough).tolist() == choose_python(blocks, rough).tolist()

    @given(
        st.lists(
            st.one_of(st.text(max_size=20), st.sampled_from(["HTMLBody", "postContent2", "nav-Bar", "a" * 300, "\th"]))
        )
    )
    @settings(max_examples=200, deadline=None)
    def test_verdicts_on_names_agree(self, names):
        scores = NameScores({"post-content": 300, "content": 120, "nav": -400, "html": 77, "bar": -60})
        assert np.array_equal(scores.table(["", *names]), verdict_table(["", *names], scores))

    @given(st.integers(0, 2**32))
    @settings(max_examples=50, deadline=None)
    def test_forests_of_any_shape_score_the_same(self, seed):
        draw = np.random.default_rng(seed)
        width = int(draw.integers(1, 9))
        forest = grown(draw, width, draw.integers(1, 33, 4).tolist())
        x = draw.integers(-3, 4, (int(draw.integers(0, 40)), width)).astype(np.float32)
        x[draw.random(x.shape) < 0.05] = np.inf
        assert np.array_equal(forest.score(x), forest.score_python(x))

    def test_a_tree_of_more_leaves_than_bits_is_refused(self):
        with pytest.raises(ValueError, match="32 leaves"):
            grown(np.random.default_rng(1), 3, [5, 33]).packed(3)

    @needs_data
    def test_agree_on_real_pages(self):
        model = load_model(MODEL)
        for page in [page for page in label_pages(DATA, "readability") if page.blocks.texts][::10]:
            chances = model.chances(page.blocks, page.head)
            assert np.array_equal(chances, model.chances_python(page.blocks, page.head))
            kept = choose(page.blocks, chances)
            assert kept.tolist() == choose_python(page.blocks, chances).tolist()
            assert as_text(page.blocks, kept) == as_text_python(page.blocks, kept)

    def test_the_kernel_refuses_arrays_that_are_no_page(self):
        blocks, head = read(article("en"))
        model = load_model(MODEL)
        good = page_arrays(blocks, head, model.names)
        for place, wrong in (
            (1, blocks.counts[:-1]),
            (3, blocks.parents + 9_999),
            (5, blocks.last * 99),
            (6, blocks.named - 1),
        ):
            bad = (*good[:place], np.ascontiguousarray(wrong), *good[place + 1 :])
            with pytest.raises(ValueError, match="no page"):
                numbers_kernel().chances(bad, *model._packed(), hidden_column(), 0.5)
        first = model.first
        with pytest.raises(ValueError, match="no forest"):
            numbers_kernel().pack_forest(
                9, first.feature, *[first.threshold] * 2, first.right, first.leaves, first.roots
            )
        with pytest.raises(ValueError, match="no forest"):
            numbers_kernel().chances(good, *model._packed()[::-1], hidden_column(), 0.5)


class TestNames:
    def test_tokens_are_the_whole_and_its_parts_without_digits(self):
        assert name_tokens("post-body2") == ["body", "post", "post-body"]
        assert name_tokens("ArticleBody") == ["article", "article-body", "body"]
        assert name_tokens("HTMLWidget") == ["html", "html-widget", "widget"]
        assert name_tokens("123") == []

    def test_hints(self):
        bits = name_hints("SiteHeader comments-list")
        assert bits >> list(HINTS).index("header") & 1
        assert bits >> list(HINTS).index("comment") & 1
        assert not bits >> list(HINTS).index("product") & 1


class TestLabels:
    def test_words_in_the_same_order_are_main_text(self):
        truth = "The first line of it all.\nTitle\nAnd a second line that ends the story."
        texts = ["Title", "The first line of it all.", "line first the all it of", "Unrelated words stand here", "Menu"]
        assert _by_text(texts, truth).tolist() == [1, 1, 0, 0, 0]

    def test_of_copies_as_many_count_as_the_truth_has(self):
        assert _by_text(["one two three four"] * 3, "one two three four").tolist() == [1, 0, 0]

    def test_short_blocks_go_with_their_neighbours(self):
        truth = "a b c d e read more f g h i"
        assert _by_text(["a b c d e", "read more", "f g h i"], truth).tolist() == [1, 1, 1]
        assert _by_text(["x y z w", "read more", "q w e r t"], truth).tolist() == [0, 0, 0]


@needs_data
class TestTraining:
    def test_a_page_has_no_part_in_the_scores_it_learns_from(self):
        pages = [page for page in label_pages(DATA, "readability") if page.blocks.texts]
        table = NameTable(pages)
        held_out = pages[0].domain
        rest = NameTable([page for page in pages if page.domain != held_out])
        token = next(token for token in table.scores() if held_out in table._of[token])
        low, high, _ = table.without(held_out)(token)
        assert (low + high) == rest.scores().get(token, 0) or len(rest._of.get(token, ())) < 5

    def test_a_shortened_page_keeps_its_surroundings(self):
        pages = [page for page in label_pages(DATA, "readability") if page.blocks.texts]
        short, page = next((short, page) for page in pages if (short := shortened(page)) is not None)
        assert (short.labels == 0).sum() == (page.labels == 0).sum()
        assert 0 < short.labels.sum() < page.labels.sum()
        assert short.blocks.last[0] == len(short.blocks.texts) == len(short.labels)
        assert (short.blocks.counts[:, COLUMN["units"]] > 0).all()

    def test_folds_go_by_domain(self):
        assert fold_of("example.org") == fold_of("example.org")
        assert len({fold_of(f"site{i}.org") for i in range(60)}) == 5


class TestModelFile:
    def test_is_small_and_fits_the_features(self):
        model = load_model(MODEL)
        assert MODEL.stat().st_size < 1_000_000
        blocks, head = read(article("en"))
        width = features(blocks, head, model.names).shape[1]
        assert width == len(feature_names()) > model.first.feature.max()
        assert context(blocks, np.zeros(len(blocks.texts))).shape[1] == CONTEXT
        assert width + CONTEXT > model.second.feature.max()

    def test_comes_back_as_it_was_saved(self, tmp_path):
        model = load_model(MODEL)
        for name in ("a.npz", "b.npz"):
            model.save(tmp_path / name)
        assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
        blocks, head = read(article("de"))
        again = load_model(tmp_path / "a.npz")
        assert np.array_equal(again.chances(blocks, head), model.chances(blocks, head))

    def test_forest_scores_as_its_trees_say(self):
        stump = Forest(
            np.array([0], np.int32),
            np.array([0.5], np.float32),
            np.array([~0], np.int32),
            np.array([~1], np.int32),
            np.array([-2, 2], np.float32),
            np.array([0], np.int32),
        )
        got = stump.score(np.array([[0.5], [0.6]], np.float32))
        assert np.allclose(got, [1 / (1 + np.exp(2)), 1 / (1 + np.exp(-2))])
        assert np.array_equal(got, stump.score_python(np.array([[0.5], [0.6]], np.float32)))

    def test_logistic(self):
        x = np.linspace(-20, 20, 1001)
        assert np.abs(logistic(x) - 1 / (1 + np.exp(-x))).max() < 1e-4

    def test_the_same_page_gives_the_same_text_whatever_came_before(self):
        engine = load_engine("mill", "balanced")
        first = engine.extract(page_of(article("ru"))).text
        engine.extract(page_of(with_forms()))
        assert engine.extract(page_of(article("ru"))).text == first
