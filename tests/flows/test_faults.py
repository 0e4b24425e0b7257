"""Runs that crash every time, that are spread over workers, that nobody takes, and how a run is watched from outside."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
import yaml

from flows.automations import TAG
from flows.traces import ENDPOINT
from tests.conftest import tree
from tests.flows.collector import collecting
from tests.flows.conftest import Server, wait_for

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]

Light = tuple[Path, dict[str, str]]
Stories = dict[str, Future[dict[str, Any]]]


@pytest.fixture(scope="module")
def stories(server: Server) -> Iterator[Stories]:
    lived = (poisoned, spread, called_off, full, unserved, observed)
    with ThreadPoolExecutor(len(lived)) as threads:
        yield {story.__name__: threads.submit(story, server) for story in lived}


def poisoned(server: Server) -> dict[str, Any]:
    """Killed in every one of its tries."""
    runs = [server.start("curate/files", server.parameters("poisoned"), tags=["poison"])]
    for attempt in (2, 3, 4):
        os.kill(server.pid(runs[-1]), signal.SIGKILL)
        server.ends(runs[-1], "Crashed")
        if attempt < 4:
            tagged = {"all_": ["poison", f"try:{attempt}"]}
            runs.append(wait_for(lambda tagged=tagged: server.runs(tags=tagged), f"try {attempt}")[0]["id"])
    name = f"rerun {runs[-1]}"
    answer = wait_for(lambda: server.runs(name={"any_": [name]}, state={"name": {"any_": ["GaveUp"]}}), name)
    return {"message": answer[0]["state"]["message"], "runs": server.runs(tags={"all_": ["poison"]})}


def spread(server: Server) -> dict[str, Any]:
    """Refined in two flow runs of their own."""
    parameters = server.parameters("spread")
    parameters["machines"]["flow_runs"] = 2
    run = server.start("curate/files", parameters)
    server.ends(run, "Completed")
    return {"shards": server.runs(parent_flow_run_id={"any_": [run]})}


def called_off(server: Server) -> dict[str, Any]:
    """Cancelled as soon as it has given out its parts."""
    parameters = server.parameters("called-off")
    parameters["machines"]["flow_runs"] = 2
    run = server.start("curate/files", parameters)
    parts = {"parent_flow_run_id": {"any_": [run]}}
    wait_for(lambda: len(server.runs(**parts)) == 2, "two parts", pause=0.1)
    server.post(f"flow_runs/{run}/set_state", {"state": {"type": "CANCELLING"}})
    server.ends(run, "Cancelled")
    ended = wait_for(
        lambda: [p for p in server.runs(**parts) if p["state"]["type"] not in ("CANCELLED", "COMPLETED")] == [], "parts"
    )
    return {"ended": ended, "published": (server.home / "called-off/manifest.json").exists()}


def full(server: Server) -> dict[str, Any]:
    """Its results have nowhere to go."""
    away = server.home / "not-a-folder"
    away.write_text("")
    environment = {"env": {"PREFECT_RESULTS_LOCAL_STORAGE_PATH": str(away / "results")}}
    run = server.start("curate/files", server.parameters("full"), job_variables=environment)
    return server.ends(run, "Completed")


def unserved(server: Server) -> dict[str, Any]:
    """In a work pool that has no worker."""
    server.post("work_pools/", {"name": "elsewhere", "type": "process"})
    flow = server.get("deployments/name/curate/files")["flow_id"]
    server.post("deployments/", {"name": "elsewhere", "flow_id": flow, "work_pool_name": "elsewhere", "tags": [TAG]})
    run = server.start("curate/elsewhere", server.parameters("elsewhere"))
    return dict(wait_for(lambda: server.run(run)["state"]["message"] and server.run(run), "a reason"))


def observed(server: Server) -> dict[str, Any]:
    """With traces and JSON logs, as `gristmill up` and `worker` set them for all their runs."""
    with collecting() as collector:
        settings = {"PREFECT_LOGGING_HANDLERS_CONSOLE_FORMATTER": "json", ENDPOINT: collector.url}
        run = server.start("curate/files", server.parameters("observed"), job_variables={"env": settings})
        name = server.ends(run, "Completed")["name"]
        wait_for(lambda: any(span.name == name for _, span in collector.spans), "the run's span")
    lines = (server.home / "up.log").read_text().splitlines()
    logged = [orjson.loads(line) for line in lines if line.startswith("{") and run in line]
    return {"name": name, "spans": [span for _, span in collector.spans], "logged": logged}


def test_what_crashes_every_time_is_left_to_a_person(stories: Stories) -> None:
    story = stories["poisoned"].result()
    assert story["message"].endswith("crashed 3 times; see its log")
    assert len(story["runs"]) == 3
    assert {run["state"]["type"] for run in story["runs"]} == {"CRASHED"}


def test_a_run_that_is_spread_over_workers_publishes_the_same_bytes(
    server: Server, stories: Stories, light: Light
) -> None:
    shards = stories["spread"].result()["shards"]
    assert sorted(shard["name"] for shard in shards) == [
        f"light · gristmill:sample · spread · {n} of 2" for n in (1, 2)
    ]
    assert tree(server.home / "spread") == light[1]


def test_cancelling_a_spread_run_cancels_its_parts(stories: Stories) -> None:
    story = stories["called_off"].result()
    assert story["ended"]
    assert not story["published"]


def test_a_result_store_that_takes_nothing_costs_no_dataset_and_is_told(
    server: Server, stories: Stories, light: Light
) -> None:
    """What the next flow needs went out with the event; the run's log says why its result is not kept."""
    run = stories["full"].result()
    assert tree(server.home / "full") == light[1]
    told = wait_for(
        lambda: [line for line in server.logs(run["id"]) if "persisting result" in line["message"]], "a line"
    )
    assert "not-a-folder" in told[0]["message"]


def test_a_run_that_nobody_takes_says_so(stories: Stories) -> None:
    state = stories["unserved"].result()["state"]
    assert (state["type"], state["name"]) == ("SCHEDULED", "Late")
    assert "start one with `gristmill worker --pool elsewhere`" in state["message"]


def test_a_run_is_traced_and_logged_as_json(stories: Stories) -> None:
    pytest.importorskip(
        "opentelemetry.exporter.otlp.proto.http", reason="pip install opentelemetry-exporter-otlp-proto-http"
    )
    story = stories["observed"].result()
    (whole,) = [span for span in story["spans"] if span.name == story["name"]]
    phases = {span.name for span in story["spans"] if span.parent_span_id == whole.span_id}
    assert {"plan", "dedup", "tokenize", "publish"} < phases
    assert [event for span in story["spans"] for event in span.events if event.name == "split refined"]
    assert {line["levelname"] for line in story["logged"]} == {"INFO", "WARNING"}
    assert {"plan", "dedup", "publish"} < {line.get("task_run_name") for line in story["logged"]}


def test_a_schedule_that_was_switched_on_stays_on(server: Server, tmp_path: Path) -> None:
    schedules = [{"cron": "17 5 1 1 *", "active": False, "slug": slug} for slug in ("wanted", "not-wanted")]
    one = {"name": "yearly", "entrypoint": "flows.curate.curate", "schedules": schedules}
    assert deploy(server, tmp_path, one).returncode == 0
    found = server.get("deployments/name/curate/yearly")
    (wanted,) = [schedule["id"] for schedule in found["schedules"] if schedule["slug"] == "wanted"]
    server.api.patch(f"deployments/{found['id']}/schedules/{wanted}", json={"active": True}).raise_for_status()
    assert deploy(server, tmp_path, one).returncode == 0
    found = server.get("deployments/name/curate/yearly")
    assert {schedule["slug"]: schedule["active"] for schedule in found["schedules"]} == {
        "wanted": True,
        "not-wanted": False,
    }


def test_all_that_a_dead_run_left_is_closed_however_much_it_was(server: Server) -> None:
    flow = server.post("flows/", {"name": "of-many-parts"})["id"]
    dead = server.post("flow_runs/", {"flow_id": flow, "state": {"type": "CRASHED", "name": "Crashed"}})["id"]
    going = {"type": "RUNNING", "name": "Running"}
    for number in range(205):
        task = {"flow_run_id": dead, "task_key": "part", "dynamic_key": str(number), "state": going}
        server.post("task_runs/", task)
    code = f"""
from uuid import UUID
from prefect.client.orchestration import get_client
from flows.rerun import _close_tasks
with get_client(sync_client=True) as client:
    print(_close_tasks(client, client.read_flow_run(UUID({dead!r}))))
"""
    environment = {**os.environ, "PREFECT_API_URL": f"{server.address}/api"}
    told = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert told.stdout.split() == ["205"]
    left = {"flow_runs": {"id": {"any_": [dead]}}, "task_runs": {"state": {"type": {"any_": ["RUNNING"]}}}}
    assert server.post("task_runs/filter", left) == []


def test_a_deployment_of_no_flow_is_told_without_frames(server: Server, tmp_path: Path) -> None:
    done = deploy(server, tmp_path, {"name": "x", "entrypoint": "flows.curate.nothing"})
    assert done.returncode == 1
    assert "nothing" in done.stderr
    assert "File " not in done.stderr


def test_a_server_that_was_killed_still_knows_who_holds_a_slot(server: Server) -> None:
    def slots() -> int:
        return int(server.get("v2/concurrency_limits/gristmill-gpu")["active_slots"])

    asked = {"slots": 1, "names": ["gristmill-gpu"], "mode": "concurrency", "lease_duration": 600}
    lease = server.post("v2/concurrency_limits/increment-with-lease", asked)["lease_id"]
    assert slots() == 1
    for process in server.processes("prefect server start"):
        process.kill()
        process.wait(10)

    def released() -> bool:
        try:
            server.api.post("v2/concurrency_limits/decrement-with-lease", json={"lease_id": lease}).raise_for_status()
            return slots() == 0
        except httpx.HTTPError:
            return False

    wait_for(released, "the slot to be free")


def deploy(server: Server, folder: Path, deployment: dict[str, Any]) -> subprocess.CompletedProcess[str]:
    """`gristmill deploy` of one deployment, as a user calls it."""
    file = folder / "prefect.yaml"
    one = {"work_pool": {"name": "gristmill"}, **deployment}
    file.write_text(yaml.safe_dump({"pull": [], "deployments": [one]}))
    return subprocess.run(
        [sys.executable, "-m", "pipeline", "deploy", "--file", str(file)],
        env={**os.environ, "PREFECT_API_URL": f"{server.address}/api", "PREFECT_HOME": str(folder)},
        capture_output=True,
        text=True,
    )
