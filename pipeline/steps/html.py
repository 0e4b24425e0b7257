"""The one parse of a page's HTML that the language gate and the extractor share."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.record import Page

if TYPE_CHECKING:
    from turbohtml import Document


def parsed(page: Page) -> Document:
    """The WHATWG tree of `page.html`, shared and so never amended: `page.from_html(parsed)`."""
    import turbohtml

    return turbohtml.parse(page.html, positions=False)


def visible_text(page: Page) -> str:
    """Everything the body shows, boilerplate included, blocks apart; scripts and styles left out.

    Ask for it with `page.from_html(visible_text)`.
    """
    text: str = page.from_html(parsed).to_text()
    return text
