"""What a run shows in the UI: a bar that moves, the funnel, what was set aside, the data card, where things lie."""

from __future__ import annotations

import base64
import re
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pyarrow.compute as pc
from prefect.artifacts import (
    create_link_artifact,
    create_markdown_artifact,
    create_progress_artifact,
    create_table_artifact,
    update_progress_artifact,
)

from pipeline.commands.progress import Rate
from pipeline.commands.stats import funnel_of
from pipeline.recipe import digest
from pipeline.report.charts import funnel_chart
from pipeline.report.facts import Stage
from pipeline.store import Folder

EVERY_SECONDS = 3.0  # between two updates of a bar: each is a request to the server
_SHARE = {"refine": 80.0, "dedup": 5.0, "place": 2.0, "tokenizer": 3.0, "shards": 5.0, "ledger": 3.0, "publish": 2.0}
_STYLE = "text{font:12px sans-serif;fill:#555}.kept{fill:#4f7d4a}.gone{fill:#d9a066}.end{text-anchor:end}svg{background:#fff}"


def artifact_key(kind: str, place: str) -> str:
    """A key that Prefect takes (lower case, digits, dashes): readable, and its own for every folder."""
    name = place.rstrip("/").rpartition("/")[2]
    return f"{re.sub(r'[^a-z0-9]+', '-', f'{kind}-{name}'.lower()).strip('-')[:60]}-{digest(kind, place)[:6]}"


class Bar:
    """A Progress for `pipeline.run.Run` that moves one progress artifact over all phases."""

    def __init__(self, dataset: str, logger: Any) -> None:
        self._logger, self._rate = logger, Rate()
        self._done: dict[str, float] = {}
        self._sent, self._at = time.monotonic(), 0.0
        self._id = create_progress_artifact(0.0, key=artifact_key("progress", dataset), description=f"0 %: {dataset}")
        self._dataset = dataset

    def __call__(self, phase: str, done: int, total: int, about: dict[str, Any]) -> None:
        finished = self._done.get(phase, 0.0) >= 1.0
        self._done[phase] = done / total if total else 1.0
        if phase == "refine":
            self._rate.add(about)
        if done >= total and not finished:
            self._logger.info("%s: %d of %d%s", phase, done, total, self._told(phase))
        if done < total and time.monotonic() - self._sent < EVERY_SECONDS:
            return
        at = sum(_SHARE[name] * share for name, share in self._done.items() if name in _SHARE)
        if at > self._at:  # a phase that starts again does not move the bar back
            told = f"{phase} {done:,} of {total:,}{self._told(phase)}: {self._dataset}"
            update_progress_artifact(self._id, progress=round(at, 1), description=told)
            self._at, self._sent = at, time.monotonic()

    def _told(self, phase: str) -> str:
        told = self._rate.told() if phase == "refine" else ""
        return f"  {told}" if told else ""


def tell_split(logger: Any, work: Folder, key: str, about: dict[str, Any]) -> None:
    """A line for a refined split; where records were set aside, their reasons instead of a stack of frames."""
    states = about["states"]
    logger.info(
        "%s: %d records, %d kept, %d dropped, %d set aside",
        about["split"],
        about["records"],
        *(states.get(state, 0) for state in ("kept", "dropped", "quarantined")),
    )
    if states.get("quarantined"):
        for (rule, detail), count in set_aside(work, key).most_common(10):
            logger.warning("%s: set aside %d: %s%s", about["split"], count, rule, f" ({detail})" if detail else "")


def set_aside(work: Folder, key: str) -> Counter[tuple[str, str]]:
    """Quarantined records of a refined split by (step/rule, detail)."""
    table = work.sub(f"refine/{key}").read_table("ledger.parquet", ["state", "step", "rule", "detail"])
    rows = table.filter(pc.equal(table["state"], "quarantined")).to_pylist()
    return Counter((f"{row['step']}/{row['rule']}", (row["detail"] or "")[:120]) for row in rows)


def show_set_aside(dataset: str, counts: Counter[tuple[str, str]]) -> None:
    """The reasons for which records were set aside, as a table artifact."""
    if counts:
        rows = [{"records": n, "rule": rule, "detail": detail} for (rule, detail), n in counts.most_common(100)]
        create_table_artifact(rows, key=artifact_key("set-aside", dataset), description="Records set aside, by reason")


def show_dataset(folder: Folder) -> dict[str, Any]:
    """The artifacts of a published dataset; returns its funnel."""
    told = funnel_of(folder.url)
    name = folder.url
    rows = [
        {
            "step": step["label"],
            "came": step["came"],
            "dropped": step["dropped"],
            "set aside": step["quarantined"],
            "left": step["left"],
            "left, %": round(100 * step["left"] / max(told["records"], 1), 1),
            "by rule": ", ".join(f"{rule} {count:,}" for rule, count in step["rules"].items()),
        }
        for step in told["steps"]
    ]
    create_table_artifact(rows, key=artifact_key("funnel", name), description=f"What each step took: {name}")
    picture = _picture(
        [Stage(s["label"], s["came"], s["dropped"], s["quarantined"], s["rules"]) for s in told["steps"]]
    )
    create_markdown_artifact(
        f"# Funnel\n\n{told['records']:,} records in, {told['kept']:,} documents and {told['tokens']:,} tokens in "
        f"{told['shards']:,} shards.\n\n![records left after each step]({picture})\n",
        key=artifact_key("funnel-picture", name),
        description=f"Records left after each step: {name}",
    )
    create_markdown_artifact(
        _without_front_matter(folder.read("README.md").decode()),
        key=artifact_key("data-card", name),
        description=f"Data card of {name}",
    )
    _show_places(folder)
    return told


def _show_places(folder: Folder) -> None:
    places = {"dataset": folder.url, "report": f"{folder.url}/run/report.html", "data card": f"{folder.url}/README.md"}
    if folder.url.startswith(("http://", "https://")):
        for name, url in places.items():
            create_link_artifact(url, link_text=name, key=artifact_key(name, folder.url))
        return
    lines = "\n".join(f"- {name}: `{url}`" for name, url in places.items())
    create_markdown_artifact(lines, key=artifact_key("places", folder.url), description=f"Where {folder.url} lies")


def _picture(stages: Sequence[Stage]) -> str:
    """The report's funnel as a data: URL, with a style of its own, since it stands alone."""
    svg = funnel_chart(stages).replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" width="640" ', 1)
    svg = svg.replace(">", f"><style>{_STYLE}</style>", 1)
    return f"data:image/svg+xml;base64,{base64.b64encode(svg.encode()).decode()}"


def _without_front_matter(card: str) -> str:
    return card.split("---\n", 2)[-1] if card.startswith("---\n") else card
