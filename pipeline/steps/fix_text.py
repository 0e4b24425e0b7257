"""FixText: undo what encodings, editors and terminals did to a text; clean text stays as it is."""

from __future__ import annotations

import functools
import re
import unicodedata
from collections import Counter
from importlib.metadata import version
from typing import ClassVar, Literal

from pydantic import Field

from pipeline.record import Drop, Page
from pipeline.speed import BESIDE, ODD, character_marks
from pipeline.steps.step import Step

_ROUNDS = 8  # one fix may lay open another (mojibake twice over); a text that has not settled by then is left


class FixText(Step):
    """Mend mojibake (ftfy), compose characters (NFC), remove control characters, unify newlines, trim lines.

    Drops nothing. Fixing a text twice changes no more than fixing it once. `page.notes["fixes"]` counts the
    fixes by kind: lines for mojibake, entities and line_ends, characters for the others, 1 for nfc.
    """

    name: ClassVar[str] = "fix_text"
    gives: ClassVar[tuple[str, ...]] = ("fixes",)

    mojibake: bool = Field(
        True,
        description="Decode text that was decoded in the wrong encoding (sÃ³ for só), line by line, by ftfy.",
    )
    normal_form: Literal["NFC", "NFKC"] | None = Field(
        "NFC",
        description="Unicode normal form: NFC composes accents; NFKC also folds ligatures and full width.",
    )
    controls: bool = Field(
        True,
        description="Remove control characters, terminal escapes, byte-order marks and broken surrogates.",
    )
    soft_hyphens: bool = Field(True, description="Remove soft hyphens, which show only where a browser breaks a line.")
    newlines: bool = Field(
        True, description="Write every kind of line break (CR LF, form feed, U+2028, …) as one newline."
    )
    line_ends: bool = Field(True, description="Remove white space at the end of lines.")
    entities: bool = Field(
        False,
        description="Decode character references that are left in the text (&amp;nbsp;). Off, because a text "
        "about HTML means them.",
    )

    def load(self) -> None:
        _classes()

    def check(self, page: Page) -> Drop | None:
        text, fixes = self.fixed(page.text)
        page.text = text
        if fixes:
            page.notes["fixes"] = fixes
        self.note(page, {"fixes": sum(fixes.values())})
        return None

    def fixed(self, text: str) -> tuple[str, dict[str, int]]:
        """The mended text, and the number of fixes by kind."""
        fixes: Counter[str] = Counter()
        for _ in range(_ROUNDS):
            before, text = text, self._round(text, fixes)
            if text == before:
                break
        return text, {kind: n for kind, n in sorted(fixes.items()) if n}

    @property
    def columns(self) -> list[str]:
        return [f"{self.label}.fixes"]

    @property
    def version(self) -> str:
        return f"ftfy {version('ftfy')}, Unicode {unicodedata.unidata_version}"

    def _round(self, text: str, fixes: Counter[str]) -> str:
        if self.entities and "&" in text:
            text = _decode_entities(text, fixes)
        marks = character_marks(text, _classes())
        if self.mojibake and marks & _SUSPICIOUS:
            text = _mend_mojibake(text, fixes)  # before the controls, which are bytes of it
            marks = character_marks(text, _classes())
        if marks & _UNWANTED:
            text = self._remove_unwanted(text, fixes)
        if self.normal_form and not unicodedata.is_normalized(self.normal_form, text):
            text = unicodedata.normalize(self.normal_form, text)
            fixes["nfc"] = 1
        return _trim_line_ends(text, fixes) if self.line_ends else text

    def _remove_unwanted(self, text: str, fixes: Counter[str]) -> str:
        if self.controls:
            text, broken = _SURROGATES.subn(_pair_or_mark, text)
            text, controls = _CONTROLS.subn("", text)
            fixes["controls"] += broken + controls
        if self.soft_hyphens:
            fixes["soft_hyphens"] += text.count("\u00ad")
            text = text.replace("\u00ad", "")
        if self.newlines:
            text, breaks = _NEWLINES.subn("\n", text)
            fixes["newlines"] += breaks
        return text


# Terminal escapes; control characters but tab and line breaks; what Unicode Technical Report 20 calls
# unsuitable for text (deprecated format characters, annotations, object replacement, byte-order mark).
_CONTROLS = re.compile(
    "\x1b\\[[0-9;?]*[A-Za-z]|[\x00-\x08\x0e-\x1f\x7f\x80-\x84\x86-\x9f\u206a-\u206f\ufeff\ufff9-\ufffc]"
)
_NEWLINES = re.compile("\r\n?|[\x0b\x0c\x85\u2028\u2029]")
_SURROGATES = re.compile("[\ud800-\udbff][\udc00-\udfff]|[\ud800-\udfff]")
# Everything that these three and the soft hyphen begin with.
_BEGINNINGS = "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u2028\u2029\u206a-\u206f\ud800-\udfff\ufeff\ufff9-\ufffc]"
_UNWANTED, _STRANGE = 1, 2  # classes of characters
_SUSPICIOUS = _STRANGE | BESIDE  # see `_classes`


def _pair_or_mark(match: re.Match[str]) -> str:
    """The character that a pair of surrogates stands for; the replacement character for one alone."""
    return match[0].encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _trim_line_ends(text: str, fixes: Counter[str]) -> str:
    lines = text.split("\n")
    trimmed = [line.rstrip() for line in lines]
    if trimmed != lines:
        fixes["line_ends"] += sum(a != b for a, b in zip(lines, trimmed, strict=True))
        text = "\n".join(trimmed)
    return text


def _decode_entities(text: str, fixes: Counter[str]) -> str:
    """Decode as ftfy does, in lines without markup."""
    from ftfy.fixes import unescape_html

    lines = text.split("\n")
    decoded = [line if "<" in line else unescape_html(line) for line in lines]
    fixes["entities"] += sum(a != b for a, b in zip(lines, decoded, strict=True))
    return "\n".join(decoded)


def _mend_mojibake(text: str, fixes: Counter[str]) -> str:
    """Mend line by line, as ftfy.fix_text does: one line's encoding says nothing of the next one's."""
    from ftfy import fix_encoding

    lines = text.split("\n")
    for i, line in enumerate(lines):
        if character_marks(line, _classes()) & _SUSPICIOUS:
            lines[i] = fix_encoding(line + "\n").removesuffix("\n")
            fixes["mojibake"] += lines[i] != line
    return "\n".join(lines)


@functools.cache
def _classes() -> bytes:
    """Of each character whether it may have to go, and a cheap necessary condition of ftfy's `is_bad`.

    `is_bad` costs 0.13 µs a character, many times this one. What it looks for is, but for a few single characters, a
    sequence in which a character of its categories stands beside another one beyond ASCII, and that category is never
    the letters with which Greek and Cyrillic are written. A test holds this against `is_bad`.
    """
    from ftfy.badness import MOJIBAKE_CATEGORIES

    letters = {"lower_common", "upper_common"}
    odd = "".join(chars for name, chars in MOJIBAKE_CATEGORIES.items() if name not in letters) + "–—…’ЂĀā‚"
    classes = ((_UNWANTED, _BEGINNINGS), (_STRANGE, "[\x80-\x9fÂÃŒœØÙ]"), (ODD, f"[{odd}]"))
    table = bytearray(1 << 16)
    characters = "".join(map(chr, range(len(table))))
    for mark, pattern in classes:
        for match in re.finditer(pattern, characters):
            table[match.start()] |= mark
    return bytes(table)
