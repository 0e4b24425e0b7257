"""OpenTelemetry traces of runs, where OTEL_EXPORTER_OTLP_ENDPOINT names a collector; nothing is sent without it.

Prefect opens a span for each flow run and each of its task runs, so for each phase; here they get somewhere to go,
and each refined split is an event of its chunk's span. OTEL_SERVICE_NAME, OTEL_EXPORTER_OTLP_HEADERS and the rest of
OpenTelemetry's variables mean what its documentation says.
"""

from __future__ import annotations

import importlib.util
import os
from typing import Any

from opentelemetry import trace

from pipeline.errors import GristmillError

ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
_EXPORTER = "opentelemetry.exporter.otlp.proto.http"
_FLOW_RUN = "PREFECT__FLOW_RUN_ID"  # a worker sets it for the process of a flow run


def require_exporter() -> None:
    """Raises GristmillError where traces are wanted and what sends them is not installed."""
    if os.environ.get(ENDPOINT) and not _installed():
        raise GristmillError(
            "traces are wanted, and what sends them is not installed",
            ENDPOINT,
            "pip install opentelemetry-exporter-otlp-proto-http",
        )


def trace_run() -> None:
    """In the process of a flow run, before its span is opened: send spans to the collector, by OTLP over HTTP."""
    if not (os.environ.get(ENDPOINT) and os.environ.get(_FLOW_RUN) and _installed()):
        return
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    if isinstance(trace.get_tracer_provider(), TracerProvider):
        return  # ours already, or that of `opentelemetry-instrument`
    os.environ.setdefault("OTEL_SERVICE_NAME", "gristmill")
    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(provider)


def note_split(about: dict[str, Any]) -> None:
    """An event of the span at work: a split was refined."""
    told = {"split": about["split"], "records": about["records"], "bytes": about["bytes"], **about["states"]}
    trace.get_current_span().add_event("split refined", told)


def _installed() -> bool:
    try:
        return importlib.util.find_spec(_EXPORTER) is not None
    except ModuleNotFoundError:
        return False
