"""Overran: a limit on the CPU time that one page may take in this process."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from typing import Protocol


class Overran(BaseException):
    """A page spent its CPU time. Not an Exception, so that no library's broad `except` can swallow it."""


class Limit(Protocol):
    """Runs a `with` block under the limit; Overran is raised inside it."""

    def __enter__(self) -> object: ...

    def __exit__(self, *_: object) -> None: ...


@contextlib.contextmanager
def cpu_limit(seconds: float) -> Iterator[Limit]:
    """A limit to be entered once a page; without effect where timers are not to be had.

    The signal's handler is set for as long as this block lasts, as setting it anew for each page costs as much as a
    small filter. Timers are for the main thread of POSIX processes; elsewhere the pool's watchdog remains.
    """
    limit = _Limit(seconds)
    try:
        before = signal.signal(signal.SIGPROF, limit.overran)
    except (ValueError, AttributeError):
        yield contextlib.nullcontext()
        return
    try:
        yield limit
    finally:
        signal.signal(signal.SIGPROF, before)


class _Limit:
    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._running = False

    def __enter__(self) -> None:
        self._running = True
        signal.setitimer(signal.ITIMER_PROF, self._seconds, 1.0)

    def __exit__(self, *_: object) -> None:
        self._running = False  # first, so that a signal that is on its way finds nothing to stop
        signal.setitimer(signal.ITIMER_PROF, 0)

    def overran(self, *_: object) -> None:
        if self._running:
            raise Overran
