"""What an extraction engine is: a name, a version, and the main text of a page."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

from pipeline.record import Page

Mode = Literal["precision", "balanced", "recall"]
Output = Literal["text", "markdown"]


@dataclass(frozen=True, slots=True)
class Extracted:
    """The main text of a page, paragraphs on lines of their own; "" for what was not found or not looked for."""

    text: str
    title: str = ""
    author: str = ""
    published: str = ""  # the date as the page gives it, mostly ISO 8601


class Engine(Protocol):
    """An engine gets the page, not a string, so that it can share the parse that an earlier step made."""

    @property
    def name(self) -> str: ...

    @property
    def version(self) -> str:
        """All that decides the text besides the page: library versions, the hash of a model, the mode."""
        ...

    def extract(self, page: Page) -> Extracted: ...


def sound(html: str) -> str:
    """HTML that C parsers take: lone surrogates, which JSON escapes may carry, become U+FFFD."""
    try:
        html.encode()
    except UnicodeEncodeError:
        return html.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return html
