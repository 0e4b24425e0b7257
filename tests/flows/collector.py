"""An OpenTelemetry collector on loopback that keeps what it is sent."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Collector:
    """Where it listens, and the spans that came: (service, span)."""

    url: str = ""
    spans: list[tuple[str, Any]] = field(default_factory=list)


@contextmanager
def collecting() -> Iterator[Collector]:
    """A collector that takes OTLP over HTTP until the block ends. Needs opentelemetry-exporter-otlp-proto-http."""
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    collector = Collector()

    class Take(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            if self.headers.get("content-encoding") == "gzip":
                body = gzip.decompress(body)
            for group in ExportTraceServiceRequest.FromString(body).resource_spans:
                about = {one.key: one.value.string_value for one in group.resource.attributes}
                for scope in group.scope_spans:
                    collector.spans += [(about["service.name"], span) for span in scope.spans]
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    taker = ThreadingHTTPServer(("127.0.0.1", 0), Take)
    threading.Thread(target=taker.serve_forever, daemon=True).start()
    collector.url = f"http://127.0.0.1:{taker.server_port}"
    try:
        yield collector
    finally:
        taker.shutdown()
        taker.server_close()
