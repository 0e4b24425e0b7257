"""Runs on a real server, as `gristmill up` starts it: scheduled, killed, cancelled, suspended, refused.

Their stories are lived side by side, since most of each is waiting for processes to start; the tests then judge.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.conftest import tree
from tests.flows.conftest import Server, wait_for

Light = tuple[Path, dict[str, str]]
Stories = dict[str, Future[dict[str, Any]]]


pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def stories(server: Server) -> Iterator[Stories]:
    with ThreadPoolExecutor() as threads:
        lived = (killed, cancelled, asked, refused, scheduled)
        yield {story.__name__: threads.submit(story, server) for story in lived}


def killed(server: Server) -> dict[str, Any]:
    """SIGKILL for the flow run's process when it has refined a split; then nothing but waiting."""
    run, out = server.start("curate/files", server.parameters("killed"), tags=["killed"]), server.home / "killed"
    pid = server.pid(run)
    wait_for(lambda: refined(out) > 0, "a refined split", pause=0.01)
    os.kill(pid, signal.SIGKILL)
    server.ends(run, "Crashed")
    published = (out / "manifest.json").exists()
    tagged = {"flow_runs": {"tags": {"all_": ["killed", "try:2"]}}}
    second = wait_for(lambda: server.post("flow_runs/filter", tagged), "a second try")[0]
    server.ends(str(second["id"]), "Completed")
    return {"run": run, "published": published, "tries": server.post("flow_runs/filter", tagged)}


def cancelled(server: Server) -> dict[str, Any]:
    """Cancelled in the UI when it has refined a split, and then started anew."""
    run, out = server.start("curate/files", server.parameters("cancelled")), server.home / "cancelled"
    process = psutil.Process(server.pid(run))
    wait_for(lambda: refined(out) > 0, "a refined split", pause=0.01)
    family = [process, *process.children(recursive=True)]
    begun = time.monotonic()
    server.post(f"flow_runs/{run}/set_state", {"state": {"type": "CANCELLING"}})
    server.ends(run, "Cancelled")
    _, alive = psutil.wait_procs(family, timeout=10)
    seconds = time.monotonic() - begun
    left = [path for path in out.rglob("*") if path.is_file() and path.relative_to(out).parts[0] != "run"]
    server.ends(server.start("curate/files", server.parameters("cancelled")), "Completed")
    return {"alive": alive, "left": left, "seconds": seconds}


def asked(server: Server) -> dict[str, Any]:
    """Suspended before publishing, until a person says yes."""
    run = server.start("curate/files", server.parameters("asked", ask_before_publishing=True))
    server.ends(run, "Suspended")
    published = (server.home / "asked/manifest.json").exists()
    server.post(f"flow_runs/{run}/resume", {"run_input": {"publish": True, "note": "looks right"}})
    server.ends(run, "Completed")
    return {"run": run, "published": published}


def refused(server: Server) -> dict[str, Any]:
    """A recipe that does not exist."""
    parameters = {**server.parameters("refused"), "recipe": {"preset": "defualt"}}
    return server.ends(server.start("curate/files", parameters), "Failed")


def scheduled(server: Server) -> dict[str, Any]:
    """A run that nobody started."""
    wanted = {
        "deployments": {"name": {"any_": ["scheduled"]}},
        "flow_runs": {"state": {"type": {"any_": ["COMPLETED"]}}},
    }
    run = wait_for(lambda: server.post("flow_runs/filter", wanted), "a scheduled run")[0]
    server.post(f"deployments/{run['deployment_id']}/pause_deployment", {})
    return dict(run)


def refined(folder: Path) -> int:
    """How many splits are refined in the work folder of a run."""
    return len(list((folder / "run/work/refine").glob("*/manifest.json")))


def test_a_schedule_makes_runs_and_they_are_done(server: Server, stories: Stories, light: Light) -> None:
    """With the wrong pins of FastAPI or SQLAlchemy everything else here works, and this does not."""
    run = stories["scheduled"].result()
    assert run["auto_scheduled"]
    assert run["name"] == "light · gristmill:sample · scheduled"
    assert tree(server.home / "scheduled") == light[1]


def test_a_run_whose_process_is_killed_is_run_again_and_publishes_the_same_bytes(
    server: Server, stories: Stories, light: Light
) -> None:
    story = stories["killed"].result()
    assert not story["published"]
    assert len(story["tries"]) == 1
    assert tree(server.home / "killed") == light[1]
    dead = {
        "flow_runs": {"id": {"any_": [story["run"]]}},
        "task_runs": {"state": {"type": {"any_": ["RUNNING", "PENDING"]}}},
    }
    assert server.post("task_runs/filter", dead) == []


def test_cancelling_stops_work_within_seconds_and_leaves_nothing_half_written(
    server: Server, stories: Stories, light: Light
) -> None:
    story = stories["cancelled"].result()
    assert not story["alive"]
    assert not story["left"]
    assert story["seconds"] < 60  # a few where the machine is not busy with everything else here
    assert tree(server.home / "cancelled") == light[1]


def test_a_run_waits_for_a_person_and_then_publishes(server: Server, stories: Stories, light: Light) -> None:
    story = stories["asked"].result()
    assert not story["published"]
    assert tree(server.home / "asked") == light[1]
    wait_for(lambda: sum(told["id"] == story["run"] for told in server.told) > 1, "the webhook")
    assert [told["state"] for told in server.told if told["id"] == story["run"]] == ["Suspended", "Completed"]


def test_a_mistake_is_told_in_the_state_and_not_tried_again(server: Server, stories: Stories) -> None:
    ended = stories["refused"].result()
    assert "there is no such preset" in ended["state"]["message"]
    assert "did you mean default?" in ended["state"]["message"]
    assert ended["run_count"] == 1
    logs = server.post("logs/filter", {"logs": {"flow_run_id": {"any_": [ended["id"]]}}})
    assert logs
    assert not [line for line in logs if "Traceback" in line["message"]]


def test_a_finished_run_shows_what_it_did(server: Server, stories: Stories) -> None:
    run = stories["asked"].result()["run"]
    shown = server.post("artifacts/latest/filter", {"artifacts": {"flow_run_id": {"any_": [run]}}})
    kinds = {artifact["key"].rpartition("-")[0]: artifact for artifact in shown}
    assert {"progress-asked", "funnel-asked", "funnel-picture-asked", "data-card-asked", "places-asked"} <= set(kinds)
    assert kinds["progress-asked"]["data"] == 100
    assert "data:image/svg+xml" in kinds["funnel-picture-asked"]["data"]
    events = server.post("events/filter", {"filter": {"event": {"name": ["gristmill.dataset.published"]}}, "limit": 50})
    payloads = {event["payload"]["dataset"]: event["payload"] for event in events["events"]}
    assert payloads[str(server.home / "asked")]["documents"] > 0
    logs = server.post("logs/filter", {"logs": {"flow_run_id": {"any_": [run]}}})
    assert [line for line in logs if "set aside" in line["message"] and "records" in line["message"]]
