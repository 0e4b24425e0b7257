"""A run on a Slurm cluster through datatrove's executor: a job array refines, one job after it does the rest.

All nodes need Gristmill installed and share the folders. Submitting the same run again resumes it: what stands in
the work folder is not done again, and datatrove skips array tasks that ended well.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from datatrove.data import DocumentsPipeline
from datatrove.executor import SlurmPipelineExecutor
from datatrove.pipeline.base import PipelineStep

from pipeline.commands.run import run_command
from pipeline.errors import GristmillError
from pipeline.interop.datatrove import RefineSplits
from pipeline.recipe import Recipe, digest
from pipeline.run import silent
from pipeline.sources import plan_inputs


class FinishRun(PipelineStep):  # type: ignore[misc]  # datatrove ships no types
    """Everything after refining (and of that what is missing), on all cores of one node."""

    name = "🌾 Gristmill dedup, tokenize, publish"
    type = "💽 - WRITER"

    def __init__(self, recipe: Recipe, inputs: Sequence[str], out: str, work: str) -> None:
        super().__init__()
        self.recipe, self.inputs, self.out, self.work = recipe, tuple(inputs), out, work

    def run(self, data: DocumentsPipeline, rank: int = 0, world_size: int = 1) -> DocumentsPipeline:
        """Publish the dataset; yields no documents."""
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        outcome = run_command(self.recipe, self.inputs, self.out, self.work, cores, False, silent)
        for state, count in outcome.manifest.about["records"].items():
            self.stat_update(state, value=count)
        yield from data or ()


def submit(
    recipe: Recipe,
    inputs: Sequence[str],
    out: str,
    partition: str,
    time: str = "12:00:00",
    tasks: int = 0,
    cores: int = 16,
    memory_gb_a_core: int = 4,
    sbatch: dict[str, str] | None = None,
    with_srun: bool = True,
) -> str:
    """Submit the run with `sbatch`; returns the id of the last job.

    `tasks`: elements of the array, each with one core (0: one a split, 1,000 at most). `cores`: of the last job.
    `time`: limit of a job, HH:MM:SS. `sbatch`: more options of sbatch, e.g. {"account": "nlp"}. Raises GristmillError
    where sbatch is not there or refuses.
    """
    recipe.check_conflicts()  # now, and not when the array is done
    work = f"{out}/run/work"
    splits = len(plan_inputs(inputs, recipe.split_mb << 20))
    logs = f"{out}/run/slurm-{digest(recipe.yaml(), list(inputs), tasks)[:8]}"
    shared = {
        "time": time,
        "partition": partition,
        "mem_per_cpu_gb": memory_gb_a_core,
        "qos": "",
        "sbatch_args": sbatch or {},
        "env_command": f"export PATH={Path(sys.executable).parent}:$PATH",
        "with_srun": with_srun,
        "mail_type": "NONE",
    }
    refine = SlurmPipelineExecutor(
        pipeline=[RefineSplits(recipe, inputs, work)],
        tasks=min(tasks or 1000, splits),
        job_name="gristmill-refine",
        logging_dir=f"{logs}/refine",
        **shared,
    )
    finish = SlurmPipelineExecutor(
        pipeline=[FinishRun(recipe, inputs, out, work)],
        tasks=1,
        cpus_per_task=cores,
        job_name="gristmill-finish",
        logging_dir=f"{logs}/finish",
        depends=refine,
        **shared,
    )
    try:
        finish.run()
    except FileNotFoundError as error:
        raise GristmillError("sbatch is not there", "PATH", "Run this on a login node of the Slurm cluster.") from error
    return str(finish.job_id)
