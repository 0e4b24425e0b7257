"""Find the main text of a page among its menus, adverts and footers."""

from __future__ import annotations

from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from pipeline.extractors import WRITE_MARKDOWN, Mode, Output, load_engine
from pipeline.extractors.limits import refuse_hostile
from pipeline.record import Drop, Page
from pipeline.steps.step import Rule, Step, Takes


class Extract(Step):
    """Set the page's text to its main content; drop a page in which there is none.

    A page that comes with its text (WET, rows of JSONL or Parquet) passes through untouched. Puts
    `notes["extractor"]` ("name version") and, where the engine finds them, title, author and published on the page. Quarantines pages that are too
    large, nested too deep or hold an element of too many attributes.
    """

    name: ClassVar[str] = "extract"
    takes: ClassVar[Takes] = "html"
    gives: ClassVar[tuple[str, ...]] = ("text", "extractor", "title", "author", "published")
    rules: ClassVar[tuple[Rule, ...]] = (Rule("empty_text", "chars", ">=", "min_chars"),)

    engine: Literal["trafilatura", "resiliparse", "mill"] = "trafilatura"
    mode: Mode = Field("precision", description="trafilatura only: FineWeb favours precision.")
    output: Output = Field("text", description="Markdown is written by mill alone.")
    min_chars: int | None = Field(1, ge=0, description="Characters of text that a page must have.")
    max_html_chars: int = Field(10_000_000, ge=1, description="Larger pages: quarantine.")
    max_depth: int = Field(500, ge=1, le=510, description="Levels of nested elements; deeper: quarantine.")
    max_attributes: int = Field(1_000, ge=1, description="Attributes of one element; more: quarantine.")

    @model_validator(mode="after")
    def _can_write(self) -> Self:
        if self.output == "markdown" and self.engine not in WRITE_MARKDOWN:
            raise ValueError(f"the engine {self.engine} writes no Markdown; use mill, or output: text")
        return self

    def check(self, page: Page) -> Drop | None:
        if not page.text and page.record_type != "conversion":
            self._extract(page)
        measured = {"chars": len(page.text)}
        self.note(page, measured)
        return self.judge(measured)

    def _extract(self, page: Page) -> None:
        refuse_hostile(
            page,
            max_html_chars=self.max_html_chars,
            max_depth=self.max_depth,
            max_attributes=self.max_attributes,
        )
        engine = load_engine(self.engine, self.mode, self.output)
        found = engine.extract(page)
        page.text = found.text
        page.notes["extractor"] = f"{engine.name} {engine.version}"
        for key in ("title", "author", "published"):
            if value := getattr(found, key):
                page.notes[key] = value

    @property
    def version(self) -> str:
        return load_engine(self.engine, self.mode, self.output).version
