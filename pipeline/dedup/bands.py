"""Band keys that more than one document may have.

Nearly every band key of a crawl is alone, so none travels with what belongs to it before that is known: a print of
32 bits goes to its bucket, a bit comes back, and only where that is set follows the row. Prints may agree where keys
do not; the join takes whole keys.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa

from pipeline.dedup.exact import COPIES, read_signatures
from pipeline.dedup.plan import Plan, load_plan
from pipeline.dedup.rows import Array, Rows, key_bucket, locate, may_repeat, order_by, take, to_batch
from pipeline.dedup.stage import Counts, Job, Outputs, bucket_writer, read_bucket

KEYS = pa.schema(
    [
        *((name, pa.uint64()) for name in ("key", "id_high", "id_low")),
        ("source", pa.int32()),
        ("chars", pa.uint32()),
    ]
)
PRINTS = pa.schema([("print", pa.uint32())])
SHARED = pa.schema([("shared", pa.bool_())])


def scatter_prints(job: Job) -> Counts:
    """Spread the prints of a unit's band keys (`item`: its number, files of `gone`) over the print buckets."""
    plan = load_plan(job.scratch)
    names, buckets = _band_names(plan), plan.print_buckets
    with bucket_writer(job.scratch, job.output("prints"), PRINTS, buckets * len(names)) as writer:
        for rows in _originals(job, plan):
            for name in names:  # the buckets of one band after those of another
                writer.add({"print": rows[name].astype(np.uint32)}, key_bucket(rows[name], buckets), buckets)
    return {}


def find_shared(job: Job) -> Counts:
    """Tell the units which of their prints in one bucket occur again (`item`: bucket and number of units)."""
    plan = load_plan(job.scratch)
    bucket, buckets = job.item["bucket"], plan.print_buckets * plan.settings.bands
    files = [Outputs("prints", 1, "prints", unit) for unit in range(job.item["units"])]
    prints = [read_bucket(job.scratch, [file], PRINTS, bucket, buckets)["print"] for file in files]
    shared = may_repeat(np.concatenate(prints).astype(np.uint64))
    ends = np.cumsum([part.size for part in prints])[:-1]
    with bucket_writer(job.scratch, job.output("shared"), SHARED, len(files)) as writer:
        writer.add_batches(to_batch({"shared": part}, SHARED) for part in np.split(shared, ends))
    return {}


def scatter_bands(job: Job) -> Counts:
    """Spread the shared band keys of a unit (`item`: its number, files of `gone`) over the buckets of `join_bands`."""
    plan = load_plan(job.scratch)
    names, buckets = _band_names(plan), plan.band_buckets
    shared = [_Shared(job, plan, band) for band in range(len(names))]
    with bucket_writer(job.scratch, job.output("keys"), KEYS, buckets * len(names)) as writer:
        for rows in _originals(job, plan):
            for name, bits in zip(names, shared, strict=True):
                which = bits.next(rows[name])
                part = {"key": rows[name][which], **{other: rows[other][which] for other in KEYS.names[1:]}}
                writer.add(part, key_bucket(part["key"], buckets), buckets)
    return {}


class _Shared:
    """What `find_shared` told a unit of its keys in one band."""

    def __init__(self, job: Job, plan: Plan, band: int) -> None:
        self._buckets = plan.print_buckets
        unit, units = job.item["unit"], len(plan.units)
        files = [Outputs("shared", 1, "shared", band * self._buckets + bucket) for bucket in range(self._buckets)]
        self._bits = [read_bucket(job.scratch, [file], SHARED, unit, units)["shared"] for file in files]

    def next(self, keys: Array) -> Array:
        """int64: which of the unit's next keys are shared, in the order in which `scatter_prints` took them."""
        bucket = key_bucket(keys, self._buckets)
        shared = np.empty(keys.size, bool)
        for number, bits in enumerate(self._bits):
            here = np.flatnonzero(bucket == number)
            if bits.size < here.size:
                raise RuntimeError("fewer prints were taken than there are keys")  # a signature file changed
            shared[here], self._bits[number] = bits[: here.size], bits[here.size :]
        return np.flatnonzero(shared)


def _originals(job: Job, plan: Plan) -> Iterator[Rows]:
    """Band keys and what goes with them, of a unit's documents that are signed and no exact copies, some at a time."""
    files = [Outputs("copies", job.item["copies"], "gone")]
    gone = read_bucket(job.scratch, files, COPIES, job.item["unit"], len(plan.units))
    gone = take(gone, order_by(gone["id_high"], gone["id_low"]))
    columns = ["shingles", *KEYS.names[1:], *_band_names(plan)]
    for rows in read_signatures(plan, plan.units[job.item["unit"]], columns):
        present = rows["shingles"] > 0
        present &= locate(rows["id_high"], rows["id_low"], gone["id_high"], gone["id_low"]) < 0
        yield take(rows, present)


def _band_names(plan: Plan) -> list[str]:
    return [f"band_{band:02d}" for band in range(plan.settings.bands)]
