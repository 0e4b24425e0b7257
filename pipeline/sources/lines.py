"""Lines: the lines of a text file, plain or compressed, with their positions, from any place in it."""

from __future__ import annotations

import lzma
from collections.abc import Iterator
from typing import IO, NamedTuple

import zstandard
from isal import isal_zlib

from pipeline.sources.members import GzipError

_CHUNK = 1 << 20
_MAGIC = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd", b"\xfd7zXZ\x00": "xz"}


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


def compression(head: bytes) -> str:
    """What a file that begins with `head` is compressed with: gzip, zstd, xz, or "" with nothing."""
    return next((kind for magic, kind in _MAGIC.items() if head.startswith(magic)), "")


def read_lines(source: IO[bytes], start: int, max_line: int) -> Iterator[Line]:
    """The lines that begin at or behind `start`, a position in the text; blank ones count to the one before.

    Blank lines at the very start count to the first line. Of a compressed file `start` must be 0. Raises Broken
    behind the last line that could be read.
    """
    source.seek(0)
    kind = compression(source.read(8))
    # A line begins at `start` only if the byte in front of it ends another.
    source.seek(max(0, start - 1))
    lines = _raw_lines(_chunks(source, kind), max(0, start - 1), max_line)
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


def _chunks(source: IO[bytes], kind: str) -> Iterator[bytes]:
    """The text in pieces of bounded size."""
    if kind == "gzip":
        yield from _gunzipped(source)
    elif kind == "zstd":
        yield from _decompressed(zstandard.ZstdDecompressor().stream_reader(source, read_across_frames=True))
    elif kind == "xz":
        yield from _decompressed(lzma.LZMAFile(source))
    else:
        while chunk := source.read(_CHUNK):
            yield chunk


def _decompressed(reader: IO[bytes]) -> Iterator[bytes]:
    try:
        while chunk := reader.read(_CHUNK):
            yield chunk
    except EOFError as error:
        raise Broken(str(error), True) from error
    except (zstandard.ZstdError, lzma.LZMAError) as error:
        raise Broken(str(error), False) from error


def _gunzipped(source: IO[bytes]) -> Iterator[bytes]:
    """All gzip members, one after another, as `cat a.gz b.gz` makes them."""
    inflater = isal_zlib.decompressobj(31)
    rest, fed = b"", False
    try:
        while rest := rest or source.read(_CHUNK):
            if inflater.eof:
                inflater, fed = isal_zlib.decompressobj(31), False
            text = inflater.decompress(rest, _CHUNK)
            fed = True
            if text:
                yield text
            rest = inflater.unused_data if inflater.eof else inflater.unconsumed_tail
            while len(text) == _CHUNK and not rest and not inflater.eof:
                text = inflater.decompress(b"", _CHUNK)
                if text:
                    yield text
    except GzipError as error:
        raise Broken(str(error), False) from error
    if fed and not inflater.eof:
        raise Broken("the file ends inside a gzip member", True)
