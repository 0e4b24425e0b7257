from __future__ import annotations

from datatrove.pipeline.filters import FineWebQualityFilter
from hypothesis import given, settings

from pipeline.steps.fineweb import FinewebQuality
from tests.steps.quality_texts import assert_same, documents, needs_data, page_of, real_texts

REASONS: dict[str, str] = {}  # the same names


@needs_data
def test_decides_as_datatrove_on_real_pages() -> None:
    seen = assert_same(FineWebQualityFilter(), FinewebQuality(), REASONS, real_texts())
    assert len(seen) > 3


@settings(max_examples=200, deadline=None)
@given(documents())
def test_decides_as_datatrove_at_the_edges(text: str) -> None:
    assert_same(FineWebQualityFilter(), FinewebQuality(), REASONS, [text])
    theirs = FineWebQualityFilter(
        line_punct_thr=0.5,
        line_punct_exclude_zero=True,
        stop_chars=("d", "。", "😀"),
        short_line_thr=0.9,
        short_line_length=12,
        char_duplicates_ratio=0.3,
        new_line_ratio=0.1,
    )
    ours = FinewebQuality(
        min_line_punct_ratio=0.5,
        allow_no_line_punct=True,
        line_ends="d。😀",
        max_short_line_ratio=0.9,
        short_line_length=12,
        max_char_dup_ratio=0.3,
        max_newlines_per_word=0.1,
    )
    assert_same(theirs, ours, REASONS, [text])


def test_zero_is_a_limit_and_none_switches_off() -> None:
    text = "A line that ends as it should, and is long.\nA line that ends as it should, and is long."
    drop = FinewebQuality(max_char_dup_ratio=0).check(page_of(text))
    assert drop is not None
    assert (drop.rule, drop.value) == ("char_dup_ratio", 0.5)
    assert FinewebQuality(max_char_dup_ratio=None).check(page_of(text)) is None


def test_every_value_is_measured_for_a_dropped_page() -> None:
    page = page_of("menu\nmenu\nmenu")
    drop = FinewebQuality().check(page)
    assert drop is not None
    assert drop.rule == "line_punct_ratio"
    assert set(page.values) == set(FinewebQuality().columns)


V1 = FinewebQuality(line_ends=".'\"!?", drop_at_limit=True, count_blank_lines=True)


def test_fineweb_v1_took_quotes_for_line_ends() -> None:
    text = "\n".join(f'"This is line {n} of a dialogue," he said, "and more of it follows."' for n in range(9))
    drop = FinewebQuality().check(page_of(text))
    assert drop is not None
    assert drop.rule == "line_punct_ratio"
    assert V1.check(page_of(text)) is None


def test_fineweb_v1_dropped_at_the_limit() -> None:
    lines = [f"Line number {n} is long enough to count as a long line" for n in range(50)]
    text = "\n".join(line + "." if n < 6 else line for n, line in enumerate(lines))
    assert FinewebQuality().measure(page_of(text))["line_punct_ratio"] == 0.12
    assert FinewebQuality().check(page_of(text)) is None
    drop = FinewebQuality(drop_at_limit=True).check(page_of(text))
    assert drop is not None
    assert (drop.rule, drop.value, drop.limit) == ("line_punct_ratio", 0.12, 0.12)


def test_fineweb_v1_counted_blank_lines() -> None:
    text = "One line, long enough not to count as short.\n\n\nAnother line, long enough as well."
    assert FinewebQuality().measure(page_of(text))["line_punct_ratio"] == 1
    then = V1.measure(page_of(text))
    assert (then["lines"], then["line_punct_ratio"], then["short_line_ratio"]) == (4, 0.5, 0.5)
