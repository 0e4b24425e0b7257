"""The local process pool: warm workers, a watchdog over CPU time, and crashes that cost one record, not the run.

`concurrent.futures` gives up the whole pool when one worker dies, so a page that makes a C parser crash or loop
would take everything with it. Here each worker tells on which record it is (`on_record`); when it dies or spends
more than the hard limit on one record, the task's owner is told which record it was and hands in the task anew.
"""

from __future__ import annotations

import contextlib
import multiprocessing as mp
import os
import signal
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, Protocol, TypeVar

import psutil

from pipeline.errors import GristmillError

A = TypeVar("A")
B = TypeVar("B")

POLL_SECONDS = 0.5
NO_RECORD = -1


class Executor(Protocol):
    """Whatever can run top-level functions over picklable items: this pool, a cluster, or `Serial`."""

    def run(
        self, task: Callable[[A], B], items: Sequence[A], on_crash: Callable[[A, Crash], A] | None = None
    ) -> Iterator[tuple[int, B]]:
        """Yield (index of the item, result) as results come; an exception of the task is raised here."""
        ...


def in_order(results: Iterable[tuple[int, B]]) -> Iterator[B]:
    """The results of `Executor.run` in the order of their items."""
    early: dict[int, B] = {}
    due = 0
    for index, result in results:
        early[index] = result
        while due in early:
            yield early.pop(due)
            due += 1


@dataclass(frozen=True, slots=True)
class Crash:
    """A worker died or was stopped: on which record (byte offset, or NO_RECORD), and how."""

    offset: int
    reason: str


class Serial:
    """Everything in this process, one after the other: for tests and for callers that have a pool of their own."""

    def run(
        self, task: Callable[[A], B], items: Sequence[A], on_crash: Callable[[A, Crash], A] | None = None
    ) -> Iterator[tuple[int, B]]:
        for index, item in enumerate(items):
            yield index, task(item)


# Set in a worker: [offset of the record in hand, process CPU seconds when it was taken up]
_beat: Any = None


def on_record(offset: int) -> None:
    """Tell the watchdog which record is in hand; NO_RECORD between records. Costs nothing outside a pool."""
    if _beat is not None:
        _beat[1] = time.process_time()
        _beat[0] = offset


class Pool:
    """`workers` processes that live until the `with` block ends.

    `record_cpu_seconds`: a record that holds a worker for more CPU time than this gets the worker killed. It is a
    backstop for native code that never returns; softer limits belong to the task itself.
    `memory_bytes`: limit on a worker's private memory (RLIMIT_DATA), 0 for none.
    """

    def __init__(self, workers: int, record_cpu_seconds: float = 120.0, memory_bytes: int = 0) -> None:
        self._context = mp.get_context("forkserver")
        self._context.set_forkserver_preload(["pipeline.worker"])
        self._limit, self._memory = record_cpu_seconds, memory_bytes
        self._workers: list[_Worker] = []
        self._size = max(1, workers)

    def __enter__(self) -> Pool:
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self._workers:
            worker.stop()
        self._workers.clear()

    def run(
        self, task: Callable[[A], B], items: Sequence[A], on_crash: Callable[[A, Crash], A] | None = None
    ) -> Iterator[tuple[int, B]]:
        """See Executor. A crash without `on_crash`, or a second one of the same item, is a GristmillError."""
        waiting = deque(enumerate(items))
        current: list[Any] = list(items)
        crashes = [0] * len(items)
        busy: dict[_Worker, int] = {}
        while len(self._workers) < min(self._size, len(items)):
            self._workers.append(self._new_worker())
        try:
            while waiting or busy:
                for worker in self._workers:
                    if waiting and worker not in busy:
                        index, item = waiting.popleft()
                        worker.send(task, item)
                        busy[worker] = index
                for worker, outcome in self._poll(busy):
                    index = busy.pop(worker)
                    if not isinstance(outcome, Crash):
                        yield index, _unwrap(outcome)
                        continue
                    self._workers[self._workers.index(worker)] = self._new_worker()
                    crashes[index] += 1
                    if on_crash is None and crashes[index] > 1:
                        raise GristmillError(
                            f"a worker ended twice on the same task ({outcome.reason})",
                            where=str(current[index])[:200],
                            todo="Give it more memory or fewer workers (--workers) and run the command again; it resumes.",
                        )
                    if on_crash is not None:
                        current[index] = on_crash(current[index], outcome)
                    waiting.appendleft((index, current[index]))
        finally:
            for worker in busy:  # left early: what is still running must not answer the next run
                worker.stop()
            self._workers = [worker for worker in self._workers if worker not in busy]

    def _new_worker(self) -> _Worker:
        return _Worker(self._context, self._memory)

    def _poll(self, busy: dict[_Worker, int]) -> Iterator[tuple[_Worker, Any]]:
        """Answers and crashes of the busy workers, after at most POLL_SECONDS."""
        ready = set(wait([worker.pipe for worker in busy], timeout=POLL_SECONDS))
        for worker in list(busy):
            if worker.pipe in ready:
                yield worker, worker.receive()
            elif worker.overran(self._limit):
                yield worker, worker.kill(f"a record took more than {self._limit:g} CPU seconds")


class _Worker:
    """One process, its pipe and its beat."""

    def __init__(self, context: mp.context.ForkServerContext, memory: int) -> None:
        self.pipe: Connection
        self.pipe, theirs = context.Pipe()
        self._beat = context.RawArray("d", [NO_RECORD, 0.0])
        self._process: BaseProcess = context.Process(target=_work, args=(theirs, self._beat, memory), daemon=True)
        self._process.start()
        theirs.close()

    def send(self, task: Callable[[Any], Any], item: Any) -> None:
        self._beat[0] = NO_RECORD
        with contextlib.suppress(BrokenPipeError):  # it died idle: receive() will tell
            self.pipe.send((task, item))

    def receive(self) -> Any:
        try:
            return self.pipe.recv()
        except (EOFError, OSError):  # OSError: it died with half of its answer sent
            self._process.join()
            code = self._process.exitcode or 0
            return Crash(int(self._beat[0]), f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit {code}")

    def overran(self, limit: float) -> bool:
        if self._beat[0] == NO_RECORD:
            return False
        try:
            times = psutil.Process(self._process.pid).cpu_times()
        except psutil.NoSuchProcess:
            return False
        return bool(times.user + times.system - self._beat[1] > limit)

    def kill(self, reason: str) -> Crash:
        offset = int(self._beat[0])
        self.stop()
        return Crash(offset, reason)

    def stop(self) -> None:
        self._process.kill()
        self._process.join()
        self.pipe.close()


@dataclass(slots=True)
class _Raised:
    """An exception of a task on its way home."""

    error: BaseException
    trace: str


def _unwrap(outcome: Any) -> Any:
    if isinstance(outcome, _Raised):
        outcome.error.add_note(outcome.trace)
        raise outcome.error
    return outcome


def _work(pipe: Connection, beat: Any, memory: int) -> None:
    global _beat
    _beat = beat
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    _die_with_parent()
    _limit_memory(memory)
    while True:
        try:
            task, item = pipe.recv()
        except (EOFError, OSError):
            return
        answer: Any
        try:
            answer = task(item)
        except Exception as error:  # whatever it is, it is raised again in the parent
            answer = _Raised(error, traceback.format_exc())
        on_record(NO_RECORD)
        try:
            pipe.send(answer)
        except (TypeError, ValueError, AttributeError) as unpicklable:
            text = answer.trace if isinstance(answer, _Raised) else str(unpicklable)
            pipe.send(_Raised(RuntimeError(f"cannot be sent between processes: {unpicklable}"), text))
        except BrokenPipeError:
            return


def _die_with_parent() -> None:
    """A killed run leaves no workers behind that go on with their task beside the run that resumes it.

    The parent holds the other end of a pipe; when that closes, the kernel sends SIGIO, which ends this process even
    within native code. (The fork server's own death tells nothing: it lives as long as any worker does.)
    """
    parent = mp.parent_process()
    if parent is None:
        return
    pipe = parent.sentinel
    with contextlib.suppress(OSError, AttributeError, ValueError):
        import fcntl

        signal.signal(signal.SIGIO, signal.SIG_DFL)
        fcntl.fcntl(pipe, fcntl.F_SETOWN, os.getpid())
        fcntl.fcntl(pipe, fcntl.F_SETFL, fcntl.fcntl(pipe, fcntl.F_GETFL) | os.O_ASYNC)
    threading.Thread(target=_leave_after, args=(pipe,), daemon=True).start()  # where a pipe sends no signal


def _leave_after(pipe: int) -> None:
    wait([pipe])
    os._exit(1)


def _limit_memory(memory: int) -> None:
    if memory:
        import resource

        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_DATA, (memory, resource.RLIM_INFINITY))
