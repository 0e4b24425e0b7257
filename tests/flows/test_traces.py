"""Traces: sent to a collector where one is named, by the process of a flow run, and by nothing else."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

pytest.importorskip(
    "opentelemetry.exporter.otlp.proto.http", reason="pip install opentelemetry-exporter-otlp-proto-http"
)

from tests.flows.collector import collecting  # needs what is looked for above

FLOW_RUN = """
import flows.refine
from flows.traces import note_split
from opentelemetry import trace
with trace.get_tracer("test").start_as_current_span("a run"):
    note_split({"split": "a.warc.gz", "records": 3, "bytes": 10, "states": {"kept": 1, "dropped": 2}})
"""


@pytest.mark.parametrize("flow_run", [True, False])
def test_a_flow_run_sends_its_spans_and_ends_when_they_are_sent(flow_run: bool) -> None:
    with collecting() as collector:
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("OTEL_", "PREFECT_"))}
        environment["OTEL_EXPORTER_OTLP_ENDPOINT"] = collector.url
        if flow_run:
            environment["PREFECT__FLOW_RUN_ID"] = "4d6e3ae0-9a3c-4f5e-9d6b-0a6c2d6a7c11"
        subprocess.run([sys.executable, "-c", FLOW_RUN], env=environment, check=True, timeout=60)
        told = [(service, span.name, [event.name for event in span.events]) for service, span in collector.spans]
    assert told == ([("gristmill", "a run", ["split refined"])] if flow_run else [])
