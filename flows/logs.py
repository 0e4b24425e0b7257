"""Log lines of worker processes, brought home with the result of their task and written to the run's log."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from pipeline.pool import Crash, Executor

A = TypeVar("A")
B = TypeVar("B")
_MOST = 200  # lines of one task: a page that makes a parser complain a million times must not fill the database


class WithLogs:
    """An Executor whose tasks' log lines of level INFO and above arrive in `logger`, as does each crash."""

    def __init__(self, executor: Executor, logger: Any) -> None:
        self._executor, self._logger = executor, logger

    def run(
        self, task: Callable[[A], B], items: Sequence[A], on_crash: Callable[[A, Crash], A] | None = None
    ) -> Iterator[tuple[int, B]]:
        """See Executor."""

        def told(item: A, crash: Crash) -> A:
            self._logger.warning("a worker ended at byte %d of %s: %s", crash.offset, _name(item), crash.reason)
            assert on_crash is not None
            return on_crash(item, crash)

        for index, (result, lines) in self._executor.run(_Logged(task), items, told if on_crash else None):
            for level, name, text in lines:
                self._logger.log(level, "%s: %s", name, text)
            yield index, result


@dataclass(frozen=True, slots=True)
class _Logged:
    """A task that returns its log lines beside its result."""

    task: Callable[[Any], Any]

    def __call__(self, item: Any) -> tuple[Any, list[tuple[int, str, str]]]:
        with _caught() as lines:
            result = self.task(item)
        return result, lines


@contextmanager
def _caught() -> Iterator[list[tuple[int, str, str]]]:
    lines: list[tuple[int, str, str]] = []
    root, handler = logging.getLogger(), _Keeper(lines)
    level = root.level
    root.addHandler(handler)
    root.setLevel(min(level or logging.WARNING, logging.INFO))
    try:
        yield lines
    finally:
        root.removeHandler(handler)
        root.setLevel(level)


class _Keeper(logging.Handler):
    def __init__(self, lines: list[tuple[int, str, str]]) -> None:
        super().__init__(logging.INFO)
        self._lines = lines

    def emit(self, record: logging.LogRecord) -> None:
        if len(self._lines) < _MOST:
            self._lines.append((record.levelno, record.name, record.getMessage()))
        elif len(self._lines) == _MOST:
            self._lines.append((logging.WARNING, record.name, f"more than {_MOST} lines; the rest is left out"))


def _name(item: Any) -> str:
    split = getattr(item, "split", None)
    return str(getattr(split, "name", split) or item)[:200]
