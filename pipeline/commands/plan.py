"""`gristmill plan`: refine a sample, then say what the whole would take, with an interval."""

from __future__ import annotations

import os
import random
import tempfile
import time
from collections.abc import Sequence
from math import sqrt
from typing import Any

from rich.console import Console
from rich.table import Table

from pipeline.errors import GristmillError
from pipeline.pool import Pool
from pipeline.recipe import Recipe
from pipeline.refine import RefineTask, refine_key, refine_split
from pipeline.run import Progress
from pipeline.sources import plan_inputs
from pipeline.store import Folder

# Student's t, two-sided 90 %, by degrees of freedom; beyond the table the normal value.
_T90 = (
    6.31,
    2.92,
    2.35,
    2.13,
    2.02,
    1.94,
    1.89,
    1.86,
    1.83,
    1.81,
    1.80,
    1.78,
    1.77,
    1.76,
    1.75,
    1.75,
    1.74,
    1.73,
    1.73,
    1.72,
)
_CHARS_A_TOKEN = 4.4  # English web text under a 32k byte-level BPE: README, "What a run costs"
_UNITS = 24  # pieces into which the sample is cut, at least, so that an interval can be told
_QUANTITIES = ("cpu_seconds", "records", "documents", "chars", "out_bytes")


def make_plan(
    recipe: Recipe,
    inputs: Sequence[str],
    sample: int,
    seed: int,
    workers: int,
    core_hour_price: float,
    progress: Progress,
) -> dict[str, Any]:
    """Refine `sample` of the inputs, chosen by `seed`, and scale by stored bytes.

    Each quantity comes as {"value", "low", "high"}: a ratio estimate over the sampled splits with a 90 % interval by
    the jackknife. Deduplication across files is not foreseen: what it removes grows with the crawl.
    """
    recipe.check_conflicts()
    files = _files(inputs)
    chosen = sorted(random.Random(seed).sample(files, min(sample, len(files))))
    sampled = sum(split.file.size for split in plan_inputs(chosen, 1 << 62))
    splits = plan_inputs(chosen, max(1 << 16, min(recipe.split_mb << 20, sampled // _UNITS)))
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="gristmill-plan-") as folder:
        tasks = [RefineTask(split, recipe, folder, refine_key(split, recipe)) for split in splits]
        units = []
        with Pool(
            min(workers, os.cpu_count() or 1),
            3 * recipe.limits.page_cpu_seconds + 30,
            recipe.limits.worker_memory_mb << 20,
        ) as pool:
            for done, (_, about) in enumerate(pool.run(refine_split, tasks, RefineTask.after), 1):
                progress("refine", done, len(tasks), about)
        for task in tasks:
            units.append(_unit(Folder(folder).sub(f"refine/{task.key}"), task))
    units = [unit for unit in units if unit["bytes"]]
    if not units:
        raise GristmillError("the sample holds no record", ", ".join(chosen), "Take a larger --sample.")
    total = sampled / len(chosen) * len(files)
    estimates = {name: _ratio(units, name, total) for name in _QUANTITIES}
    hours = {key: value / 3600 for key, value in estimates["cpu_seconds"].items()}
    return {
        "recipe": recipe.name,
        "files": len(files),
        "sampled": chosen,
        "sample_seconds": time.monotonic() - begun,
        "input_bytes": total,
        "workers": workers,
        "core_hours": hours,
        "hours": {key: value / workers for key, value in hours.items()},
        "cost": {key: value * core_hour_price for key, value in hours.items()},
        "records": estimates["records"],
        "documents": estimates["documents"],
        "tokens": {key: value / _CHARS_A_TOKEN for key, value in estimates["chars"].items()},
        "output_bytes": estimates["out_bytes"],
        "splits": (count := max(len(files), round(total / (recipe.split_mb << 20)))),
        # Refining and placing are a task a split; the rest are two orders of magnitude fewer, for full-sized splits.
        "tasks": 2 * count,
    }


def show_plan(out: Console, plan: dict[str, Any]) -> None:
    """The prediction as a table."""
    out.print(
        f"{plan['files']:,} files, about {plan['input_bytes'] / 1e9:,.2f} GB, {plan['splits']:,} splits, {plan['tasks']:,} tasks; "
        f"{len(plan['sampled'])} files tried in {plan['sample_seconds']:.0f} s"
    )
    table = Table(box=None, header_style="dim")
    for name in ("", "predicted", "90 % interval"):
        table.add_column(name, justify="left" if not name else "right")
    rows = (
        ("core hours", "core_hours", 1, ",.2f"),
        (f"hours on {plan['workers']} workers", "hours", 1, ",.2f"),
        ("cost", "cost", 1, ",.2f"),
        ("records", "records", 1, ",.0f"),
        ("documents before dedup", "documents", 1, ",.0f"),
        ("tokens before dedup, millions", "tokens", 1e6, ",.1f"),
        ("text shards, GB", "output_bytes", 1e9, ",.3f"),
    )
    for label, key, unit, form in rows:
        value = plan[key]
        low, high = (format(value[k] / unit, form) for k in ("low", "high"))
        table.add_row(label, format(value["value"] / unit, form), f"{low} to {high}")
    out.print(table)


def _files(inputs: Sequence[str]) -> list[str]:
    """Every file that the patterns name, by path or URL."""
    if all("://" in one for one in inputs):
        return list(dict.fromkeys(inputs))
    return list(dict.fromkeys(split.file.url for split in plan_inputs(inputs, 1 << 62)))


def _unit(folder: Folder, task: RefineTask) -> dict[str, float]:
    about = folder.read_json("manifest.json")
    seconds = folder.read_json("timing.json")["cpu_seconds"]
    documents = next(entry for entry in about["files"] if entry["name"] == "documents.parquet")
    return {
        "bytes": about["bytes"],
        "cpu_seconds": sum(seconds.values()),
        "records": about["records"],
        "documents": about["states"].get("kept", 0),
        "chars": about["chars"],
        "out_bytes": documents["bytes"],
    }


def _ratio(units: Sequence[dict[str, float]], name: str, total: float) -> dict[str, float]:
    """Ratio estimate of a total with its 90 % interval by the delete-one jackknife."""
    size, value = sum(u["bytes"] for u in units), sum(u[name] for u in units)
    estimate, n = value / size * total, len(units)
    if n == 1:
        raise GristmillError(
            "the sample cannot be cut into pieces, so no interval can be told",
            "--sample",
            "Take more files: --sample 5.",
        )
    without = [(value - u[name]) / (size - u["bytes"]) * total for u in units]
    mean = sum(without) / n
    error = sqrt((n - 1) / n * sum((w - mean) ** 2 for w in without))
    margin = (_T90[n - 2] if n - 2 < len(_T90) else 1.645) * error
    return {"value": estimate, "low": max(0.0, estimate - margin), "high": estimate + margin}
