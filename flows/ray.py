"""The engine's tasks on a Ray cluster: an Executor, called directly, without Prefect between.

Each Ray task holds a pool of one process of the engine's own, warm as long as Ray keeps its worker. So a page that
kills or holds a process is dealt with where it happens, as on one machine; what Ray sees is only a node that dies,
and then the task is run anew elsewhere. All nodes must have Gristmill installed, and share the work folder.
"""

from __future__ import annotations

import itertools
import os
import socket
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import Any, TypeVar

from pipeline.errors import GristmillError
from pipeline.pool import Crash, Pool

A = TypeVar("A")
B = TypeVar("B")
RETRIES = 5  # of a task whose node died or ran out of memory
KNOCK_SECONDS = 10.0
AHEAD = 2  # tasks under way for each core: enough that none waits, few enough that 90,000 cost the driver nothing


class RayExecutor:
    """An Executor over the cluster at `address` ("": one is started on this machine), until the `with` block ends.

    `workers`: cores to use, 0 for all that the cluster has. `record_cpu_seconds` and `memory_bytes` as for Pool.
    Raises GristmillError where Ray is not installed or the cluster does not answer.
    """

    def __init__(self, address: str, workers: int, record_cpu_seconds: float, memory_bytes: int) -> None:
        try:
            import ray
        except ImportError:
            raise GristmillError(
                "Ray is not installed", "--engine ray", "Install the extra: pip install 'gristmill[ray]'"
            ) from None
        self._ray = ray
        self._limits = (record_cpu_seconds, memory_bytes)
        self._workers = workers
        self._ours = not ray.is_initialized()
        if self._ours:
            self._connect(address)

    def _connect(self, address: str) -> None:
        quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR", "include_dashboard": False}
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        try:
            if address:
                _knock(address)
                self._ray.init(address=address, log_to_driver=False, logging_level="ERROR")
            else:
                self._ray.init(num_cpus=self._workers or os.cpu_count(), **quiet)
        except (OSError, RuntimeError, ValueError) as error:
            told = str(error).strip().splitlines()
            raise GristmillError(
                f"no Ray cluster answers there ({told[0] if told else type(error).__name__})",
                address or "this machine",
                "Give --address HOST:6379 of a running head, or none to start Ray here.",
            ) from error

    def __enter__(self) -> RayExecutor:
        return self

    def __exit__(self, *_: object) -> None:
        if self._ours:
            self._ray.shutdown()

    def run(
        self, task: Callable[[A], B], items: Sequence[A], on_crash: Callable[[A, Crash], A] | None = None
    ) -> Iterator[tuple[int, B]]:
        """See Executor. A node that dies costs what ran on it; it is run again elsewhere, RETRIES times at most."""
        ray = self._ray
        remote = ray.remote(num_cpus=1, max_retries=RETRIES, retry_exceptions=False)(_run_one)
        waiting = iter(enumerate(items))
        under_way: dict[Any, int] = {}
        try:
            while True:
                room = max(1, AHEAD * self._cores()) - len(under_way)
                for index, item in itertools.islice(waiting, max(0, room)):
                    under_way[remote.remote(task, item, on_crash, *self._limits)] = index
                if not under_way:
                    return
                ready, _ = ray.wait(list(under_way), num_returns=1, timeout=5.0)
                for done in ready:
                    index = under_way.pop(done)
                    yield index, self._result(done)
        finally:
            for left in under_way:
                ray.cancel(left, force=True)

    def _cores(self) -> int:
        return self._workers or int(self._ray.cluster_resources().get("CPU", 1))

    def _result(self, done: Any) -> Any:
        try:
            outcome = self._ray.get(done)
        except (
            self._ray.exceptions.WorkerCrashedError,
            self._ray.exceptions.NodeDiedError,
            self._ray.exceptions.OutOfMemoryError,
        ) as error:
            raise GristmillError(
                f"nodes ended {RETRIES + 1} times on the same task ({type(error).__name__})",
                "the Ray cluster",
                "See its log; run the command again, it resumes.",
            ) from error
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome


def _knock(address: str) -> None:
    """Raises OSError where nobody listens at HOST:PORT: Ray itself takes minutes to say so."""
    host, colon, port = address.rpartition("://")[2].rpartition(":")
    if colon and port.isdigit():
        socket.create_connection((host.strip("[]"), int(port)), timeout=KNOCK_SECONDS).close()


def _run_one(task: Any, item: Any, on_crash: Any, record_cpu_seconds: float, memory_bytes: int) -> Any:
    """On a node: run the item in this worker's own process; an error comes home as a value, as it was raised."""
    try:
        (result,) = [result for _, result in _pool(record_cpu_seconds, memory_bytes).run(task, [item], on_crash)]
    except Exception as error:
        return error
    return result


@cache
def _pool(record_cpu_seconds: float, memory_bytes: int) -> Pool:
    """One for each Ray worker, as long as that lives; its process ends with it."""
    return Pool(1, record_cpu_seconds, memory_bytes)
