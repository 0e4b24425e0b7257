"""`gristmill up` and `gristmill worker`: server, deployments, workers and metrics, kept up until told to stop."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import typer

from flows.traces import ENDPOINT, require_exporter
from pipeline.errors import GristmillError

POOL = "gristmill"
START_SECONDS = 180  # a first start makes the database; on a busy machine that takes a while
STOP_SECONDS = 20
_LOOPBACK = ("127.0.0.1", "localhost", "::1")
# The second UI of Prefect 3.8 calls an analytics service on every page, whatever the settings say; the first does not.
QUIET = {
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
    "PREFECT_SERVER_UI_V2_ENABLED": "false",
    "PREFECT_CLI_PROMPT": "false",
    "PREFECT_SERVER_DATABASE_TIMEOUT": "30",  # seconds that a write waits for SQLite's lock on a busy machine
    # In memory, as is Prefect's default, a server that dies forgets who holds a slot, and none is ever free again.
    "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect.server.concurrency.lease_storage.filesystem",
    # A server or database that is started again costs its clients a wait (2, 4, … 128 s), and not their run.
    "PREFECT_CLIENT_MAX_RETRIES": "7",
    "PREFECT_CLIENT_RETRY_EXTRA_CODES": "500,502,504",
}


def observe(json_logs: bool, traces: str) -> None:
    """Set how workers and their flow runs log, and the collector (URL) that gets their traces; both before they start.

    Raises GristmillError where traces are wanted and what sends them is not installed.
    """
    if json_logs:
        os.environ["PREFECT_LOGGING_HANDLERS_CONSOLE_FORMATTER"] = "json"
    if traces:
        os.environ[ENDPOINT] = traces
    require_exporter()


def run_server(
    host: str, port: int, metrics_port: int, workers: int, runs: int, file: Path | None, webhook: str
) -> None:
    """Start server, deployments and workers, start again what dies, and return when asked to stop (SIGINT, SIGTERM).

    Raises GristmillError where the port is taken, the server does not come up, or it would be open to the network
    without a password.
    """
    environment_for_clients()
    if host not in _LOOPBACK and not os.environ.get("PREFECT_SERVER_API_AUTH_STRING"):
        raise GristmillError(
            "this would let anyone on the network run code here",
            f"--host {host}",
            "Set PREFECT_SERVER_API_AUTH_STRING and PREFECT_API_AUTH_STRING to user:password.",
        )
    _check_free(host, port, "--port")
    address = f"http://{'127.0.0.1' if host in ('0.0.0.0', '::') else host}:{port}"
    os.environ["PREFECT_API_URL"] = f"{address}/api"
    os.environ.setdefault("PREFECT_API_AUTH_STRING", os.environ.get("PREFECT_SERVER_API_AUTH_STRING", ""))
    if not os.environ["PREFECT_API_AUTH_STRING"]:
        del os.environ["PREFECT_API_AUTH_STRING"]
    with contextlib.ExitStack() as stack:
        if metrics_port:
            stack.enter_context(_metrics("127.0.0.1" if host in _LOOPBACK else host, metrics_port))
        stopped = _told_to_stop()
        server = Kept("server", _prefect("server", "start", "--host", host, "--port", str(port)))
        stack.enter_context(server)
        _wait_for(f"{address}/api/health", server, stopped)
        from flows.deployments import PREFECT_YAML, deploy, no_worker, pools_without_worker

        # The pool's limit, not the workers' own: under that, Prefect's worker dies, with all that it runs, when a run
        # is resumed before the process that suspended it has quite gone.
        names = deploy(file or PREFECT_YAML, webhook, workers * runs)
        for pool in pools_without_worker(file or PREFECT_YAML):
            if pool != POOL:  # ours follows
                typer.echo(no_worker(pool), err=True)
        kept = [server]
        for number in range(1, workers + 1):
            start = ("worker", "start", "--pool", POOL, "--type", "process")
            worker = Kept(f"worker {number}", _prefect(*start, "--name", f"gristmill-{number}"))
            kept.append(stack.enter_context(worker))
        typer.echo(f"UI           {address}")
        typer.echo(f"API          {address}/api   (export PREFECT_API_URL={address}/api)")
        if metrics_port:
            typer.echo(f"metrics      http://127.0.0.1:{metrics_port}/metrics")
        typer.echo(f"deployments  {', '.join(name for name in names if '/' in name)}")
        typer.echo("Ctrl-C stops it.")
        sys.stdout.flush()
        _keep(kept, stopped)


def run_worker(pool: str, queue: str, runs: int, name: str, metrics_host: str, metrics_port: int) -> None:
    """Keep a worker of the server that PREFECT_API_URL names, and its metrics, until asked to stop (SIGINT, SIGTERM).

    Raises GristmillError where no server is named, or it does not answer, refuses us or is of another version, or
    where the metrics' port is taken.
    """
    environment_for_clients()
    from flows.deployments import stands

    if not stands(pool):
        typer.echo(f"there was no work pool {pool}: no deployment sends its runs there yet", err=True)
    with contextlib.ExitStack() as stack:
        if metrics_port:
            stack.enter_context(_metrics(metrics_host, metrics_port))
        words = ["worker", "start", "--pool", pool, "--type", "process", "--limit", str(runs)]
        words += [*(["--work-queue", queue] if queue else []), *(["--name", name] if name else [])]
        stopped = _told_to_stop()
        _keep([stack.enter_context(Kept("worker", _prefect(*words)))], stopped)


@contextlib.contextmanager
def _metrics(host: str, port: int) -> Iterator[None]:
    """Answer Prometheus, for all flow runs below this process."""
    _check_free(host, port, "--metrics-port")
    with contextlib.ExitStack() as stack:
        if not os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="gristmill-metrics-"))
            os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder
        from flows.metrics import serve

        serve(port, host)
        yield


def _keep(kept: Sequence[Kept], stopped: threading.Event) -> None:
    from flows.upkeep import keep_up

    threading.Thread(target=keep_up, args=(stopped,), daemon=True).start()
    while not stopped.wait(1.0):
        for one in kept:
            one.look()


def environment_for_clients() -> None:
    """The settings under which Prefect tells nobody about us; what the user has set stands."""
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    os.environ.setdefault("GRISTMILL_HOME", os.getcwd())  # deploy/prefect.yaml: where workers run


@dataclass
class Kept:
    """A process that is started again when it dies, more slowly each time in a row."""

    name: str
    command: Sequence[str]
    process: subprocess.Popen[bytes] | None = None
    begun: float = 0.0
    deaths: int = 0
    resume_at: float = field(default=0.0)

    def __enter__(self) -> Kept:
        self._start()
        return self

    def __exit__(self, *_: object) -> None:
        """Ask it to stop, and insist."""
        if self.process is None or self.process.poll() is not None:
            return
        self.process.send_signal(signal.SIGINT)  # on SIGTERM a worker forwards SIGINT to itself, and may ignore that
        try:
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def look(self) -> None:
        """Start it again if it died and its pause is over."""
        now = time.monotonic()
        if self.process is not None and self.process.poll() is not None:
            self.deaths = self.deaths + 1 if now - self.begun < 60 else 1
            pause = min(2.0 ** (self.deaths - 1), 30.0)
            typer.echo(
                f"the {self.name} ended ({self.process.returncode}); it is started again in {pause:.0f} s", err=True
            )
            self.process, self.resume_at = None, now + pause
        if self.process is None and now >= self.resume_at:
            self._start()

    def _start(self) -> None:
        # A session of its own: Ctrl-C in the terminal comes to us, and we end them in order, workers first.
        self.process = subprocess.Popen(self.command, start_new_session=True, preexec_fn=_heed_interrupts)
        self.begun = time.monotonic()


def _heed_interrupts() -> None:
    """A shell starts background jobs deaf to SIGINT, and children inherit that: Prefect's workers stop on it."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def _prefect(*words: str) -> list[str]:
    return [sys.executable, "-m", "prefect", *words]


def _told_to_stop() -> threading.Event:
    stopped = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopped.set())
    return stopped


def _check_free(host: str, port: int, option: str) -> None:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise GristmillError(
                f"cannot listen there ({error.strerror})", f"{host}:{port}", f"Choose another with {option}."
            ) from None


def _wait_for(url: str, server: Kept, stopped: threading.Event) -> None:
    begun = time.monotonic()
    while time.monotonic() - begun < START_SECONDS and not stopped.wait(0.2):
        if server.process is not None and server.process.poll() is not None:
            raise GristmillError(
                f"the Prefect server ended at once ({server.process.returncode})",
                "server",
                "Its own words stand above.",
            )
        with contextlib.suppress(OSError, urllib.error.URLError), urllib.request.urlopen(url, timeout=5) as answer:
            if answer.status == 200:
                return
    if not stopped.is_set():
        raise GristmillError(f"the Prefect server did not come up in {START_SECONDS} s", url, "See what it said above.")
    raise KeyboardInterrupt
