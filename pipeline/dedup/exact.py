"""Exact duplicates: texts that agree up to whitespace and Unicode normal form.

Of equal texts one is the original: of the oldest dataset, then the smallest record_id. The others are its copies;
they take no part in the search for near-duplicates and share the original's cluster.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import pyarrow as pa

from pipeline.dedup.identity import texts
from pipeline.dedup.plan import Plan, load_plan
from pipeline.dedup.rows import (
    Array,
    Rows,
    changes,
    from_batches,
    id_bucket,
    key_bucket,
    order_by,
    repeated,
    take,
)
from pipeline.dedup.stage import Counts, Job, Outputs, bucket_writer, read_bucket
from pipeline.errors import GristmillError
from pipeline.store.parquet import open_parquet

HASHES = pa.schema(
    [(name, pa.uint64()) for name in ("exact_high", "exact_low", "id_high", "id_low")]
    + [("source", pa.int32()), ("chars", pa.uint32())]
)
COPIES = pa.schema(
    [(name, pa.uint64()) for name in ("original_high", "original_low", "id_high", "id_low")]
    + [("original_source", pa.int32()), ("source", pa.int32()), ("chars", pa.uint32())]
)


def scatter_hashes(job: Job) -> Counts:
    """Spread the exact hashes of a unit (`item`: its number) over the buckets of `find_copies`."""
    plan = load_plan(job.scratch)
    with bucket_writer(job.scratch, job.output("hashes"), HASHES, plan.exact_buckets) as writer:
        for rows in read_signatures(plan, plan.units[job.item], HASHES.names):
            writer.add(rows, key_bucket(rows["exact_high"], plan.exact_buckets))
    return {}


def find_copies(job: Job) -> Counts:
    """Join one bucket of hashes (`item`: bucket and number of units); write the copies twice.

    `copies` is bucketed by the original's id, `gone` by the unit of the copy, for the stages over bands to skip it.
    """
    plan = load_plan(job.scratch)
    bucket, units = job.item["bucket"], job.item["units"]
    rows = read_bucket(job.scratch, [Outputs("hashes", units, "hashes")], HASHES, bucket, plan.exact_buckets)
    copies = _copies(plan, rows)
    with bucket_writer(job.scratch, job.output("copies"), COPIES, plan.id_buckets) as writer:
        writer.add(copies, id_bucket(copies["original_high"], copies["original_low"], plan.id_buckets))
    with bucket_writer(job.scratch, job.output("gone"), COPIES, len(plan.units)) as writer:
        writer.add(copies, plan.unit_of()[copies["source"]])
    return {"copies": int(np.count_nonzero(plan.age_of(copies["source"]) == plan.newest))}


def _copies(plan: Plan, rows: Rows) -> Rows:
    rows = take(rows, repeated(rows["exact_high"]))
    age = plan.age_of(rows["source"])
    keys = [rows["exact_high"], rows["exact_low"], age, rows["id_high"], rows["id_low"]]
    order = order_by(*keys)
    rows = take(rows, order)
    first = changes(rows["exact_high"], rows["exact_low"])
    _refuse_twins(plan, rows, first)
    original = np.flatnonzero(first)[np.cumsum(first) - 1]
    copy = np.flatnonzero(~first)
    return {
        "original_high": rows["id_high"][original[copy]],
        "original_low": rows["id_low"][original[copy]],
        "original_source": rows["source"][original[copy]],
        **{name: rows[name][copy] for name in ("id_high", "id_low", "source", "chars")},
    }


def _refuse_twins(plan: Plan, rows: Rows, first: Array) -> None:
    """Two records of one id would each be the other's survivor."""
    same = ~first
    same[1:] &= (rows["id_high"][1:] == rows["id_high"][:-1]) & (rows["id_low"][1:] == rows["id_low"][:-1])
    twins = np.flatnonzero(same)
    if twins.size:
        at = twins[:1]
        where = [plan.sources[rows["source"][k]].name for k in (at[0] - 1, at[0])]
        raise GristmillError(
            f"record_id {texts(rows['id_high'][at], rows['id_low'][at])[0]} occurs twice",
            " and ".join(where),
            "Give each input file once, and each under a name of its own.",
        )


def read_signatures(plan: Plan, sources: Iterable[int], columns: list[str]) -> Iterator[Rows]:
    """The signatures of some sources, some rows at a time, with the number of their `source`."""
    wanted = [name for name in columns if name != "source"]
    for number in sources:
        source = plan.sources[number]
        with source.folder.open(source.signatures) as file:
            for batch in open_parquet(file).iter_batches(plan.read_rows, columns=wanted, use_threads=False):
                rows = from_batches([batch], batch.schema)
                yield {**rows, "source": np.full(batch.num_rows, number, np.int32)}
