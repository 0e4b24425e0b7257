"""resiliparse's main content at its strictest, repeated lines dropped: fast, and without a model."""

from __future__ import annotations

from importlib.metadata import version

from pipeline.extractors.engine import Extracted, Mode, sound
from pipeline.record import Page


class ResiliparseStrict:
    """Rule-based main content (Bevendorff et al. 2018), without alt texts, bullets, comments and post meta.

    Menus that escape its rules repeat their lines, which trips the repetition filters after it: of lines that
    occur more than once only the first stays.
    """

    name = "resiliparse"

    def __init__(self, mode: Mode) -> None:
        del mode  # it knows no such setting
        self._version = f"{version('resiliparse')}/strict"  # looked up once, as in `trafilatura_exact`

    @property
    def version(self) -> str:
        return self._version

    def extract(self, page: Page) -> Extracted:
        from resiliparse.extract.html2text import extract_plain_text

        text: str = extract_plain_text(
            sound(page.html),
            preserve_formatting=True,
            main_content=True,
            list_bullets=False,
            alt_texts=False,
            comments=False,
            post_meta=False,
        )
        return Extracted(_first_of_repeated_lines(text))


def _first_of_repeated_lines(text: str) -> str:
    seen: set[str] = set()
    kept: list[str] = []
    for line in text.split("\n"):
        key = line.strip()
        if key and key in seen:
            continue
        if not key and (not kept or not kept[-1]):  # what a dropped line leaves is no second blank line
            continue
        seen.add(key)
        kept.append(line if key else "")
    return "\n".join(kept).strip()
