"""deploy/compose.yaml without a container engine: its commands and settings, over a real Postgres and Redis.

What is left out is the images and MinIO; hosts of the compose network are loopback here.
"""

from __future__ import annotations

import importlib.util
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from tests.conftest import tree
from tests.flows.services import PASSWORD, free_port, postgres, redis, wait_for

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]

DEPLOY = Path(__file__).parents[2] / "deploy"


@dataclass
class Composed:
    """The services of the file as processes."""

    services: dict[str, Any]
    home: Path
    port: int
    hosts: dict[str, str]  # as the file has them: as they are here
    stack: ExitStack

    def environment(self, service: str, **changed: str) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "GRISTMILL_"))}
        kept["PATH"] = f"{Path(sys.executable).parent}:{kept['PATH']}"
        wanted = {name: self.here(str(value)) for name, value in self.services[service]["environment"].items()}
        return kept | wanted | {"PREFECT_HOME": str(self.home / service)} | changed

    def here(self, value: str) -> str:
        value = re.sub(r"\$\{GRISTMILL_PASSWORD[^}]*\}", PASSWORD, value)
        for there, here in self.hosts.items():
            value = value.replace(there, here)
        return str(self.home / "data") + value.removeprefix("/data") if value.startswith("/data") else value

    def command(self, service: str) -> list[str]:
        words = [self.here(word) for word in self.services[service]["command"]]
        return [{"0.0.0.0": "127.0.0.1", "4200": str(self.port)}.get(word, word) for word in words]

    def start(self, service: str) -> subprocess.Popen[bytes]:
        log = self.stack.enter_context((self.home / f"{service}.log").open("wb"))
        process = subprocess.Popen(
            self.command(service),
            env=self.environment(service),
            cwd=self.home / "data",
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        self.stack.callback(_stop, process)
        return process


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGINT)
    try:
        process.wait(30)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@pytest.fixture
def composed(tmp_path: Path) -> Iterator[Composed]:
    if importlib.util.find_spec("prefect_redis") is None:
        pytest.skip("needs prefect-redis, as the image has it: pip install prefect-redis==0.3.0")
    services = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]
    (tmp_path / "data").mkdir()
    with postgres() as database, redis() as broker, ExitStack() as stack:
        if database is None or broker is None:
            pytest.skip("needs Postgres and Redis: apt-get install postgresql redis-server")
        port = free_port()
        hosts = {
            "postgres:5432/prefect": f"127.0.0.1:{database.port}/postgres",
            "http://server:4200": f"http://127.0.0.1:{port}",
            "redis:6379": f"127.0.0.1:{broker.port}",
            "6379": str(broker.port),
        }
        found = Composed(services, tmp_path, port, hosts, stack)
        assert services["server"]["environment"]["PREFECT_REDIS_MESSAGING_HOST"] == "redis"
        for name in ("server", "services"):
            services[name]["environment"] = {
                **services[name]["environment"],
                "PREFECT_REDIS_MESSAGING_HOST": "127.0.0.1",
            }
        yield found


def test_the_services_work_together_and_ask_for_the_password(
    composed: Composed, light: tuple[Path, dict[str, str]]
) -> None:
    composed.start("server")
    url = f"http://127.0.0.1:{composed.port}/api"

    def healthy() -> bool:
        try:
            return httpx.get(f"{url}/health", timeout=5).status_code == 200
        except httpx.TransportError:
            return False

    wait_for(healthy, "the server")
    composed.start("services")

    def deploy(**changed: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            composed.command("deploy"),
            env=composed.environment("deploy", **changed),
            cwd=composed.home,
            capture_output=True,
            text=True,
            timeout=200,
        )

    refused = deploy(PREFECT_API_AUTH_STRING="gristmill:wrong")
    assert refused.returncode == 1
    assert "refuses the credentials" in refused.stderr
    assert "Traceback" not in refused.stderr
    assert httpx.post(f"{url}/deployments/filter", json={}).status_code == 401
    deployed = deploy()
    assert deployed.returncode == 0, deployed.stderr
    assert "curate/files" in deployed.stdout
    assert "no worker takes runs of the pool gristmill" in deployed.stderr

    composed.start("worker")
    with httpx.Client(base_url=url, auth=("gristmill", PASSWORD), timeout=30) as api:
        found = api.get("deployments/name/curate/files").json()
        parameters = {
            "source": {"files": ["gristmill:sample"]},
            "output": {"folder": "ds"},
            "recipe": {"preset": str(light[0])},
            "machines": {"processes": 1},
        }
        body = {"parameters": parameters, "state": {"type": "SCHEDULED"}}
        run = api.post(f"deployments/{found['id']}/create_flow_run", json=body).json()["id"]

        def ended() -> dict[str, Any] | None:
            state = api.get(f"flow_runs/{run}").json()["state"]
            return dict(state) if state["type"] in ("COMPLETED", "FAILED", "CRASHED", "CANCELLED") else None

        state = wait_for(ended, "the run")
        assert state["name"] == "Completed", state
        assert tree(composed.home / "data/ds") == light[1]

        # Events go through Redis and are stored by the services.
        wanted = {"filter": {"event": {"name": ["gristmill.dataset.published"]}}, "limit": 5}
        stored = wait_for(lambda: api.post("events/filter", json=wanted).json()["events"], "the event", 60)
        assert stored[0]["payload"]["dataset"].endswith("ds")
