"""Stored: an archive's bytes as they lie in the file, by position."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import IO

_WINDOW = 256 << 10


class Stored:
    """A window that slides over a seekable file; reading forward costs no seek and no byte twice."""

    def __init__(self, file: IO[bytes], size: int) -> None:
        self.size = size
        self._file = file
        self._at = file.tell()  # where the file stands
        self._start = 0  # of the window
        self._window = b""

    def view(self, start: int, length: int) -> memoryview:
        """The bytes [start, start + length), fewer where the file ends."""
        length = max(0, min(length, self.size - start))
        if start < self._start or start + length > self._start + len(self._window):
            self._slide(start, length)
        at = start - self._start
        return memoryview(self._window)[at : at + length]

    def _slide(self, start: int, length: int) -> None:
        at = start - self._start
        parts = [self._window[at:]] if 0 <= at < len(self._window) else []
        have = sum(map(len, parts))
        if self._at != start + have:
            self._at = self._file.seek(start + have)
        while have < max(length, _WINDOW) and (part := self._file.read(max(length - have, _WINDOW))):
            parts.append(part)
            have += len(part)
            self._at += len(part)
        self._start, self._window = start, b"".join(parts)

    def search(self, pattern: re.Pattern[bytes], start: int, longest: int) -> Iterator[int]:
        """Every position from `start` on where `pattern` matches; no match is longer than `longest` bytes."""
        while window := self.view(start, _WINDOW):
            last = start + len(window) >= self.size
            limit = len(window) if last else len(window) - longest
            # The caller may slide the window between two positions, so these are drawn first.
            found = [start + m.start() for m in pattern.finditer(window) if m.start() < limit]
            yield from found
            start += limit
