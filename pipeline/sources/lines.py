"""Lines: the lines of a text file, plain or compressed, with their positions, from any place in it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from pipeline.sources.members import GZIP, XZ, Codec, Member, skippable_end, zstd_codec
from pipeline.sources.stored import Stored

_CHUNK = 1 << 20


class Line(NamedTuple):
    """A line at `offset`; `length` also counts its line end and the blank lines that follow."""

    offset: int
    length: int
    data: bytes  # the beginning only, where the line is longer than may be held
    size: int  # of the line with its line end
    before: int  # how many lines stand in front of it, from where reading began


class Broken(Exception):
    """Compressed text ends too early, in a line at `at` of which `size` bytes came."""

    def __init__(self, why: str, truncated: bool) -> None:
        self.why, self.truncated = why, truncated  # truncated: because its file does
        self.at = self.size = 0
        super().__init__(why)


def compression(head: bytes) -> Codec | None:
    """What a file of text that begins with `head` is compressed with, None with nothing."""
    return next((codec for codec in (GZIP, zstd_codec(), XZ) if codec.magic.match(head)), None)


def read_lines(stored: Stored, start: int, max_line: int) -> Iterator[Line]:
    """The lines that begin at or behind `start`, a position in the text; blank ones count to the one before.

    Blank lines at the very start count to the first line. Of a compressed file `start` must be 0. Raises Broken
    behind the last line that could be read.
    """
    # A line begins at `start` only if the byte in front of it ends another.
    before = max(0, start - 1)
    codec = compression(bytes(stored.view(0, 8)))
    lines = _raw_lines(_chunks(stored, codec, before), before, max_line)
    if start:
        next(lines, None)
    held: Line | None = None
    begin = 0 if not start else None
    try:
        for line in lines:
            if not line.data.strip():
                if held:
                    held = held._replace(length=line.offset + line.length - held.offset)
                continue
            if held:
                yield held
            elif begin is not None:
                line = line._replace(offset=begin, length=line.offset + line.length - begin)
            held = line
    except Broken:
        if held:
            yield held
        raise
    if held:
        yield held


def _raw_lines(chunks: Iterator[bytes], at: int, max_line: int) -> Iterator[Line]:
    """Every line, blank ones too, with its line end; the last one may have none."""
    parts: list[bytes] = []
    size = index = 0
    try:
        for chunk in chunks:
            begin = 0
            while (end := chunk.find(b"\n", begin) + 1) > 0:
                parts.append(chunk[begin:end])
                size += end - begin
                yield Line(at, size, b"".join(parts), size, index)
                at, begin, index, parts, size = at + size, end, index + 1, [], 0
            size += len(chunk) - begin
            if size <= max_line:
                parts.append(chunk[begin:])
    except Broken as broken:
        broken.at, broken.size = at, size
        raise
    if size:
        yield Line(at, size, b"".join(parts), size, index)


def _chunks(stored: Stored, codec: Codec | None, at: int) -> Iterator[bytes]:
    """The text in pieces of bounded size."""
    while codec is None and (chunk := stored.view(at, _CHUNK)):
        yield bytes(chunk)
        at += len(chunk)
    while codec and at < stored.size:
        if (end := skippable_end(stored, at)) is not None:
            at = end
            continue
        member = Member(stored, codec, at)
        while piece := member.more():
            yield piece
        if member.error:
            raise Broken(member.error, member.truncated)
        at = member.end
