"""What dedup says of each document, one pair of files a split.

`removed/<split>.parquet` names each document of a split that goes, with its survivor; `clusters/<split>.parquet`
gives cluster and size of each document that is not alone. A document in neither is alone and stays.
"""

from __future__ import annotations

from collections import Counter
from typing import Any, NamedTuple
from zlib import crc32

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.dedup.clusters import VERDICTS
from pipeline.dedup.identity import texts
from pipeline.dedup.plan import Source, load_plan
from pipeline.dedup.rows import Rows, order_by, take
from pipeline.dedup.stage import Counts, Job, Outputs, bucket_writer, read_batches, read_bucket
from pipeline.store import Entry, Folder
from pipeline.store.parquet import open_parquet

REMOVED = pa.schema(
    [
        ("record_id", pa.string()),
        ("survivor_id", pa.string()),  # is kept, here or in the earlier dataset `seen_in`
        ("kind", pa.string()),  # exact: the survivor's text up to whitespace; near: any other
        ("similarity", pa.float64()),  # true Jaccard to the survivor; below the threshold along a chain
        ("seen_in", pa.string()),  # label of the earlier dataset that holds the survivor, "" for this one
    ]
)
CLUSTERS = pa.schema(
    [
        ("record_id", pa.string()),
        ("cluster_id", pa.string()),  # smallest record_id of the cluster
        ("cluster_size", pa.int32()),
    ]
)
HOSTS = pa.schema([("host", pa.string()), ("documents", pa.int64()), ("removed", pa.int64())])
TOP_HOSTS = 20
_PLAIN_HOST = r"^[A-Za-z][A-Za-z0-9+.-]*://(?P<host>[^/?#:@\[]*)(?::[0-9]*)?(?:[/?#]|$)"
_HOST = r"^[A-Za-z][A-Za-z0-9+.-]*://(?:[^/?#@]*@)?(?P<host>\[[^\]]*]|[^/?#:]*)"


class Verdict(NamedTuple):
    """Of one document that has copies; it stays where `survivor_id` is None."""

    cluster_id: str
    cluster_size: int
    survivor_id: str | None = None
    kind: str | None = None
    similarity: float | None = None
    seen_in: str | None = None


def load_verdicts(out: Folder, split: str) -> dict[str, Verdict]:
    """By record_id, the documents of the split of that name that have copies; every other one is alone and stays."""
    clusters = out.read_table(clusters_name(split))
    columns = (clusters[name].to_pylist() for name in CLUSTERS.names)
    verdicts = {record_id: Verdict(cluster, size) for record_id, cluster, size in zip(*columns, strict=True)}
    for gone in out.read_table(removed_name(split)).to_pylist():
        record_id = gone.pop("record_id")
        verdicts[record_id] = verdicts[record_id]._replace(**gone)
    return verdicts


def removed_name(split: str) -> str:
    return f"removed/{split}.parquet"


def clusters_name(split: str) -> str:
    return f"clusters/{split}.parquet"


def write_verdicts(job: Job) -> Counts:
    """Write the two files of each split of a unit (`item`: unit, files, output folder); count what hosts lose."""
    plan = load_plan(job.scratch)
    rows = read_bucket(job.scratch, job.item["verdicts"], VERDICTS, job.item["unit"], len(plan.units))
    out = Folder(job.item["out"])
    entries: list[Entry] = []
    kinds, hosts, lost = Counter[str](), Counter[str](), Counter[str]()
    labels = np.array([source.label for source in plan.sources])
    for number in plan.units[job.item["unit"]]:
        source = plan.sources[number]
        if source.label:
            continue
        mine = take(rows, rows["source"] == number)
        mine = take(mine, order_by(mine["id_high"], mine["id_low"]))
        removed = _removed(mine, labels)
        entries.append(out.write_table(removed_name(source.name), removed))
        entries.append(out.write_table(clusters_name(source.name), _clusters(mine)))
        kinds.update(removed["kind"].to_pylist())
        _count_hosts(source, removed["record_id"].combine_chunks(), hosts, lost)
    names = sorted(hosts)
    bucket = np.array([crc32(name.encode()) % plan.id_buckets for name in names], np.uint32)
    table = {
        "host": np.array(names, object),
        "documents": np.array([hosts[name] for name in names], np.int64),
    }
    table["removed"] = np.array([lost[name] for name in names], np.int64)
    with bucket_writer(job.scratch, job.output("hosts"), HOSTS, plan.id_buckets) as writer:
        writer.add(table, bucket)
    return {"entries": [list(entry) for entry in entries], "kinds": dict(kinds)}


def count_hosts(job: Job) -> Counts:
    """What the hosts of a bucket (`item`: bucket, units) lost: those that lost most, and those that lost too much."""
    plan = load_plan(job.scratch)
    documents, lost = Counter[str](), Counter[str]()
    files = [Outputs("verdicts", job.item["units"], "hosts")]
    for batch in read_batches(job.scratch, files, job.item["bucket"], plan.id_buckets):
        for host, count, removed in zip(*(column.to_pylist() for column in batch.columns), strict=True):
            documents[host] += count
            lost[host] += removed
    limit, least = plan.settings.max_source_loss_share, plan.settings.alarm_from
    rows: list[dict[str, Any]] = [
        {"host": host, "documents": documents[host], "removed": count} for host, count in lost.items() if count
    ]
    rows.sort(key=loss_order)
    alarming = [row for row in rows if row["documents"] >= least and row["removed"] > limit * row["documents"]]
    return {"hosts": rows[:TOP_HOSTS], "alarming": alarming[:TOP_HOSTS], "n_alarming": len(alarming)}


def loss_order(row: dict[str, Any]) -> tuple[int, str]:
    return -row["removed"], row["host"]


def _removed(rows: Rows, labels: Any) -> pa.Table:
    itself = (rows["id_high"] == rows["survivor_high"]) & (rows["id_low"] == rows["survivor_low"])
    rows = take(rows, ~itself)
    exact = (rows["original_high"] == rows["survivor_high"]) & (rows["original_low"] == rows["survivor_low"])
    columns = [
        texts(rows["id_high"], rows["id_low"]),
        texts(rows["survivor_high"], rows["survivor_low"]),
        np.where(exact, "exact", "near").tolist(),
        rows["similarity"],
        labels[rows["survivor_source"]].tolist(),
    ]
    return pa.table([pa.array(c, f.type) for c, f in zip(columns, REMOVED, strict=True)], schema=REMOVED)


def _clusters(rows: Rows) -> pa.Table:
    columns = [
        texts(rows["id_high"], rows["id_low"]),
        texts(rows["cluster_high"], rows["cluster_low"]),
        rows["size"],
    ]
    return pa.table([pa.array(c, f.type) for c, f in zip(columns, CLUSTERS, strict=True)], schema=CLUSTERS)


def _count_hosts(source: Source, gone: pa.Array, hosts: Counter[str], lost: Counter[str]) -> None:
    with source.folder.open(source.documents) as file:
        for batch in open_parquet(file).iter_batches(columns=["id", "url"], use_threads=False):
            names = _hosts(batch["url"])
            _count(names, hosts)
            _count(names.filter(pc.is_in(batch["id"], gone)), lost)


def _count(names: pa.Array, into: Counter[str]) -> None:
    values, counts = names.value_counts().flatten()
    for name, count in zip(values.to_pylist(), counts.to_pylist(), strict=True):
        into[name] += count


def _hosts(urls: pa.Array) -> pa.Array:
    """The lower-case host of each URL, "" where there is none."""
    found = pc.struct_field(pc.extract_regex(urls, _PLAIN_HOST), "host")  # nearly all, at a quarter of the cost
    rest = pc.is_null(found)
    others = pc.struct_field(pc.extract_regex(urls.filter(rest), _HOST), "host")
    found = pc.replace_with_mask(found, rest, others)
    return pc.utf8_trim(pc.utf8_lower(pc.fill_null(found, "")), "[]")
