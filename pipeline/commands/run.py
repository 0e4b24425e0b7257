"""`gristmill run`: from patterns and options to a Run on the local pool."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import AbstractContextManager
from importlib.metadata import entry_points

from pipeline.errors import GristmillError
from pipeline.pool import Executor, Pool
from pipeline.recipe import Recipe
from pipeline.run import Outcome, Progress, Run
from pipeline.sources import plan_inputs
from pipeline.store import Folder


def run_command(
    recipe: Recipe,
    inputs: Sequence[str],
    out: str,
    work: str,
    workers: int,
    accept_changed_inputs: bool,
    progress: Progress,
    engine: str = "pool",
    address: str = "",
) -> Outcome:
    """Plan the inputs and run the recipe over them with `workers` processes (0: all there are)."""
    folder = Folder(out)
    if not folder.is_local and not work:
        raise GristmillError(
            "the dataset goes to a remote folder, so unfinished work needs a folder of its own",
            out,
            "Add --work with a local folder, or a remote one that all workers share.",
        )
    splits = plan_inputs(inputs, recipe.split_mb << 20)
    with open_executor(recipe, workers, engine, address) as executor:
        return Run(
            recipe,
            splits,
            folder,
            executor,
            work=Folder(work) if work else None,
            progress=progress,
            accept_changed_inputs=accept_changed_inputs,
        )()


def open_executor(recipe: Recipe, workers: int, engine: str, address: str) -> AbstractContextManager[Executor]:
    """What a recipe's tasks run on: `pool`, `workers` processes of this machine (0: one a core), or another engine by
    the name under which a package offers it (entry points of the group `gristmill.engines`)."""
    seconds, memory = 3 * recipe.limits.page_cpu_seconds + 30, recipe.limits.worker_memory_mb << 20
    if engine == "pool":
        return Pool(workers or os.cpu_count() or 1, seconds, memory)
    offered = entry_points(group="gristmill.engines")
    if engine not in offered.names:
        raise GristmillError(
            "there is no such engine", engine, f"Engines are pool, {', '.join(sorted(offered.names))}."
        )
    opened: AbstractContextManager[Executor] = offered[engine].load()(address, workers, seconds, memory)
    return opened
