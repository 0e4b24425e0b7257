"""The parts of the flows that need no server: forms, chunks, plans, kinds of error, drift, logs, duplicates."""

from __future__ import annotations

import errno
import logging
import os
import resource
import subprocess
import sys
import time
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest

from flows.automations import HEARTBEAT_SECONDS, WINDOW_SECONDS
from flows.faults import passes
from flows.forms import Machines, Output, RecipeForm, Source
from flows.logs import WithLogs
from flows.refine import MOST_TASKS, chunks, load_plan, save_plan
from flows.server import observe, run_server
from flows.traces import ENDPOINT
from flows.watch import drift
from pipeline.errors import GristmillError
from pipeline.pool import Pool, Serial
from pipeline.recipe import load_recipe
from pipeline.refine import RefineTask, refine_key, refine_split
from pipeline.sources import Split, plan_inputs
from pipeline.sources.ranges import Refused
from pipeline.sources.split import InputFile
from pipeline.store import Folder
from tests.conftest import SAMPLE, tree
from tests.flows.conftest import free_port


def crawl(files: int, size: int) -> list[Split]:
    """The splits of a crawl that is not there."""
    names = [f"crawl-data/CC-MAIN-2026-43/{n:05}.warc.gz" for n in range(files)]
    return [
        Split(InputFile(name, f"s3://commoncrawl/{name}", size, "warc", f"etag:{n}"), 0, size)
        for n, name in enumerate(names)
    ]


def test_a_field_that_is_left_empty_is_as_in_the_preset() -> None:
    assert RecipeForm().recipe() == load_recipe("default")
    form = RecipeForm(preset="multilingual", gopher_quality={"min_words": 30}, publish={"shard_mb": 7}, split_mb=3)
    recipe = form.recipe()
    assert recipe.step("gopher_quality").min_words == 30  # type: ignore[union-attr]
    assert (recipe.publish.shard_mb, recipe.split_mb) == (7, 3)
    assert form.model_dump(mode="json") == {
        "preset": "multilingual", "split_mb": 3, "gopher_quality": {"min_words": 30}, "publish": {"shard_mb": 7},
    }  # fmt: skip


def test_the_form_has_every_setting_with_its_help_and_without_null() -> None:
    schema = RecipeForm.model_json_schema()
    language = schema["$defs"]["Language"]["properties"]
    assert language["min_score"]["type"] == "number"
    assert language["min_score"]["description"] == "Lowest probability of the page's language."
    assert "anyOf" not in str(schema)
    for name, section in schema["$defs"].items():
        for key, field in section.get("properties", {}).items():
            assert field.get("description"), f"{name}.{key}"
            assert "; empty" not in field["description"], f"{name}.{key}"
            # A switch says no when it is left alone, and no to deduplication is not "as in the preset".
            assert field.get("type") != "boolean", f"{name}.{key}"
    for model in (Source, Output, Machines):
        assert all("description" in field for field in model.model_json_schema()["properties"].values())


def test_what_a_recipe_does_not_have_is_a_mistake_of_the_user() -> None:
    with pytest.raises(GristmillError, match="min_wrods"):
        try:
            RecipeForm(gopher_quality={"min_wrods": 30}).recipe()
        except ValueError as error:
            raise GristmillError(str(error)) from error
    with pytest.raises(GristmillError, match="either files or a crawl"):
        Source().patterns()
    with pytest.raises(GristmillError, match="either files or a crawl"):
        Source(files=["a"], crawl="CC-MAIN-2026-43").patterns()


@pytest.mark.parametrize("files", [1, 2, 7, 499, 90_000])
def test_chunks_hold_each_split_once_and_are_few(files: int) -> None:
    splits = crawl(files, 1 << 30)
    found = chunks(splits, Machines(processes=4))
    assert [i for chunk in found for i in chunk] == list(range(files))
    assert len(found) <= MOST_TASKS


def test_a_stored_plan_is_the_plan(tmp_path: Path) -> None:
    splits = plan_inputs([str(SAMPLE)], 1 << 16)
    recipe = load_recipe("multilingual")
    name = save_plan(Folder(tmp_path), recipe, splits)
    assert load_plan(Folder(tmp_path), name) == (recipe, splits)
    with pytest.raises(GristmillError, match="not in the work folder"):
        load_plan(Folder(tmp_path), "plans/other.json")


def test_a_full_crawl_is_handled_in_bounded_memory_and_time(tmp_path: Path) -> None:
    """90,000 splits of no work: planned, stored, read back, keyed, and taken through a pool of processes."""
    begun, before = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    recipe = load_recipe("default")
    name = save_plan(Folder(tmp_path), recipe, crawl(90_000, 1 << 30))
    recipe, splits = load_plan(Folder(tmp_path), name)
    tasks = [RefineTask(split, recipe, str(tmp_path), split.name) for split in splits]
    with Pool(2) as pool:
        done = sum(1 for _ in pool.run(no_work, tasks, RefineTask.after))
    assert done == 90_000
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 500_000  # KiB
    assert time.process_time() - begun < 120


def no_work(task: RefineTask) -> dict[str, Any]:
    return {"split": task.split.name}


def test_only_what_passes_is_tried_again() -> None:
    assert passes(Refused(503, "slow down", "s3://commoncrawl/x", "wait"))
    assert passes(Refused(0, "no answer", "https://data.commoncrawl.org/x", "wait"))
    assert passes(ConnectionResetError())
    wrapped = GristmillError("reading failed", "x", "y")
    wrapped.__cause__ = TimeoutError()
    assert passes(wrapped)
    for lasting in (
        Refused(404, "not there", "x", "y"),
        GristmillError("a bad recipe"),
        ValueError(),
        OSError(errno.ENOSPC, "full"),
    ):
        assert not passes(lasting)


def test_heartbeat_and_window_belong_together() -> None:
    import yaml

    deployments = yaml.safe_load((Path(__file__).parents[2] / "deploy/prefect.yaml").read_text())["deployments"]
    for one in deployments:
        assert one["work_pool"]["job_variables"]["env"]["PREFECT_FLOWS_HEARTBEAT_FREQUENCY"] == str(HEARTBEAT_SECONDS)
    assert WINDOW_SECONDS >= 3 * HEARTBEAT_SECONDS


def test_drift_is_told_by_step() -> None:
    def funnel(*steps: tuple[str, int, int]) -> dict[str, Any]:
        return {
            "steps": [{"label": name, "came": came, "dropped": took, "quarantined": 0} for name, came, took in steps]
        }

    rows = drift(funnel(("language", 100, 50), ("dedup", 50, 5)), funnel(("language", 200, 160), ("pii", 40, 0)))
    assert [(row["step"], row["change"]) for row in rows] == [("language", 0.3), ("pii", 0.0), ("dedup", 0.1)]


def chatty(item: int) -> int:
    logging.getLogger("worker").info("item %d", item)
    logging.getLogger("worker").debug("not this")
    return item


def test_log_lines_of_worker_processes_arrive(caplog: pytest.LogCaptureFixture) -> None:
    with Pool(2) as pool, caplog.at_level(logging.INFO, "run"):
        assert sorted(WithLogs(pool, logging.getLogger("run")).run(chatty, [1, 2])) == [(0, 1), (1, 2)]
    assert sorted(record.getMessage() for record in caplog.records) == ["worker: item 1", "worker: item 2"]
    assert dict(WithLogs(Serial(), logging.getLogger("run")).run(chatty, [3])) == {0: 3}


def refine_again(task: RefineTask) -> None:
    refine_split(task)


def test_a_task_that_is_delivered_twice_at_once_does_no_harm(
    light: tuple[Path, dict[str, str]], tmp_path: Path
) -> None:
    recipe = load_recipe(light[0])
    split = min(plan_inputs([str(SAMPLE)], 1 << 30), key=lambda split: split.end)
    key = refine_key(split, recipe)
    refine_split(RefineTask(split, recipe, str(tmp_path / "once"), key))
    task = RefineTask(split, recipe, str(tmp_path / "twice"), key)
    twins = [get_context("fork").Process(target=refine_again, args=(task,)) for _ in range(2)]
    for twin in twins:
        twin.start()
    for twin in twins:
        twin.join()
    assert all(twin.exitcode == 0 for twin in twins)
    timing = f"refine/{key}/timing.json"
    once, twice = tree(tmp_path / "once"), tree(tmp_path / "twice")
    assert {n: h for n, h in once.items() if n != timing} == {n: h for n, h in twice.items() if n != timing}


def test_a_server_for_others_wants_a_password_and_a_free_port(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PREFECT_SERVER_API_AUTH_STRING", raising=False)
    with pytest.raises(GristmillError, match="anyone on the network"):
        run_server("0.0.0.0", free_port(), 0, 1, 1, None, "")
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(GristmillError, match="cannot listen"):
            run_server("127.0.0.1", taken.getsockname()[1], 0, 1, 1, None, "")


@pytest.mark.parametrize("words", [["deploy"], ["worker", "--metrics-port", "0"]])
@pytest.mark.parametrize(
    ("url", "told"), [("http://127.0.0.1:{port}/api", "server does not answer"), ("127.0.0.1/api", "is no URL")]
)
def test_deploy_and_worker_say_what_is_wrong(tmp_path: Path, words: list[str], url: str, told: str) -> None:
    url = url.format(port=free_port())
    environment = {**os.environ, "PREFECT_API_URL": url, "PREFECT_HOME": str(tmp_path)}
    command = [sys.executable, "-m", "pipeline", *words]
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert told in done.stderr
    assert "Traceback" not in done.stderr


def test_logs_and_traces_are_set_for_workers_and_their_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    names = ("PREFECT_LOGGING_HANDLERS_CONSOLE_FORMATTER", ENDPOINT)
    for name in names:
        monkeypatch.setenv(name, "")
    observe(False, "")
    assert [os.environ[name] for name in names] == ["", ""]
    monkeypatch.setattr("flows.traces._EXPORTER", "opentelemetry.exporter.of.nobody")
    with pytest.raises(GristmillError, match="what sends them is not installed"):
        observe(True, "http://127.0.0.1:4318")
    assert [os.environ[name] for name in names] == ["json", "http://127.0.0.1:4318"]
