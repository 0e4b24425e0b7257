"""Aliases: the indexed documents of earlier datasets that were not kept, and the ones that were kept for them."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from pipeline.dedup.exact import read_signatures
from pipeline.dedup.plan import Plan, load_plan
from pipeline.dedup.rows import Rows, id_bucket, locate, order_by, take
from pipeline.dedup.stage import Counts, Job, bucket_writer, read_bucket

ALIASES = pa.schema([(name, pa.uint64()) for name in ("id_high", "id_low", "survivor_high", "survivor_low")])


def scatter_aliases(job: Job) -> Counts:
    """Spread the aliases of a unit (`item`: its number) over buckets of ids."""
    plan = load_plan(job.scratch)
    indexed = [number for number in plan.units[job.item] if plan.sources[number].label]
    with bucket_writer(job.scratch, job.output("aliases"), ALIASES, plan.id_buckets) as writer:
        for rows in read_signatures(plan, indexed, ALIASES.names):
            removed = (rows["id_high"] != rows["survivor_high"]) | (rows["id_low"] != rows["survivor_low"])
            rows = take(rows, removed)
            writer.add(rows, id_bucket(rows["id_high"], rows["id_low"], plan.id_buckets))
    return {}


def name_kept(job: Job, plan: Plan, verdicts: Rows) -> Rows:
    """Verdicts of one bucket of survivors, with those that were not kept replaced by the ones that were."""
    aliases = read_bucket(job.scratch, job.item["aliases"], ALIASES, job.item["bucket"], plan.id_buckets)
    if aliases["id_high"].size == 0:
        return verdicts
    aliases = take(aliases, order_by(aliases["id_high"], aliases["id_low"]))
    at = locate(verdicts["survivor_high"], verdicts["survivor_low"], aliases["id_high"], aliases["id_low"])
    halves = ("survivor_high", "survivor_low")
    return {**verdicts, **{half: np.where(at >= 0, aliases[half][at], verdicts[half]) for half in halves}}
