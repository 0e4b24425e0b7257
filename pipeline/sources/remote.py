"""Remote: files over HTTPS and S3, read like local ones.

`stat_remote` and `stat_all` say what lies at a URL, `open_remote` opens it. Bytes come in blocks that grow while a
reader goes straight on; the next block is fetched while the last is being worked on, so a reader that keeps up with
the network never waits for it. Two blocks are held at most: 16 MiB.
"""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import IO, cast

from pipeline.sources.ranges import Ranges, Traffic
from pipeline.sources.seen import Seen

_FIRST_BLOCK = 256 << 10
_LARGEST_BLOCK = 8 << 20
_STAT_THREADS = 16


def stat_remote(url: str) -> tuple[int, str]:
    """Size in bytes and what identifies the content ("etag:…", else "modified:…", else ""), as the server says.

    Raises GristmillError where there is no such file, it may not be read, or the server cannot be reached.
    """
    return next(stat_all([url]))


def stat_all(urls: Sequence[str]) -> Iterator[tuple[int, str]]:
    """`stat_remote` of each, in order, several at a time.

    A crawl has 90,000 files, whose sizes take hours to ask for at a polite rate: what Common Crawl's servers said
    once is remembered in the cache, since its files never change. Reading holds it against the file all the same.
    """
    seen = Seen()

    def stat(url: str) -> tuple[int, str]:
        known = seen.find(url)
        if known is not None:
            return known
        found = Ranges(url).stat()
        seen.note(url, *found)
        return found

    if len(urls) == 1:
        yield stat(urls[0])
        return
    with ThreadPoolExecutor(min(_STAT_THREADS, max(1, len(urls))), "gristmill-stat") as threads:
        try:
            yield from threads.map(stat, urls)
        except BaseException:
            threads.shutdown(wait=False, cancel_futures=True)
            raise


def open_remote(url: str, size: int, content: str, until: int | None = None) -> IO[bytes]:
    """The bytes at a URL, seekable, for the caller to close; nothing is asked for before the first read.

    `size` and `content` are what `stat_remote` said. No byte from `until` on is fetched before it is asked for, so
    that a split costs the bytes of the split. Reading raises GristmillError where the file has changed or gone, or
    the server cannot be reached for many minutes; never OSError, which readers take for damage of the file.
    """
    return cast(IO[bytes], RemoteFile(Ranges(url, size, content), size if until is None else until))


class RemoteFile(io.RawIOBase):
    """`read(n)` gives n bytes wherever so many are left, as a local file does."""

    def __init__(self, ranges: Ranges, until: int) -> None:
        self._ranges, self._until = ranges, until
        self._at = 0
        self._start, self._block = 0, memoryview(b"")
        self._next_size = _FIRST_BLOCK
        self._ahead: _Ahead | None = None

    @property
    def traffic(self) -> Traffic:
        """Requests, retries and bytes so far."""
        return self._ranges.traffic

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._ranges.size}[whence]
        if base + offset < 0:
            raise ValueError(f"no position {base + offset}")
        self._at = base + offset
        return self._at

    def read(self, size: int | None = -1) -> bytes:
        if self.closed:
            raise ValueError("read of a closed file")
        left = max(0, self._ranges.size - self._at)
        size = left if size is None or size < 0 else min(size, left)
        parts: list[memoryview] = []
        while size:
            part = self._available(size)[:size]
            parts.append(part)
            size -= len(part)
            self._at += len(part)
        return b"".join(parts)

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # any writable buffer will do
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        if not self.closed:
            self._drop_ahead()
            self._ranges.close()
            self._block = memoryview(b"")
        super().close()

    def _available(self, wanted: int) -> memoryview:
        """What lies at the position, at least a byte of it."""
        if not self._start <= self._at < self._start + len(self._block):
            self._load(wanted)
        return self._block[self._at - self._start :]

    def _load(self, wanted: int) -> None:
        crosses = self._start < self._until <= self._at
        goes_on = self._at == self._start + len(self._block) > 0 and not crosses
        self._next_size = min(2 * self._next_size, _LARGEST_BLOCK) if goes_on else _FIRST_BLOCK
        ahead, self._ahead = self._ahead, None
        if ahead is not None and ahead.start_at == self._at:
            block = ahead.take()
        else:
            if ahead is not None:
                ahead.cancelled.set()
            stop = self._stop(self._at, max(self._next_size, min(wanted, _LARGEST_BLOCK)))
            self._block = memoryview(b"")  # let go of it before the next one comes
            block = self._ranges.fetch(self._at, stop, self._ranges.closed)
        self._start, self._block = self._at, block
        following = self._start + len(block)
        if goes_on and following < self._until:
            self._ahead = _Ahead(
                self._ranges, following, self._stop(following, min(2 * self._next_size, _LARGEST_BLOCK))
            )

    def _stop(self, start: int, length: int) -> int:
        """Where a block that begins at `start` should end; behind `until` a reader wants to see a record's end only."""
        if start < self._until:
            return min(start + length, max(self._until, start + 1), self._ranges.size)
        return min(start + length, self._ranges.size)

    def _drop_ahead(self) -> None:
        if self._ahead is not None:
            self._ahead.cancelled.set()
            self._ahead = None


class _Ahead(threading.Thread):
    """A block on its way while the one before it is read."""

    def __init__(self, ranges: Ranges, start: int, stop: int) -> None:
        super().__init__(name="gristmill-ahead", daemon=True)
        self.start_at, self._ranges, self._stop_at = start, ranges, stop
        self.cancelled = threading.Event()
        self._outcome: memoryview | BaseException = memoryview(b"")
        self.start()

    def run(self) -> None:
        try:
            self._outcome = self._ranges.fetch(self.start_at, self._stop_at, self.cancelled)
        except BaseException as error:  # told to whoever takes the block
            self._outcome = error

    def take(self) -> memoryview:
        self.join()
        if isinstance(self._outcome, BaseException):
            raise self._outcome
        return self._outcome
