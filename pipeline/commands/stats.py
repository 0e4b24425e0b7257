"""The funnel and the first documents of a dataset."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.table import Table

from pipeline.ledger import Dataset
from pipeline.report.facts import fates, funnel
from pipeline.store import Folder
from pipeline.store.parquet import open_parquet


def funnel_of(url: str) -> dict[str, Any]:
    """Records in, how many are pages, what each step and rule took, what was published; counted from the ledger."""
    dataset = Dataset.open(Folder(url))
    taken: Counter[tuple[str, str, str]] = Counter()
    for table in dataset.ledger(["state", "step", "rule"]):
        taken.update(fates(table))
    stages = funnel(taken, dataset.recipe)
    shards = dataset.manifest.about["shards"]
    return {
        "records": sum(taken.values()),
        "pages": sum(taken.values()) - sum(stage.no_pages for stage in stages),
        "kept": sum(count for (state, _, _), count in taken.items() if state == "kept"),
        "tokens": sum(shard["tokens"] for shard in shards),
        "shards": len(shards),
        "steps": [asdict(stage) | {"left": stage.left} for stage in stages],
    }


def show_funnel(out: Console, url: str) -> None:
    """The funnel as a table with bars."""
    told = funnel_of(url)
    pages = max(told["pages"], 1)
    wide = 24 if out.width >= 100 else 16 if out.width >= 72 else 4
    table = Table(box=None, header_style="dim")
    for name, justify in (("step", "left"), ("left", "right"), ("", "left"), ("took", "right"), ("by rule", "left")):
        table.add_column(name, justify=justify)  # type: ignore[arg-type]  # one of rich's words
    for step in told["steps"]:
        gone, after = step["dropped"] + step["quarantined"], step["left"]
        rules = ", ".join(f"{rule} {n:,}" for rule, n in list(step["rules"].items())[:4])
        more = len(step["rules"]) - 4
        table.add_row(
            step["label"],
            f"{after:,}",
            f"[green]{'█' * max(round(wide * after / pages), 1 if after else 0)}[/]",
            f"{gone:,}" if gone else "",
            f"[dim]{rules}{f', {more} more' if more > 0 else ''}[/]",
        )
    out.print(table)
    shards = f"{told['shards']:,} shard{'s' if told['shards'] != 1 else ''}"
    out.print(
        f"{told['records']:,} records in, {told['pages']:,} of them pages; "
        f"{told['kept']:,} documents and {told['tokens']:,} tokens published in {shards}",
        soft_wrap=True,
    )


def first_documents(url: str, number: int) -> list[dict[str, Any]]:
    """The first documents of the first text shards."""
    dataset = Dataset.open(Folder(url))
    found: list[dict[str, Any]] = []
    for name in dataset.files("text"):
        with dataset.folder.open(name) as file:
            for batch in open_parquet(file).iter_batches(batch_size=number, use_threads=False):
                found += batch.to_pylist()
                if len(found) >= number:
                    return found[:number]
    return found
