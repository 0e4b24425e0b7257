"""C4's filter (Raffel et al. 2020, JMLR 21:140, section 2.2), decision and text for text datatrove
0.10.1's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from pipeline.record import Drop, Page
from pipeline.speed import C4Rules, c4_lines
from pipeline.steps.step import Rule, Step
from pipeline.steps.words import segmenter, tokenizer_version

_LINE_VALUES = ("lines", "long_word", "no_terminal_punctuation", "few_words", "javascript", "policy")


class C4Quality(Step):
    """Take out lines that are no prose; drop the page where that leaves few sentences, or a line condemns it.

    Lines end at every line break that Unicode knows. A dropped page keeps its text. FineWeb runs this without
    the terminal punctuation rule, which alone takes 30 % of the tokens (arXiv 2406.17557, section 3.5).
    The lists of forbidden words of the paper are not part of this step.
    """

    name: ClassVar[str] = "c4_quality"
    gives: ClassVar[tuple[str, ...]] = ("text",)
    rules: ClassVar[tuple[Rule, ...]] = (
        Rule("lorem_ipsum", "lorem_ipsum", "<=", "max_lorem_ipsum_lines"),
        Rule("curly_bracket", "curly_bracket", "<=", "max_curly_bracket_lines"),
        Rule("too_few_sentences", "sentences", ">=", "min_sentences"),
    )

    # the page
    min_sentences: int | None = 5
    max_lorem_ipsum_lines: int | None = 0
    max_curly_bracket_lines: int | None = 0
    # its lines
    max_word_length: int | None = 1000  # characters: a longer word takes its line
    min_words_per_line: int | None = 3
    remove_citations: bool = True  # [1], [edit], [citation needed]; before that, words are counted
    require_terminal_punctuation: bool = True  # . ? ! " ' but no ellipsis
    drop_javascript: bool = True
    drop_policy: bool = True  # terms of use, privacy policy, cookies
    language: str | None = None  # whose sentences; None is the page's own

    def load(self) -> None:
        segmenter(self.language or "en")

    def check(self, page: Page) -> Drop | None:
        rules = C4Rules(
            self.max_word_length,
            self.remove_citations,
            self.require_terminal_punctuation,
            self.min_words_per_line,
            self.drop_javascript,
            self.drop_policy,
        )
        language = page.language if self.language is None else self.language
        found = c4_lines(page.text, rules, segmenter(language).sentences)
        measured = {key: float(value) for key, value in found._asdict().items() if key != "text"}
        self.note(page, measured)
        drop = self.judge(measured)
        if drop is None:
            page.text = found.text
        return drop

    def judge(self, measured: Mapping[str, float | None], language: str = "") -> Drop | None:
        """datatrove stops at the first line that condemns a page, so that line's rule is the reason."""
        drop = super().judge(measured, language)
        if drop and drop.rule == "lorem_ipsum" and measured.get("curly_bracket_first"):
            return super().judge({**measured, "lorem_ipsum": None}, language) or drop
        return drop

    @property
    def columns(self) -> list[str]:
        also = (*_LINE_VALUES, "curly_bracket_first")
        return [*super().columns, *(f"{self.label}.{value}" for value in also)]

    @property
    def version(self) -> str:
        return tokenizer_version()
