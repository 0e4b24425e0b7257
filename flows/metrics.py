"""What Prometheus reads of a worker: pages, drops by rule, bytes, splits under way, memory.

Flow runs are processes of their own and come and go, so they write to a folder (PROMETHEUS_MULTIPROC_DIR) which one
endpoint of the worker reads: `gristmill up` and the containers of `deploy/` set both. Without that folder nothing is
counted.
"""

from __future__ import annotations

import os
from functools import cache
from typing import Any

FOLDER = "PROMETHEUS_MULTIPROC_DIR"


def count_split(about: dict[str, Any]) -> None:
    """Count a refined split: records by state, drops by step and rule, stored bytes; and this process's memory."""
    if not os.environ.get(FOLDER):
        return
    meters = _meters()
    for state, count in about["states"].items():
        meters["records"].labels(state).inc(count)
    for rule, count in about["rules"].items():
        meters["drops"].labels(*rule.split("/", 1)).inc(count)
    meters["bytes"].inc(about["bytes"])
    meters["splits"].inc()
    meters["memory"].set(_memory())


def count_phase(phase: str, seconds: float) -> None:
    """Count the wall seconds of a phase."""
    if os.environ.get(FOLDER):
        _meters()["seconds"].labels(phase).inc(seconds)


def serve(port: int, host: str = "127.0.0.1") -> None:
    """Answer `/metrics` on a port of this machine, for all flow runs that share the folder; returns at once."""
    from prometheus_client import CollectorRegistry, start_http_server
    from prometheus_client.multiprocess import MultiProcessCollector

    os.makedirs(os.environ[FOLDER], exist_ok=True)
    registry = CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call]  # the package's own types stop short here
    start_http_server(port, host, registry)


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
        "memory": Gauge(
            "gristmill_memory_bytes", "Memory of live flow runs and their workers", multiprocess_mode="livesum"
        ),
    }


def _memory() -> int:
    import psutil

    me = psutil.Process()
    total = 0
    for process in [me, *me.children(recursive=True)]:
        try:
            total += process.memory_info().rss
        except psutil.NoSuchProcess:
            continue
    return total
