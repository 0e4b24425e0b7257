"""What dedup says of each document, one pair of files a split.

`removed/<split>.parquet` names each document of a split that goes, with its survivor; `clusters/<split>.parquet`
gives cluster and size of each document that is not alone. A document in neither is alone and stays.
"""

from __future__ import annotations

from typing import NamedTuple

import pyarrow as pa

from pipeline.store import Folder

REMOVED = pa.schema(
    [
        ("record_id", pa.string()),
        ("survivor_id", pa.string()),  # is kept, here or in the earlier dataset `seen_in`
        ("kind", pa.string()),  # exact: the survivor's text up to whitespace; near: any other
        ("similarity", pa.float32()),  # true Jaccard to the survivor; below the threshold along a chain
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
