"""FineWeb's own filter (Penedo et al. 2024, arXiv 2406.17557, section 3.6), decision for decision datatrove
0.10.1's.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import ClassVar

from datatrove.utils.text import TERMINAL_PUNCTUATION

from pipeline.record import Page
from pipeline.speed import prose_lines
from pipeline.steps.by_language import ByLanguage
from pipeline.steps.step import Keep, Rule
from pipeline.steps.words import reading, segmenter


class FinewebQuality(ByLanguage):
    """Drop pages whose lines do not end like sentences, are short, repeat themselves, or are a list.

    The paper's text says 0.1 for repeated lines; its table 2, the code and the dataset have 0.01.
    """

    name: ClassVar[str] = "fineweb_quality"
    rules: ClassVar[tuple[Rule, ...]] = (
        Rule("empty", "lines", ">=", "min_lines"),
        Rule("line_punct_ratio", "line_punct_ratio", ">=", "min_line_punct_ratio"),
        Rule("short_line_ratio", "short_line_ratio", "<=", "max_short_line_ratio"),
        Rule("char_dup_ratio", "char_dup_ratio", "<=", "max_char_dup_ratio"),
        Rule("list_ratio", "newlines_per_word", "<=", "max_newlines_per_word"),
    )

    min_lines: float | None = 1  # lines that are not blank
    min_line_punct_ratio: float | None = 0.12  # share of lines that end a sentence
    allow_no_line_punct: bool = False  # keep a page of which no line ends a sentence
    line_ends: str | None = None  # the characters that end a sentence; None are Unicode's, as datatrove lists them
    max_short_line_ratio: float | None = 0.67
    short_line_length: int = 30  # characters, inclusive
    max_char_dup_ratio: float | None = 0.01  # characters of repeated lines, of all but newlines
    max_newlines_per_word: float | None = 0.3
    # datatrove before 0.4 (FineWeb v1) dropped at the limits of the first three ratios too, counted blank
    # lines in the first two, and had `.'"!?` as line ends.
    drop_at_limit: bool = False
    count_blank_lines: bool = False
    language: str | None = None  # whose words; None is the page's own

    def load(self) -> None:
        segmenter(self.language or "en")

    def measure(self, page: Page) -> Mapping[str, float | None]:
        ends = _line_ends(self.line_ends)
        lines = prose_lines(page.text, ends, self.short_line_length, self.count_blank_lines)
        if not lines.lines:
            return {"lines": 0}
        words = len(reading(page, self.language).words)
        unpunctuated = self.allow_no_line_punct and not lines.ended
        return {
            "lines": lines.lines,
            "line_punct_ratio": None if unpunctuated else lines.ended / lines.lines,
            "short_line_ratio": lines.short / lines.lines,
            "char_dup_ratio": lines.dup_chars / lines.chars if lines.chars else None,
            "newlines_per_word": lines.newlines / words if words else None,
        }

    def keep(self, rule: Rule) -> Keep:
        if self.drop_at_limit and rule.value.endswith("_ratio"):
            return ">" if rule.keep == ">=" else "<"
        return rule.keep


@cache
def _line_ends(chars: str | None) -> frozenset[str]:
    return frozenset(TERMINAL_PUNCTUATION if chars is None else chars)
