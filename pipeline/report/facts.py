"""What the data card and the report say, counted from the published ledger alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.ledger import Dataset
from pipeline.recipe import Recipe
from pipeline.steps import Step
from pipeline.steps.by_language import ByLanguage
from pipeline.steps.language_loss import LanguageLoss, language_loss
from pipeline.store import Folder, Manifest

BINS = 40
TOP = 25
_PREVIEW = 200_000  # values of a column from which its histogram's range is taken


@dataclass(slots=True)
class Stage:
    """One step of the funnel: what came to it and what it took, by rule."""

    label: str
    came: int = 0
    dropped: int = 0
    quarantined: int = 0
    rules: dict[str, int] = field(default_factory=dict)

    @property
    def left(self) -> int:
        return self.came - self.dropped - self.quarantined

    @property
    def no_pages(self) -> int:
        """Records that hold no page (requests, metadata, revisits, …); only the reader meets such."""
        return self.rules.get("record_type", 0) if self.label == "reader" else 0


@dataclass(slots=True)
class Histogram:
    """How a measured value is spread over the pages that this step kept and those that it dropped.

    `edges` has BINS + 1 values; what lies outside is counted in the outermost bins. `limits` holds (rule, comparison
    that keeps, limit).
    """

    column: str
    edges: list[float]
    kept: list[int]
    dropped: list[int]
    limits: list[tuple[str, str, float]]


@dataclass(slots=True)
class Facts:
    """Everything told of a dataset; a function of what was published, so the same wherever it is computed."""

    recipe: Recipe
    manifest: Manifest
    records: int = 0
    states: Counter[str] = field(default_factory=Counter)
    record_types: Counter[str] = field(default_factory=Counter)
    funnel: list[Stage] = field(default_factory=list)
    histograms: list[Histogram] = field(default_factory=list)
    languages: Counter[str] = field(default_factory=Counter)  # of documents published
    language_tokens: Counter[str] = field(default_factory=Counter)
    languages_seen: Counter[str] = field(default_factory=Counter)  # of pages that came as far as identification
    hosts: Counter[str] = field(default_factory=Counter)  # documents published
    host_tokens: Counter[str] = field(default_factory=Counter)
    tokens: int = 0
    chars: int = 0
    token_lengths: Counter[int] = field(default_factory=Counter)  # documents by floor(log2(tokens))
    parts: dict[str, dict[str, int]] = field(default_factory=dict)  # documents and tokens by part
    pii: Counter[str] = field(default_factory=Counter)  # replaced in published documents, by type
    early: LanguageLoss | None = None  # what the early language gate cost, None without one
    cluster_sizes: Counter[int] = field(default_factory=Counter)  # clusters by size, of published documents


def collect_facts(folder: Folder, manifest: Manifest, recipe: Recipe) -> Facts:
    """Count the ledger of a dataset, a row group at a time."""
    dataset = Dataset(folder, manifest, recipe)
    facts = Facts(recipe, manifest)
    taken: Counter[tuple[str, str, str]] = Counter()
    histograms = _Histograms(recipe)
    columns = ["state", "step", "rule", "record_type", "language", "host", "n_tokens", "chars", "cluster_size"]
    pii = [column for column in recipe.measured if column.startswith("pii.")]
    for table in dataset.ledger(columns + recipe.measured):
        taken.update(fates(table))
        facts.record_types.update(table["record_type"].to_pylist())
        facts.languages_seen.update(language for language in table["language"].to_pylist() if language)
        histograms.add(table)
        if recipe.step("early_language") is not None:
            loss = language_loss(table)
            facts.early = loss if facts.early is None else LanguageLoss(*map(sum, zip(facts.early, loss, strict=True)))
        kept = table.filter(pc.equal(table["state"], "kept"))
        _count_kept(facts, kept)
        for column in pii:
            facts.pii[column.removeprefix("pii.")] += int(pc.sum(kept[column]).as_py() or 0)
    for (state, _, _), count in taken.items():
        facts.states[state] += count
    facts.records = sum(facts.states.values())
    facts.funnel = funnel(taken, recipe)
    facts.histograms = histograms.done()
    for shard in manifest.about["shards"]:
        part = facts.parts.setdefault(shard["part"], {"documents": 0, "tokens": 0, "shards": 0})
        part["documents"] += shard["documents"]
        part["tokens"] += shard["tokens"]
        part["shards"] += 1
    return facts


def fates(table: pa.Table) -> Iterator[tuple[str, str, str]]:
    """(state, step, rule) of each row of the ledger, "" for none."""
    for state, step, rule in zip(*(table[name].to_pylist() for name in ("state", "step", "rule")), strict=True):
        yield state, step or "", rule or ""


def _count_kept(facts: Facts, kept: pa.Table) -> None:
    tokens = kept["n_tokens"].to_pylist()
    for language, host, count in zip(kept["language"].to_pylist(), kept["host"].to_pylist(), tokens, strict=True):
        facts.languages[language or "?"] += 1
        facts.language_tokens[language or "?"] += count
        facts.hosts[host] += 1
        facts.host_tokens[host] += count
        facts.token_lengths[max(count, 1).bit_length() - 1] += 1
    facts.tokens += sum(tokens)
    facts.chars += pc.sum(kept["chars"]).as_py() or 0
    facts.cluster_sizes.update(size for size in kept["cluster_size"].to_pylist() if size)


def funnel(taken: Counter[tuple[str, str, str]], recipe: Recipe) -> list[Stage]:
    """The steps in their order, with what came to each; `taken` counts records by (state, step, rule)."""
    stages = {label: Stage(label) for label in ("reader", *(s.label for s in recipe.steps), "worker", "dedup")}
    for (state, step, rule), count in taken.items():
        if state == "kept":
            continue
        stage = stages[step]
        stage.rules[rule] = stage.rules.get(rule, 0) + count
        if state == "dropped":
            stage.dropped += count
        else:
            stage.quarantined += count
    left = sum(taken.values())
    for stage in stages.values():
        stage.came = left
        stage.rules = dict(sorted(stage.rules.items(), key=lambda item: (-item[1], item[0])))
        left = stage.left
    return [stage for stage in stages.values() if stage.label != "worker" or stage.rules]


class _Histograms:
    """One histogram a measured value; its range is taken from its first _PREVIEW values, and from its limits."""

    def __init__(self, recipe: Recipe) -> None:
        self._of = {column: step for step in recipe.steps for column in step.columns}
        self._waiting: dict[str, list[tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]]] = {}
        self._edges: dict[str, npt.NDArray[np.float64]] = {}
        self._counts: dict[str, tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]] = {}

    def add(self, table: pa.Table) -> None:
        step_of = np.array(table["step"].to_pylist(), dtype=object)
        for column, step in self._of.items():
            values = table[column].to_numpy()
            there = ~np.isnan(values)
            if not there.any():
                continue
            values, here = values[there], (step_of == step.label)[there]
            if column in self._edges:
                self._count(column, values, here)
                continue
            waiting = self._waiting.setdefault(column, [])
            waiting.append((values, here))
            if sum(len(some) for some, _ in waiting) >= _PREVIEW:
                self._begin(column)

    def done(self) -> list[Histogram]:
        for column in list(self._waiting):
            self._begin(column)
        return [
            Histogram(
                column,
                self._edges[column].tolist(),
                self._counts[column][0].tolist(),
                self._counts[column][1].tolist(),
                _limits(column, step),
            )
            for column, step in self._of.items()
            if column in self._edges
        ]

    def _begin(self, column: str) -> None:
        waiting = self._waiting.pop(column)
        first = np.concatenate([values for values, _ in waiting])
        self._edges[column] = _range(first, _limits(column, self._of[column]))
        self._counts[column] = (np.zeros(BINS, np.int64), np.zeros(BINS, np.int64))
        for values, here in waiting:
            self._count(column, values, here)

    def _count(self, column: str, values: npt.NDArray[np.float64], here: npt.NDArray[np.bool_]) -> None:
        """`here` says which of the values made their page fall at this step."""
        bins = np.clip(np.searchsorted(self._edges[column], values, side="right") - 1, 0, BINS - 1)
        kept, dropped = self._counts[column]
        kept += np.bincount(bins[~here], minlength=BINS)
        dropped += np.bincount(bins[here], minlength=BINS)


def _limits(column: str, step: Step) -> list[tuple[str, str, float]]:
    if isinstance(step, ByLanguage) and step.by_language:
        return []  # a line for each language would say nothing
    value = column.removeprefix(f"{step.label}.")
    asked = [(rule, getattr(step, rule.setting)) for rule in step.rules if rule.value == value]
    return [(rule.name, step.keep(rule), float(limit)) for rule, limit in asked if limit is not None]


def _range(values: npt.NDArray[np.float64], limits: list[tuple[str, str, float]]) -> npt.NDArray[np.float64]:
    """Edges over the middle 99 % of the values and over every limit that lies within thrice that."""
    low, high = np.quantile(values, (0.005, 0.995))
    reach = max(high - low, 1e-9) * 3
    for _, _, limit in limits:
        if low - reach <= limit <= high + reach:
            low, high = min(low, limit), max(high, limit)
    if high <= low:
        high = low + 1
    return np.linspace(low, high, BINS + 1)
