"""Candidate pairs: documents whose signatures agree in a whole band.

A band key held by up to ALL_PAIRS documents makes every pair of them a candidate. A larger group (boilerplate,
a template) is split without ever being compared all to all: its best documents are its representatives, every
member is compared with those, and the members that are similar to none form the group of the next round, with more
representatives, up to ROUNDS. What then remains has been compared with 80 others and can only be paired by
another band; it is counted as `exhausted`.

"Best" is one order everywhere: the oldest dataset first, then the longest text, then the smallest record_id. It is
also the rule by which a cluster's survivor is chosen, so most receipts rest on a direct comparison.

The rows of one band key, 32 bytes a document, are in memory together: the one thing that a key held by very many
different texts can make larger than the setting.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from pipeline.dedup.bands import KEYS
from pipeline.dedup.plan import Plan, load_plan
from pipeline.dedup.rows import (
    Array,
    Rows,
    changes,
    id_bucket,
    order_by,
    repeated,
    take,
)
from pipeline.dedup.shingles import mix
from pipeline.dedup.stage import Counts, Job, Outputs, bucket_writer, read_bucket

ALL_PAIRS = 8
ROUNDS = (2, 6, 18, 54)  # representatives of a large group in each round
OLD_REPRESENTATIVES = 8  # more of them where earlier datasets are in the group

# `better` goes before `id` in the order above; `group` is the band key that they share, 0 where it is done with.
PAIRS = pa.schema(
    [(name, pa.uint64()) for name in ("group", "better_high", "better_low", "id_high", "id_low")]
    + [("better_source", pa.int32()), ("source", pa.int32())]
    + [("better_chars", pa.uint32()), ("chars", pa.uint32())]
)
# The better document of a pair, and the chunk in which it will be compared.
WANTED = pa.schema([("id_high", pa.uint64()), ("id_low", pa.uint64()), ("source", pa.int32()), ("chunk", pa.uint32())])


def join_bands(job: Job) -> Counts:
    """Pair the documents of one bucket of band keys (`item`: bucket and number of units)."""
    plan = load_plan(job.scratch)
    buckets = plan.band_buckets * plan.settings.bands
    files = [Outputs("bands", job.item["units"], "keys")]
    rows = read_bucket(job.scratch, files, KEYS, job.item["bucket"], buckets)
    band = job.item["bucket"] // plan.band_buckets
    rows = take(rows, repeated(rows["key"]))
    rows["key"] = mix(rows["key"] + np.uint64(band)) | np.uint64(1)  # never 0, another one in each band
    return _write_groups(job, plan, rows, ROUNDS[0])


def regroup(job: Job) -> Counts:
    """Pair what no representative took in (`item`: bucket, the round, its number of chunks)."""
    plan = load_plan(job.scratch)
    files = [Outputs(f"compare_{job.item['round'] - 1}", plan.chunks, "left")]
    rows = read_bucket(job.scratch, files, KEYS, job.item["bucket"], plan.id_buckets)
    rows = take(rows, repeated(rows["key"]))
    return _write_groups(job, plan, rows, ROUNDS[job.item["round"]])


def _write_groups(job: Job, plan: Plan, rows: Rows, representatives: int) -> Counts:
    pairs, largest = pair_groups(plan, rows, representatives)
    write_pairs(job, plan, pairs)
    return {"pairs": int(pairs["group"].size), "largest": largest}


def pair_groups(plan: Plan, rows: Rows, representatives: int) -> tuple[Rows, int]:
    """PAIRS of the groups of equal `key` in KEYS rows, and the size of the largest group.

    Every member is paired with the representatives that are better than itself: in a small group with all better
    members. Documents of earlier datasets are only ever the better half of a pair.
    """
    age = plan.age_of(rows["source"])
    order = order_by(rows["key"], age, -rows["chars"].astype(np.int64), rows["id_high"], rows["id_low"])
    rows, old = take(rows, order), (age < plan.newest)[order]
    if order.size == 0:
        return {**_columns(rows, order, order), "group": rows["key"]}, 0
    first = changes(rows["key"])
    start, group = np.flatnonzero(first), np.cumsum(first) - 1
    size = np.bincount(group)
    small = (size <= ALL_PAIRS)[group]
    olds = np.bincount(group, weights=old).astype(np.int64)
    chosen = (np.minimum(olds, OLD_REPRESENTATIVES) + representatives)[group]
    place = np.arange(group.size) - start[group]  # in the group, best first
    partners = np.where(old, 0, np.where(small, place, np.minimum(place, chosen)))
    member = np.repeat(np.arange(group.size), partners)
    nth = np.arange(member.size) - np.repeat(np.cumsum(partners) - partners, partners)
    # Who is no representative and passes with none goes on to the next round.
    goes_on = ~small & (place >= chosen)
    pairs = _columns(rows, start[group[member]] + nth, member)
    pairs["group"] = np.where(goes_on[member], rows["key"][member], np.uint64(0))
    return pairs, int(size.max())


def _columns(rows: Rows, better: Array, member: Array) -> Rows:
    """PAIRS without their group."""
    shared = KEYS.names[1:]
    return {better_name(n): rows[n][better] for n in shared} | {n: rows[n][member] for n in shared}


def write_pairs(job: Job, plan: Plan, pairs: Rows) -> None:
    """Send each pair to the chunk of its worse document, and word to the chunk of the better one."""
    chunk = plan.chunk_of(pairs["source"], pairs["id_high"], pairs["id_low"])
    with bucket_writer(job.scratch, job.output("pairs"), PAIRS, plan.chunks) as writer:
        writer.add(pairs, chunk)
    wanted = {name: pairs[better_name(name)] for name in WANTED.names[:3]}
    wanted["chunk"] = chunk
    order = order_by(wanted["id_high"], wanted["id_low"], chunk)
    wanted = take(wanted, order)
    wanted = take(wanted, changes(wanted["id_high"], wanted["id_low"], wanted["chunk"]))
    with bucket_writer(job.scratch, job.output("wanted"), WANTED, plan.chunks) as writer:
        writer.add(wanted, plan.chunk_of(wanted["source"], wanted["id_high"], wanted["id_low"]))


def better_name(column: str) -> str:
    """PAIRS' name for this column of the better document."""
    return f"better_{column.removeprefix('id_')}"


def exhausted(job: Job) -> Counts:
    """Count the documents that are left over after the last round (`item`: bucket)."""
    plan = load_plan(job.scratch)
    files = [Outputs(f"compare_{len(ROUNDS) - 1}", plan.chunks, "left")]
    rows = read_bucket(job.scratch, files, KEYS, job.item["bucket"], plan.id_buckets)
    rows = take(rows, repeated(rows["key"]))
    order = order_by(rows["id_high"], rows["id_low"])
    return {"exhausted": int(changes(rows["id_high"][order], rows["id_low"][order]).sum())}


def left_bucket(plan: Plan, rows: Rows) -> Array:
    """The bucket of `regroup` that a left-over row belongs to."""
    return id_bucket(rows["key"], rows["key"], plan.id_buckets)
