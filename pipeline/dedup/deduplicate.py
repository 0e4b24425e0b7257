"""Deduplication of all splits of a crawl."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa

from pipeline.dedup.identity import texts as id_texts
from pipeline.dedup.settings import DedupSettings
from pipeline.dedup.shingles import CodePoints, shingle_hashes, shingle_set
from pipeline.dedup.verdicts import CLUSTERS, REMOVED, clusters_name, removed_name
from pipeline.store import Entry, Folder

A = TypeVar("A")
B = TypeVar("B")
RunTasks = Callable[[Callable[[Any], Any], Sequence[Any]], Iterable[Any]]


@dataclass(frozen=True)
class RefinedSplit:
    """A refined split: its documents (columns `id`, `text`, `url` at least) and their signatures.

    It is called by the last part of its folder's path, which must differ from split to split.
    """

    folder: Folder
    documents: str = "documents.parquet"
    signatures: str = "signatures.parquet"

    @property
    def name(self) -> str:
        return self.folder.url.rpartition("/")[2]


@dataclass(frozen=True)
class DedupResult:
    """What dedup came to: the files in the output folder and `stats.json` as it stands there."""

    entries: tuple[Entry, ...]
    stats: dict[str, Any]

    @property
    def alarms(self) -> list[str]:
        return list(self.stats["alarms"])


def deduplicate(
    splits: Sequence[RefinedSplit], settings: DedupSettings, out: Folder, run_tasks: RunTasks
) -> DedupResult:
    """Decide which documents of `splits` are copies; see `verdicts.py` for what lies in `out` afterwards."""
    rows, text, split_of = [], {}, {}
    for number, split in enumerate(splits):
        table = split.folder.read_table(split.signatures)
        ids = id_texts(table["id_high"].to_numpy(), table["id_low"].to_numpy())
        exact = id_texts(table["exact_high"].to_numpy(), table["exact_low"].to_numpy())
        bands = np.stack([table[f"band_{band:02d}"].to_numpy() for band in range(settings.bands)], axis=1)
        sizes = table["shingles"].to_pylist()
        rows += list(zip(ids, exact, table["chars"].to_pylist(), sizes, bands.tolist(), strict=True))
        documents = split.folder.read_table(split.documents, ["id", "text"])
        for record_id, body in zip(documents["id"].to_pylist(), documents["text"].to_pylist(), strict=True):
            text[record_id], split_of[record_id] = body, number
    rows.sort()
    chars = {row[0]: row[2] for row in rows}
    first: dict[str, str] = {}
    original = {row[0]: first.setdefault(row[1], row[0]) if settings.exact else row[0] for row in rows}
    buckets: dict[tuple[int, int], list[str]] = defaultdict(list)
    for record_id, _, _, shingles, bands_of in rows:
        if shingles and original[record_id] == record_id:
            for band, key in enumerate(bands_of):
                buckets[band, key].append(record_id)
    candidates = {(a, b) for ids in buckets.values() for i, a in enumerate(ids) for b in ids[i + 1 :]}
    sets: dict[str, CodePoints] = {}

    def similarity(a: str, b: str) -> float:
        for one in (a, b):
            if one not in sets:
                sets[one] = shingle_set(shingle_hashes(text[one], settings))
        both = np.intersect1d(sets[a], sets[b], assume_unique=True).size
        return both / max(1, sets[a].size + sets[b].size - both)

    parent = dict(original)

    def root(one: str) -> str:
        while parent[one] != one:
            one = parent[one]
        return one

    verified = 0
    for a, b in sorted(candidates):
        if similarity(a, b) >= settings.min_jaccard:
            verified += 1
            low, high = sorted((root(a), root(b)))
            parent[high] = low
    clusters: dict[str, list[str]] = defaultdict(list)
    for record_id in parent:
        clusters[root(record_id)].append(record_id)
    removed: dict[int, list[tuple[Any, ...]]] = defaultdict(list)
    members: dict[int, list[tuple[Any, ...]]] = defaultdict(list)
    kinds: Counter[str] = Counter()
    for cluster, ids in sorted(clusters.items()):
        if len(ids) == 1:
            continue
        survivor = min(ids, key=lambda one: (-chars[one], one))
        for record_id in ids:
            members[split_of[record_id]].append((record_id, cluster, len(ids)))
            if record_id != survivor:
                kind = "exact" if original[record_id] == original[survivor] else "near"
                kinds[kind] += 1
                score = 1.0 if kind == "exact" else similarity(original[record_id], survivor)
                removed[split_of[record_id]].append((record_id, survivor, kind, score, ""))
    entries = []
    for number, split in enumerate(splits):
        for name, schema, found in (
            (removed_name(split.name), REMOVED, removed[number]),
            (clusters_name(split.name), CLUSTERS, members[number]),
        ):
            columns = zip(*sorted(found), strict=True) if found else [[] for _ in schema]
            arrays = [pa.array(column, field.type) for column, field in zip(columns, schema, strict=True)]
            entries.append(out.write_table(name, pa.table(arrays, schema=schema)))
    stats = {
        "documents": len(rows),
        "removed": {"exact": kinds["exact"], "near": kinds["near"]},
        "kept": len(rows) - sum(kinds.values()),
        "candidate_pairs": len(candidates),
        "verified_pairs": verified,
        "rejected_pairs": len(candidates) - verified,
        "alarms": [],
    }
    entries.append(out.write_json("stats.json", stats))
    return DedupResult(tuple(entries), stats)
