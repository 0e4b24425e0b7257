"""`gristmill run`: from patterns and options to a Run on the local pool."""

from __future__ import annotations

import os
from collections.abc import Sequence

from pipeline.errors import GristmillError
from pipeline.pool import Pool
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
) -> Outcome:
    """Plan the inputs and run the recipe over them with `workers` processes (0: one a core)."""
    folder = Folder(out)
    if not folder.is_local and not work:
        raise GristmillError(
            "the dataset goes to a remote folder, so unfinished work needs a folder of its own",
            out,
            "Add --work with a local folder, or a remote one that all workers share.",
        )
    splits = plan_inputs(inputs, recipe.split_mb << 20)
    limits = recipe.limits
    with Pool(
        workers or os.cpu_count() or 1,
        record_cpu_seconds=3 * limits.page_cpu_seconds + 30,
        memory_bytes=limits.worker_memory_mb << 20,
    ) as pool:
        return Run(
            recipe,
            splits,
            folder,
            pool,
            work=Folder(work) if work else None,
            progress=progress,
            accept_changed_inputs=accept_changed_inputs,
        )()
