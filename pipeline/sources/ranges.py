"""Ranges: the bytes of a remote file by position, whatever happens on the way.

Every answer is held against what planning saw (size, ETag) and against what was asked. What was cut off goes on from
the byte reached; what was refused is asked again, later and later, at a rate that all workers share.
"""

from __future__ import annotations

import contextlib
import email.utils
import os
import random
import re
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, NoReturn
from urllib.parse import urlsplit

from pipeline.errors import GristmillError
from pipeline.sources.rate import Rate
from pipeline.sources.seen import Seen
from pipeline.sources.transport import Answer, Fault, shown, transport_of

_POLITE = 8.0  # requests a second to Common Crawl, unless the user says otherwise
_BUSY = frozenset({408, 425, 429, 500, 502, 503, 504, 520, 521, 522, 523, 524, 529})
_THROTTLED = frozenset({429, 503, 529})
_THROTTLED_CODES = frozenset(
    {"SlowDown", "Throttling", "ThrottlingException", "RequestLimitExceeded", "TooManyRequests"}
)
_DOUBTFUL_TRIES = 3
_LONGEST_PAUSE = 60.0  # seconds between two tries; a server may ask for more
_LONGEST_WAIT = 1800.0  # seconds; a server that asks for more is asked again after these
_PROGRESS = 16 << 10  # bytes that an answer must bring to count as one
_SLOWEST = 1 << 10  # bytes a second below which a server counts as stalled
_CONTENT_RANGE = re.compile(r"bytes (?:(\d+)-(\d+)|\*)/(\d+|\*)\s*$", re.I)


class Refused(GristmillError):
    """The server answers with an error, of HTTP status `status`, or (0) does not answer."""

    def __init__(self, status: int, what: str, where: str, todo: str) -> None:
        super().__init__(what, where, todo)
        self.status = status

    def __reduce__(self) -> tuple[type[Refused], tuple[int, str, str, str]]:
        return Refused, (self.status, self.what, self.where, self.todo)  # workers send it to their parent


@dataclass(frozen=True, slots=True)
class Manners:
    """How hard to try and how fast to ask; from GRISTMILL_* in the environment, since it cannot change an output."""

    requests_per_second: float  # to one server by all workers of this machine; 0 for no limit
    bytes_per_second: float  # likewise
    retries: int  # in a row and without progress, before giving up
    retry_seconds: float  # before the first of them; doubles from one to the next
    timeout_seconds: float  # without a byte

    @classmethod
    def towards(cls, host: str) -> Manners:
        """The manners that the environment asks for, polite to Common Crawl where it says nothing."""
        name = urlsplit(f"//{host}").hostname or ""
        polite = name == "commoncrawl.org" or name.endswith(".commoncrawl.org")
        return cls(
            _number("GRISTMILL_MAX_REQUESTS_PER_SECOND", _POLITE if polite else 0.0, 0.0),
            _number("GRISTMILL_MAX_BYTES_PER_SECOND", 0.0, 0.0),
            int(_number("GRISTMILL_RETRIES", 10, 0.0)),
            _number("GRISTMILL_RETRY_SECONDS", 1.0, 0.0),
            _number("GRISTMILL_TIMEOUT_SECONDS", 60.0, 0.001),
        )


def _number(name: str, default: float, least: float) -> float:
    text = os.environ.get(name, "")
    try:
        value = float(text) if text else default
    except ValueError:
        value = -1.0
    if not least <= value < float("inf"):
        raise GristmillError(f"{text!r} is no such number", name, f"Give a number of at least {least:g}.")
    return value


@dataclass(slots=True)
class Traffic:
    """What the requests of one file came to."""

    requests: int = 0
    retries: int = 0
    bytes: int = 0
    waited: float = 0.0  # seconds between tries


class Ranges:
    """A remote file, by ranges. `size` and `content` are what planning found; "" is held against nothing."""

    def __init__(self, url: str, size: int = -1, content: str = "") -> None:
        timeout = _number("GRISTMILL_TIMEOUT_SECONDS", 60.0, 0.001)
        self._transport = transport_of(url, timeout)
        self._manners = Manners.towards(self._transport.host)
        self._rate = Rate(self._transport.host, self._manners.requests_per_second, self._manners.bytes_per_second)
        self.url, self.size, self.content = url, size, content
        self.traffic = Traffic()
        self.closed = threading.Event()
        self._spool: IO[bytes] | None = None
        self._spooled = 0
        self._spooling = threading.Lock()

    def stat(self) -> tuple[int, str]:
        """Size in bytes, and what identifies the content: "etag:…", else "modified:…", else "".

        It asks for one byte instead of sending HEAD, which signed URLs and some servers refuse.
        """
        patience = _Patience(self, trusted=False)
        while True:
            try:
                with self._ask(0, 1, self.closed, trusted=False) as answer:
                    return self._found(answer)
            except Fault as fault:
                patience.after(fault, self.closed)

    def fetch(self, start: int, stop: int, cancelled: threading.Event) -> memoryview:
        """The bytes [start, stop) of the file; fewer only where `cancelled` is set meanwhile.

        Raises GristmillError where the file has changed or gone, or the server stays away.
        """
        buffer, at = memoryview(bytearray(stop - start)), start
        patience = _Patience(self, trusted=True)
        while at < stop and self._spool is None and not cancelled.is_set():
            begun = at
            try:
                with self._ask(at, stop, cancelled, trusted=True) as answer:
                    end = self._check(answer, at, stop)
                    if end is None:
                        break
                    for piece in self._pieces(answer, end - at, cancelled):
                        buffer[at - start : at - start + len(piece)] = piece
                        at += len(piece)
            except Fault as fault:
                patience.after(fault, cancelled, at - begun >= _PROGRESS)
        if at < stop and not cancelled.is_set():
            self._fetch_whole(cancelled)
            if self._spool is not None and not cancelled.is_set():
                at += os.preadv(self._spool.fileno(), [buffer[at - start :]], at)
        return buffer[: at - start]

    def close(self) -> None:
        self.closed.set()
        with self._spooling:
            if self._spool is not None:
                self._spool.close()

    def _fetch_whole(self, cancelled: threading.Event) -> None:
        """Fetch the file into a temporary one: the server knows no ranges, and sends all or nothing."""
        with self._spooling:
            if self._spool is None:
                self._spool = tempfile.TemporaryFile(prefix="gristmill-")
            patience = _Patience(self, trusted=True)
            while self._spooled < self.size and not cancelled.is_set():
                begun, at = self._spooled, 0
                try:
                    with self._ask(0, self.size, cancelled, trusted=True) as answer:
                        self._check(answer, 0, self.size)
                        for piece in self._pieces(answer, self.size, cancelled):
                            fresh = piece[max(0, self._spooled - at) :]
                            at += len(piece)
                            self._spool.write(fresh)
                            self._spooled += len(fresh)
                except Fault as fault:
                    patience.after(fault, cancelled, self._spooled - begun >= _PROGRESS)
            self._spool.flush()

    @contextlib.contextmanager
    def _ask(self, start: int, stop: int, cancelled: threading.Event, trusted: bool) -> Iterator[Answer]:
        """One request, when the rate allows, and its answer if it is one with content.

        Raises Fault where it may be tried again. `trusted`: this file could be read before.
        """
        asked = self._rate.take(stop - start, cancelled)
        self.traffic.requests += 1
        try:
            answer = self._transport.get(start, stop, self._strong_etag())
            try:
                if answer.status not in (200, 206, 416):
                    self._refuse(answer, trusted)
                yield answer
            finally:
                answer.close()
        except Fault as fault:
            if fault.throttled:
                self._rate.refused(asked, max(fault.wait, self._manners.retry_seconds))
            raise

    def _pieces(self, answer: Answer, size: int, cancelled: threading.Event) -> Iterator[bytes]:
        """The first `size` bytes of the body as they come. Raises Fault where it ends before, or hardly moves."""
        since, came = time.monotonic(), 0
        while size:
            piece = answer.read()[:size]
            if not piece:
                raise Fault("the answer broke off")
            size -= len(piece)
            self.traffic.bytes += len(piece)
            yield piece
            if cancelled.is_set():
                raise Fault("no longer wanted")
            came += len(piece)
            now = time.monotonic()
            if now - since > self._manners.timeout_seconds:
                if came < _SLOWEST * (now - since):
                    raise Fault("the server sends next to nothing")
                since, came = now, 0

    def _check(self, answer: Answer, start: int, stop: int) -> int | None:
        """Where the bytes that the answer holds from `start` on end; None where it is the whole file instead."""
        now = _version(answer)
        if self.content and now and now.partition(":")[0] == self.content.partition(":")[0] and now != self.content:
            self._changed(f"its version was {self.content} when the run was planned and is {now} now")
        first, last, total = _content_range(answer)
        length = answer.headers.get("content-length", "")
        if answer.status == 200 and length.isdigit():
            total = int(length)
        if total is not None and total != self.size:
            self._changed(f"it had {self.size:,} bytes when the run was planned and has {total:,} now")
        if answer.status == 200:
            return None
        if answer.status == 416 or first is None or last is None:
            raise Fault("the server does not say which bytes it sends")
        if first != start or not start <= last < stop:
            raise Fault(f"the server sends bytes {first}-{last} where {start}-{stop - 1} were asked for")
        if length.isdigit() and int(length) != last - first + 1:
            raise Fault(f"the server says that bytes {first}-{last} are {length}")
        return last + 1

    def _found(self, answer: Answer) -> tuple[int, str]:
        """Size and content, from the answer to a request for the first byte."""
        _, _, total = _content_range(answer)
        length = answer.headers.get("content-length", "")
        if total is None and answer.status == 200 and length.isdigit():
            total = int(length)
        if total is None:
            raise GristmillError(
                "the server does not say how long the file is", shown(self.url), "Fetch it and name the local copy."
            )
        return total, _version(answer)

    def _strong_etag(self) -> str:
        kind, _, tag = self.content.partition(":")
        return tag if kind == "etag" and not tag.startswith("W/") else ""

    def _refuse(self, answer: Answer, trusted: bool) -> NoReturn:
        status, code = answer.status, answer.code
        what = f"the server answers {status}{f' ({code})' if code and not code.isdigit() else ''}"
        if status in _BUSY or code in _THROTTLED_CODES:
            throttled = status in _THROTTLED or code in _THROTTLED_CODES
            raise Fault(what, throttled=throttled, wait=_retry_after(answer), status=status)
        if status == 403 and code not in ("InvalidAccessKeyId", "SignatureDoesNotMatch"):
            # Common Crawl refuses who asks too fast like this; so does whoever wants a password.
            raise Fault(what, throttled=trusted, doubtful=not trusted, wait=_retry_after(answer), status=status)
        if status == 412:
            self._changed("its version is no longer the one that the run was planned on")
        raise Refused(status, what, shown(self.url), _todo(status))

    def _changed(self, how: str) -> NoReturn:
        Seen().forget(self.url)
        raise GristmillError(
            f"the file changed while it was read: {how}",
            shown(self.url),
            "Run the command again with --accept-changed-inputs: it looks at the file anew and refines it again.",
        )


class _Patience:
    """Tries in a row that brought nothing; after so many it is at an end."""

    def __init__(self, ranges: Ranges, trusted: bool) -> None:
        self._ranges, self._trusted, self._tries = ranges, trusted, 0

    def after(self, fault: Fault, cancelled: threading.Event, progress: bool = False) -> None:
        """Wait before the next try. Raises GristmillError where there should be none."""
        ranges, manners = self._ranges, self._ranges._manners
        self._tries = 1 if progress else self._tries + 1
        doubtful = fault.doubtful and not self._trusted
        if self._tries > (min(manners.retries, _DOUBTFUL_TRIES) if doubtful else manners.retries):
            tries = f", {self._tries} times in a row" if self._tries > 1 else ""
            raise Refused(fault.status, f"{fault.what}{tries}", shown(ranges.url), _advice(fault)) from fault
        if cancelled.is_set():
            return
        # Half of the pause is drawn by lot, so that workers that failed together do not come back together.
        pause = min(_LONGEST_PAUSE, manners.retry_seconds * 2 ** (self._tries - 1)) * random.uniform(0.5, 1.0)
        pause = max(pause, fault.wait)
        ranges.traffic.retries += 1
        ranges.traffic.waited += pause
        cancelled.wait(pause)


def _advice(fault: Fault) -> str:
    if fault.status == 403:
        return _todo(403)
    if fault.doubtful:
        return "Check the address, the network, and whether you may read it."
    return "Run the same command again later; it resumes. GRISTMILL_RETRIES sets how often to try."


def _todo(status: int) -> str:
    if status in (404, 410):
        return "There is no such file: check the address."
    if status in (401, 403):
        return "Give credentials: https://user:password@host/…, or AWS_PROFILE or AWS_ACCESS_KEY_ID for s3://."
    if status in (301, 400):
        return "Check the address, the credentials and, for S3, AWS_REGION."
    return "Check the address."


def _content_range(answer: Answer) -> tuple[int | None, int | None, int | None]:
    """(first byte, last byte, size of the whole) as the answer says."""
    match = _CONTENT_RANGE.match(answer.headers.get("content-range", ""))
    if not match:
        return None, None, None
    first, last, total = (int(group) if group and group != "*" else None for group in match.groups())
    return first, last, total


def _version(answer: Answer) -> str:
    """What of the headers identifies the content, weak tags marked as such."""
    tag = answer.headers.get("etag", "").strip()
    if tag:
        return "etag:" + ("W/" if tag.startswith("W/") else "") + tag.removeprefix("W/").strip('"')
    modified = answer.headers.get("last-modified", "").strip()
    return f"modified:{modified}" if modified else ""


def _retry_after(answer: Answer) -> float:
    """Seconds that the server asks to wait, 0 where it does not."""
    text = answer.headers.get("retry-after", "").strip()
    if text.isdigit():
        return min(float(text), _LONGEST_WAIT)
    with contextlib.suppress(ValueError, TypeError, OverflowError):
        wait = email.utils.parsedate_to_datetime(text).timestamp() - time.time()
        return min(max(0.0, wait), _LONGEST_WAIT)
    return 0.0
