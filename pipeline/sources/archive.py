"""Archive: a WARC or ARC file in whatever it is compressed with, as pieces that tile it, from any split.

What a split owns: every record (of a compressed file: every member) that begins in it, with the stretches behind
each in which nothing could be read. To find its first record a split starts to read a little in front of its
start: a record that holds another archive looks like that archive from within, but not to who comes from outside.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import dataclass

from pipeline.sources.heads import ANCHOR, find_head, first_head
from pipeline.sources.members import GZIP, LZ4, Codec, candidates, skippable_end, sniff_codec, zstd_codec
from pipeline.sources.records import Found, read_records
from pipeline.sources.stored import Stored
from pipeline.sources.text import MemberText, PlainText

# Common Crawl cuts payloads at 5 MiB (1 MiB until 2025); an archive inside a page is rarely more than a sample.
LOOK_BACK = 2 << 20
_SEARCH = 1 << 20  # how far into a file its first record may begin


@dataclass(slots=True)
class Piece:
    """The stretch [offset, offset + length) of a file, and what was found there."""

    offset: int
    length: int
    found: Found
    anchor: int | None  # where what a split owns begins: the record or its member; None goes with the piece before
    position: int = 0  # of the record within the text of its member, where it is not the member's first
    filler: str = ""  # what kind of nothing this is: "skippable" (a frame to be passed over), "empty" (a member)


def read_pieces(stored: Stored, start: int, max_record: int) -> Iterator[Piece]:
    """Every piece from the first record on that begins at or behind `start`; from the first byte on where 0."""
    codec = detect_codec(stored)
    if codec is None:
        return _read_plain(stored, start, max_record)
    return _read_members(stored, codec, start, max_record)


def holds_records(stored: Stored) -> bool:
    """Whether a record begins in the first megabyte of the file, be its very start damaged."""
    codec = detect_codec(stored)
    if codec is None:
        return first_head(PlainText(stored)) is not None or bool(ANCHOR.search(stored.view(0, _SEARCH)))
    return _holds_member(stored, codec)


def detect_codec(stored: Stored) -> Codec | None:
    """What the archive is compressed with, None where with nothing; where its start is damaged, by what follows."""
    if (codec := sniff_codec(stored)) or first_head(PlainText(stored)) is not None:
        return codec
    return next((codec for codec in (GZIP, zstd_codec(), LZ4) if _holds_member(stored, codec)), None)


def _holds_member(stored: Stored, codec: Codec) -> bool:
    start = skippable_end(stored, 0) or 0
    for candidate in candidates(stored, codec, start):
        if candidate > start + _SEARCH:
            return False
        if first_head(MemberText(stored, codec, candidate)) is not None:
            return True
    return False


def pieces_of_split(stored: Stored, start: int, end: int, max_record: int) -> Iterator[Piece | int]:
    """The pieces that the split [start, end) owns, and last the offset behind them."""
    ours = start == 0
    last, stop = 0, stored.size
    for piece in read_pieces(stored, max(0, start - LOOK_BACK), max_record):
        if piece.anchor is not None:
            if piece.anchor >= end:
                stop = piece.offset
                break
            ours = piece.anchor >= start
        if ours:
            yield piece
            last = piece.offset + piece.length
    else:
        if ours and last < stored.size:  # fewer bytes came than the file has
            lost = Found(0, 0, problem="truncated_file", detail="its bytes could not be read")
            yield Piece(last, stored.size - last, lost, None)
    yield stop


def _read_plain(stored: Stored, start: int, max_record: int) -> Iterator[Piece]:
    text = PlainText(stored)
    if start:
        start = find_head(text, start)
    for found in read_records(text, start, max_record):
        anchor = found.start if found.findable else None
        yield Piece(found.start, found.end - found.start, found, anchor)


def _read_members(stored: Stored, codec: Codec, start: int, max_record: int) -> Iterator[Piece]:
    at = _next_member(stored, codec, start) if start else 0
    while at < stored.size:
        if (end := skippable_end(stored, at)) is not None:
            yield Piece(at, end - at, Found(0, end - at), None, filler="skippable")
            at = end
        elif codec.magic.match(stored.view(at, codec.longest)):
            at = yield from _read_member(stored, codec, at, max_record)
        else:
            end = _next_member(stored, codec, at)
            detail = f"begins with {bytes(stored.view(at, 24))!r}"
            yield Piece(at, end - at, Found(0, 0, problem="garbage_between_records", detail=detail), None)
            at = end


def _read_member(stored: Stored, codec: Codec, start: int, max_record: int) -> Generator[Piece, None, int]:
    """The pieces of the member at `start`, in a generator that returns where the next member begins."""
    text = MemberText(stored, codec, start)
    anchor = start if first_head(text) is not None else None
    at = start
    for found in read_records(text, 0, max_record):
        end = text.stored(found.end)
        if text.ends_at(found.end) and text.error:
            end = _behind_damage(stored, codec, text)
            if found.problem == "garbage_between_records":
                found.problem, found.detail = "damaged_member", text.error
        yield Piece(at, end - at, found, anchor, found.start)
        at = end
    if not text.error and text.ends_at(0):
        yield Piece(start, text.member_end - start, Found(0, 0), None, filler="empty")
        at = text.member_end
    elif text.ends_at(0):
        at = _behind_damage(stored, codec, text)
        rule = "truncated_file" if text.truncated else "damaged_member"
        yield Piece(start, at - start, Found(0, 0, problem=rule, detail=text.error), None)
    return at


def _behind_damage(stored: Stored, codec: Codec, text: MemberText) -> int:
    """Where the first whole-looking member behind a damaged one begins.

    Damage can lead an inflater far into what follows, so the search starts right behind the bad member's first byte.
    """
    return stored.size if text.truncated else _next_member(stored, codec, text.last_start + 1)


def _next_member(stored: Stored, codec: Codec, start: int) -> int:
    """The first position from `start` on where a member begins that really inflates to a record's header."""
    for candidate in candidates(stored, codec, start):
        if first_head(MemberText(stored, codec, candidate)) is not None:
            return candidate
    return stored.size
