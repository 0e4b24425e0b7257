"""The one parse of a page's HTML that the language gate and the extractor share."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from pipeline.record import Page

if TYPE_CHECKING:
    from turbohtml import Document


def parsed(page: Page) -> Document:
    """The WHATWG tree of `page.html`, shared and so never amended: `page.from_html(parsed)`."""
    import turbohtml

    return turbohtml.parse(page.html, positions=False)


# Not turbohtml's to_text(): it lays tables out as a grid, which a hostile one makes gigabytes of.
_VISIBLE = "/html/body//text()[not(parent::script or parent::style or parent::template)]"


def visible_text(page: Page) -> str:
    """All that the body says, boilerplate included, its pieces a space apart: `page.from_html(visible_text)`."""
    return " ".join(cast("list[str]", page.from_html(parsed).xpath(_VISIBLE)))


def visible_windows(page: Page, size: int, least: int) -> list[str]:
    """The beginning of what the page says and, where enough lies behind it, its middle: at most `size` characters
    each, white space folded. None where the beginning has fewer than `least` characters.
    """
    text = page.text or page.from_html(visible_text)
    start = " ".join(text[: 4 * size].split())[:size]
    if len(start) < least:
        return []
    if len(text) < 3 * size:
        return [start]
    middle = len(text) // 2
    return [start, " ".join(text[middle - size // 2 : middle + 2 * size].split())[:size]]
