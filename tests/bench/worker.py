"""Our refine phase in one warm process: `worker.py PRESET [SETTING …]` reads paths of WARC files like reference.py."""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile

import pyarrow.parquet as pq

import pipeline.worker  # noqa: F401  (what a worker of the pool starts from)
from pipeline.recipe import load_recipe
from pipeline.refine import RefineTask, refine_key, refine_split
from pipeline.sources import plan_inputs


def cpu_seconds() -> float:
    used = os.times()
    return used.user + used.system + used.children_user + used.children_system


def peak_mb() -> float:
    """Of this process alone: getrusage would begin with what its parent held when it was forked."""
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) / 1024


def main() -> None:
    recipe = load_recipe(sys.argv[1]).with_settings(sys.argv[2:])
    for line in sys.stdin:
        begun = cpu_seconds()
        (split,) = plan_inputs([line.strip()], 1 << 40)
        work = tempfile.mkdtemp(prefix="gristmill-bench-")
        key = refine_key(split, recipe)
        refine_split(RefineTask(split, recipe, work, key))
        spent = cpu_seconds() - begun
        with open(f"{work}/refine/{key}/timing.json") as file:
            timing = json.load(file)
        kept = pq.read_table(f"{work}/refine/{key}/documents.parquet", columns=["url"])["url"].to_pylist()
        shutil.rmtree(work)
        print(
            json.dumps({"before": begun, "cpu": spent, "kept": sorted(kept), "peak_mb": peak_mb(), "steps": timing}),
            flush=True,
        )


if __name__ == "__main__":
    main()
