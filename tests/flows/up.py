"""`gristmill up` as a process, on loopback, in a folder of its own, asked over its API."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import orjson
import psutil
import yaml

from tests.flows.services import free_port, wait_for

DEPLOYMENTS = Path(__file__).parents[2] / "deploy/prefect.yaml"
# Few steps, so that a run costs no models: what is tested here is what happens around them.
LIGHT = """
name: light
split_mb: 1
steps: [record_gate: {}, extract: {engine: resiliparse}, gopher_quality: {min_words: 20}]
tokenizer: {vocab_size: 1024, sample_bytes: 200000}
publish: {validation_share: 0.2}
"""


@dataclass
class Server:
    """A running `gristmill up`."""

    api: httpx.Client
    home: Path
    recipe: Path
    process: subprocess.Popen[bytes]
    told: list[dict[str, Any]] = field(default_factory=list)  # what came to the webhook

    @property
    def address(self) -> str:
        return str(self.api.base_url).removesuffix("/api/")

    def parameters(self, out: str, **output: Any) -> dict[str, Any]:
        return {
            "source": {"files": ["gristmill:sample"]},
            "output": {"folder": str(self.home / out), **output},
            "recipe": {"preset": str(self.recipe)},
            "machines": {"processes": 1, "chunk_minutes": 0.001},
        }

    def start(self, deployment: str, parameters: dict[str, Any], tags: Sequence[str] = (), **more: Any) -> str:
        """Create a flow run of a deployment; returns its id. `more` goes into the request."""
        found = self.get(f"deployments/name/{deployment}")
        # The key makes it one run however often the request is sent.
        body = {"parameters": parameters, "state": {"type": "SCHEDULED"}, "idempotency_key": uuid4().hex}
        body |= {"tags": [*found["tags"], *tags], **more}
        return str(self.post(f"deployments/{found['id']}/create_flow_run", body)["id"])

    def run(self, run: str) -> dict[str, Any]:
        return dict(self.get(f"flow_runs/{run}"))

    def runs(self, **filters: Any) -> list[dict[str, Any]]:
        return list(self.post("flow_runs/filter", {"flow_runs": filters, "sort": "EXPECTED_START_TIME_DESC"}))

    def ends(self, run: str, *names: str, seconds: float = 150.0) -> dict[str, Any]:
        """The flow run once its state has one of the names; every other end is a failure."""

        def ended() -> dict[str, Any] | None:
            found = self.run(run)
            state = found["state"]
            if state["name"] not in names:
                assert state["type"] not in ("COMPLETED", "FAILED", "CRASHED", "CANCELLED"), state
                return None
            return found

        return dict(wait_for(ended, f"{run} to be {' or '.join(names)}", seconds))

    def pid(self, run: str) -> int:
        """The process of a flow run, as soon as there is one."""
        return int(wait_for(lambda: self.process_of(run), f"a process of {run}", pause=0.1).pid)

    def process_of(self, run: str) -> psutil.Process | None:
        for process in self.processes():
            try:
                if process.environ().get("PREFECT__FLOW_RUN_ID") == run:
                    return process
            except (psutil.NoSuchProcess, psutil.AccessDenied):
                continue
        return None

    def processes(self, *words: str) -> list[psutil.Process]:
        """The processes below `gristmill up` whose command holds all words, parents first."""
        found = []
        for process in psutil.Process(self.process.pid).children(recursive=True):
            try:
                command = " ".join(process.cmdline())
            except (psutil.NoSuchProcess, psutil.AccessDenied):
                continue
            if all(word in command for word in words):
                found.append(process)
        return found

    def logs(self, run: str) -> list[dict[str, Any]]:
        return list(self.post("logs/filter", {"logs": {"flow_run_id": {"any_": [run]}}}))

    def get(self, path: str) -> Any:
        return self._ask("GET", path, None)

    def post(self, path: str, body: Any) -> Any:
        return self._ask("POST", path, body)

    def _ask(self, method: str, path: str, body: Any) -> Any:
        """As Prefect's own clients do: ask again where the database or the machine is too busy to answer."""
        for left in range(29, -1, -1):
            try:
                answer = self.api.request(method, path, json=body)
                if answer.status_code < 500 or not left:
                    break
            except httpx.TransportError:
                if not left:
                    raise
            time.sleep(1)
        answer.raise_for_status()
        return answer.json() if answer.content else None


@contextmanager
def running(home: Path, recipe: Path, database: str, file: Path, **more: str) -> Iterator[Server]:
    """`gristmill up` in `home` with the deployments of `file`.

    `database` as PREFECT_API_DATABASE_CONNECTION_URL, empty for SQLite; `more` environment.
    """
    told: list[dict[str, Any]] = []
    hook = _webhook(told)
    port = free_port()
    names = ("PREFECT_", "GRISTMILL_", "PROMETHEUS_", "COLUMNS")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(names)}
    environment |= {"PREFECT_HOME": str(home / "prefect"), "PREFECT_SERVER_LOGGING_LEVEL": "ERROR"}
    environment |= {"PREFECT_WORKER_QUERY_SECONDS": "2", "PREFECT_SERVER_SERVICES_SCHEDULER_LOOP_SECONDS": "5"}
    if database:
        environment["PREFECT_API_DATABASE_CONNECTION_URL"] = database
    command = [sys.executable, "-m", "pipeline", "up", "--port", str(port), "--metrics-port", "0", "--runs", "5"]
    command += ["--file", str(file), "--webhook", f"http://127.0.0.1:{hook.server_port}/"]
    log = home / "up.log"
    with log.open("wb") as out:
        process = subprocess.Popen(command, cwd=home, env=environment | more, stdout=out, stderr=subprocess.STDOUT)
    api = httpx.Client(base_url=f"http://127.0.0.1:{port}/api", timeout=20)
    try:
        wait_for(lambda: process.poll() is not None or b"Ctrl-C" in log.read_bytes(), "gristmill up")
        assert process.poll() is None, log.read_text()
        yield Server(api, home, recipe, process, told)
    finally:
        api.close()
        process.send_signal(signal.SIGINT)
        try:
            process.wait(60)
        finally:
            process.kill()
            hook.shutdown()


def with_a_schedule(home: Path, recipe: Path) -> Path:
    """deploy/prefect.yaml with one more deployment, that runs by itself every few seconds."""
    data = yaml.safe_load(DEPLOYMENTS.read_text())
    sample = next(one for one in data["deployments"] if one["name"] == "sample")
    parameters = {
        "source": {"files": ["gristmill:sample"]},
        "output": {"folder": str(home / "scheduled")},
        "recipe": {"preset": str(recipe)},
    }
    schedule = {"interval": 30, "slug": "often"}
    data["deployments"].append(
        {**sample, "name": "scheduled", "parameters": parameters, "schedules": [schedule], "tags": ["gristmill"]}
    )
    (home / "prefect.yaml").write_text(yaml.safe_dump(data))
    return home / "prefect.yaml"


def _webhook(told: list[dict[str, Any]]) -> ThreadingHTTPServer:
    class Hook(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            told.append(orjson.loads(self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    hook = ThreadingHTTPServer(("127.0.0.1", 0), Hook)
    threading.Thread(target=hook.serve_forever, daemon=True).start()
    return hook
