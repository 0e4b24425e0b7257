"""Deduplication of all splits of a crawl, stage by stage.

    survey      count the documents of every split, so that the work can be cut to the memory of a task
    hashes      exact hashes of each split, by hash
    copies      equal hashes: an original and its copies
    prints      32 bits of each band key of the originals, by band and key
    shared      equal prints
    bands       band keys with such prints, by band and key
    join        equal keys: candidate pairs
    fetch       the shingle sets of one document of each pair go to where the text of the other lies
    compare     true Jaccard; what passes is an edge
    regroup     the rest of a large group, with new representatives: fetch and compare again
    components  what the edges connect
    members     components with their exact copies
    survivors   which member stays; the others' similarity to it, where no edge tells, is fetched and compared
    verdicts    two files a split: what goes and why, what belongs together

Every stage is plain tasks over bucketed files, so any executor will do; nothing but counts comes back to the driver.
Each finished item leaves a receipt, and a run that was killed goes on from there. What comes out depends on the
documents and the settings alone: not on how they were split, in which order, by how many workers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

from pipeline.dedup.aliases import scatter_aliases
from pipeline.dedup.bands import find_shared, scatter_bands, scatter_prints
from pipeline.dedup.candidates import ROUNDS, exhausted, join_bands, regroup
from pipeline.dedup.clusters import choose_survivors, complete, gather_members
from pipeline.dedup.components import label_components
from pipeline.dedup.exact import find_copies, scatter_hashes
from pipeline.dedup.index import index_sources
from pipeline.dedup.plan import Plan, RefinedSplit, Source, make_plan, run_key, survey
from pipeline.dedup.settings import DedupSettings
from pipeline.dedup.stage import Counts, Outputs, RunTasks, run_stage
from pipeline.dedup.statistics import summarise
from pipeline.dedup.verdicts import count_hosts, write_verdicts
from pipeline.dedup.verify import compare, fetch
from pipeline.errors import GristmillError
from pipeline.store import Entry, Folder, Manifest

_SURVEY_TASKS = 256


@dataclass(frozen=True)
class DedupResult:
    """What dedup came to: the files in the output folder and `stats.json` as it stands there."""

    entries: tuple[Entry, ...]
    stats: dict[str, Any]

    @property
    def alarms(self) -> list[str]:
        return list(self.stats["alarms"])


def deduplicate(
    splits: Sequence[RefinedSplit], settings: DedupSettings, out: Folder, run_tasks: RunTasks
) -> DedupResult:
    """Decide which documents of `splits` are copies; see `verdicts.py` for what lies in `out` afterwards.

    `run_tasks(task, items)` maps a top-level function over picklable items on any executor, in any order.
    Raises GristmillError where two splits share a name, a record_id occurs twice, or signatures are missing or were
    made under other settings.
    """
    sources = _survey(splits, settings, out, run_tasks)
    key = run_key(settings, sources)
    standing = Manifest.read(out)
    if standing is not None and standing.about.get("key") == key:
        return DedupResult(tuple(standing.entries.values()), out.read_json("stats.json"))
    scratch = out.sub(f"work/{key}")
    plan = make_plan(settings, sources)
    plan.save(scratch)
    run = _Run(scratch, plan, run_tasks)
    copies = run.exact() if settings.exact else []
    edges = run.near(len(copies)) if settings.minhash else []
    verdicts = run.clusters(len(copies), edges)
    written, hosts = run.write(verdicts, out)
    stats = summarise(plan, run.counts, written, hosts)
    manifest = Manifest({"key": key})
    for counts in written:
        for entry in counts["entries"]:
            manifest.add(Entry(*entry))
    manifest.add(out.write_json("stats.json", stats))
    manifest.write(out)
    out.remove("work")
    return DedupResult(tuple(manifest.entries.values()), stats)


def _survey(splits: Sequence[RefinedSplit], settings: DedupSettings, out: Folder, run_tasks: RunTasks) -> list[Source]:
    """The sources with their sizes, in an order that does not depend on that of `splits`."""
    sources = index_sources(settings)
    age = max((source.age + 1 for source in sources), default=0)
    sources += [Source(s.folder.url, s.documents, s.signatures, s.name, age) for s in splits]
    sources.sort(key=lambda source: (source.age, source.name))
    for one, other in pairwise(sources):
        if one.name == other.name and one.label == other.label:
            raise GristmillError(
                "two splits have the same name",
                f"{one.url} and {other.url}",
                "Give each split a folder of its own.",
            )
    step = max(1, -(-len(sources) // _SURVEY_TASKS))
    items = [
        {"bands": settings.bands, "sources": [vars(source) for source in sources[at : at + step]]}
        for at in range(0, len(sources), step)
    ]
    out.remove("work/survey")  # the signatures may have changed since
    counts = run_stage(out.sub("work"), "survey", survey, items, run_tasks)
    out.remove("work/survey")
    found = [one for count in counts for one in count["found"]]
    return [replace(source, **one) for source, one in zip(sources, found, strict=True)]


class _Run:
    """The stages of one run over one scratch folder, and what they counted."""

    def __init__(self, scratch: Folder, plan: Plan, run_tasks: RunTasks) -> None:
        self.scratch, self.plan, self.run_tasks = scratch, plan, run_tasks
        self.counts: dict[str, list[Counts]] = {}

    def exact(self) -> list[Counts]:
        """Stages `hashes` and `copies`."""
        units = len(self.plan.units)
        self._stage("hashes", scatter_hashes, list(range(units)))
        items = [{"bucket": bucket, "units": units} for bucket in range(self.plan.exact_buckets)]
        counts = self._stage("copies", find_copies, items)
        Outputs("hashes", units, "hashes").remove(self.scratch)
        return counts

    def near(self, copies: int) -> list[Outputs]:
        """Stages `prints` to `compare`; returns the files of EDGES."""
        units, bands = len(self.plan.units), self.plan.settings.bands
        spread = [{"unit": unit, "copies": copies} for unit in range(units)]
        self._stage("prints", scatter_prints, spread)
        buckets = range(self.plan.print_buckets * bands)
        self._stage("shared", find_shared, [{"bucket": bucket, "units": units} for bucket in buckets])
        Outputs("prints", units, "prints").remove(self.scratch)
        self._stage("bands", scatter_bands, spread)
        Outputs("shared", len(buckets), "shared").remove(self.scratch)
        buckets = range(self.plan.band_buckets * bands)
        self._stage("join_0", join_bands, [{"bucket": bucket, "units": units} for bucket in buckets])
        Outputs("bands", units, "keys").remove(self.scratch)
        edges: list[Outputs] = []
        for turn in range(len(ROUNDS)):
            edges += self._verify(str(turn), f"join_{turn}", self.plan.settings.min_jaccard)
            if not sum(count["left"] for count in self.counts[f"compare_{turn}"]):
                break
            buckets = range(self.plan.id_buckets)
            if turn + 1 == len(ROUNDS):
                self._stage("exhausted", exhausted, [{"bucket": bucket} for bucket in buckets])
            else:
                items = [{"bucket": bucket, "round": turn + 1} for bucket in buckets]
                self._stage(f"join_{turn + 1}", regroup, items)
        return edges

    def clusters(self, copies: int, edges: list[Outputs]) -> list[Outputs]:
        """Stages `components` to `survivors`; returns the files of VERDICTS."""
        verified = sum(
            count["verified"] for name, stage in self.counts.items() if name.startswith("compare_") for count in stage
        )
        links = label_components(self.scratch, self.plan, edges, verified, self.run_tasks)
        buckets = range(self.plan.id_buckets)
        copied = [Outputs("copies", copies, "copies")]
        items = [{"bucket": bucket, "links": links, "edges": edges, "copies": copied} for bucket in buckets]
        self._stage("members", gather_members, items)
        items = [{"bucket": bucket, "files": len(buckets)} for bucket in buckets]
        self._stage("survivors", choose_survivors, items)
        receipts = self._verify("receipts", "survivors", 0.0)
        aliases: list[Outputs] = []
        if self.plan.settings.against:
            self._stage("aliases", scatter_aliases, list(range(len(self.plan.units))))
            aliases = [Outputs("aliases", len(self.plan.units), "aliases")]
        chosen = [Outputs("survivors", len(buckets), "verdicts")]
        files = {"verdicts": chosen, "receipts": receipts, "aliases": aliases}
        items = [{"bucket": bucket, **files} for bucket in buckets]
        self._stage("complete", complete, items)
        return [Outputs("complete", len(buckets), "verdicts")]

    def write(self, verdicts: list[Outputs], out: Folder) -> tuple[list[Counts], list[Counts]]:
        """Stages `verdicts` and `hosts`."""
        units = range(len(self.plan.units))
        items = [{"unit": unit, "verdicts": verdicts, "out": out.url} for unit in units]
        written = self._stage("verdicts", write_verdicts, items)
        hosts = [{"bucket": bucket, "units": len(units)} for bucket in range(self.plan.id_buckets)]
        return written, self._stage("hosts", count_hosts, hosts)

    def _verify(self, turn: str, paired: str, least: float) -> list[Outputs]:
        """Stages `fetch` and `compare` over the pairs that a stage left; returns the files of EDGES."""
        count, chunks = len(self.counts[paired]), self.plan.chunks
        wanted, pairs = [Outputs(paired, count, "wanted")], [Outputs(paired, count, "pairs")]
        self._stage(f"fetch_{turn}", fetch, [{"chunk": chunk, "wanted": wanted} for chunk in range(chunks)])
        sets = Outputs(f"fetch_{turn}", chunks, "sets")
        items = [{"chunk": chunk, "pairs": pairs, "sets": [sets], "least": least} for chunk in range(chunks)]
        self._stage(f"compare_{turn}", compare, items)
        sets.remove(self.scratch)
        return [Outputs(f"compare_{turn}", chunks, "edges")]

    def _stage(self, name: str, task: Any, items: list[Any]) -> list[Counts]:
        self.counts[name] = run_stage(self.scratch, name, task, items, self.run_tasks)
        return self.counts[name]
