from __future__ import annotations

import pytest
from datatrove.pipeline.filters import C4QualityFilter
from hypothesis import given, settings

from pipeline.steps.c4 import C4Quality
from tests.steps.quality_texts import assert_same, documents, needs_data, page_of, real_texts

REASONS: dict[str, str] = {}  # the same names
PAIRS = {
    "paper": (C4QualityFilter(), C4Quality()),
    "fineweb": (
        C4QualityFilter(filter_no_terminal_punct=False),
        C4Quality(require_terminal_punctuation=False),
    ),
    "lines only": (
        C4QualityFilter(min_num_sentences=-1, filter_lorem_ipsum=False, filter_curly_bracket=False, max_word_length=9),
        C4Quality(min_sentences=None, max_lorem_ipsum_lines=None, max_curly_bracket_lines=None, max_word_length=9),
    ),
    "page only": (
        C4QualityFilter(
            remove_citations=False,
            filter_no_terminal_punct=False,
            min_num_sentences=1,
            min_words_per_line=-1,
            max_word_length=-1,
            filter_javascript=False,
            filter_policy=False,
        ),
        C4Quality(
            remove_citations=False,
            require_terminal_punctuation=False,
            min_sentences=1,
            min_words_per_line=None,
            max_word_length=None,
            drop_javascript=False,
            drop_policy=False,
        ),
    ),
}


@needs_data
@pytest.mark.parametrize("settings", ["paper", "fineweb"])
def test_decides_and_rewrites_as_datatrove_on_real_pages(settings: str) -> None:
    seen = assert_same(*PAIRS[settings], REASONS, real_texts()[:: 2 if settings == "paper" else 1])
    assert len(seen) >= 2


@settings(max_examples=150, deadline=None)
@given(documents())
def test_decides_and_rewrites_as_datatrove_at_the_edges(text: str) -> None:
    for theirs, ours in PAIRS.values():
        assert_same(theirs, ours, REASONS, [text])


def test_the_first_line_that_condemns_the_page_is_the_reason() -> None:
    prose = "Here is a sentence of some length.\n" * 6
    first = C4Quality().check(page_of(prose + "It says {} here now.\nAnd lorem ipsum follows there."))
    assert first is not None
    assert (first.rule, first.value, first.limit) == ("curly_bracket", 1, 0)
    then = C4Quality(max_curly_bracket_lines=None).check(page_of(prose + "Has {} now.\nAnd lorem ipsum too."))
    assert then is not None
    assert then.rule == "lorem_ipsum"


def test_a_dropped_page_keeps_its_text_and_tells_every_value() -> None:
    page = page_of(
        "This line has no end\nUse of cookies is here.\nEnable JavaScript right now.\nShort.\nGood one here."
    )
    drop = C4Quality().check(page)
    assert drop is not None
    assert drop.rule == "too_few_sentences"
    assert page.text.startswith("This line has no end")
    assert set(page.values) == set(C4Quality().columns)
    values = {name.partition(".")[2]: value for name, value in page.values.items()}
    assert values["no_terminal_punctuation"] == values["policy"] == values["javascript"] == values["few_words"] == 1
    assert values["sentences"] == 1


def test_lines_of_citations_stay_because_words_are_counted_before() -> None:
    step = C4Quality(require_terminal_punctuation=False, min_sentences=None)
    page = page_of("[1] [2] [edit]\nA line stays[3].")
    assert step.check(page) is None
    assert page.text == "A line stays."
    assert page.values["c4_quality.sentences"] == 2


def test_no_other_character_lowers_to_a_letter_of_a_phrase() -> None:
    """The C kernel lowers ASCII and the Kelvin sign only."""
    odd = [chr(c) for c in range(128, 0x110000) if any(low.isascii() for low in chr(c).lower())]
    assert odd == ["İ", "\u212a"]
    step = C4Quality(require_terminal_punctuation=False, min_sentences=None)
    for text, stays in [
        ("We use coo\u212aies on this site", False),
        ("Our pol\u0130cy: use \u0130t well now", True),
    ]:
        page = page_of(text)
        assert step.check(page) is None
        assert bool(page.text) is stays
