"""What Prometheus reads, over HTTP, of flow runs that are processes of their own and come and go."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from flows.metrics import FOLDER, serve
from tests.flows.services import free_port

FLOW_RUN = """
import sys
from flows.metrics import count_phase, count_split
count_split({"states": {"kept": 2, "dropped": 5}, "rules": {"language/language": 5}, "bytes": 10}, 40)
count_phase("dedup", 1.5)
print("counted", flush=True)
sys.stdin.read()
"""


def test_counts_outlive_a_flow_run_and_its_memory_and_queue_do_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(FOLDER, str(tmp_path))
    port = free_port()
    serve(port)
    runs = [
        subprocess.Popen(
            [sys.executable, "-c", FLOW_RUN], env={**os.environ}, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        for _ in range(2)
    ]
    for run in runs:
        assert run.stdout is not None
        assert run.stdout.readline() == b"counted\n"
    both = read(port)
    assert both["gristmill_splits_waiting"] == 80
    runs[0].kill()
    runs[0].wait()
    one = read(port)
    runs[1].communicate()
    none = read(port)
    assert one["gristmill_splits_waiting"] == 40
    assert 0 < one["gristmill_memory_bytes"] < both["gristmill_memory_bytes"]
    assert none.get("gristmill_memory_bytes", 0) == none.get("gristmill_splits_waiting", 0) == 0
    for name, value in {
        'gristmill_records_total{state="dropped"}': 10,
        'gristmill_drops_total{rule="language",step="language"}': 10,
        "gristmill_stored_bytes_total": 20,
        'gristmill_phase_seconds_total{phase="dedup"}': 3,
    }.items():
        assert both[name] == none[name] == value


def read(port: int) -> dict[str, float]:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        told = answer.read().decode()
    return {name: float(value) for name, value in re.findall(r"^(gristmill_\S+) (\S+)$", told, re.MULTILINE)}
