"""The one reading of a page's HTML that the language gate, the limits and the learned extractor share."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import accumulate, islice

from pipeline.extractors.reading import Reading, read_page
from pipeline.record import Page


def reading(page: Page) -> Reading:
    """Blocks, head and limits of `page.html`, shared and so never amended: `page.from_html(reading)`."""
    return read_page(page.html)


def visible_text(page: Page) -> str:
    """All that the body says, boilerplate included, a line for each block."""
    return "\n".join(page.from_html(reading).blocks.texts)


def visible_windows(page: Page, size: int, least: int) -> Iterator[str]:
    """The beginning of what the page says and, where enough lies behind it, its middle: at most `size` characters
    each, white space folded. None where the beginning has fewer than `least` characters.
    """
    texts = page.text.split() if page.text else page.from_html(reading).blocks.texts
    start = _window(texts, 0, 0, size)
    if len(start) < least:
        return
    yield start
    lengths = list(accumulate(map(len, texts)))  # with a space behind each, text i ends at lengths[i] + i + 1
    whole = lengths[-1] + len(texts)
    if whole >= 2 * size:
        middle = (whole - size) // 2
        first = bisect_right(range(len(texts)), middle, key=lambda i: lengths[i] + i + 1)
        yield _window(texts, first, middle - (lengths[first - 1] + first if first else 0), size)


def _window(texts: Sequence[str], first: int, at: int, size: int) -> str:
    """So many characters of the texts, joined by spaces, from a place in the first of them on."""
    pieces, room = [], at + size
    for text in islice(texts, first, None):
        pieces.append(text)
        room -= len(text) + 1
        if room <= 0:
            break
    window = " ".join(pieces)[at : at + size].strip()
    # blocks are folded but for code
    return " ".join(window.split()) if any(mark in window for mark in ("\n", "\t", "  ")) else window
