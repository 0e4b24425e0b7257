"""Clusters: the members of each component with their exact copies, and the one of them that stays.

The survivor is the best member: of the oldest dataset, then the longest text, then the smallest record_id. A cluster
that reaches into an earlier dataset keeps that dataset's document and nothing of this crawl.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from pipeline.dedup.aliases import name_kept
from pipeline.dedup.bands import KEYS
from pipeline.dedup.candidates import better_name, write_pairs
from pipeline.dedup.components import read_roots
from pipeline.dedup.exact import COPIES
from pipeline.dedup.identity import texts
from pipeline.dedup.plan import Plan, load_plan
from pipeline.dedup.rows import Array, Rows, changes, id_bucket, locate, order_by, stack, take
from pipeline.dedup.stage import Counts, Job, Outputs, bucket_writer, read_bucket
from pipeline.dedup.verify import EDGES

# `original` is the document itself or the one that it is an exact copy of.
MEMBERS = pa.schema(
    [(name, pa.uint64()) for name in ("root_high", "root_low", "original_high", "original_low", "id_high", "id_low")]
    + [("source", pa.int32()), ("chars", pa.uint32())]
)
ROOTED_EDGES = pa.schema(
    [(name, pa.uint64()) for name in ("root_high", "root_low", "better_high", "better_low", "id_high", "id_low")]
    + [("similarity", pa.float64())]
)
# One row a member of this crawl; `similarity` of its original to the survivor, NaN where nobody compared them yet.
VERDICTS = pa.schema(
    [
        (name, pa.uint64())
        for name in (
            *("id_high", "id_low", "original_high", "original_low"),
            *("survivor_high", "survivor_low", "cluster_high", "cluster_low"),
        )
    ]
    + [
        ("size", pa.int32()),
        ("source", pa.int32()),
        ("survivor_source", pa.int32()),
        ("similarity", pa.float64()),
    ]
)
LARGEST = 20


def gather_members(job: Job) -> Counts:
    """Find the root of every document of an id bucket that has copies (`item`: bucket, files), with its copies."""
    plan, bucket = load_plan(job.scratch), job.item["bucket"]
    roots = read_roots(job.scratch, job.item["links"], plan, bucket)
    edges = read_bucket(job.scratch, job.item["edges"], EDGES, bucket, plan.id_buckets)
    copies = read_bucket(job.scratch, job.item["copies"], COPIES, bucket, plan.id_buckets)
    ends = _with_root({name: edges[name] for name in KEYS.names[1:]}, "id", roots)
    copies = _with_root(copies, "original", roots)
    own = {name: ends[name] for name in ("root_high", "root_low", *KEYS.names[1:])}
    originals = {
        **{name: copies[name] for name in ("root_high", "root_low")},
        "id_high": copies["original_high"],
        "id_low": copies["original_low"],
        "source": copies["original_source"],
        "chars": copies["chars"],  # of equal texts: equal
    }
    nodes = _unique(stack([own, originals]))
    nodes |= {"original_high": nodes["id_high"], "original_low": nodes["id_low"]}
    members = stack([{name: part[name] for name in MEMBERS.names} for part in (nodes, copies)])
    with bucket_writer(job.scratch, job.output("members"), MEMBERS, plan.id_buckets) as writer:
        writer.add(members, id_bucket(members["root_high"], members["root_low"], plan.id_buckets))
    rooted = _with_root(take(edges, ~edges["better"]), "id", roots)
    rooted |= {"better_high": rooted["other_high"], "better_low": rooted["other_low"]}
    with bucket_writer(job.scratch, job.output("edges"), ROOTED_EDGES, plan.id_buckets) as writer:
        writer.add(rooted, id_bucket(rooted["root_high"], rooted["root_low"], plan.id_buckets))
    return {}


def choose_survivors(job: Job) -> Counts:
    """Choose the survivor of each cluster in a bucket of roots (`item`: bucket and number of files).

    Writes VERDICTS, and as PAIRS the receipts that still lack a similarity.
    """
    plan, bucket, files = load_plan(job.scratch), job.item["bucket"], job.item["files"]
    members = read_bucket(job.scratch, [Outputs("members", files, "members")], MEMBERS, bucket, plan.id_buckets)
    age = plan.age_of(members["source"])
    length = -members["chars"].astype(np.int64)
    root = (members["root_high"], members["root_low"])
    members = take(members, order_by(*root, age, length, members["id_high"], members["id_low"]))
    first = changes(members["root_high"], members["root_low"])
    cluster, start = np.cumsum(first) - 1, np.flatnonzero(first)
    size = np.bincount(cluster, minlength=start.size)
    best = start[cluster]
    named = _smallest(members, cluster)[cluster]
    verdicts = {
        **{name: members[name] for name in ("id_high", "id_low", "original_high", "original_low", "source")},
        **{f"survivor_{half}": members[f"id_{half}"][best] for half in ("high", "low")},
        **{f"cluster_{half}": members[f"id_{half}"][named] for half in ("high", "low")},
        "size": size[cluster].astype(np.int32),
        "survivor_source": members["source"][best],
    }
    edges = read_bucket(job.scratch, [Outputs("members", files, "edges")], ROOTED_EDGES, bucket, plan.id_buckets)
    verdicts["similarity"] = _known(verdicts, edges)
    ours = plan.age_of(verdicts["source"]) == plan.newest
    _write_receipts(job, plan, verdicts, members, take(members, best))
    verdicts = take(verdicts, ours)
    with bucket_writer(job.scratch, job.output("verdicts"), VERDICTS, plan.id_buckets) as writer:
        writer.add(verdicts, id_bucket(verdicts["survivor_high"], verdicts["survivor_low"], plan.id_buckets))
    return _describe(verdicts)


def complete(job: Job) -> Counts:
    """Fill in the similarities that `receipts` found (`item`: bucket of survivors, files), by unit of the member."""
    plan, bucket = load_plan(job.scratch), job.item["bucket"]
    verdicts = read_bucket(job.scratch, job.item["verdicts"], VERDICTS, bucket, plan.id_buckets)
    found = read_bucket(job.scratch, job.item["receipts"], EDGES, bucket, plan.id_buckets)
    found = take(found, found["better"])  # `id` is the survivor, `other` the original of the removed
    lacking = np.flatnonzero(np.isnan(verdicts["similarity"]))
    edges = {"better_high": found["id_high"], "better_low": found["id_low"]}
    edges |= {"id_high": found["other_high"], "id_low": found["other_low"], "similarity": found["similarity"]}
    similarity = verdicts["similarity"].copy()
    similarity[lacking] = _known(take(verdicts, lacking), edges)
    verdicts["similarity"] = similarity
    if np.isnan(verdicts["similarity"]).any():
        raise RuntimeError("a removed document was not compared with its survivor")
    verdicts = name_kept(job, plan, verdicts)
    with bucket_writer(job.scratch, job.output("verdicts"), VERDICTS, len(plan.units)) as writer:
        writer.add(verdicts, plan.unit_of()[verdicts["source"]])
    return {}


def _with_root(rows: Rows, column: str, roots: Rows) -> Rows:
    """Rows and the root of the document in `column`: itself where no edge leads to a smaller one."""
    high, low = rows[f"{column}_high"], rows[f"{column}_low"]
    at = locate(high, low, roots["id_high"], roots["id_low"])
    if roots["id_high"].size == 0:
        return {**rows, "root_high": high, "root_low": low}
    return {
        **rows,
        "root_high": np.where(at >= 0, roots["other_high"][at], high),
        "root_low": np.where(at >= 0, roots["other_low"][at], low),
    }


def _unique(rows: Rows) -> Rows:
    rows = take(rows, order_by(rows["id_high"], rows["id_low"]))
    return take(rows, changes(rows["id_high"], rows["id_low"]))


def _smallest(members: Rows, cluster: Array) -> Array:
    """int64 [clusters]: the row of the smallest record_id in each."""
    order = order_by(cluster, members["id_high"], members["id_low"])
    smallest: Array = order[changes(cluster[order])]
    return smallest


def _known(verdicts: Rows, edges: Rows) -> Array:
    """float64: 1 for survivors and exact copies of theirs, the verified similarity where there is one, else NaN."""
    same = (verdicts["original_high"] == verdicts["survivor_high"]) & (
        verdicts["original_low"] == verdicts["survivor_low"]
    )
    pairs = stack(
        [
            {
                **{f"better_{half}": verdicts[f"survivor_{half}"] for half in ("high", "low")},
                **{f"id_{half}": verdicts[f"original_{half}"] for half in ("high", "low")},
                "similarity": np.where(same, 1.0, np.nan),
                "edge": np.zeros(same.size, bool),
                "row": np.arange(same.size),
            },
            {
                **{name: edges[name] for name in ("better_high", "better_low", "id_high", "id_low", "similarity")},
                "edge": np.ones(edges["similarity"].size, bool),
                "row": np.full(edges["similarity"].size, -1),
            },
        ]
    )
    ends = ("better_high", "better_low", "id_high", "id_low")
    pairs = take(pairs, order_by(*(pairs[name] for name in ends), ~pairs["edge"]))
    group = np.flatnonzero(changes(*(pairs[name] for name in ends)))
    counts = np.diff(np.append(group, pairs["row"].size))
    known = np.repeat(np.where(pairs["edge"][group], pairs["similarity"][group], np.nan), counts)
    asked = pairs["row"] >= 0
    similarity = np.where(same, 1.0, np.nan)
    rows = pairs["row"][asked]
    similarity[rows] = np.where(same[rows], 1.0, known[asked])
    return similarity


def _write_receipts(job: Job, plan: Plan, verdicts: Rows, members: Rows, survivors: Rows) -> None:
    """Pair each original that no edge links with its survivor, those of earlier datasets too: ours may copy them."""
    itself = (verdicts["id_high"] == verdicts["original_high"]) & (verdicts["id_low"] == verdicts["original_low"])
    lacking = np.isnan(verdicts["similarity"]) & itself
    pairs = {
        "group": np.zeros(int(np.count_nonzero(lacking)), np.uint64),
        **{better_name(name): survivors[name][lacking] for name in KEYS.names[1:]},
        **{name: members[name][lacking] for name in KEYS.names[1:]},
    }
    write_pairs(job, plan, pairs)


def _describe(verdicts: Rows) -> Counts:
    """What the report says of these clusters: a histogram of sizes (by powers of two), the largest of them."""
    order = order_by(verdicts["cluster_high"], verdicts["cluster_low"])
    first = order[changes(verdicts["cluster_high"][order], verdicts["cluster_low"][order])]
    sizes = verdicts["size"][first]
    largest = first[order_by(-sizes, verdicts["cluster_high"][first], verdicts["cluster_low"][first])[:LARGEST]]
    names = texts(verdicts["cluster_high"][largest], verdicts["cluster_low"][largest])
    survivors = texts(verdicts["survivor_high"][largest], verdicts["survivor_low"][largest])
    histogram = np.bincount(np.frexp(sizes)[1]) if sizes.size else np.zeros(0, int)
    return {
        "clusters": int(first.size),
        "sizes": histogram.tolist(),  # [i]: clusters of at least 2^(i-1) and less than 2^i documents
        "largest": [
            {"cluster_id": name, "size": size, "survivor_id": survivor}
            for name, size, survivor in zip(names, verdicts["size"][largest].tolist(), survivors, strict=True)
        ],
    }
