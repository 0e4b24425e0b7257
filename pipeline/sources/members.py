"""Members: gzip members, zstd and LZ4 frames; where each begins and ends in the file, and its text.

A member's text is drawn in pieces of bounded size, whatever the member inflates to. Where a member is damaged,
all of its text in front of the damage is there to be read: the member is inflated once more in small bites.
"""

from __future__ import annotations

import lzma
import re
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, Protocol, cast

import lz4.frame
import zstandard
from isal import isal_zlib

from pipeline.sources.stored import Stored

# The stubs call it an instance.
GzipError = cast(type[Exception], isal_zlib.IsalError)
_BITE = 64 << 10  # stored bytes fed at a time; inside a shared member, offsets are known to this
_CAREFUL = 64  # the same, near a damaged place
_PIECE = 1 << 20  # of text at a time
_ZSTD_BITE = 2 << 10  # 128 KiB of text can hide in 4 bytes of zstd, and its decompressor knows no limit


class Inflater(Protocol):
    """A decompressor for one member, fed in bites."""

    eof: bool
    hungry: bool  # it needs new input; else `feed(b"")` gives more of what it has
    left: int  # at eof: how many bytes of the last bite it did not need

    def feed(self, bite: memoryview | bytes) -> bytes: ...


class Codec(NamedTuple):
    """A compression format in which an archive can be stored, member by member."""

    name: str
    magic: re.Pattern[bytes]
    longest: int  # bytes that `magic` matches at most
    inflater: Callable[[], Inflater]
    errors: tuple[type[Exception], ...]
    checked: Callable[[memoryview], bool]  # from a member's first bytes: does a checksum vouch for its text?


class Member:
    """One member, from its first stored byte on."""

    def __init__(self, stored: Stored, codec: Codec, start: int) -> None:
        self.start = start
        self.error = ""  # why the text ends early
        self.truncated = False  # it ends early because the file does
        self.ended = False
        self.checked = codec.checked(stored.view(start, 16))
        self._stored, self._codec = stored, codec
        self._careful_from = stored.size
        self._open()

    def _open(self) -> None:
        self._inflater = self._codec.inflater()
        self.at = self.start  # stored position up to which it was fed
        self.bite_at = self.start  # stored position of the last bite
        self.text_length = 0

    @property
    def end(self) -> int:
        """Stored position behind the member, once it has ended; behind what was read of it before."""
        return self.at

    def more(self) -> bytes:
        """The next piece of text, b"" at its end (see `error` then)."""
        while not self.ended:
            if self._inflater.eof:
                self.at -= self._inflater.left
                self.ended = True
                break
            piece = self._feed()
            if piece:
                self.text_length += len(piece)
                return piece
        return b""

    def _feed(self) -> bytes:
        bite: memoryview | bytes = b""
        if self._inflater.hungry:
            careful = self.at >= self._careful_from
            bite = self._stored.view(self.at, _CAREFUL if careful else _BITE)
            if not bite:
                self.ended = self.truncated = True
                self.error = "the file ends inside it"
                return b""
            self.bite_at = self.at
            self.at += len(bite)
        try:
            return self._inflater.feed(bite)
        except self._codec.errors as error:
            return self._fail(str(error))

    def _fail(self, error: str) -> bytes:
        """Inflate again up to the bad bite, then in small bites: what stands in front of the damage is good."""
        if self.bite_at >= self._careful_from:
            self.ended, self.error = True, error
            return b""
        self._careful_from, seen = self.bite_at, self.text_length
        self._open()
        while self.text_length < seen and not self.ended:
            piece = self.more()
            if self.text_length > seen:
                return piece[len(piece) - (self.text_length - seen) :]
        return b""


class _Gzip:
    def __init__(self) -> None:
        self._inflater = isal_zlib.decompressobj(31)
        self.eof, self.hungry, self.left = False, True, 0

    def feed(self, bite: memoryview | bytes) -> bytes:
        text: bytes = self._inflater.decompress(bite or self._inflater.unconsumed_tail, _PIECE)
        self.eof = self._inflater.eof
        if self.eof:
            self.left = len(self._inflater.unused_data)
        # A full piece may have more behind it in the inflater's own window, with all input taken.
        self.hungry = not self._inflater.unconsumed_tail and len(text) < _PIECE
        return text


class _Zstd:
    def __init__(self, dictionary: zstandard.ZstdCompressionDict | None) -> None:
        self._inflater = zstandard.ZstdDecompressor(dict_data=dictionary).decompressobj()
        self._rest: memoryview | bytes = b""
        self.eof, self.hungry, self.left = False, True, 0

    def feed(self, bite: memoryview | bytes) -> bytes:
        bite = bite or self._rest
        text = self._inflater.decompress(bite[:_ZSTD_BITE])
        self._rest = bite[_ZSTD_BITE:]
        self.hungry, self.eof = not self._rest, self._inflater.eof
        if self.eof:
            self.left = len(self._inflater.unused_data) + len(self._rest)
        return text


class _Buffered:
    """What has the interface of the standard library's `LZMADecompressor`."""

    def __init__(self, inflater: Any) -> None:
        self._inflater = inflater
        self.eof, self.hungry, self.left = False, True, 0

    def feed(self, bite: memoryview | bytes) -> bytes:
        text: bytes = self._inflater.decompress(bytes(bite), max_length=_PIECE)
        self.hungry, self.eof = self._inflater.needs_input, self._inflater.eof
        if self.eof:
            self.left = len(self._inflater.unused_data or b"")
        return text


GZIP = Codec(
    "gzip",
    re.compile(rb"\x1f\x8b\x08[\x00-\x1f]"),
    4,
    _Gzip,
    (GzipError,),
    lambda head: True,
)
LZ4 = Codec(
    "lz4",
    re.compile(rb"\x04\x22\x4d\x18"),
    4,
    lambda: _Buffered(lz4.frame.LZ4FrameDecompressor()),
    (RuntimeError, EOFError),
    lambda head: len(head) > 4 and bool(head[4] & 0x14),  # checksum of the content or of each block
)

XZ = Codec(  # of JSON lines; no archive comes in it
    "xz",
    re.compile(rb"\xfd7zXZ\0"),
    6,
    lambda: _Buffered(lzma.LZMADecompressor(lzma.FORMAT_XZ)),
    (lzma.LZMAError, EOFError),
    lambda head: True,
)


def zstd_codec(dictionary: bytes = b"") -> Codec:
    """zstd frames, with the dictionary that a zstd-WARC holds in its first frame."""
    shared = zstandard.ZstdCompressionDict(dictionary) if dictionary else None
    return Codec(
        "zstd",
        re.compile(rb"\x28\xb5\x2f\xfd"),
        4,
        lambda: _Zstd(shared),
        (zstandard.ZstdError,),
        lambda head: len(head) > 4 and bool(head[4] & 0x04),  # content checksum
    )


SKIPPABLE = re.compile(rb"[\x50-\x5f]\x2a\x4d\x18")  # zstd and LZ4 share it
_DICTIONARY = b"\x5d\x2a\x4d\x18"  # iipc.github.io/warc-specifications/specifications/warc-zstd


def skippable_end(stored: Stored, start: int) -> int | None:
    """Where the skippable frame that lies at `start` ends, None where none does."""
    head = bytes(stored.view(start, 8))
    if len(head) < 8 or not SKIPPABLE.match(head):
        return None
    end = start + 8 + int.from_bytes(head[4:], "little")
    return end if end <= stored.size else None


def sniff_codec(stored: Stored) -> Codec | None:
    """The codec by the file's first bytes; None where they are no member of any."""
    head = bytes(stored.view(0, 8))
    if head.startswith(_DICTIONARY) and (end := skippable_end(stored, 0)):
        return zstd_codec(_load_dictionary(bytes(stored.view(8, end - 8))))
    if SKIPPABLE.match(head) and (end := skippable_end(stored, 0)):
        head = bytes(stored.view(end, 8))
    return next((codec for codec in (GZIP, zstd_codec(), LZ4) if codec.magic.match(head)), None)


def _load_dictionary(content: bytes) -> bytes:
    """The dictionary of a zstd-WARC, which may itself be stored as a zstd frame."""
    if not content.startswith(b"\x28\xb5\x2f\xfd"):
        return content
    return zstandard.ZstdDecompressor().decompress(content, max_output_size=64 << 20)


def candidates(stored: Stored, codec: Codec, start: int) -> Iterator[int]:
    """Stored positions from `start` on that look like the first bytes of a member."""
    return stored.search(codec.magic, start, codec.longest)
