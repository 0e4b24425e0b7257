"""The flow `curate`: plan, refine, dedup, tokenize, publish, each phase a task run.

The run's state lies in the work folder, so a run that was killed, cancelled, suspended or given out twice goes on
from there and publishes the bytes of an uninterrupted one; only one run at a time can hold the output folder.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

from prefect import flow, get_run_logger, pause_flow_run, task
from prefect.cache_policies import NO_CACHE
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import State
from prefect.concurrency.sync import concurrency
from prefect.events import emit_event
from prefect.flow_runs import suspend_flow_run
from prefect.runtime import deployment, flow_run
from prefect.states import Completed
from prefect.utilities.annotations import quote

from flows.faults import RETRY_SECONDS, failed, retry_if_it_passes
from flows.forms import Approval, Machines, Output, Published, RecipeForm, Source
from flows.logs import WithLogs
from flows.metrics import count_phase
from flows.refine import refine_here, refine_spread
from flows.showing import Bar, show_dataset
from pipeline.commands.run import open_executor
from pipeline.errors import GristmillError
from pipeline.recipe import Recipe, digest
from pipeline.run import PHASES, Outcome, Run
from pipeline.sources import Split, plan_inputs
from pipeline.store import Folder

PUBLISHED = "gristmill.dataset.published"  # the event on which training is triggered
MEMORY = "gristmill-dedup"  # global concurrency limit: dedup phases at once, each of which fills its workers' memory
APPROVAL_SECONDS = 7 * 24 * 3600


def run_name() -> str:
    """default · CC-MAIN-2026-43 · name of the output folder."""
    given = flow_run.parameters
    recipe, source, output = given["recipe"], given["source"], given["output"]
    preset = recipe["preset"] if isinstance(recipe, dict) else recipe.preset
    source = source if isinstance(source, Source) else Source.model_validate(source)
    output = output if isinstance(output, Output) else Output.model_validate(output)
    preset = preset.rpartition("/")[2].removesuffix(".yaml")
    return f"{preset} · {source.name} · {output.folder.rstrip('/').rpartition('/')[2]}"


@flow(name="curate", flow_run_name=run_name, persist_result=True)
def curate(
    source: Source,
    output: Output,
    recipe: RecipeForm = RecipeForm(),  # noqa: B008  # the form's default; never changed
    machines: Machines = Machines(),  # noqa: B008  # likewise
) -> Published | State[Any]:
    """Turn a crawl into a dataset of text and tokens: refine, deduplicate, tokenize, publish.

    A run over the same folder resumes: only what is missing is done.
    """
    try:
        return _curate(source, output, recipe.recipe(), machines)
    except GristmillError as error:  # the user's to mend: told in the state's message, without a stack of frames
        return failed(error)


def _curate(source: Source, output: Output, recipe: Recipe, machines: Machines) -> Published | State[Any]:
    begun, logger = time.monotonic(), get_run_logger()
    folder = Folder(output.folder)
    if not folder.is_local and not output.work:
        raise GristmillError(
            "the dataset goes to a remote folder, so unfinished work needs a folder of its own",
            output.folder,
            "Give output.work: a folder that all workers share.",
        )
    work = Folder(output.work) if output.work else folder.sub("run/work")
    with _lease(folder):
        splits = plan(source, recipe.split_mb)
        bar = Bar(folder.url, logger)
        with open_executor(recipe, machines.processes, machines.engine, machines.address) as executor:
            run = Run(recipe, splits, folder, WithLogs(executor, logger), work, bar, output.accept_changed_inputs)
            phases = Phases(run)
            try:
                phases.begin()
                if machines.flow_runs > 1:
                    refine_spread(recipe, splits, work, machines)
                else:
                    refine_here(recipe, splits, work, machines, executor, bar)
                with concurrency(MEMORY, occupy=1, raise_on_lease_renewal_failure=False):
                    phase("dedup", quote(phases))
                phase("tokenize", quote(phases))
                if output.ask_before_publishing and not _approved():
                    return Completed(name="NotPublished", message="a person decided against publishing")
                phase("publish", quote(phases))
            finally:
                phases.close()
    assert run.outcome is not None
    return _tell(folder, recipe, run.outcome, time.monotonic() - begun)


@task(
    name="plan",
    task_run_name="plan",
    retries=len(RETRY_SECONDS),
    retry_delay_seconds=RETRY_SECONDS,
    retry_condition_fn=retry_if_it_passes,
    cache_policy=NO_CACHE,
    persist_result=False,
)
def plan(source: Source, split_mb: int) -> list[Split]:
    """The splits of the source."""
    splits = plan_inputs(source.patterns(), split_mb << 20)
    total = sum(split.end - split.start for split in splits)
    get_run_logger().info(
        "%d splits of %d files, %.3f GB", len(splits), len({s.file.name for s in splits}), total / 1e9
    )
    return splits


@task(
    name="phase",
    task_run_name="{name}",
    retries=len(RETRY_SECONDS),
    retry_delay_seconds=RETRY_SECONDS,
    retry_condition_fn=retry_if_it_passes,
    cache_policy=NO_CACHE,
    persist_result=False,
)
def phase(name: str, phases: Any) -> None:
    """One phase of the engine's run, after refining."""
    begun = time.monotonic()
    phases.complete(name)
    count_phase(name, time.monotonic() - begun)


@dataclass
class Phases:
    """A run of the engine, phase by phase; after a fault it begins anew, and skips what stands."""

    run: Run
    _steps: Iterator[str] | None = None
    _due: str | None = None

    def begin(self) -> None:
        """Take hold of the output folder. Raises GristmillError where it is somebody else's."""
        self._steps = self.run.phases()
        self._due = next(self._steps)

    def complete(self, phase: str) -> None:
        """Run all that is due up to and including the phase."""
        if self._steps is None:
            self.begin()
        assert self._steps is not None
        try:
            while self._due is not None and PHASES.index(self._due) <= PHASES.index(phase):
                self._due = next(self._steps, None)
        except BaseException:
            self._steps = None
            raise

    def close(self) -> None:
        """Let go of the output folder."""
        close = getattr(self._steps, "close", None)
        if close is not None:
            close()


def _lease(folder: Folder) -> AbstractContextManager[None]:
    """One run at a time in an output folder that no file lock can guard: a limit of 1 with the folder's name.

    It is taken from the server, which renews it while this process lives. Local folders are locked by the engine.
    """
    if folder.is_local:
        return nullcontext()
    name = f"gristmill-output-{digest(folder.url)[:12]}"
    with get_client(sync_client=True) as client:
        client.upsert_global_concurrency_limit_by_name(name, 1)
    return concurrency(name, occupy=1, strict=True, timeout_seconds=60)


def _approved() -> bool:
    """Ask a person. A deployed run leaves its worker meanwhile and comes back to find its work standing."""
    logger = get_run_logger()
    if deployment.id:
        answer = suspend_flow_run(wait_for_input=Approval, timeout=APPROVAL_SECONDS, key="publish")
    else:
        answer = pause_flow_run(wait_for_input=Approval, timeout=APPROVAL_SECONDS, key="publish")
    logger.info(
        "a person said: %s%s",
        "publish" if answer.publish else "do not publish",
        f": {answer.note}" if answer.note else "",
    )
    return bool(answer.publish)


def _tell(folder: Folder, recipe: Recipe, outcome: Outcome, seconds: float) -> Published:
    """Artifacts, the event, and the result."""
    funnel = show_dataset(folder)
    about = outcome.manifest.about
    result = Published(
        dataset=folder.url,
        recipe=recipe.name,
        recipe_key=about["recipe"]["key"],
        records=funnel["records"],
        documents=funnel["kept"],
        tokens=funnel["tokens"],
        shards=funnel["shards"],
        tasks_done=outcome.tasks_done,
        seconds=round(seconds, 3),
    )
    emit_event(
        PUBLISHED,
        resource={
            "prefect.resource.id": f"gristmill.dataset.{digest(folder.url)[:12]}",
            "prefect.resource.name": folder.url,
            "gristmill.recipe": recipe.name,
        },
        related=[{"prefect.resource.id": f"prefect.flow-run.{flow_run.id}", "prefect.resource.role": "flow-run"}],
        payload=result.model_dump(),
    )
    return result
