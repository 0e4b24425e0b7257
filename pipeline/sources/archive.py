"""Archive: a WARC or ARC file in whatever it is compressed with, as pieces that tile it, from any split.

What a split owns: every record (of a compressed file: every member) that begins in it, with the stretches behind
each in which nothing could be read. To find its first record a split starts to read a little in front of its
start: a record that holds another archive looks like that archive from within, but not to who comes from outside.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import dataclass, replace

from pipeline.sources.heads import ANCHOR, find_head, first_head
from pipeline.sources.members import GZIP, LZ4, Codec, candidates, skippable_end, sniff_codec, zstd_codec
from pipeline.sources.records import Found, read_records
from pipeline.sources.stored import Stored
from pipeline.sources.text import MemberText, PlainText
from pipeline.sources.whole import read_whole

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
    for found in read_records(text, start, start or first_head(text), max_record):
        anchor = found.start if found.findable else None
        yield Piece(found.start, found.end - found.start, found, anchor)


def _read_members(stored: Stored, codec: Codec, start: int, max_record: int) -> Iterator[Piece]:
    at = _next_member(stored, codec, start) if start else 0
    while at < stored.size:
        if (end := skippable_end(stored, at)) is not None:
            yield Piece(at, end - at, Found(0, end - at), None, filler="skippable")
            at = end
        elif whole := read_whole(stored, codec, at, max_record):
            yield Piece(at, whole.end - at, whole.found, at)
            at = whole.end
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
    head_at = first_head(text)
    anchor = start if head_at is not None else None
    at = start
    good: Piece | None = None  # held back: damage behind it may turn out to begin inside it
    for found in read_records(text, 0, head_at, max_record):
        end = text.stored(found.end)
        if text.error and text.ends_at(found.end):
            end = _behind_damage(stored, codec, text, good.offset if good else start)
            found.problem, found.detail = _damage(text, end < stored.size), text.error
            if good and found.problem == "damaged_member":
                # Where a checksum fails in the end, what came out last cannot be trusted either.
                found, at, good = replace(found, head=good.found.head, start=good.position), good.offset, None
        if good:
            yield good
        good = Piece(at, end - at, found, anchor, found.start)
        at = end
    if good:
        yield good
    else:
        end = _behind_damage(stored, codec, text, start) if text.error else text.member_end
        problem = _damage(text, end < stored.size) if text.error else ""
        found = Found(0, 0, problem=problem, detail=text.error)
        yield Piece(start, end - start, found, None, filler="" if text.error else "empty")
        at = end
    return at


def _damage(text: MemberText, goes_on: bool) -> str:
    """The rule for a member that could not be read to its end; `goes_on` where another was found behind it.

    Damage can make an inflater run past its member's end, to the end of the file: that is no truncation.
    """
    return "truncated_file" if text.truncated and not goes_on else "damaged_member"


def _behind_damage(stored: Stored, codec: Codec, text: MemberText, good: int) -> int:
    """Where the first good member behind a damaged one begins, `good` being the last place where all was well.

    As damage can lead an inflater far into what follows, the search starts right there.
    """
    return _next_member(stored, codec, max(good, text.last_start) + 1)


def _next_member(stored: Stored, codec: Codec, start: int) -> int:
    """The first position from `start` on where a member begins that really inflates to a record's header."""
    for candidate in candidates(stored, codec, start):
        if first_head(MemberText(stored, codec, candidate)) is not None:
            return candidate
    return stored.size
