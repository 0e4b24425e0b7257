"""Gopher's two filters (Rae et al. 2021, arXiv 2112.11446, table A1), decision for decision datatrove
0.10.1's.

datatrove switches a rule off by 0 or None; so does this. Thresholds are the paper's, as datatrove has them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator

from pipeline.record import Page
from pipeline.speed import line_repeats, line_tally
from pipeline.steps.by_language import ByLanguage
from pipeline.steps.step import Rule
from pipeline.steps.words import reading, segmenter


def _off_if_zero(limit: float | None) -> float | None:
    return limit or None


Limit = Annotated[float | None, AfterValidator(_off_if_zero)]

# The words of which a text in English has two (Rae et al. 2021, A1.1).
STOP_WORDS = ("the", "be", "to", "of", "and", "that", "have", "with")


class GopherRepetition(ByLanguage):
    """Drop pages that repeat themselves: lines, paragraphs, and n-grams of words.

    Values are shares: of lines or paragraphs by number, else of the text's characters. `top_n` is the most
    frequent n-gram, even where it comes once; `dup_n` are n-grams that came before.
    """

    name: ClassVar[str] = "gopher_repetition"
    rules: ClassVar[tuple[Rule, ...]] = (
        Rule("empty", "chars", ">=", "min_chars"),
        Rule("dup_para_frac", "dup_para_frac", "<=", "max_dup_para_frac"),
        Rule("dup_para_char_frac", "dup_para_char_frac", "<=", "max_dup_para_char_frac"),
        Rule("dup_line_frac", "dup_line_frac", "<=", "max_dup_line_frac"),
        Rule("dup_line_char_frac", "dup_line_char_frac", "<=", "max_dup_line_char_frac"),
        *(Rule(f"top_{n}_gram", f"top_{n}_gram", "<=", f"max_top_{n}_gram") for n in (2, 3, 4)),
        *(Rule(f"dup_{n}_gram", f"dup_{n}_gram", "<=", f"max_dup_{n}_gram") for n in (5, 6, 7, 8, 9, 10)),
    )

    min_chars: Limit = 1
    max_dup_para_frac: Limit = 0.30
    max_dup_para_char_frac: Limit = 0.20
    max_dup_line_frac: Limit = 0.30
    max_dup_line_char_frac: Limit = 0.20
    max_top_2_gram: Limit = 0.20
    max_top_3_gram: Limit = 0.18
    max_top_4_gram: Limit = 0.16
    max_dup_5_gram: Limit = 0.15
    max_dup_6_gram: Limit = 0.14
    max_dup_7_gram: Limit = 0.13
    max_dup_8_gram: Limit = 0.12
    max_dup_9_gram: Limit = 0.11
    max_dup_10_gram: Limit = 0.10
    # datatrove before 0.5 (FineWeb v1) ended lines at every line break that Unicode knows, empty lines
    # included.
    lines: Literal["newlines", "every_line_break"] = "newlines"
    language: str | None = None  # whose words; None is the page's own

    def load(self) -> None:
        segmenter(self.language or "en")

    def measure(self, page: Page) -> Mapping[str, float | None]:
        text = page.text
        if not text:
            return {"chars": 0}
        found = line_repeats(text, self.lines == "every_line_break")
        repeats = reading(page, self.language).repeats()
        chars = len(text)
        shares = ((name, None if count is None else count / chars) for name, count in repeats._asdict().items())
        return {
            "chars": chars,
            "dup_para_frac": found.dup_paragraphs / found.paragraphs,
            "dup_para_char_frac": found.dup_paragraph_chars / chars,
            # Only a text that is one line break has no lines at all (splitlines).
            "dup_line_frac": found.dup_lines / found.lines if found.lines else None,
            "dup_line_char_frac": found.dup_line_chars / chars,
            **{f"{name}_gram": share for name, share in shares},
        }


class GopherQuality(ByLanguage):
    """Drop pages whose words and lines do not look like prose."""

    name: ClassVar[str] = "gopher_quality"
    rules: ClassVar[tuple[Rule, ...]] = (
        Rule("too_few_words", "words", ">=", "min_words"),
        Rule("too_many_words", "words", "<=", "max_words"),
        Rule("words_too_short", "mean_word_length", ">=", "min_mean_word_length"),
        Rule("words_too_long", "mean_word_length", "<=", "max_mean_word_length"),
        Rule("too_many_hashes", "hashes_per_word", "<=", "max_symbols_per_word"),
        Rule("too_many_ellipses", "ellipses_per_word", "<=", "max_symbols_per_word"),
        Rule("too_many_bullet_lines", "bullet_lines", "<=", "max_bullet_lines"),
        Rule("too_many_ellipsis_lines", "ellipsis_lines", "<=", "max_ellipsis_lines"),
        Rule("too_few_alphabetic_words", "alphabetic_words", ">=", "min_alphabetic_words"),
        Rule("too_few_stop_words", "stop_words", ">=", "min_stop_words"),
    )

    min_words: Limit = 50  # words with a character that is no punctuation
    max_words: Limit = 100_000
    min_mean_word_length: Limit = 3  # characters
    max_mean_word_length: Limit = 10
    max_symbols_per_word: Limit = 0.1  # "#" per word, and ellipses per word
    max_bullet_lines: Limit = 0.9  # share of lines that start with • or -
    max_ellipsis_lines: Limit = 0.3  # share of lines that end with an ellipsis
    min_alphabetic_words: Limit = 0.8  # share of words with an alphabetic character
    min_stop_words: Limit = 2
    stop_words: tuple[str, ...] = STOP_WORDS  # as written here: "The" is none
    # datatrove before 0.4 (FineWeb v1) counted how often stop words come, not how many different ones.
    count_stop_words: Literal["distinct", "occurrences"] = "distinct"
    language: str | None = None  # whose words; None is the page's own

    def load(self) -> None:
        segmenter(self.language or "en")

    def measure(self, page: Page) -> Mapping[str, float | None]:
        stop_words = self.own(page.language).get("stop_words", self.stop_words)
        words = reading(page, self.language).tally(frozenset(stop_words))
        lines = line_tally(page.text)

        def share(count: int, of: int) -> float | None:
            return count / of if of else None

        return {
            "words": words.plain,
            "mean_word_length": share(words.plain_chars, words.plain),
            "hashes_per_word": share(lines.hashes, words.words),
            "ellipses_per_word": share(lines.dots, words.words),
            "bullet_lines": share(lines.bullets, lines.lines),
            "ellipsis_lines": share(lines.ellipses, lines.lines),
            "alphabetic_words": share(words.alphabetic, words.words),
            "stop_words": words.stop_words if self.count_stop_words == "distinct" else words.stop_word_hits,
        }
