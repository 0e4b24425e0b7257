"""How every Unicode code point is folded before words are compared.

A letter loses its case and its accents, a digit of any script becomes 0, an ignorable character vanishes, and
what is neither letter nor number separates words. Characters of scripts that put no spaces between words (Han,
kana, Thai, Lao, Burmese, Khmer) are words of their own.

The table is frozen in `fold.npz`, because the `unicodedata` of each Python differs and a run must not.
`python -m pipeline.dedup.fold` builds it again.
"""

from __future__ import annotations

import unicodedata
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

SEPARATOR, IGNORED, DIGIT = 0, 1, ord("0")
ALONE = 1 << 30  # flag: the character is a word of its own
EXPANDS = 1 << 31  # flag: the low 24 bits are an offset into `expansions`, the next 6 the length
CODE_POINTS = 0x110000
_ITSELF = 2  # as stored: the code point folds to itself
_BLOCK = 256
_FILE = Path(__file__).with_name("fold.npz")
_ALONE = [  # Unicode blocks, both ends included
    (0x0E00, 0x0EFF),  # Thai, Lao
    (0x1000, 0x109F),  # Myanmar
    (0x1780, 0x17FF),  # Khmer
    (0x3005, 0x3007),  # ideographic iteration mark, closing mark, zero
    (0x3040, 0x30FF),  # Hiragana, Katakana
    (0x31F0, 0x31FF),  # Katakana extensions
    (0x3400, 0x4DBF),  # Han extension A
    (0x4E00, 0x9FFF),  # Han
    (0xA9E0, 0xA9FF),  # Myanmar extended B
    (0xAA60, 0xAA7F),  # Myanmar extended A
    (0x1B000, 0x1B16F),  # kana supplements
    (0x20000, 0x3FFFF),  # Han extensions B and later
]


class FoldTable(NamedTuple):
    """uint32 for each code point: SEPARATOR, IGNORED, a folded code point (maybe with ALONE), or EXPANDS."""

    values: npt.NDArray[np.uint32]
    expansions: npt.NDArray[np.uint32]


@cache
def fold_table() -> FoldTable:
    """The frozen table."""
    with np.load(_FILE) as stored:
        values, expansions = stored["blocks"][stored["index"]].reshape(-1), stored["expansions"]
    itself = values & ~np.uint32(ALONE) == _ITSELF
    values[itself] = values[itself] - np.uint32(_ITSELF) + np.flatnonzero(itself).astype(np.uint32)
    return FoldTable(values, expansions)


def unicode_version() -> str:
    """The version of Unicode that the frozen table was made from."""
    with np.load(_FILE) as stored:
        return str(stored["unicode"])


def build() -> FoldTable:
    """The table as this Python's `unicodedata` would have it."""
    values = np.zeros(CODE_POINTS, np.uint32)
    expansions: list[int] = []
    for code in range(CODE_POINTS):
        folded = _fold(code)
        if len(folded) == 1:
            values[code] = folded[0]
        elif folded:
            values[code] = EXPANDS | len(folded) << 24 | len(expansions)
            expansions += folded
        else:
            values[code] = IGNORED
    return FoldTable(values, np.array(expansions, np.uint32))


def _fold(code: int) -> list[int]:
    """NFKD of the case-folded character, marks taken off; Hangul syllables stay whole."""
    char = chr(code)
    if unicodedata.category(char) in ("Cs", "Co", "Cn"):
        return [SEPARATOR]
    if not 0xAC00 <= code <= 0xD7A3:
        char = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", char.casefold()).casefold())
    folded = [_classify(ord(c)) for c in char if unicodedata.category(c) not in ("Mn", "Me", "Cf")]
    # Separators that came with letters stay (U+2100, a/c in one character); nothing but separators is one.
    return folded if any(folded) or not folded else [SEPARATOR]


def _classify(code: int) -> int:
    category = unicodedata.category(chr(code))
    if category == "Nd":
        return DIGIT
    if category[0] not in "LN" and category != "Mc":
        return SEPARATOR
    return code | ALONE if any(low <= code <= high for low, high in _ALONE) else code


def _freeze() -> None:
    table = build()
    values = table.values.copy()
    code = np.arange(CODE_POINTS, dtype=np.uint32)
    itself = (values < EXPANDS) & (values & ~np.uint32(ALONE) == code) & (code > _ITSELF)
    values[itself] = (values[itself] & np.uint32(ALONE)) | np.uint32(_ITSELF)
    blocks, index = np.unique(values.reshape(-1, _BLOCK), axis=0, return_inverse=True)
    np.savez_compressed(
        _FILE,
        blocks=blocks,
        index=index.reshape(-1).astype(np.uint16),
        expansions=table.expansions,
        unicode=np.array(unicodedata.unidata_version),
    )


if __name__ == "__main__":
    _freeze()
