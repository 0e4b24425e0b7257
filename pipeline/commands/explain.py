"""How `gristmill explain` and `gristmill what-if` show their answers."""

from __future__ import annotations

from collections import Counter
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from pipeline.ledger import WhatIf


def show_story(out: Console, story: dict[str, Any]) -> None:
    """One record's story, top to bottom."""
    where = story["where"]
    out.rule(escape(story["url"] or story["record_id"]))
    out.print(f"record   {story['record_id']}")
    out.print(
        f"lay in   {escape(where['file'])}, bytes {where['offset']:,} to {where['offset'] + where['length']:,} ({where['type']})",
        soft_wrap=True,
    )
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    for step in story["steps"]:
        told = [f"{name} {_number(value)}{_limits(step, name)}" for name, value in step["values"].items()]
        colour = "green" if step["verdict"] == "passed" else "red"
        table.add_row(f"  {step['step']}", f"[{colour}]{step['verdict']}[/]", escape(", ".join(told)))
    out.print(table)
    if "because" in story:
        because = story["because"]
        limit = f", limit {_number(because['limit'])}" if "limit" in because else ""
        value = f": {_number(because['value'])}{limit}" if "value" in because else ""
        out.print(f"[bold]{story['state']}[/] by {because.get('step')}, {because.get('rule')}{value}")
        if "detail" in because:
            label = "survivor" if because.get("step") == "dedup" else "detail"
            out.print(f"{label:8} {escape(because['detail'])}")
    else:
        out.print("[bold green]kept[/]")
    if "cluster" in story:
        out.print(f"cluster  {story['cluster']['id']}, {story['cluster']['size']} documents")
    if "published" in story:
        place = story["published"]
        first, last = place["token_range"]
        out.print(f"text     {place['text']}, row {place['row']:,}")
        out.print(f"tokens   {place['tokens']}, row {place['row']:,}, tokens {first:,} to {last:,}")


def show_what_if(out: Console, answer: WhatIf, settings: list[str]) -> None:
    """What would go and what would come back."""
    share = answer.go_tokens / answer.tokens if answer.tokens else 0
    out.print(f"with {escape(', '.join(settings))}:")
    out.print(
        f"  would go          {sum(answer.go.values()):,} of {answer.kept:,} documents, {share:.1%} of the tokens"
    )
    _rules(out, answer.go)
    out.print(f"  would come back   {sum(answer.back.values()):,} pages past the step that dropped them")
    _rules(out, answer.back)
    if answer.later:
        later = ", ".join(answer.later)
        out.print(
            f"    [yellow]not certain[/]: these steps never saw them and would have to run: {escape(later)}",
            soft_wrap=True,
        )
    if answer.duplicates_freed:
        out.print(f"  duplicates of what would go, of which one each would stay: {answer.duplicates_freed:,}")
    if answer.other_rule:
        out.print(f"  dropped as before, by another rule of the step: {answer.other_rule:,}")
    for title, urls in (("goes", answer.examples_go), ("back", answer.examples_back)):
        for url in urls:
            out.print(f"  [dim]{title}  {escape(url)}[/]", soft_wrap=True)


def _rules(out: Console, counts: Counter[str]) -> None:
    for rule, count in counts.most_common():
        out.print(f"    {count:>8,}  {rule}")


def _limits(step: dict[str, Any], value: str) -> str:
    return f" ({', '.join(step['limits'][value])})" if value in step["limits"] else ""


def _number(value: float) -> str:
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:.4g}"
