"""Refining in chunks: as task runs of one flow run, or as flow runs over all workers that share the work folder.

A task run owns a chunk of splits worth a minute or more. All chunks of a flow run draw on one stream of results of
one process pool, so that no core waits at the end of a chunk. Resume is the engine's: a split that stands in the
work folder is not refined again, whoever refined it, and refining one twice at once leaves the same files.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, field
from itertools import groupby
from typing import Any
from uuid import UUID

from prefect import flow, get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterId,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import TERMINAL_STATES, FlowRun, State
from prefect.concurrency.sync import concurrency
from prefect.deployments import run_deployment
from prefect.runtime import flow_run
from prefect.states import Cancelling, Completed
from prefect.utilities.annotations import quote

from flows.faults import RETRY_SECONDS, failed, retry_if_it_passes
from flows.forms import Machines
from flows.logs import WithLogs
from flows.metrics import count_split
from flows.showing import Bar, set_aside, show_set_aside, tell_split
from flows.traces import note_split, trace_run
from pipeline.commands.run import open_executor
from pipeline.errors import GristmillError
from pipeline.pool import Executor
from pipeline.recipe import Recipe, digest, parse_recipe
from pipeline.refine import RefineTask, refine_key, refine_split
from pipeline.run import Progress
from pipeline.sources import Split
from pipeline.sources.split import InputFile
from pipeline.store import Folder, Manifest

trace_run()  # here, because the engine opens a run's span as soon as it has imported the flow
DOWNLOADS = "gristmill-commoncrawl"  # global concurrency limit: flow runs that read from Common Crawl at once
SHARD = "refine/shard"  # the deployment that flow runs of a spread run are of
SHARD_TRIES = 3
SHARD_POLL_SECONDS = 2.0
MOST_TASKS = (
    500  # task runs of a flow run that refine: the database copes with about 1,000, phases and retries included
)
BYTES_A_CORE_SECOND = 1_000_000  # stored bytes of a WARC; only the size of a chunk hangs on it


def refine_here(
    recipe: Recipe, splits: Sequence[Split], work: Folder, machines: Machines, executor: Executor, progress: Progress
) -> None:
    """Refine the splits in task runs of this flow run."""
    refinement = Refinement(recipe, work, splits, WithLogs(executor, get_run_logger()), progress)
    with downloading(splits):
        parts = chunks(splits, machines)
        for number, part in enumerate(parts, 1):
            label = f"{number} of {len(parts)}" if len(parts) > 1 else "all"
            refine_chunk(label, len(part), splits[part[0]].name, quote((refinement, part)))
    show_set_aside(work.url.removesuffix("/run/work"), refinement.aside)


def refine_spread(recipe: Recipe, splits: Sequence[Split], work: Folder, machines: Machines) -> None:
    """Refine the splits in flow runs of their own, on all workers of the pool; a run that crashed is given out anew.

    Raises GristmillError where one fails for good. What is under way is cancelled with the run that gave it out.
    """
    plan = save_plan(work, recipe, splits)
    count = min(machines.flow_runs, len(splits))
    settings = machines.model_dump() | {"flow_runs": 1}

    def give_out(shard: int, attempt: int) -> FlowRun:
        return run_deployment(
            SHARD,
            parameters={"work": work.url, "plan": plan, "shard": shard, "of": count, "machines": settings},
            flow_run_name=f"{flow_run.name} · {shard + 1} of {count}{f' · try {attempt}' if attempt > 1 else ''}",
            timeout=0,
        )

    under_way: dict[UUID, tuple[int, int]] = {}
    with get_client(sync_client=True) as client:
        try:
            for shard in range(count):
                under_way[give_out(shard, 1).id] = shard, 1
            while under_way:
                time.sleep(SHARD_POLL_SECONDS)
                for run in _ended(client, list(under_way)):
                    shard, attempt = under_way.pop(run.id)
                    state = run.state
                    assert state is not None
                    if state.is_crashed() and attempt < SHARD_TRIES:
                        under_way[give_out(shard, attempt + 1).id] = shard, attempt + 1
                    elif not state.is_completed():
                        raise GristmillError(
                            f"refining ended as {state.name}: {state.message}",
                            f"flow run {run.name}",
                            "See its log; run again, it resumes.",
                        )
        finally:
            for left in under_way:
                client.set_flow_run_state(left, Cancelling(message=f"{flow_run.name} ended, which had started it"))


def _ended(client: SyncPrefectClient, runs: Sequence[UUID]) -> list[FlowRun]:
    """Those of the runs that have ended, in whatever way."""
    ended = FlowRunFilterState(type=FlowRunFilterStateType(any_=list(TERMINAL_STATES)))
    return [
        run
        for begun in range(0, len(runs), 200)  # the most that one answer holds
        for run in client.read_flow_runs(
            flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=list(runs[begun : begun + 200])), state=ended),
            limit=200,
        )
    ]


@flow(name="refine", persist_result=False)
def refine(work: str, plan: str, shard: int, of: int, machines: Machines) -> int | State[Any]:
    """Refine every split of shard `shard` (from 0) of `of` of a stored plan; returns how many splits that are.

    It is given out by `curate` when its machines.flow_runs is above 1; by hand it does the same work again.
    """
    try:
        recipe, splits = load_plan(Folder(work), plan)
        mine = splits[len(splits) * shard // of : len(splits) * (shard + 1) // of]
        with open_executor(recipe, machines.processes, machines.engine, machines.address) as executor:
            bar = Bar(f"{work} {shard + 1} of {of}", get_run_logger())
            refine_here(recipe, mine, Folder(work), machines, executor, bar)
        return len(mine)
    except GristmillError as error:
        return failed(error)


@dataclass
class Refinement:
    """One pass over the splits of a flow run, taken on by its chunks in turn."""

    recipe: Recipe
    work: Folder
    splits: Sequence[Split]
    executor: Executor
    progress: Progress
    aside: Counter[tuple[str, str]] = field(default_factory=Counter)
    _done: set[int] = field(default_factory=set)
    _results: Iterator[tuple[int, dict[str, Any]]] | None = None
    _left: list[int] = field(default_factory=list)

    def complete(self, chunk: range) -> int:
        """Go on until every split of the chunk is refined; returns how many splits had to be."""
        had = 0
        while not self._done.issuperset(chunk):
            try:
                position, about = next(self._stream())
            except BaseException:
                self._results = None  # a retry starts with what is still missing
                raise
            index = self._left[position]
            self._done.add(index)
            had += index in chunk
            self._tell(index, about)
            count_split(about, len(self.splits) - len(self._done))
            note_split(about)
        return had

    def _stream(self) -> Iterator[tuple[int, dict[str, Any]]]:
        if self._results is None:
            tasks = [
                RefineTask(split, self.recipe, self.work.url, refine_key(split, self.recipe)) for split in self.splits
            ]
            for index, one in enumerate(tasks):
                if index not in self._done and (stands := Manifest.read(self.work.sub(f"refine/{one.key}"))):
                    self._done.add(index)
                    self._tell(index, stands.about)
            self._left = [index for index in range(len(tasks)) if index not in self._done]
            self._results = iter(self.executor.run(refine_split, [tasks[i] for i in self._left], RefineTask.after))
        return self._results

    def stands(self, chunk: range) -> bool:
        """Whether an earlier run has refined the whole chunk."""
        self._stream()
        return self._done.issuperset(chunk)

    def _tell(self, index: int, about: dict[str, Any]) -> None:
        key = refine_key(self.splits[index], self.recipe)
        tell_split(get_run_logger(), self.work, key, about)
        if about["states"].get("quarantined"):
            self.aside.update(set_aside(self.work, key))
        self.progress("refine", len(self._done), len(self.splits), about)


@task(
    name="refine",
    task_run_name="refine {label}",
    retries=len(RETRY_SECONDS),
    retry_delay_seconds=RETRY_SECONDS,
    retry_condition_fn=retry_if_it_passes,
    retry_jitter_factor=0.5,
    cache_policy=NO_CACHE,
    persist_result=False,
)
def refine_chunk(label: str, splits: int, first: str, chunk: Any) -> int | State[int]:
    """Refine a chunk of `splits` splits, `first` the name of its first; returns how many were not there yet."""
    del label, first
    refinement, part = chunk
    if refinement.stands(part):
        return Completed(name="Stood", message=f"all {splits} splits stood in the work folder", data=0)
    return int(refinement.complete(part))


def chunks(splits: Sequence[Split], machines: Machines) -> list[range]:
    """Consecutive splits worth `machines.chunk_minutes` of all processes each, in at most MOST_TASKS chunks."""
    total = sum(split.end - split.start for split in splits)
    processes = machines.processes or os.cpu_count() or 1
    size = max(60 * machines.chunk_minutes * processes * BYTES_A_CORE_SECOND, total / MOST_TASKS)
    found, begun, held = [], 0, 0
    for index, split in enumerate(splits):
        held += split.end - split.start
        if held >= size and len(splits) - index > 1 and len(found) < MOST_TASKS - 1:
            found.append(range(begun, index + 1))
            begun, held = index + 1, 0
    return [*found, range(begun, len(splits))] if len(splits) > begun else found


def downloading(splits: Sequence[Split]) -> AbstractContextManager[None]:
    """A slot among the flow runs that may read from Common Crawl at once; nothing where none is read from."""
    if any("commoncrawl" in split.file.url for split in splits if "://" in split.file.url):
        return concurrency(DOWNLOADS, occupy=1, raise_on_lease_renewal_failure=False)
    return nullcontext()


def save_plan(work: Folder, recipe: Recipe, splits: Sequence[Split]) -> str:
    """Write recipe and splits to the work folder, from where any worker can take them; returns the plan's name."""
    files = []
    for _, group in groupby(splits, key=lambda split: split.file):
        of_file = list(group)
        files.append({"file": asdict(of_file[0].file), "splits": [[split.start, split.end] for split in of_file]})
    plan = {"recipe": recipe.yaml(), "files": files}
    name = f"plans/{digest(plan)}.json"
    if not work.exists(name):
        work.write_json(name, plan)
    return name


def load_plan(work: Folder, name: str) -> tuple[Recipe, list[Split]]:
    """Recipe and splits of a stored plan. Raises GristmillError where it is not there."""
    if not work.exists(name):
        raise GristmillError("the plan is not in the work folder", work.path(name), "Do all workers share that folder?")
    plan = work.read_json(name)
    splits = [Split(InputFile(**one["file"]), start, end) for one in plan["files"] for start, end in one["splits"]]
    return parse_recipe(plan["recipe"], name), splits
