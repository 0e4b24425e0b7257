"""What is told of a deduplication: counts, the largest clusters, who lost most, and what looks wrong."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import zip_longest
from typing import Any

from pipeline.dedup.clusters import LARGEST
from pipeline.dedup.plan import Plan
from pipeline.dedup.settings import DedupSettings
from pipeline.dedup.stage import Counts
from pipeline.dedup.verdicts import TOP_HOSTS, loss_order


def summarise(
    plan: Plan, stages: dict[str, list[Counts]], written: Sequence[Counts], hosts: Sequence[Counts]
) -> dict[str, Any]:
    """`stats.json`, from what the tasks of each stage counted."""
    kinds = Counter[str]()
    for counts in written:
        kinds.update(counts["kinds"])
    removed = sum(kinds.values())
    rounds = [name for name in stages if name.startswith("compare_") and name != "compare_receipts"]
    verified = sum(counts["verified"] for name in rounds for counts in stages[name])
    rejected = sum(counts["rejected"] for name in rounds for counts in stages[name])
    survivors = stages["survivors"]
    clusters = [cluster for counts in survivors for cluster in counts["largest"]]
    lost = sorted((row for counts in hosts for row in counts["hosts"]), key=loss_order)
    stats: dict[str, Any] = {
        "documents": plan.documents,
        "kept": plan.documents - removed,
        "removed": {kind: kinds[kind] for kind in ("exact", "near")},
        "copies": sum(counts["copies"] for counts in stages.get("copies", ())),
        "candidate_pairs": verified + rejected,
        "verified_pairs": verified,
        "rejected_pairs": rejected,
        "largest_group": max((counts["largest"] for counts in stages.get("join_0", ())), default=0),
        "exhausted_documents": sum(counts["exhausted"] for counts in stages.get("exhausted", ())),
        "clusters": sum(counts["clusters"] for counts in survivors),
        "cluster_sizes": _histogram([counts["sizes"] for counts in survivors]),
        "largest_clusters": sorted(clusters, key=lambda c: (-c["size"], c["cluster_id"]))[:LARGEST],
        "loss_by_host": lost[:TOP_HOSTS],
    }
    alarming = sorted((row for counts in hosts for row in counts["alarming"]), key=loss_order)[:TOP_HOSTS]
    more = sum(counts["n_alarming"] for counts in hosts) - len(alarming)
    return {**stats, "alarms": alarms(stats, alarming, more, plan.settings)}


def alarms(
    stats: dict[str, Any], hosts: Sequence[dict[str, Any]], more_hosts: int, settings: DedupSettings
) -> list[str]:
    """What a person should look at before publishing, in plain words."""
    told = []
    documents, removed = stats["documents"], sum(stats["removed"].values())
    pairs, rejected = stats["candidate_pairs"], stats["rejected_pairs"]
    for cluster in stats["largest_clusters"]:
        size = cluster["size"]
        if size >= settings.alarm_from and size > settings.max_cluster_share * documents:
            told.append(
                f"cluster {cluster['cluster_id']} holds {size} of {documents} documents "
                f"(limit {settings.max_cluster_share:.0%})"
            )
    for row in hosts:
        told.append(
            f"{row['host'] or 'documents without a host'}: {row['removed']} of {row['documents']} documents removed "
            f"(limit {settings.max_source_loss_share:.0%})"
        )
    if more_hosts:
        told.append(f"{more_hosts} more hosts lost more than {settings.max_source_loss_share:.0%}")
    if documents >= settings.alarm_from and removed > settings.max_removed_share * documents:
        told.append(f"{removed} of {documents} documents removed (limit {settings.max_removed_share:.0%})")
    if pairs >= settings.alarm_from and rejected > settings.max_rejected_share * pairs:
        told.append(f"{rejected} of {pairs} candidate pairs rejected (limit {settings.max_rejected_share:.0%})")
    if stats["exhausted_documents"]:
        told.append(
            f"{stats['exhausted_documents']} documents of very large groups were each compared with "
            "80 others, not with all"
        )
    return told


def _histogram(parts: Sequence[Sequence[int]]) -> dict[str, int]:
    """Clusters by size, each power of two one class: "2-3", "4-7", …"""
    sums = [sum(column) for column in zip_longest(*parts, fillvalue=0)]
    return {f"{1 << (power - 1)}-{(1 << power) - 1}": count for power, count in enumerate(sums) if power > 1 and count}
