"""The one reading of a page's HTML that the language gate, the limits and the learned extractor share."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate

from pipeline.extractors.reading import Reading, read_page
from pipeline.record import Page


def reading(page: Page) -> Reading:
    """Blocks, head and limits of `page.html`, shared and so never amended: `page.from_html(reading)`."""
    return read_page(page.html)


def visible_text(page: Page) -> str:
    """All that the body says, boilerplate included, a line for each block."""
    return "\n".join(page.from_html(reading).blocks.texts)


def visible_windows(page: Page, size: int, least: int) -> list[str]:
    """The beginning of what the page says and, where enough lies behind it, its middle: at most `size` characters
    each, white space folded. None where the beginning has fewer than `least` characters.
    """
    texts = page.text.split() if page.text else page.from_html(reading).blocks.texts
    ends = list(accumulate(len(text) + 1 for text in texts))
    start = _window(texts, ends, 0, size)
    if len(start) < least:
        return []
    if ends[-1] < 2 * size:
        return [start]
    return [start, _window(texts, ends, (ends[-1] - size) // 2, size)]


def _window(texts: Sequence[str], ends: Sequence[int], at: int, size: int) -> str:
    """So many characters of the texts, joined by spaces, from a place on; `ends` is where each ends, its space with it."""
    first, last = bisect_right(ends, at), bisect_right(ends, at + size)
    before = ends[first - 1] if first else 0
    joined = " ".join(texts[first : last + 1])[at - before : at - before + size]
    return " ".join(joined.split()) if "\n" in joined or "  " in joined else joined.strip()
