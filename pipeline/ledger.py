"""Ask the ledger: explain a record, count states and drops, and answer what-if without running anything again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.errors import GristmillError
from pipeline.recipe import Recipe, parse_recipe
from pipeline.steps import Step
from pipeline.steps.language import EarlyLanguage, Language
from pipeline.store import Folder, Manifest
from pipeline.store.parquet import open_parquet

_MASKS = {">=": np.less, ">": np.less_equal, "<=": np.greater, "<": np.greater_equal}  # true where the rule drops


@dataclass(frozen=True)
class Dataset:
    """A published dataset: its folder, manifest and recipe."""

    folder: Folder
    manifest: Manifest
    given: Recipe | None = None  # where it is not published yet

    @classmethod
    def open(cls, folder: Folder) -> Dataset:
        """Raises GristmillError where the folder holds no published dataset."""
        manifest = Manifest.read(folder)
        if manifest is None:
            raise GristmillError(
                "there is no published dataset", folder.url, "Name the --out folder of a run that came to its end."
            )
        return cls(folder, manifest)

    @cached_property
    def recipe(self) -> Recipe:
        """Read when it is asked for: a dataset whose recipe is damaged can still be verified."""
        text = self.folder.read("recipe.yaml") if self.given is None else b""
        return self.given or parse_recipe(text.decode(), self.folder.path("recipe.yaml"))

    def files(self, under: str) -> list[str]:
        return sorted(name for name in self.manifest.entries if name.startswith(f"{under}/"))

    def ledger(self, columns: list[str] | None = None) -> Iterator[pa.Table]:
        """The ledger, a row group at a time."""
        for name in self.files("ledger"):
            with self.folder.open(name) as file:
                parquet = open_parquet(file)
                for group in range(parquet.num_row_groups):
                    yield parquet.read_row_group(group, columns, use_threads=False)


def explain(dataset: Dataset, what: str) -> list[dict[str, Any]]:
    """The story of every record with this record_id or URL, pages before their requests and metadata.

    Each story holds: `where` (file, byte range), `steps` (label, verdict, values with their limits), `state`, and for
    a duplicate its survivor and cluster, for a kept one its shard, row and tokens. An empty list: no such record.
    """
    stories = []
    for table in dataset.ledger():
        column = table["record_id"] if _is_record_id(what) else table["url"]
        hits = table.filter(pc.equal(column, what))
        stories += [_story(row, dataset) for row in hits.to_pylist()]
    return sorted(stories, key=lambda story: (story["where"]["file"], not story["steps"], story["where"]["offset"]))


def nearest_urls(dataset: Dataset, url: str, most: int = 5) -> list[str]:
    """URLs of the ledger that contain, or are contained in, what was asked for: help for a mistyped one."""
    wanted = url.split("://")[-1].rstrip("/").lower()
    found: list[str] = []
    for table in dataset.ledger(["url"]):
        for candidate in pc.unique(table["url"]).to_pylist():
            if wanted and candidate and wanted in candidate.lower():
                found += [candidate] if candidate not in found else []
                if len(found) == most:
                    return found
    return found


@dataclass(slots=True)
class WhatIf:
    """What other settings would have done, from stored values.

    `go`: kept documents that would be dropped, by rule; `back`: dropped pages that would pass the step that dropped
    them, by that rule; `later`: for those, the steps that never saw them and would have to be run to be sure.
    """

    kept: int = 0
    tokens: int = 0
    go: Counter[str] = field(default_factory=Counter)
    go_tokens: int = 0
    back: Counter[str] = field(default_factory=Counter)
    other_rule: int = 0  # dropped before and after, by another rule of the step
    later: Counter[str] = field(default_factory=Counter)
    duplicates_freed: int = 0  # removed as duplicates of a document that would go
    examples_go: list[str] = field(default_factory=list)
    examples_back: list[str] = field(default_factory=list)


def what_if(dataset: Dataset, settings: Iterable[str]) -> WhatIf:
    """Judge every record of the ledger again under changed settings of rules (`gopher_quality.min_words=30`).

    Raises GristmillError for a setting that no stored value can answer.
    """
    settings = list(settings)
    changed = dataset.recipe.with_settings(settings)
    pairs = _changed_steps(dataset.recipe, changed, settings)
    dedup = dataset.recipe.dedup
    order = [step.label for step in dataset.recipe.steps] + (["dedup"] if dedup.exact or dedup.minhash else [])
    answer = WhatIf()
    gone: set[str] = set()
    for table in dataset.ledger():
        state, dropped_by = _strings(table["state"]), _strings(table["step"])
        tokens = table["n_tokens"].fill_null(0).to_numpy()
        kept = state == "kept"
        answer.kept += int(kept.sum())
        answer.tokens += int(tokens.sum())
        leaves = np.zeros(table.num_rows, bool)
        earlier = np.zeros(table.num_rows, bool)  # what a changed step before would drop
        for step in pairs:
            verdict = _verdicts(step, table)
            went, here = verdict != "", dropped_by == step.label
            for i in np.flatnonzero(kept & went & ~leaves):
                answer.go[f"{step.label}/{verdict[i]}"] += 1
            leaves |= kept & went
            rules = _strings(table["rule"])
            judged = np.isin(rules, _judged(step))
            comes = here & ~went & ~earlier & judged & (state == "dropped")
            earlier |= went
            for i in np.flatnonzero(comes):
                answer.back[f"{step.label}/{rules[i]}"] += 1
            answer.other_rule += int((here & went & judged & (rules != verdict)).sum())
            for label in order[order.index(step.label) + 1 :] if comes.any() else []:
                answer.later[label] += int(comes.sum())
            _examples(answer.examples_back, table, comes)
        answer.go_tokens += int(tokens[leaves].sum())
        _examples(answer.examples_go, table, leaves)
        gone.update(table.filter(pa.array(leaves))["record_id"].to_pylist())
    if gone:
        ids = pa.array(sorted(gone))
        for table in dataset.ledger(["step", "detail"]):
            mine = pc.and_(pc.equal(table["step"], "dedup"), pc.is_in(table["detail"], ids))
            answer.duplicates_freed += pc.sum(mine.fill_null(False)).as_py() or 0
    return answer


def verify(dataset: Dataset) -> list[str]:
    """Every fault of a dataset: checksums, the conservation law, and documents against ledger and shards."""
    faults = dataset.manifest.faults(dataset.folder)
    if faults:
        return faults
    states: Counter[str] = Counter()
    placed: Counter[str] = Counter()
    for table in dataset.ledger(["state", "shard"]):
        states.update(table["state"].to_pylist())
        placed.update(shard for shard in table["shard"].to_pylist() if shard is not None)
    said = dict(dataset.manifest.about["records"])
    total = said.pop("in")
    if sum(states.values()) != total or {k: v for k, v in states.items() if v} != said:
        faults.append(f"ledger: {dict(states)}, the manifest says {said} of {total}")
    for shard in dataset.manifest.about["shards"]:
        name, rows = shard["name"], shard["documents"]
        for folder in ("text", "tokens"):
            if dataset.manifest.entries[f"{folder}/{name}.parquet"].rows != rows:
                faults.append(f"{folder}/{name}.parquet: its rows are not the {rows} documents of the shard")
        if placed[name] != rows:
            faults.append(f"ledger: {placed[name]} records lie in {name}, which holds {rows}")
    return faults


def _story(row: dict[str, Any], dataset: Dataset) -> dict[str, Any]:
    story: dict[str, Any] = {
        "record_id": row["record_id"],
        "url": row["url"],
        "where": {"file": row["file"], "offset": row["offset"], "length": row["length"], "type": row["record_type"]},
        "state": row["state"],
        "steps": _step_story(row, dataset.recipe),
    }
    if row["state"] != "kept":
        fields = ("step", "rule", "value", "limit", "detail")
        story["because"] = {name: row[name] for name in fields if row[name] is not None}
    if row["cluster_id"]:
        story["cluster"] = {"id": row["cluster_id"], "size": row["cluster_size"]}
    if row["language"]:
        story["language"] = {"code": row["language"], "score": row["language_score"]}
    if row["shard"]:
        start = row["token_start"]
        story["published"] = {
            "text": f"text/{row['shard']}.parquet",
            "tokens": f"tokens/{row['shard']}.parquet",
            "row": row["row"],
            "token_range": [start, start + row["n_tokens"]],
        }
    return story


def _step_story(row: dict[str, Any], recipe: Recipe) -> list[dict[str, Any]]:
    """The verdict of each step that saw the page, with what it measured beside the limits.

    Of a page that cost its worker nothing is known: the step in which it did is not told.
    """
    if row["step"] in ("reader", "worker"):
        return []
    told = []
    for step in recipe.steps:
        ended = row["step"] == step.label
        values = {c.removeprefix(f"{step.label}."): row[c] for c in step.columns if row.get(c) is not None}
        limits: dict[str, list[str]] = {}
        for rule in step.rules:
            limit = step.limit(rule, row["language"] or "")
            if rule.value in values and limit is not None:
                number = int(limit) if isinstance(limit, bool) else limit
                limits.setdefault(rule.value, []).append(f"{step.keep(rule)} {number}")
        verdict = row["state"] if ended else "passed"
        told.append({"step": step.label, "verdict": verdict, "values": values, "limits": limits})
        if ended:
            break
    return told


def _changed_steps(before: Recipe, after: Recipe, settings: list[str]) -> list[Step]:
    """The steps whose rules changed; only limits of rules can be judged from stored values."""
    changed = []
    if [step.label for step in before.steps] != [step.label for step in after.steps]:
        raise GristmillError(
            "other steps than the run had: no stored value can answer",
            f"--set {' --set '.join(settings)}",
            "Set limits of a step to null to ask what it alone took, or run the recipe again.",
        )
    for old, new in zip(before.steps, after.steps, strict=True):
        fields = {name for name in type(old).model_fields if getattr(old, name) != getattr(new, name)}
        limits = {"languages", "min_score", "min_score_by_language", "strict"} if isinstance(new, Language) else set()
        limits |= {rule.setting for rule in new.rules}
        if fields - limits:
            raise GristmillError(
                f"{new.label}.{sorted(fields - limits)[0]} changes what is measured: no stored value can answer",
                f"--set {' --set '.join(settings)}",
                f"Limits of {new.label} are {', '.join(sorted(limits)) or 'none'}. For anything else run the recipe again.",
            )
        if isinstance(old, EarlyLanguage) and isinstance(new, EarlyLanguage):
            _check_lower(old, new, settings)
        if fields:
            changed.append(new)
    if not changed:
        raise GristmillError(
            "this changes no limit of a step", f"--set {' --set '.join(settings)}", "See `gristmill recipe show`."
        )
    return changed


def _check_lower(old: EarlyLanguage, new: EarlyLanguage, settings: list[str]) -> None:
    """The gate looks at a page's middle only where its beginning lies below the limit, so the ledger does not say what
    a higher limit would find there."""
    if new.min_probability > old.min_probability:
        raise GristmillError(
            f"a higher {new.label}.min_probability looks at more of a page: no stored value can answer",
            f"--set {' --set '.join(settings)}",
            f"Ask for less than {old.min_probability:g}, or run the recipe again.",
        )


def _judged(step: Step) -> list[str]:
    """The rules that `_verdicts` can ask again; pages that the step dropped for another reason stay dropped."""
    return ["language", "language_score"] if isinstance(step, Language) else [rule.name for rule in step.rules]


def _verdicts(step: Step, table: pa.Table) -> np.ndarray[Any, Any]:
    """For each row the rule that drops it, "" where all keep it or nothing was measured."""
    verdict: np.ndarray[Any, Any] = np.full(table.num_rows, "", dtype=object)
    if isinstance(step, Language):
        found = zip(table["language"].to_pylist(), table["language_score"].to_pylist(), strict=True)
        drops = (step.verdict(language, score) if language else None for language, score in found)
        verdict[:] = [drop.rule if drop else "" for drop in drops]
        return verdict
    languages = [language or "" for language in table["language"].to_pylist()]
    for rule in reversed(step.rules):
        limits = {language: step.limit(rule, language) for language in set(languages)}
        if not any(limit is not None for limit in limits.values()):
            continue
        values = table[f"{step.label}.{rule.value}"].to_numpy()
        limit = np.array([limits[language] for language in languages], np.float64)  # None becomes nan, which keeps
        with np.errstate(invalid="ignore"):
            beyond = _MASKS[step.keep(rule)](values, limit)
        verdict[beyond & ~np.isnan(values)] = rule.name
    if isinstance(step, EarlyLanguage):  # let through to measure the gate's loss
        verdict[~np.isnan(table[f"{step.label}.audit"].to_numpy())] = ""
    return verdict


def _strings(column: pa.ChunkedArray) -> np.ndarray[Any, Any]:
    return np.array(column.to_pylist(), dtype=object)


def _examples(into: list[str], table: pa.Table, mask: np.ndarray[Any, Any], most: int = 5) -> None:
    for i in np.flatnonzero(mask)[: most - len(into)]:
        into.append(table["url"][int(i)].as_py())


def _is_record_id(what: str) -> bool:
    return len(what) == 32 and all(c in "0123456789abcdef" for c in what)
