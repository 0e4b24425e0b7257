"""The words of which datatrove 0.10.1 makes its shingles for English, without its spaCy.

`simplify` gives what `datatrove.utils.text.simplify_text` does. The words are the segmenter's, which are held equal to
datatrove's tokenizer; importing spaCy would cost each worker ten seconds of CPU and 300 MB where torch is installed.
"""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_left
from collections.abc import Callable, Iterable
from functools import cache
from typing import NamedTuple


def datatrove_words(text: str) -> list[str]:
    """The words of the simplified text, as `MinhashDedupSignature.get_shingles` takes them."""
    from pipeline.steps.words import split_into_words

    return split_into_words(simplify(text), "en")


def simplify(text: str) -> str:
    """Lower case, a 0 for each number, one space for each run of space and punctuation, no diacritics."""
    patterns = _patterns()
    text = patterns.numbers("0", text.lower())
    text = patterns.gaps(" ", text).strip()
    if text.isascii():
        return text
    return _BEYOND_ASCII.sub(_without_marks, unicodedata.normalize("NFD", text)).strip()


def _without_marks(run: re.Match[str]) -> str:
    text = _patterns().marks("", run[0])
    return _patterns().far_marks("", text) if max(text, default="") > "\uffff" else text


_BEYOND_ASCII = re.compile("[^\x00-\x7f]+")


class _Patterns(NamedTuple):
    numbers: Callable[[str, str], str]
    gaps: Callable[[str, str], str]
    marks: Callable[[str, str], str]
    far_marks: Callable[[str, str], str]  # beyond U+FFFF: with them in it, a set of characters is searched one by one


@cache
def _patterns() -> _Patterns:
    from datatrove.utils.text import NUMBERS_PATTERN, PUNCTUATION

    marks = "".join(chr(point) for point in _may_be_marks() if unicodedata.category(chr(point)) == "Mn")
    near = marks[: bisect_left(marks, "\U00010000")]
    return _Patterns(
        NUMBERS_PATTERN.sub,
        re.compile(rf"[\s{re.escape(''.join(PUNCTUATION))}]+").sub,
        re.compile(f"[{near}]+").sub,
        re.compile(f"[{marks[len(near) :]}]+").sub,
    )


def _may_be_marks() -> Iterable[int]:
    """The code points among which are all of category Mn (non-spacing mark)."""
    return (*range(0x300, 0x20000), *range(0xE0000, 0xE0200))
