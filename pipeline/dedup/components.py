"""Connected components of the verified edges.

Edges that fit in memory are solved in one task. More of them go through large-star and small-star rounds (Kiveris,
Lattanzi, Mirrokni, Rastogi, Vassilvitskii: Connected Components in MapReduce and Beyond, 2014) over buckets of
nodes, until nothing changes. Both link each document with the smallest record_id of its component, its root.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from pipeline.dedup.plan import Plan, load_plan
from pipeline.dedup.rows import Array, Rows, changes, id_bucket, order_by, stack, take
from pipeline.dedup.shingles import mix
from pipeline.dedup.stage import Counts, Job, Outputs, RunTasks, bucket_writer, read_batches, run_stage
from pipeline.store import Folder

LINKS = pa.schema([(name, pa.uint64()) for name in ("id_high", "id_low", "other_high", "other_low")])
MOST_TURNS = 256  # the number grows with the square of the logarithm of the documents
IN_MEMORY_ROW = 250  # bytes that one direction of an edge costs at the peak


def label_components(
    scratch: Folder, plan: Plan, edge_files: Sequence[Outputs], edges: int, run_tasks: RunTasks
) -> list[Outputs]:
    """Files of LINKS by id bucket; of their rows, those with `other` below `id` name each document's root.

    `edges` is the number of edges in the EDGES files, which hold both directions of each.
    """
    if 2 * edges * IN_MEMORY_ROW <= plan.settings.memory // 2:
        run_stage(scratch, "components", _solve, [{"edges": list(edge_files)}], run_tasks)
        return [Outputs("components", 1, "links")]
    files, seen = list(edge_files), None
    for turn in range(MOST_TURNS):
        stage, star = f"star_{turn:03d}", ("large", "small")[turn % 2]
        items = [{"bucket": b, "links": files, "star": star} for b in range(plan.id_buckets)]
        counts = run_stage(scratch, stage, _star, items, run_tasks)
        if turn > 1:  # the round before last is read by nobody any more
            Outputs(f"star_{turn - 2:03d}", plan.id_buckets, "links").remove(scratch)
        files = [Outputs(stage, plan.id_buckets, "links")]
        state = (sum(c["links"] for c in counts), sum(c["checksum"] for c in counts) % (1 << 64))
        if star == "small":
            if state == seen:
                break
            seen = state
    return files


def read_roots(scratch: Folder, files: Sequence[Outputs], plan: Plan, bucket: int) -> Rows:
    """LINKS of the documents in an id bucket that are not their component's root, sorted by id."""
    links = _read_links(scratch, files, bucket, plan.id_buckets)
    below = (links["other_high"] < links["id_high"]) | (
        (links["other_high"] == links["id_high"]) & (links["other_low"] < links["id_low"])
    )
    links = take(links, below)
    return take(links, order_by(links["id_high"], links["id_low"]))


def _solve(job: Job) -> Counts:
    """All edges at once."""
    plan = load_plan(job.scratch)
    files = job.item["edges"]
    links = stack([_read_links(job.scratch, files, b, plan.id_buckets) for b in range(plan.id_buckets)])
    high, low, one, other = _number(links)
    root = components(one, other, high.size)
    rooted = {"id_high": high, "id_low": low, "other_high": high[root], "other_low": low[root]}
    with bucket_writer(job.scratch, job.output("links"), LINKS, plan.id_buckets) as writer:
        writer.add(rooted, id_bucket(high, low, plan.id_buckets))
    return {"documents": int(high.size)}


def components(one: Array, other: Array, nodes: int) -> Array:
    """int64 [nodes]: the smallest node of each node's component; `one[i]` and `other[i]` are linked."""
    root = np.arange(nodes)
    while one.size:
        low, high = np.minimum(root[one], root[other]), np.maximum(root[one], root[other])
        apart = low != high
        one, other, low, high = one[apart], other[apart], low[apart], high[apart]
        np.minimum.at(root, high, low)
        while True:  # every node to the root of its tree
            onward = root[root]
            if np.array_equal(onward, root):
                break
            root = onward
    return root


def _star(job: Job) -> Counts:
    """One large-star or small-star operation on a bucket of nodes."""
    plan = load_plan(job.scratch)
    links = _read_links(job.scratch, job.item["links"], job.item["bucket"], plan.id_buckets)
    high, low, one, other = _number(links)
    one, other = (large_star if job.item["star"] == "large" else small_star)(one, other)
    made = {"id_high": high[one], "id_low": low[one], "other_high": high[other], "other_low": low[other]}
    back = {"id_high": made["other_high"], "id_low": made["other_low"]}
    back |= {"other_high": made["id_high"], "other_low": made["id_low"]}
    both = stack([made, back])
    with bucket_writer(job.scratch, job.output("links"), LINKS, plan.id_buckets) as writer:
        writer.add(both, id_bucket(both["id_high"], both["id_low"], plan.id_buckets))
    checksum = int(np.sum(mix(mix(mix(made["id_high"]) ^ made["id_low"]) ^ made["other_low"]), dtype=np.uint64))
    return {"links": int(one.size), "checksum": checksum}


def large_star(one: Array, other: Array) -> tuple[Array, Array]:
    """Link each larger neighbour of a node with the smallest of the node and its neighbours."""
    least = _least(one, other)
    larger = other > one
    return _unique(other[larger], np.minimum(one, least)[larger])


def small_star(one: Array, other: Array) -> tuple[Array, Array]:
    """Link each node and its smaller neighbours with the smallest of them."""
    smaller = other < one
    one, other = one[smaller], other[smaller]
    least = _least(one, other)
    ends, roots = np.concatenate([other, one]), np.concatenate([least, least])
    return _unique(ends[ends != roots], roots[ends != roots])


def _least(one: Array, other: Array) -> Array:
    """For each link the smallest `other` of its `one`; the links come sorted by `one`."""
    if one.size == 0:
        return other
    first = np.flatnonzero(changes(one))
    return np.repeat(np.minimum.reduceat(other, first), np.diff(np.append(first, one.size)))


def _unique(one: Array, other: Array) -> tuple[Array, Array]:
    order = order_by(one, other)
    one, other = one[order], other[order]
    first = changes(one, other)
    return one[first], other[first]


def _read_links(scratch: Folder, files: Sequence[Outputs], bucket: int, buckets: int) -> Rows:
    parts = []
    for batch in read_batches(scratch, files, bucket, buckets):
        parts.append({name: batch.column(name).to_numpy() for name in LINKS.names})
    return stack(parts) if parts else {name: np.empty(0, np.uint64) for name in LINKS.names}


def _number(links: Rows) -> tuple[Array, Array, Array, Array]:
    """The documents of these links sorted by id, and the ends of each link as places among them, sorted."""
    high = np.concatenate([links["id_high"], links["other_high"]])
    low = np.concatenate([links["id_low"], links["other_low"]])
    order = order_by(high, low)
    first = changes(high[order], low[order])
    place = np.empty(high.size, np.int64)
    place[order] = np.cumsum(first) - 1
    one, other = _unique(place[: high.size // 2], place[high.size // 2 :])
    return high[order[first]], low[order[first]], one, other
