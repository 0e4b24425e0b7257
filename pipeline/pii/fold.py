"""Readings of a text in which odd digits, spaces and dashes are plain and invisible characters are gone."""

from __future__ import annotations

import unicodedata
from functools import cache

# soft hyphen, joiners, fillers, direction marks, byte order mark
INVISIBLE = (
    "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180e\u200b\u200c\u200d\u200e\u200f\u202a\u202b\u202c"
    "\u202d\u202e\u2060\u2061\u2062\u2063\u2064\ufeff"
)
SPACES = "\u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u202f\u205f\u3000"
DASHES = "\u2010\u2011\u2012\u2013\u2014\u2015\u2212\ufe58\ufe63\uff0d\u30fc"
_OTHERS = {
    "＠": "@",
    "﹫": "@",
    "．": ".",
    "。": ".",
    "｡": ".",
    "＋": "+",
    "（": "(",
    "）": ")",
    "：": ":",
    "／": "/",
    "＿": "_",
}


@cache
def odd_digits() -> str:
    """Every decimal digit of Unicode but ASCII's, for a character class."""
    return "".join(filter(str.isdecimal, map(chr, range(0x80, 0x20000))))  # none lies beyond the first two planes


@cache
def _plain() -> dict[int, str]:
    plain = {ord(digit): str(unicodedata.digit(digit)) for digit in odd_digits()}
    plain |= {ord(space): " " for space in SPACES}
    plain |= {ord(dash): "-" for dash in DASHES}
    plain |= {ord(odd): one for odd, one in _OTHERS.items()}
    # full-width Latin letters, as in ＡＢＣ＠ｅｘａｍｐｌｅ.ｃｏｍ
    plain |= {c: chr(c - 0xFEE0) for c in (*range(0xFF21, 0xFF3B), *range(0xFF41, 0xFF5B))}
    return plain


def fold(text: str) -> tuple[str, list[int] | None]:
    """The plain reading, and the offset in `text` of each of its characters (None where they are the same).

    The offsets have one entry more than the reading has characters: the end of the text.
    """
    reading = text.translate(_plain())
    if not any(char in reading for char in INVISIBLE):
        return reading, None
    hidden = frozenset(INVISIBLE)
    offsets = [i for i, char in enumerate(reading) if char not in hidden]
    reading = "".join([reading[i] for i in offsets])
    offsets.append(len(text))
    return reading, offsets
