"""One real server for all tests of the flows: `gristmill up` as a process, on loopback, in a folder of its own."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import orjson
import psutil
import pytest
import yaml

from pipeline.commands.run import run_command
from pipeline.recipe import load_recipe
from pipeline.run import silent
from tests.conftest import SAMPLE, tree

ROOT = Path(__file__).parents[2]
# Few steps, so that a run costs no models: what is tested here is what happens around them.
LIGHT = """
name: light
split_mb: 1
steps: [record_gate: {}, extract: {engine: resiliparse}, gopher_quality: {min_words: 20}]
tokenizer: {vocab_size: 1024, sample_bytes: 200000}
publish: {validation_share: 0.2}
"""
SECONDS = 150.0  # for anything to happen: a busy machine of two cores starts a flow run in 20


@dataclass
class Server:
    """A running `gristmill up`, asked over its API."""

    api: httpx.Client
    home: Path
    recipe: Path
    process: subprocess.Popen[bytes]
    told: list[dict[str, Any]] = field(default_factory=list)  # what came to the webhook

    def parameters(self, out: str, **output: Any) -> dict[str, Any]:
        return {
            "source": {"files": ["gristmill:sample"]},
            "output": {"folder": str(self.home / out), **output},
            "recipe": {"preset": str(self.recipe)},
            "machines": {"processes": 1, "chunk_minutes": 0.001},
        }

    def start(self, deployment: str, parameters: dict[str, Any]) -> str:
        """Create a flow run of a deployment; returns its id."""
        found = self.get(f"deployments/name/{deployment}")
        # The key makes it one run however often the request is sent.
        body = {"parameters": parameters, "state": {"type": "SCHEDULED"}, "idempotency_key": uuid4().hex}
        return str(self.post(f"deployments/{found['id']}/create_flow_run", body)["id"])

    def run(self, run: str) -> dict[str, Any]:
        return dict(self.get(f"flow_runs/{run}"))

    def ends(self, run: str, *names: str) -> dict[str, Any]:
        """The flow run once its state has one of the names; every other end is a failure."""

        def ended() -> dict[str, Any] | None:
            found = self.run(run)
            state = found["state"]
            if state["name"] not in names:
                assert state["type"] not in ("COMPLETED", "FAILED", "CRASHED", "CANCELLED"), state
                return None
            return found

        return wait_for(ended, f"{run} to be {' or '.join(names)}")

    def pid(self, run: str) -> int:
        """The process of a flow run, as soon as there is one."""

        def found() -> int | None:
            for process in psutil.Process(self.process.pid).children(recursive=True):
                try:
                    if process.environ().get("PREFECT__FLOW_RUN_ID") == run:
                        return process.pid
                except (psutil.NoSuchProcess, psutil.AccessDenied):
                    continue
            return None

        return wait_for(found, f"a process of {run}")

    def get(self, path: str) -> Any:
        return self._ask("GET", path, None)

    def post(self, path: str, body: Any) -> Any:
        return self._ask("POST", path, body)

    def _ask(self, method: str, path: str, body: Any) -> Any:
        """As Prefect's own clients do: ask again where SQLite is locked or the machine too busy to answer."""
        for left in range(9, -1, -1):
            try:
                answer = self.api.request(method, path, json=body)
                if answer.status_code != 503 or not left:
                    break
            except httpx.TransportError:
                if not left:
                    raise
            time.sleep(1)
        answer.raise_for_status()
        return answer.json() if answer.content else None


def wait_for(what: Callable[[], Any], told: str, seconds: float = SECONDS, pause: float = 0.3) -> Any:
    """What the function returns once that is true."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if found := what():
            return found
        time.sleep(pause)
    raise AssertionError(f"waited {seconds} s for {told}")


@pytest.fixture(scope="session")
def light(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, dict[str, str]]]:
    """A light recipe's file, and the bytes that it publishes of the sample crawl when nothing disturbs it."""
    folder = tmp_path_factory.mktemp("light")
    path = folder / "light.yaml"
    path.write_text(LIGHT)
    run_command(load_recipe(path), [str(SAMPLE)], str(folder / "ds"), "", 2, False, silent)
    yield path, tree(folder / "ds")
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def server(light: tuple[Path, dict[str, str]], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    home = tmp_path_factory.mktemp("up")
    told: list[dict[str, Any]] = []
    hook = _webhook(told)
    port = free_port()
    names = ("PREFECT_", "GRISTMILL_", "PROMETHEUS_", "COLUMNS")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(names)}
    environment |= {"PREFECT_HOME": str(home / "prefect"), "PREFECT_SERVER_LOGGING_LEVEL": "ERROR"}
    environment |= {"PREFECT_WORKER_QUERY_SECONDS": "2", "PREFECT_SERVER_SERVICES_SCHEDULER_LOOP_SECONDS": "5"}
    command = [sys.executable, "-m", "pipeline", "up", "--port", str(port), "--metrics-port", "0", "--runs", "5"]
    command += ["--file", str(_deployments(home, light[0])), "--webhook", f"http://127.0.0.1:{hook.server_port}/"]
    log = open(home / "up.log", "wb")
    process = subprocess.Popen(command, cwd=home, env=environment, stdout=log, stderr=subprocess.STDOUT)
    api = httpx.Client(base_url=f"http://127.0.0.1:{port}/api", timeout=20)
    try:
        wait_for(lambda: process.poll() is not None or b"Ctrl-C" in (home / "up.log").read_bytes(), "gristmill up")
        assert process.poll() is None, (home / "up.log").read_text()
        yield Server(api, home, light[0], process, told)
    finally:
        api.close()
        process.send_signal(signal.SIGINT)
        try:
            process.wait(60)
        finally:
            process.kill()
            hook.shutdown()
            log.close()


def _deployments(home: Path, recipe: Path) -> Path:
    """deploy/prefect.yaml with one more deployment, that runs by itself every few seconds."""
    data = yaml.safe_load((ROOT / "deploy/prefect.yaml").read_text())
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


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
