"""`gristmill up`, `deploy` and `worker`. Prefect is imported when one of them runs, not before."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Webhook = Annotated[str, typer.Option(help="URL that is told how runs end: a POST of JSON.")]
JsonLogs = Annotated[bool, typer.Option("--json-logs", help="Log lines as JSON objects, for log collectors.")]
Traces = Annotated[str, typer.Option(help="URL of an OpenTelemetry collector (OTLP over HTTP) that is sent spans.")]
File = Annotated[Path | None, typer.Option(help="The deployments; default deploy/prefect.yaml.")]


def up(
    host: Annotated[
        str, typer.Option(help="Address to listen on; beyond this machine only with a password set.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port of the UI and the API.", min=1, max=65535)] = 4200,
    metrics_port: Annotated[int, typer.Option(help="Port for Prometheus; 0 for none.", min=0, max=65535)] = 9464,
    workers: Annotated[int, typer.Option(help="Prefect workers to start.", min=1)] = 1,
    runs: Annotated[int, typer.Option(help="Flow runs that a worker takes at once.", min=1)] = 4,
    file: File = None,
    webhook: Webhook = "",
    json_logs: JsonLogs = False,
    traces: Traces = "",
) -> None:
    """Start the Prefect server and UI, a worker and all deployments; Ctrl-C ends them."""
    from flows.server import observe, run_server

    observe(json_logs, traces)
    run_server(host, port, metrics_port, workers, runs, file, webhook)


def worker(
    pool: Annotated[str, typer.Option(help="The work pool to take runs from.")] = "gristmill",
    queue: Annotated[str, typer.Option(help="Take runs of this work queue alone, e.g. gpu; all where empty.")] = "",
    runs: Annotated[int, typer.Option(help="Flow runs to take at once; each refines on all cores.", min=1)] = 1,
    name: Annotated[str, typer.Option(help="Name of the worker in the UI.")] = "",
    metrics_host: Annotated[str, typer.Option(help="Address for Prometheus.")] = "127.0.0.1",
    metrics_port: Annotated[int, typer.Option(help="Port for Prometheus; 0 for none.", min=0, max=65535)] = 9464,
    json_logs: JsonLogs = False,
    traces: Traces = "",
) -> None:
    """Take runs from the server that PREFECT_API_URL names, on this machine; Ctrl-C ends it."""
    from flows.server import observe, run_worker

    observe(json_logs, traces)
    run_worker(pool, queue, runs, name, metrics_host, metrics_port)


def deploy(file: File = None, webhook: Webhook = "") -> None:
    """Register the deployments, automations and limits with the server that PREFECT_API_URL names."""
    from flows.server import environment_for_clients

    environment_for_clients()
    from flows.deployments import PREFECT_YAML, no_worker, pools_without_worker
    from flows.deployments import deploy as register

    for name in register(file or PREFECT_YAML, webhook):
        typer.echo(name)
    for pool in pools_without_worker(file or PREFECT_YAML):
        typer.echo(no_worker(pool), err=True)
