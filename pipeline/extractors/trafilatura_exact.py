"""trafilatura's own text, byte for byte: `trafilatura.extract` as datatrove calls it, `deduplicate` off, faster."""

from __future__ import annotations

from importlib.metadata import version

from pipeline.extractors.engine import Extracted, Mode, sound
from pipeline.record import Page


class TrafilaturaExact:
    """The main text as trafilatura's `extract(html, favor_precision=…, include_comments=False)` gives it.

    `deduplicate=True` would keep a cache across pages, so that the text of a page depended on those
    before it; it stays off (arXiv 2406.17557 ran with it on). A release of trafilatura whose rules are not known
    to `trafilatura_rules` is called as it is.
    """

    name = "trafilatura"

    def __init__(self, mode: Mode) -> None:
        self._mode = mode
        self._version = f"{version('trafilatura')}/{mode}"  # a page's notes name it, and looking it up takes 1 ms

    @property
    def version(self) -> str:
        return self._version

    def extract(self, page: Page) -> Extracted:
        from pipeline.extractors.trafilatura_twin import extract_text

        return Extracted(extract_text(sound(page.html), self._mode))
