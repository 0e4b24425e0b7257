"""With datatrove's shingles and every candidate taken, the clusters are datatrove 0.10.1's."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

from pipeline.dedup import DedupSettings
from tests.dedup.dedup_corpus import Doc, run
from tests.dedup.test_deduplicate import mixed_corpus


def datatrove_clusters(root: Path, docs: list[Doc]) -> set[frozenset[str]]:
    from datatrove.data import Document
    from datatrove.pipeline.dedup.minhash import MinhashDedupBuckets, MinhashDedupCluster, MinhashDedupSignature

    signatures, buckets, removed = (str(root / name) for name in ("signatures", "buckets", "removed"))
    MinhashDedupSignature(signatures).run([Document(text=doc.text, id=doc.id) for doc in docs], 0, 1)
    for bucket in range(14):
        MinhashDedupBuckets(signatures, buckets).run(None, bucket, 14)
    MinhashDedupCluster(buckets, removed, save_cluster_id=True).run(None, 0, 1)
    clusters = defaultdict(set)
    for file in Path(removed).glob("*.clusters"):
        numbers = memoryview(file.read_bytes()).cast("I").tolist()
        for row, cluster in zip(numbers[::2], numbers[1::2], strict=True):
            clusters[cluster].add(docs[row].id)
    return {frozenset(members) for members in clusters.values()}


def test_clusters_are_datatroves(tmp_path: Path) -> None:
    docs = [doc for doc in mixed_corpus(21, 50) if len(doc.text.split()) > 5]
    settings = DedupSettings(shingles="datatrove", min_jaccard=0.0)
    clusters = defaultdict(set)
    for one, verdict in run(tmp_path / "ours", [docs[:70], docs[70:]], settings).items():
        clusters[verdict.cluster_id].add(one)
    theirs = datatrove_clusters(tmp_path, docs)
    assert len(theirs) > 20
    assert {frozenset(members) for members in clusters.values()} == theirs
