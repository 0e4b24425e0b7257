"""Rate: requests and bytes a second to one server, shared by every process of this machine.

Each server has a small file in the cache folder. Who wants to ask takes the next free moment from it under a lock
and sleeps until then outside the lock (the virtual scheduling of a leaky bucket, ITU-T I.371 annex A). When one
process is refused, all of them pause, go on at half the rate, and come back to the full one by doubling each minute.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import struct
import threading
import time
from collections.abc import Iterator
from dataclasses import astuple, dataclass

from pipeline.errors import GristmillError

_DOUBLING = 60.0  # seconds in which a rate that was cut comes back to twice itself
_SMALLEST_SHARE = 1 / 64
_ASSUMED = 64.0  # requests a second that are cut where no limit is set and the server refuses
_STALE = 3600.0  # a moment further ahead than this is from before the machine started


@dataclass(slots=True)
class _State:
    """Moments are readings of the machine's monotonic clock, which all its processes share."""

    next_request: float = 0.0
    next_byte: float = 0.0
    pause_until: float = 0.0
    refused_at: float = 0.0
    share: float = 1.0  # of the rate, when it was last refused


_LAYOUT = struct.Struct("<5d")


class Rate:
    """At most so many requests and bytes a second to `host`; 0 for no limit."""

    def __init__(self, host: str, requests: float, bytes_: float) -> None:
        self._requests, self._bytes = requests, bytes_
        folder = os.path.join(os.environ.get("GRISTMILL_CACHE") or os.path.expanduser("~/.cache/gristmill"), "rates")
        self._path = os.path.join(folder, re.sub(r"[^\w.-]", "_", host)[:200] or "_")
        try:
            os.makedirs(folder, exist_ok=True)
        except OSError as error:
            raise self._no_file(error) from error

    def take(self, size: int, cancelled: threading.Event) -> float:
        """Wait for the moment at which a request for `size` bytes may be sent; returns that moment.

        Returns at once where `cancelled` is set meanwhile.
        """
        while True:
            with self._state() as state:
                due = self._reserve(state, size)
            if cancelled.wait(max(0.0, due - time.monotonic())):
                return due
            with self._state() as state:
                paused = state.pause_until > time.monotonic()
            if not paused:
                return time.monotonic()

    def refused(self, asked: float, pause: float) -> None:
        """Tell that a request sent at the moment `asked` was refused: everyone pauses for `pause` seconds.

        Of several refusals of requests that were under way together only the first cuts the rate.
        """
        with self._state() as state:
            now = time.monotonic()
            if asked >= state.refused_at:
                state.share = max(_SMALLEST_SHARE, _recovered(state, now) / 2)
                state.refused_at = now
            state.pause_until = max(state.pause_until, now + pause)

    def _reserve(self, state: _State, size: int) -> float:
        now = time.monotonic()
        start = due = max(now, state.pause_until)
        share = _recovered(state, now)
        requests = self._requests * share if share == 1.0 else (self._requests or _ASSUMED) * share
        if requests:
            # A second's worth may go at once, unless the server has just refused some.
            burst = max(0.0, requests - 1) / requests if share == 1.0 else 0.0
            turn = max(state.next_request, start)
            due = max(due, turn - burst)
            state.next_request = turn + 1 / requests
        if self._bytes:
            turn = max(state.next_byte, start)
            due = max(due, turn)
            state.next_byte = turn + size / self._bytes
        return due

    @contextlib.contextmanager
    def _state(self) -> Iterator[_State]:
        """The shared state, held alone; what the block makes of it is written back."""
        try:
            # Opened anew each time: a lock belongs to an open file, and threads must exclude each other too.
            file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        except OSError as error:
            raise self._no_file(error) from error
        try:
            with contextlib.suppress(OSError):  # a file system without locks: politeness is then a little off
                fcntl.flock(file, fcntl.LOCK_EX)
            before = os.pread(file, _LAYOUT.size, 0)
            state = _sound(_State(*_LAYOUT.unpack(before)) if len(before) == _LAYOUT.size else _State())
            yield state
            after = _LAYOUT.pack(*astuple(state))
            if after != before:
                os.pwrite(file, after, 0)
        finally:
            os.close(file)

    def _no_file(self, error: OSError) -> GristmillError:
        return GristmillError(
            f"cannot keep the rate that all workers share: {error.strerror or error}",
            self._path,
            "Let GRISTMILL_CACHE name a folder that you may write.",
        )


def _recovered(state: _State, now: float) -> float:
    doublings = (now - state.refused_at) / _DOUBLING
    return 1.0 if doublings > 10 else min(1.0, state.share * 2.0**doublings)


def _sound(state: _State) -> _State:
    """As it is, or afresh where it comes from before the machine started or is no state at all."""
    now = time.monotonic()
    moments = (state.next_request, state.next_byte, state.pause_until, state.refused_at)
    if all(0 <= moment < now + _STALE for moment in moments) and 0 < state.share <= 1 and state.refused_at <= now:
        return state
    return _State()
