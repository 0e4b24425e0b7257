"""What Prometheus reads of a worker: pages, drops by rule, bytes, splits done and waiting, memory.

Flow runs are processes of their own and come and go, so they write to a folder (PROMETHEUS_MULTIPROC_DIR) which one
endpoint of the worker reads: `gristmill up` and the containers of `deploy/` set both. Without that folder nothing is
counted.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import psutil

FOLDER = "PROMETHEUS_MULTIPROC_DIR"


def count_split(about: dict[str, Any], waiting: int) -> None:
    """Count a refined split: records by state, drops by step and rule, stored bytes.

    `waiting`: splits that this flow run still has to refine. The memory of its processes is looked up here too.
    """
    if not os.environ.get(FOLDER):
        return
    meters = _meters()
    for state, count in about["states"].items():
        meters["records"].labels(state).inc(count)
    for rule, count in about["rules"].items():
        meters["drops"].labels(*rule.split("/", 1)).inc(count)
    meters["bytes"].inc(about["bytes"])
    meters["splits"].inc()
    meters["waiting"].set(waiting)
    meters["memory"].set(_memory())


def count_phase(phase: str, seconds: float) -> None:
    """Count the wall seconds of a phase, and what memory it left taken."""
    if os.environ.get(FOLDER):
        meters = _meters()
        meters["seconds"].labels(phase).inc(seconds)
        meters["memory"].set(_memory())


def serve(port: int, host: str = "127.0.0.1") -> None:
    """Answer `/metrics` on a port of this machine, for all flow runs that share the folder; returns at once."""
    from prometheus_client import CollectorRegistry, start_http_server

    os.makedirs(os.environ[FOLDER], exist_ok=True)
    registry: Any = CollectorRegistry()
    registry.register(_Counted())
    start_http_server(port, host, registry)


class _Counted:
    """What the folder holds; the gauges of flow runs that have ended, or were killed, are gone from it."""

    def collect(self) -> Iterator[Any]:
        from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

        folder = os.environ[FOLDER]
        for file in Path(folder).glob("gauge_live*_*.db"):
            pid = int(file.stem.rpartition("_")[2])
            if not psutil.pid_exists(pid):
                mark_process_dead(pid, folder)  # type: ignore[no-untyped-call]  # the package is typed in part
        yield from MultiProcessCollector(None, folder).collect()  # type: ignore[no-untyped-call]  # likewise


@cache
def _meters() -> dict[str, Any]:
    # The package looks at the folder when it is imported, so not before it is known to be wanted.
    from prometheus_client import Counter, Gauge

    os.makedirs(os.environ[FOLDER], exist_ok=True)
    return {
        "records": Counter("gristmill_records", "Records refined", ["state"]),
        "drops": Counter("gristmill_drops", "Records dropped or set aside", ["step", "rule"]),
        "bytes": Counter("gristmill_stored_bytes", "Stored bytes refined"),
        "splits": Counter("gristmill_splits", "Splits refined"),
        "seconds": Counter("gristmill_phase_seconds", "Wall seconds of finished phases", ["phase"]),
        "waiting": Gauge(
            "gristmill_splits_waiting", "Splits that live flow runs still have to refine", multiprocess_mode="livesum"
        ),
        "memory": Gauge(
            "gristmill_memory_bytes", "Memory of live flow runs and their workers", multiprocess_mode="livesum"
        ),
    }


def _memory() -> int:
    me = psutil.Process()
    total = 0
    for process in [me, *me.children(recursive=True)]:
        try:
            total += process.memory_info().rss
        except psutil.NoSuchProcess:
            continue
    return total
