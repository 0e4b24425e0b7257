"""The funnel and the first documents of a dataset."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pyarrow.parquet as pq
from rich.console import Console
from rich.table import Table

from pipeline.ledger import Dataset
from pipeline.store import Folder


def funnel(url: str) -> dict[str, Any]:
    """Records in, what each step and rule took, and what was published; counted from the ledger."""
    dataset = Dataset.open(Folder(url))
    taken: Counter[tuple[str, str, str]] = Counter()
    for table in dataset.ledger(["state", "step", "rule"]):
        columns = [table[name].to_pylist() for name in ("state", "step", "rule")]
        taken.update(zip(*columns, strict=True))
    labels = ["reader", "worker", *(step.label for step in dataset.recipe.steps), "dedup"]
    steps = []
    left = sum(taken.values())
    total = left
    for label in labels:
        rules = {rule: n for (state, step, rule), n in taken.items() if step == label and state != "kept"}
        gone = sum(rules.values())
        steps.append(
            {
                "step": label,
                "came": left,
                "dropped": sum(n for (state, step, _), n in taken.items() if step == label and state == "dropped"),
                "quarantined": sum(n for (state, step, _), n in taken.items() if step == label and state == "quarantined"),
                "rules": dict(sorted(rules.items(), key=lambda item: (-item[1], item[0]))),
            }
        )
        left -= gone
    shards = dataset.manifest.about["shards"]
    return {
        "records": total,
        "kept": left,
        "tokens": sum(shard["tokens"] for shard in shards),
        "shards": len(shards),
        "steps": [step for step in steps if step["came"] and (step["rules"] or step["step"] not in ("worker", "dedup"))],
    }


def show_funnel(out: Console, url: str) -> None:
    """The funnel as a table with bars."""
    told = funnel(url)
    pages = told["records"]
    table = Table(box=None, header_style="dim")
    for name, justify in (("step", "left"), ("left", "right"), ("", "left"), ("took", "right"), ("by rule", "left")):
        table.add_column(name, justify=justify)  # type: ignore[arg-type]  # one of rich's words
    for step in told["steps"]:
        gone = step["dropped"] + step["quarantined"]
        after = step["came"] - gone
        rules = ", ".join(f"{rule} {n:,}" for rule, n in list(step["rules"].items())[:4])
        more = len(step["rules"]) - 4
        table.add_row(
            step["step"],
            f"{after:,}",
            f"[green]{'█' * max(round(24 * after / pages), 1 if after else 0)}[/]",
            f"{gone:,}" if gone else "",
            f"[dim]{rules}{f', {more} more' if more > 0 else ''}[/]",
        )
    out.print(table)
    out.print(f"{pages:,} records in, {told['kept']:,} documents and {told['tokens']:,} tokens published in {told['shards']} shards")


def first_documents(url: str, number: int) -> list[dict[str, Any]]:
    """The first documents of the first text shards."""
    dataset = Dataset.open(Folder(url))
    found: list[dict[str, Any]] = []
    for name in dataset.files("text"):
        with dataset.folder.open(name) as file:
            for batch in pq.ParquetFile(file).iter_batches(batch_size=number):
                found += batch.to_pylist()
                if len(found) >= number:
                    return found[:number]
    return found
