from __future__ import annotations

from math import nextafter

import numpy as np
import pytest
from datatrove.data import Document
from datatrove.pipeline.filters import GopherQualityFilter, GopherRepetitionFilter
from hypothesis import given, settings

from pipeline.steps.gopher import GopherQuality, GopherRepetition
from tests.steps.quality_texts import assert_same, documents, needs_data, page_of, real_texts

REPETITION_REASONS = {f"dup_{n}_gram": f"duplicated_{n}_n_grams" for n in range(5, 11)}
QUALITY_REASONS = {
    "too_few_words": "gopher_short_doc",
    "too_many_words": "gopher_long_doc",
    "words_too_short": "gopher_below_avg_threshold",
    "words_too_long": "gopher_above_avg_threshold",
    "too_many_hashes": "gopher_too_many_hashes",
    "too_many_ellipses": "gopher_too_many_ellipsis",
    "too_many_bullet_lines": "gopher_too_many_bullets",
    "too_many_ellipsis_lines": "gopher_too_many_end_ellipsis",
    "too_few_alphabetic_words": "gopher_below_alpha_threshold",
    "too_few_stop_words": "gopher_enough_stop_words",
}
# The same rules so tight that each of them decides on some text.
TIGHT = GopherRepetitionFilter(
    dup_line_frac=0.02,
    dup_para_frac=0.02,
    dup_line_char_frac=0.01,
    dup_para_char_frac=0.01,
    top_n_grams=((2, 0.1), (3, 0.05), (4, 0.04)),
    dup_n_grams=tuple((n, 0.02) for n in range(5, 11)),
)
TIGHT_OURS = GopherRepetition(
    max_dup_line_frac=0.02,
    max_dup_para_frac=0.02,
    max_dup_line_char_frac=0.01,
    max_dup_para_char_frac=0.01,
    max_top_2_gram=0.1,
    max_top_3_gram=0.05,
    max_top_4_gram=0.04,
    **{f"max_dup_{n}_gram": 0.02 for n in range(5, 11)},
)
LOOSE: dict[str, object] = {
    **dict.fromkeys(("dup_line_frac", "dup_para_frac", "dup_line_char_frac", "dup_para_char_frac")),
    "top_n_grams": (),
    "dup_n_grams": (),
}


@needs_data
def test_repetition_decides_as_datatrove_on_real_pages() -> None:
    assert_same(GopherRepetitionFilter(), GopherRepetition(), REPETITION_REASONS, real_texts()[::2])
    seen = assert_same(TIGHT, TIGHT_OURS, REPETITION_REASONS, real_texts()[1::2])
    assert len(seen) > 4


@settings(max_examples=150, deadline=None)
@given(documents())
def test_repetition_decides_as_datatrove_at_the_edges(text: str) -> None:
    assert_same(GopherRepetitionFilter(), GopherRepetition(), REPETITION_REASONS, [text])
    assert_same(TIGHT, TIGHT_OURS, REPETITION_REASONS, [text])


def keeps(value: str, text: str, limit: float) -> bool:
    """Whether datatrove keeps the text with this rule alone, at this limit."""
    kind, _, rest = value.partition("_")
    one: dict[str, object] = {value: limit}
    if kind == "top":
        one = {"top_n_grams": ((int(rest[0]), limit),)}
    elif rest.endswith("_gram"):
        one = {"dup_n_grams": ((int(rest.split("_")[0]), limit),)}
    return GopherRepetitionFilter(**{**LOOSE, **one}).filter(Document(text=text, id="0")) is True


@settings(max_examples=60, deadline=None)
@given(documents())
def test_each_measured_repetition_is_the_very_limit_at_which_datatrove_turns(text: str) -> None:
    measured = GopherRepetition().measure(page_of(text))
    for value, share in measured.items():
        if value != "chars" and share:
            assert keeps(value, text, share), value
            assert not keeps(value, text, nextafter(share, 0)), value


def test_every_value_is_measured_for_a_dropped_page() -> None:
    page = page_of("again and again\n" * 30)
    drop = GopherRepetition().check(page)
    assert drop is not None
    assert drop.rule == "dup_line_frac"
    assert set(page.values) == set(GopherRepetition().columns)


def test_ngrams_without_separator_are_equal_wherever_words_part() -> None:
    words = "ab c d e f g"  # and then, joined, the same five-gram
    measured = GopherRepetition().measure(page_of(f"{words} x a bc d e f"))
    assert measured["dup_5_gram"] == len("abcdef") / len(f"{words} x a bc d e f")


def test_zero_and_none_switch_a_rule_off() -> None:
    text = "again and again\n" * 30
    off = {name: 0 if at % 2 else None for at, name in enumerate(GopherRepetition.model_fields) if name.startswith("m")}
    assert GopherRepetition(**off).check(page_of(text)) is None


def test_fineweb_v1_lines_end_at_every_line_break() -> None:
    text = "one line\x0bone line\n\nanother line"
    today, then = GopherRepetition(), GopherRepetition(lines="every_line_break")
    assert today.measure(page_of(text))["dup_line_frac"] == 0
    assert then.measure(page_of(text))["dup_line_frac"] == 1 / 4


@needs_data
def test_quality_decides_as_datatrove_on_real_pages() -> None:
    seen = assert_same(GopherQualityFilter(), GopherQuality(), QUALITY_REASONS, real_texts())
    assert len(seen) >= 3


@pytest.mark.filterwarnings("ignore:.*empty slice|invalid value:RuntimeWarning")
@settings(max_examples=200, deadline=None)
@given(documents())
def test_quality_decides_as_datatrove_at_the_edges(text: str) -> None:
    assert_same(GopherQualityFilter(), GopherQuality(), QUALITY_REASONS, [text])
    theirs = GopherQualityFilter(
        1, 40, 4, 6, 0.02, 0.2, 0.1, 0.9, 3, stop_words=["word", "a", "、", "cannot", "can", "cookies"]
    )
    ours = GopherQuality(
        min_words=1,
        max_words=40,
        min_mean_word_length=4,
        max_mean_word_length=6,
        max_symbols_per_word=0.02,
        max_bullet_lines=0.2,
        max_ellipsis_lines=0.1,
        min_alphabetic_words=0.9,
        min_stop_words=3,
        stop_words=("word", "a", "、", "cannot", "can", "cookies"),
    )
    assert_same(theirs, ours, QUALITY_REASONS, [text])


def test_agreed_difference_no_words_is_no_crash() -> None:
    """datatrove divides by zero on a page without words once its minimum is off."""
    with pytest.raises(ZeroDivisionError), np.errstate(all="ignore"), pytest.warns(RuntimeWarning):
        GopherQualityFilter(min_doc_words=0).filter(Document(text=" ", id="0"))
    assert GopherQuality(min_words=0, min_stop_words=None).check(page_of(" ")) is None


def test_stop_words_count_once_today_and_each_time_in_fineweb_v1() -> None:
    page = page_of("the cat and the dog")
    assert GopherQuality().measure(page)["stop_words"] == 2
    assert GopherQuality(count_stop_words="occurrences").measure(page)["stop_words"] == 3
    assert GopherQuality(stop_words=("cat", "Cat")).measure(page)["stop_words"] == 1


def test_words_are_those_of_the_language_set() -> None:
    text = "Can't stop. " * 20
    assert GopherQuality(language="en").measure(page_of(text, "de"))["words"] == 60
    assert GopherQuality().measure(page_of(text, "de"))["words"] == 40
