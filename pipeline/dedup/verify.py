"""Verification: the true Jaccard similarity of candidate pairs.

The better document of each pair travels as a set of shingle hashes to the chunk where the other one's text lies;
there they are compared. Two stages: `fetch` takes the sets from the texts, `compare` meets them with the pairs.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from pipeline.dedup.bands import KEYS
from pipeline.dedup.candidates import PAIRS, WANTED, better_name, left_bucket
from pipeline.dedup.identity import halves, texts
from pipeline.dedup.plan import Plan, Source, load_plan
from pipeline.dedup.rows import Array, Rows, changes, id_bucket, locate, order_by, stack, take
from pipeline.dedup.settings import DedupSettings
from pipeline.dedup.shingles import overlaps, shingle_hashes, shingle_set
from pipeline.dedup.stage import Counts, Job, bucket_writer, read_batches, read_bucket
from pipeline.errors import GristmillError
from pipeline.store.parquet import open_parquet

SETS = pa.schema([("id_high", pa.uint64()), ("id_low", pa.uint64()), ("shingles", pa.large_list(pa.uint32()))])
# Both directions of each verified pair, bucketed by `id`.
EDGES = pa.schema(
    [(name, pa.uint64()) for name in ("id_high", "id_low", "other_high", "other_low")]
    + [("source", pa.int32()), ("chars", pa.uint32()), ("better", pa.bool_()), ("similarity", pa.float64())]
)


class Sets(NamedTuple):
    """The shingle sets of documents sorted by id: set i is `values[offsets[i] : offsets[i + 1]]`."""

    high: Array
    low: Array
    offsets: Array  # int64 [n + 1]
    values: Array  # uint32


def fetch(job: Job) -> Counts:
    """Take from the texts of a chunk the sets that other chunks wait for (`item`: chunk and files of pairs)."""
    plan = load_plan(job.scratch)
    wanted = read_bucket(job.scratch, job.item["wanted"], WANTED, job.item["chunk"], plan.chunks)
    order = order_by(wanted["chunk"], wanted["id_high"], wanted["id_low"])
    wanted = take(wanted, order)
    wanted = take(wanted, changes(wanted["chunk"], wanted["id_high"], wanted["id_low"]))
    sets = load_sets(plan, wanted)
    ends = np.cumsum(np.bincount(wanted["chunk"], minlength=plan.chunks))
    with bucket_writer(job.scratch, job.output("sets"), SETS, plan.chunks) as writer:
        at = locate(wanted["id_high"], wanted["id_low"], sets.high, sets.low)
        writer.add_batches(_set_batch(sets, at[end - size : end]) for end, size in _spans(ends))
    return {"documents": int(sets.high.size)}


def compare(job: Job) -> Counts:
    """Compare the pairs of a chunk (`item`: chunk, files of pairs and of sets, least similarity).

    Writes the pairs that pass as EDGES, and as KEYS the members of large groups that passed with none of their
    group's representatives.
    """
    plan = load_plan(job.scratch)
    pairs = read_bucket(job.scratch, job.item["pairs"], PAIRS, job.item["chunk"], plan.chunks)
    ends = ("better_high", "better_low", "id_high", "id_low")
    pairs = take(pairs, order_by(*(pairs[name] for name in ends), pairs["group"]))
    pairs = take(pairs, changes(*(pairs[name] for name in ends), pairs["group"]))
    first = changes(*(pairs[name] for name in ends))
    similarity = _similarities(job, plan, take(pairs, first))
    passed = similarity >= job.item["least"]
    edges = {**take(take(pairs, first), passed), "similarity": similarity[passed]}
    both = stack([_direction(edges, True), _direction(edges, False)])
    with bucket_writer(job.scratch, job.output("edges"), EDGES, plan.id_buckets) as writer:
        writer.add(both, id_bucket(both["id_high"], both["id_low"], plan.id_buckets))
    left = _left(pairs, passed[np.cumsum(first) - 1])
    with bucket_writer(job.scratch, job.output("left"), KEYS, plan.id_buckets) as writer:
        writer.add(left, left_bucket(plan, left))
    verified = int(np.count_nonzero(passed))
    rejected = int(passed.size) - verified
    return {"verified": verified, "rejected": rejected, "left": int(left["key"].size)}


def load_sets(plan: Plan, wanted: Rows) -> Sets:
    """The shingle sets of some documents, from the texts of their sources (or from an index)."""
    order = order_by(wanted["id_high"], wanted["id_low"])
    order = order[changes(wanted["id_high"][order], wanted["id_low"][order])]
    high, low, sources = (wanted[name][order] for name in ("id_high", "id_low", "source"))
    found: list[Array | None] = [None] * high.size
    for number in np.unique(sources).tolist():
        mine = np.flatnonzero(sources == number)
        for at, shingles in _stored_sets(plan.sources[number], plan.settings, high[mine], low[mine]):
            found[mine[at]] = shingles
    missing = [at for at, shingles in enumerate(found) if shingles is None]
    if missing:
        source = plan.sources[sources[missing[0]]]
        raise GristmillError(
            f"{len(missing)} signed documents have no text, {texts(high[missing[:1]], low[missing[:1]])[0]} first",
            source.folder.path(source.documents),
            "Refine this split again.",
        )
    pieces = [shingles for shingles in found if shingles is not None]
    offsets = np.concatenate([[0], np.cumsum([piece.size for piece in pieces], dtype=np.int64)])
    return Sets(high, low, offsets, np.concatenate(pieces) if pieces else np.empty(0, np.uint32))


def _stored_sets(source: Source, settings: DedupSettings, high: Array, low: Array) -> Iterator[tuple[int, Array]]:
    """Of each of these documents (sorted by id) that the source holds: its place and its shingle set."""
    if not source.documents:
        with source.folder.open(source.signatures) as file:
            for batch in open_parquet(file).iter_batches(
                1 << 12, columns=["id_high", "id_low", "shingle_set"], use_threads=False
            ):
                at = locate(batch.column("id_high").to_numpy(), batch.column("id_low").to_numpy(), high, low)
                for row in np.flatnonzero(at >= 0).tolist():
                    yield int(at[row]), batch.column("shingle_set")[row].values.to_numpy()
        return
    with source.folder.open(source.documents) as file:
        parquet = open_parquet(file)
        for group in range(parquet.num_row_groups):
            at = locate(*halves(parquet.read_row_group(group, ["id"], use_threads=False)["id"]), high, low)
            rows = np.flatnonzero(at >= 0)
            if rows.size:
                bodies = parquet.read_row_group(group, ["text"], use_threads=False)["text"].take(rows).to_pylist()
                for place, body in zip(at[rows].tolist(), bodies, strict=True):
                    yield place, shingle_set(shingle_hashes(body, settings))


def _spans(ends: Array) -> Iterator[tuple[int, int]]:
    """End and size of each bucket."""
    start = 0
    for end in ends.tolist():
        yield end, end - start
        start = end


def _set_batch(sets: Sets, which: Array) -> pa.RecordBatch:
    sizes = sets.offsets[which + 1] - sets.offsets[which]
    offsets = np.concatenate([[0], np.cumsum(sizes)])
    pieces = [sets.values[sets.offsets[one] : sets.offsets[one + 1]] for one in which.tolist()]
    values = np.concatenate(pieces) if pieces else np.empty(0, np.uint32)
    shingles = pa.LargeListArray.from_arrays(pa.array(offsets, pa.int64()), pa.array(values))
    return pa.record_batch([pa.array(sets.high[which]), pa.array(sets.low[which]), shingles], schema=SETS)


def _similarities(job: Job, plan: Plan, pairs: Rows) -> Array:
    """float64 [n]: the Jaccard similarity of each pair."""
    sets = load_sets(plan, pairs)
    mine = locate(pairs["id_high"], pairs["id_low"], sets.high, sets.low)
    similarity = np.full(mine.size, np.nan)
    for batch in read_batches(job.scratch, job.item["sets"], job.item["chunk"], plan.chunks):
        lists = batch.column("shingles")
        others = Sets(
            batch.column("id_high").to_numpy(),
            batch.column("id_low").to_numpy(),
            lists.offsets.to_numpy() - lists.offsets[0].as_py(),
            lists.flatten().to_numpy(),
        )
        theirs = locate(pairs["better_high"], pairs["better_low"], others.high, others.low)
        here = np.flatnonzero(theirs >= 0)
        both = overlaps(sets.values, sets.offsets, mine[here], others.values, others.offsets, theirs[here])
        size = np.diff(sets.offsets)[mine[here]] + np.diff(others.offsets)[theirs[here]]
        similarity[here] = both / np.maximum(1, size - both)
    if np.isnan(similarity).any():
        raise RuntimeError("a candidate pair met no set")  # a fetch task lost something: never go on without it
    return similarity


def _direction(edges: Rows, better: bool) -> Rows:
    """EDGES as seen from the better or from the worse document."""
    mine = {name: edges[better_name(name) if better else name] for name in KEYS.names[1:]}
    return {
        **mine,
        "other_high": edges["id_high" if better else "better_high"],
        "other_low": edges["id_low" if better else "better_low"],
        "better": np.full(edges["chars"].size, better),
        "similarity": edges["similarity"],
    }


def _left(pairs: Rows, passed: Array) -> Rows:
    """KEYS of the documents that passed with no representative of a group that goes on."""
    rows = {"key": pairs["group"], **{name: pairs[name] for name in KEYS.names[1:]}, "passed": passed}
    rows = take(rows, rows["key"] != 0)
    rows = take(rows, order_by(rows["key"], rows["id_high"], rows["id_low"]))
    first = np.flatnonzero(changes(rows["key"], rows["id_high"], rows["id_low"]))
    any_passed = np.logical_or.reduceat(rows.pop("passed"), first) if first.size else np.zeros(0, bool)
    return take(rows, first[~any_passed])
