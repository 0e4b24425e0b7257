"""Training on a real server: killed and resumed, watched, counted, and started by an event."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from flows.automations import GPU
from flows.curate import PUBLISHED
from flows.train import TRAINED
from flows.train_trigger import NAME
from model.journal import read_journal
from model.pretrain import pretrain
from tests.flows.services import wait_for
from tests.flows.up import Server
from tests.model.datasets import publish
from tests.model.runs import config

pytestmark = pytest.mark.cluster
STEPS = 60


def parameters(data: Path, folder: Path) -> dict[str, Any]:
    """The run of `tests.model.runs.config`, as the form has it; one slot of the GPU's limit is held."""
    return {
        "data": [str(data)],
        "folder": str(folder),
        "model": {"preset": "d1", "seq_len": 32},
        "training": {"steps": STEPS, "batch_tokens": 512, "warmup_steps": 2},
        "watching": {"validate_every": 20, "sample_every": 20, "save_every": 5, "prompts": ["the"]},
        "devices": {"device": "cpu", "micro_tokens": 128, "limit": GPU},
    }


def steps(folder: Path) -> list[tuple[int, float]]:
    return [(e["step"], e["loss"]) for e in read_journal(folder / "log.jsonl") if e["kind"] == "step"]


def test_a_killed_training_goes_on_from_its_checkpoint_and_shows_what_it_does(server: Server, tmp_path: Path) -> None:
    data, out = publish(server.home / "token-shards"), server.home / "trained"
    run = server.start("pretrain/datasets", parameters(data, out))
    pid = server.pid(run)
    wait_for(lambda: list((out / "checkpoints").glob("step-*/state.json")), "a checkpoint", pause=0.01)
    assert server.get(f"v2/concurrency_limits/{GPU}")["active_slots"] == 1
    os.kill(pid, signal.SIGKILL)
    assert len(steps(out)) < STEPS
    server.ends(run, "Crashed")
    second = wait_for(lambda: server.runs(tags={"all_": ["try:2", "training"]}), "a second try")[0]
    server.ends(str(second["id"]), "Completed", seconds=300.0)  # it waits for the slot of the killed one
    whole = tmp_path / "whole"
    pretrain(config(whole, data, steps=STEPS))
    assert [step for step, _ in steps(out)] == list(range(1, STEPS + 1))
    assert [loss for _, loss in steps(out)] == pytest.approx([loss for _, loss in steps(whole)], abs=0.02)
    asked = {"artifacts": {"flow_run_id": {"any_": [second["id"]]}}}
    shown = {one["key"].partition("-")[0]: one for one in server.post("artifacts/latest/filter", asked)}
    assert shown["training"]["data"] == 100
    assert f"step {STEPS} of {STEPS}" in shown["training"]["description"]
    assert shown["loss"]["data"].count("data:image/svg+xml") == 2
    assert "Samples at step 60" in shown["loss"]["data"]
    assert str(out / "model") in shown["model"]["data"]
    told = server.post("events/filter", {"filter": {"event": {"name": [TRAINED]}}, "limit": 50})["events"]
    assert [event["payload"]["steps"] for event in told if event["payload"]["folder"] == str(out)] == [STEPS]


def test_a_mistake_in_the_form_fails_with_its_reason(server: Server) -> None:
    wrong = {**parameters(server.home / "nothing", server.home / "none")}
    ended = server.ends(server.start("pretrain/datasets", wrong), "Failed")
    assert "no published dataset" in ended["state"]["message"]
    assert ended["run_count"] == 1


def test_a_published_dataset_is_trained_on_once_that_is_switched_on(server: Server) -> None:
    (automation,) = server.post("automations/filter", {"automations": {"name": {"any_": [NAME]}}})
    assert not automation["enabled"]
    server.api.request("PATCH", f"automations/{automation['id']}", json={"enabled": True}).raise_for_status()
    wanted = {"deployments": {"name": {"any_": ["published"]}}, "sort": "EXPECTED_START_TIME_DESC"}

    def started() -> list[dict[str, Any]]:
        server.post("events", [event(str(server.home / "fresh"))])
        return list(server.post("flow_runs/filter", wanted))

    (run, *_) = wait_for(started, "a run of pretrain/published", pause=3.0)
    assert run["parameters"]["data"] == [str(server.home / "fresh")]
    server.api.request("PATCH", f"automations/{automation['id']}", json={"enabled": False}).raise_for_status()
    for one in server.post("flow_runs/filter", wanted):
        server.post(f"flow_runs/{one['id']}/set_state", {"state": {"type": "CANCELLED"}, "force": True})


def event(dataset: str) -> dict[str, Any]:
    """What curate emits, as far as the automation looks at it."""
    from datetime import UTC, datetime

    return {
        "occurred": datetime.now(UTC).isoformat(),
        "event": PUBLISHED,
        "id": str(uuid4()),
        "resource": {"prefect.resource.id": "gristmill.dataset.0123456789ab", "prefect.resource.name": dataset},
        "payload": {"dataset": dataset},
    }
