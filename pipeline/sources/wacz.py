"""WACZ: a zip file with archives inside; each is an input of its own, named `x.wacz/archive/data.warc.gz`."""

from __future__ import annotations

import io
import re
import zipfile
import zlib
from dataclasses import dataclass
from typing import IO, cast
from urllib.parse import quote, unquote

from pipeline.errors import GristmillError
from pipeline.sources.open import open_url
from pipeline.sources.split import InputFile

_ARCHIVE = re.compile(r"\.(?:warc|arc)(?:\.(?:gz|zst|lz4))?$", re.I)
_STEP = 4 << 10  # deflated bytes at a time: what comes out of as many is lost with a damaged one
_LOCAL_HEADER = 30  # bytes, before the name and the extra field (APPNOTE.TXT 4.3.7)


@dataclass(frozen=True, slots=True)
class Inner:
    """An archive in a WACZ."""

    name: str  # within the zip: archive/data.warc.gz
    size: int
    cuttable: bool  # it lies there as it is; a deflated one can only be read from its start

    def url(self, place: str, size: int) -> str:
        """Where it lies: in the WACZ at `place`, which has `size` bytes."""
        return f"{place}#{size}:{quote(self.name)}"


def list_inner(source: IO[bytes], place: str) -> list[Inner]:
    """The archives in a WACZ, by name. Raises GristmillError where it is no readable zip."""
    return [
        Inner(entry.filename, entry.file_size, entry.compress_type == zipfile.ZIP_STORED)
        for entry in sorted(_zip(source, place).infolist(), key=lambda entry: entry.filename)
        if _ARCHIVE.search(entry.filename) and entry.file_size
    ]


def open_inner(file: InputFile) -> IO[bytes]:
    """The bytes of one archive in a WACZ, seekable."""
    place, _, fragment = file.url.rpartition("#")
    size, _, name = fragment.partition(":")
    source = open_url(place, int(size), file.content)
    try:
        entry = _zip(source, place).getinfo(unquote(name))
        if entry.compress_type == zipfile.ZIP_STORED and not entry.flag_bits & 1:
            return io.BufferedReader(_Range(source, _data_offset(source, entry), entry.file_size), 1 << 16)
        return io.BufferedReader(_Deflated(source, place, entry.filename), 1 << 16)
    except BaseException:
        source.close()
        raise


def _zip(source: IO[bytes], place: str) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(source)
    except (zipfile.BadZipFile, ValueError, OSError) as error:
        raise GristmillError(
            f"not a readable WACZ: {error}", where=place, todo="Was it fetched whole? Fetch it again."
        ) from error


def _data_offset(source: IO[bytes], entry: zipfile.ZipInfo) -> int:
    source.seek(entry.header_offset)
    header = source.read(_LOCAL_HEADER)
    return (
        entry.header_offset
        + _LOCAL_HEADER
        + int.from_bytes(header[26:28], "little")
        + int.from_bytes(header[28:30], "little")
    )


class _Range(io.RawIOBase):
    """The bytes [start, start + size) of another file."""

    def __init__(self, source: IO[bytes], start: int, size: int) -> None:
        self._source, self._start, self._size, self._at = source, start, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        self._at = base + offset
        return self._at

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # any writable buffer will do
        self._source.seek(self._start + self._at)
        data = self._source.read(max(0, min(len(buffer), self._size - self._at)))
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)

    def close(self) -> None:
        self._source.close()
        super().close()


class _Deflated(io.RawIOBase):
    """A deflated entry, read as far as it can be; where it is damaged, it ends."""

    def __init__(self, source: IO[bytes], place: str, name: str) -> None:
        self._source = source
        self._entry = cast(zipfile.ZipExtFile, _zip(source, place).open(name))
        self._broken = False

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._broken = False
        return self._entry.seek(offset, whence)

    def tell(self) -> int:
        return self._entry.tell()

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # any writable buffer will do
        if self._broken:
            return 0
        try:
            data = self._entry.read1(min(len(buffer), _STEP))
        except (zipfile.BadZipFile, zlib.error, EOFError):
            self._broken = True
            return 0
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        self._source.close()
        super().close()
