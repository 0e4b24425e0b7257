"""The common member: one sound WARC record and nothing else, read in one go.

Nearly all members of nearly all archives are of this kind, and for them the care of `Member`, `MemberText` and
`read_records` costs more than inflating a small record. Whatever is not plainly of this kind is left to them.
"""

from __future__ import annotations

from typing import NamedTuple

from isal import isal_zlib

from pipeline.sources.heads import parse_plain_head
from pipeline.sources.members import GZIP, Codec, GzipError
from pipeline.sources.records import Found
from pipeline.sources.stored import Stored

_BITE = 64 << 10  # stored bytes at a time
_LARGEST = 8 << 20  # bytes of text: larger ones are drawn piece by piece, as they may be bombs
_END = b"\r\n\r\n"


class Whole(NamedTuple):
    """A member, up to the stored position `end`, and the record that it holds."""

    end: int
    found: Found


def read_whole(stored: Stored, codec: Codec, start: int, max_record: int) -> Whole | None:
    """The member at `start` if it is of the common kind, else None; it says what the careful way would."""
    if codec is not GZIP:
        return None
    text, end = _inflate(stored, start)
    head = parse_plain_head(text)
    if head is None or head.length is None or head.length > max_record:
        return None
    stop = head.size + head.length
    if len(text) != stop + len(_END) or not text.endswith(_END):
        return None
    return Whole(end, Found(0, len(text), head, memoryview(text)[head.size : stop], vouched=True))


def _inflate(stored: Stored, start: int) -> tuple[bytes, int]:
    """(the member's text, where it ends); the text is b"" where the member is damaged or large."""
    inflater = isal_zlib.decompressobj(31)
    parts: list[bytes] = []
    at, room = start, _LARGEST
    while not inflater.eof:
        bite = stored.view(at, _BITE)
        if not bite:
            return b"", at
        try:
            part = inflater.decompress(bite, room)
        except GzipError:
            return b"", at
        at += len(bite)
        room -= len(part)
        parts.append(part)
        if room <= 0 or (inflater.unconsumed_tail and not inflater.eof):
            return b"", at
    return parts[0] if len(parts) == 1 else b"".join(parts), at - len(inflater.unused_data)
