"""`gristmill deploy`: the deployments of deploy/prefect.yaml, the work pool, automations and limits, on any server."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import yaml
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import WorkPoolCreate, WorkPoolUpdate
from prefect.client.schemas.objects import DeploymentSchedule, WorkerStatus
from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound, PrefectHTTPStatusError
from prefect.settings import get_current_settings

from flows.automations import install
from pipeline.errors import GristmillError

# Beside the flows in a checkout, in share/ where Gristmill is installed.
_CHECKOUT = Path(__file__).parents[1] / "deploy/prefect.yaml"
PREFECT_YAML = _CHECKOUT if _CHECKOUT.exists() else Path(sys.prefix) / "share/gristmill/prefect.yaml"


def deploy(file: Path = PREFECT_YAML, webhook: str = "", runs: int = 0) -> list[str]:
    """Register everything with the server that PREFECT_API_URL names; returns the names of what stands there now.

    A schedule that is switched on there stays on. `runs`: flow runs that all workers of a pool take at once; 0 leaves that to each worker's own limit.
    Raises GristmillError where the file is wrong or the server does not answer, refuses or is of another version.
    """
    wanted = _read(file)
    with _client() as client:
        for pool in sorted({one["work_pool"]["name"] for one in wanted}):
            _make_pool(client, pool, runs)
        names = [f"{one['entrypoint'].rpartition('.')[2]}/{one['name']}" for one in wanted]
        on = {(name, schedule.slug) for name in names for _, schedule in _schedules(client, name) if schedule.active}
        _register(file)
        for name in names:
            for deployment, schedule in _schedules(client, name):
                if (name, schedule.slug) in on and not schedule.active:  # somebody switched it on in the UI
                    client.update_deployment_schedule(deployment, schedule.id, active=True)
        return names + (install(client, webhook) if "rerun/crashed" in names else [])


def pools_without_worker(file: Path = PREFECT_YAML) -> list[str]:
    """The work pools of the deployments whose runs nobody would take now."""
    pools = sorted({one["work_pool"]["name"] for one in _read(file)})
    with _client() as client:
        return [pool for pool in pools if not has_worker(client, pool)]


def has_worker(client: SyncPrefectClient, pool: str) -> bool:
    """Whether a worker looks for runs of the pool now."""
    return any(worker.status == WorkerStatus.ONLINE for worker in client.read_workers_for_work_pool(pool))


def no_worker(pool: str) -> str:
    """What is said of a pool whose runs nobody takes."""
    return f"no worker takes runs of the pool {pool}: start one with `gristmill worker --pool {pool}`"


def stands(pool: str) -> bool:
    """Whether the server has a work pool of that name. Raises GristmillError where no server answers or lets us in."""
    with _client() as client, suppress(ObjectNotFound):
        client.read_work_pool(pool)
        return True
    return False


def _read(file: Path) -> list[dict[str, Any]]:
    try:
        data = yaml.safe_load(file.read_text(encoding="utf-8"))
        wanted = list(data["deployments"])
        for one in wanted:
            one["entrypoint"], one["name"], one["work_pool"]["name"]
    except OSError as error:
        raise GristmillError("cannot be read", str(file), "Name the file with --file.") from error
    except (yaml.YAMLError, KeyError, TypeError) as error:
        raise GristmillError(
            f"this is no list of deployments ({error})", str(file), "Each has name, entrypoint and work_pool.name."
        ) from error
    return wanted


@contextmanager
def _client() -> Iterator[SyncPrefectClient]:
    """A client of a server that answers."""
    settings = get_current_settings()
    url = settings.api.url
    if not url:
        raise GristmillError(
            "no Prefect server is named", "PREFECT_API_URL", "Start one with `gristmill up`, or name yours."
        )
    if "://" not in url:
        raise GristmillError("this is no URL", f"PREFECT_API_URL={url}", "It is like http://127.0.0.1:4200/api.")
    where = f"{urlsplit(url).scheme}://{urlsplit(url).netloc.rpartition('@')[2]}"
    with get_client(sync_client=True) as client:
        _check(client, where)
        yield client


def _check(client: SyncPrefectClient, where: str) -> None:
    """The server at `where` answers, lets us in, and speaks our version."""
    fault = client.api_healthcheck()
    if fault is not None:
        raise GristmillError(
            "the Prefect server does not answer", where, "Is it up, and is PREFECT_API_URL right? It ends in /api."
        ) from fault
    try:
        client.read_work_pools(limit=1)
        client.raise_for_api_version_mismatch()
    except PrefectHTTPStatusError as error:
        if error.response.status_code in (401, 403):
            raise GristmillError(
                "the Prefect server refuses the credentials",
                where,
                "Set PREFECT_API_AUTH_STRING (user:password) or, for Prefect Cloud, PREFECT_API_KEY.",
            ) from None
        raise GristmillError(
            f"the Prefect server answers {error.response.status_code}", where, "See its log."
        ) from error
    except RuntimeError as error:
        raise GristmillError(str(error), where, "Use one version of Prefect on server and workers.") from error


def _schedules(client: SyncPrefectClient, name: str) -> list[tuple[UUID, DeploymentSchedule]]:
    """The schedules of a deployment with its id; none where it does not stand."""
    with suppress(ObjectNotFound):
        found = client.read_deployment_by_name(name)
        return [(found.id, schedule) for schedule in found.schedules]
    return []


def _make_pool(client: SyncPrefectClient, name: str, runs: int) -> None:
    with suppress(ObjectAlreadyExists):
        client.create_work_pool(
            WorkPoolCreate(name=name, type="process", description="Workers that run Gristmill's flows")
        )
    if runs:
        client.update_work_pool(name, WorkPoolUpdate(concurrency_limit=runs))


def _register(file: Path) -> None:
    """Through Prefect's own command, so that the file means what Prefect's documentation says it means."""
    environment = {**os.environ, "PREFECT_LOGGING_LEVEL": "ERROR", "NO_COLOR": "1"}
    command = [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all", "--prefect-file", str(file.resolve())]
    done = subprocess.run(command, env=environment, cwd=file.resolve().parent, capture_output=True, text=True)
    if done.returncode:
        told = [line.strip() for line in (done.stdout + done.stderr).splitlines() if line.strip()]
        frames = any(line.startswith("Traceback") for line in told)
        raise GristmillError(
            f"prefect deploy failed: {told[-1] if told else done.returncode}",
            str(file),
            "Check its entrypoints and parameters." if frames else "\n  ".join(told[-8:-1]),
        )
