"""A whole run, phase by phase: refine, dedup, place, tokenizer, shards, ledger, publish.

Each phase is a list of tasks over files in the work folder, run by an Executor in any order and on any number of
workers. A task is keyed by what can change its outcome and leaves a manifest when it is done, so a run that is
started again does what is missing and nothing else. After every phase the conservation law is checked.

    out/            what is published: text/ tokens/ tokenizer/ ledger/ recipe.yaml README.md manifest.json
    out/run/        what is not: report.html, metrics.json, state.json, work/
"""

from __future__ import annotations

import contextlib
import os
import platform
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import Any, Protocol, TypeVar

from pipeline import __version__
from pipeline.dedup import RefinedSplit, deduplicate, index_sources
from pipeline.errors import GristmillError
from pipeline.pool import Crash, Executor, in_order
from pipeline.publish import (
    LedgerTask,
    PlaceTask,
    ShardTask,
    place_split,
    plan_ledger,
    plan_shards,
    write_ledger,
    write_shard,
)
from pipeline.recipe import Recipe, digest
from pipeline.refine import RefineTask, refine_key, refine_split
from pipeline.report import collect_facts, write_card, write_report
from pipeline.sources import Split
from pipeline.store import Entry, Folder, Manifest
from pipeline.vocabulary import make_tokenizer

A = TypeVar("A")
B = TypeVar("B")
PUBLISHED = ("text", "tokens", "tokenizer", "ledger")
PHASES = ("refine", "dedup", "tokenize", "publish")  # what `Run.phases` yields


class Progress(Protocol):
    """Is told how far a phase is; `about` is what the task just done came to."""

    def __call__(self, phase: str, done: int, total: int, about: dict[str, Any]) -> None: ...


def silent(phase: str, done: int, total: int, about: dict[str, Any]) -> None:
    """A Progress that shows nothing."""


@dataclass(slots=True)
class Outcome:
    """What a run came to: the manifest that was published, and this run's own times (seconds by phase)."""

    manifest: Manifest
    seconds: dict[str, float]
    tasks_done: int  # tasks that had to be run; 0 where everything stood


@dataclass(slots=True)
class Run:
    """One run of a recipe over splits into `out`."""

    recipe: Recipe
    splits: Sequence[Split]
    out: Folder
    executor: Executor
    work: Folder | None = None  # default: out/run/work
    progress: Progress = silent
    accept_changed_inputs: bool = False
    seconds: dict[str, float] = field(default_factory=dict)
    tasks_done: int = 0
    outcome: Outcome | None = None  # once the run is done

    def __call__(self) -> Outcome:
        """Run every phase that does not stand yet, and publish.

        Raises GristmillError where the output folder belongs to another recipe, an input changed since the run
        began, a page is unaccounted for, or the disk is full.
        """
        for _ in self.phases():
            pass
        assert self.outcome is not None
        return self.outcome

    def phases(self) -> Iterator[str]:
        """The run in steps, for a scheduler: yields the name of each phase (PHASES), which the next `next` then runs.

        The output folder is this run's from the first `next` until the generator ends or is closed.
        """
        self.recipe.check_conflicts()
        home = self.out.sub("run")
        work = self.work = self.work or home.sub("work")
        with _lease(home), _lease(work):
            self._check_folder(home)
            for folder in ("", *PUBLISHED):
                self.out.sweep(folder)  # of a run that was killed while it published
            yield "refine"
            keys, refined = self._refine(work)
            yield "dedup"
            dedup_key, duplicates = self._dedup(work, keys)
            placed = self._place(work, keys, refined, dedup_key)
            yield "tokenize"
            if not self.recipe.tokenizer.path and not any(counts["documents"] for _, _, counts in placed):
                raise _nothing_left(refined)
            tokenizer_key, tokenizer = self._tokenizer(work, placed)
            shards, shard_facts = self._shards(work, placed, tokenizer_key)
            yield "publish"
            ledger, ledger_facts = self._ledger(work, placed, refined, shards, shard_facts)
            units = [f"tokenizer/{tokenizer_key}", *(t.folder for t in shards), *(t.folder for t in ledger)]
            about = self._about(refined, duplicates, tokenizer, shard_facts, ledger_facts)
            manifest = self._publish(work, units, about)
            self._tell(home, work, keys, placed, manifest)
            self.outcome = Outcome(manifest, self.seconds, self.tasks_done)

    # ---- phases ------------------------------------------------------------------------------------------------

    def _refine(self, work: Folder) -> tuple[list[str], list[dict[str, Any]]]:
        while True:
            keys = [refine_key(split, self.recipe) for split in self.splits]
            tasks = [
                RefineTask(split, self.recipe, work.url, key) for split, key in zip(self.splits, keys, strict=True)
            ]
            refined = self._phase("refine", refine_split, tasks, [f"refine/{key}" for key in keys], _after_crash)
            fooled = _misled(self.splits, refined)
            if not fooled:
                _check_tiling(self.splits, refined)
                return keys, refined
            self.splits = [fooled.get(number, split) for number, split in enumerate(self.splits)]

    def _dedup(self, work: Folder, keys: Sequence[str]) -> tuple[str, dict[str, Any]]:
        settings = self.recipe.dedup
        if not (settings.exact or settings.minhash):
            return "", {}
        earlier = [[source.label, source.digest] for source in index_sources(settings)]
        key = digest(keys, self.recipe.key("dedup"), earlier)
        folder = work.sub(f"dedup/{key}")
        begun = time.monotonic()
        done = Manifest.read(folder, "dedup.json")
        if done is None:
            self.progress("dedup", 0, 1, {})
            splits = [RefinedSplit(work.sub(f"refine/{split}")) for split in keys]
            result = deduplicate(splits, settings, folder, self._run_tasks)
            done = Manifest(dict(result.stats))
            done.write(folder, "dedup.json")
        self.progress("dedup", 1, 1, done.about)
        self.seconds["dedup"] = time.monotonic() - begun
        return key, done.about

    def _place(
        self, work: Folder, keys: Sequence[str], refined: Sequence[dict[str, Any]], dedup_key: str
    ) -> list[tuple[str, str, dict[str, Any]]]:
        tasks = [PlaceTask(key, work.url, dedup_key, self.recipe) for key in keys]
        placed = self._phase("place", place_split, tasks, [task.name for task in tasks])
        for split, before, after in zip(self.splits, refined, placed, strict=True):
            entered = before["states"].get("kept", 0)
            left = sum(after["documents"].values()) + sum(after["removed"].values())
            _conserve("deduplication", split.name, entered, left)
        return [(key, task.name, about) for key, task, about in zip(keys, tasks, placed, strict=True)]

    def _tokenizer(self, work: Folder, placed: Sequence[tuple[str, str, dict[str, Any]]]) -> tuple[str, dict[str, Any]]:
        begun = time.monotonic()
        self.progress("tokenizer", 0, 1, {})
        size = sum(counts["bytes"].get("train", 0) for _, _, counts in placed)
        key, about = make_tokenizer(
            work, [(split, folder) for split, folder, _ in placed], size, self.recipe.tokenizer, self._run_tasks
        )
        self.progress("tokenizer", 1, 1, about)
        self.seconds["tokenizer"] = time.monotonic() - begun
        return key, about

    def _shards(
        self, work: Folder, placed: Sequence[tuple[str, str, dict[str, Any]]], tokenizer_key: str
    ) -> tuple[list[ShardTask], list[dict[str, Any]]]:
        shards = plan_shards(placed, self.recipe, work.url, tokenizer_key)
        facts = self._phase("shards", write_shard, shards, [task.folder for task in shards])
        survivors = sum(sum(counts["documents"].values()) for _, _, counts in placed)
        _conserve("sharding", "all shards", survivors, sum(fact["documents"] for fact in facts))
        return shards, facts

    def _ledger(
        self,
        work: Folder,
        placed: Sequence[tuple[str, str, dict[str, Any]]],
        refined: Sequence[dict[str, Any]],
        shards: Sequence[ShardTask],
        shard_facts: Sequence[dict[str, Any]],
    ) -> tuple[list[LedgerTask], list[dict[str, Any]]]:
        records = [about["records"] for about in refined]
        tasks = plan_ledger(placed, records, shards, self.recipe, work.url)
        facts = self._phase("ledger", write_ledger, tasks, [task.folder for task in tasks])
        _conserve("the ledger", "all parts", sum(records), sum(fact["records"] for fact in facts))
        kept = sum(fact["states"].get("kept", 0) for fact in facts)
        _conserve("publishing", "all shards", kept, sum(fact["documents"] for fact in shard_facts))
        return tasks, facts

    def _about(
        self,
        refined: Sequence[dict[str, Any]],
        duplicates: dict[str, Any],
        tokenizer: dict[str, Any],
        shard_facts: Sequence[dict[str, Any]],
        ledger_facts: Sequence[dict[str, Any]],
    ) -> dict[str, Any]:
        """What the published manifest says besides its files: a function of inputs and recipe."""
        states: Counter[str] = Counter()
        for fact in ledger_facts:
            states.update(fact["states"])
        return {
            "format": "gristmill-dataset/1",
            "gristmill": __version__,
            "recipe": {"name": self.recipe.name, "key": self.recipe.key(*Recipe.model_fields)},
            "inputs": _inputs(self.splits),
            "records": {"in": sum(states.values()), **dict(sorted(states.items()))},
            "reading": _reading_by_file(self.splits, refined),
            "dedup": duplicates,
            "tokenizer": tokenizer,
            "shards": sorted(shard_facts, key=lambda fact: str(fact["name"])),
        }

    def _publish(self, work: Folder, units: Sequence[str], about: dict[str, Any]) -> Manifest:
        """Put every finished file in its place; the manifest, last, makes them the dataset."""
        begun = time.monotonic()
        published = {entry.name: (unit, entry) for unit in units for entry in _entries(work, unit)}
        standing = Manifest.read(self.out)
        if standing is not None and _same(standing, about, published) and not _missing(self.out, standing):
            return standing
        self.progress("publish", 0, len(published), {})
        self.out.remove("manifest.json")
        manifest = Manifest(about)
        for done, (name, (unit, entry)) in enumerate(sorted(published.items()), 1):
            self.out.adopt(work.sub(unit), name)
            manifest.add(entry)
            self.progress("publish", done, len(published), {})
        manifest.add(self.out.write_bytes("recipe.yaml", self.recipe.published().encode()))
        facts = collect_facts(self.out, manifest, self.recipe)
        manifest.add(write_card(self.out, facts))
        manifest.write(self.out)
        for folder in PUBLISHED:
            for name in self.out.names(folder):
                if name not in manifest.entries:
                    self.out.remove(name)
        self.seconds["publish"] = time.monotonic() - begun
        return manifest

    def _tell(
        self,
        home: Folder,
        work: Folder,
        keys: Sequence[str],
        placed: Sequence[tuple[str, str, dict[str, Any]]],
        manifest: Manifest,
    ) -> None:
        """The run's own folder: times, the machine, and the report. Nothing of it is published."""
        timings = [work.read_json(f"refine/{key}/timing.json") for key in keys]
        metrics = {
            "seconds": self.seconds,
            "tasks_done": self.tasks_done,
            "cpu_seconds": _sum_by_key(timing["cpu_seconds"] for timing in timings),
            "pages": _sum_by_key(timing["pages"] for timing in timings),
            "machine": {"cores": os.cpu_count(), "python": platform.python_version(), "system": platform.platform()},
            "finished": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        }
        home.write_json("metrics.json", metrics)
        facts = collect_facts(self.out, manifest, self.recipe)
        folders = [f"refine/{key}" for key in keys] + [name for _, name, _ in placed]
        samples = (work.read_table(f"{folder}/samples.parquet") for folder in folders)
        write_report(home, facts, metrics, samples)

    # ---- what phases share -------------------------------------------------------------------------------------

    def _phase(
        self,
        phase: str,
        task: Callable[[A], dict[str, Any]],
        items: Sequence[A],
        folders: Sequence[str],
        on_crash: Callable[[A, Crash], A] | None = None,
    ) -> list[dict[str, Any]]:
        """Results in the order of the items; what stands in the work folder is read, the rest is run."""
        assert self.work is not None
        begun = time.monotonic()
        results: list[dict[str, Any] | None] = []
        for folder in folders:
            standing = Manifest.read(self.work.sub(folder))
            results.append(standing.about if standing else None)
        missing = [i for i, result in enumerate(results) if result is None]
        done = len(items) - len(missing)
        self.progress(phase, done, len(items), {})
        for position, result in self.executor.run(task, [items[i] for i in missing], on_crash):
            results[missing[position]] = result
            done += 1
            self.tasks_done += 1
            self.progress(phase, done, len(items), result)
        self.seconds[phase] = time.monotonic() - begun
        return [result for result in results if result is not None]

    def _run_tasks(self, task: Callable[[A], B], items: Sequence[A]) -> Iterable[B]:
        return in_order(self.executor.run(task, items))

    def _check_folder(self, home: Folder) -> None:
        """Refuse a folder that is somebody else's, and inputs that changed under a run; note what this run is of."""
        inputs = {split.file.name: split.file.content for split in self.splits}
        if not inputs:
            raise GristmillError("there is no input", "--input", "Name at least one archive.")
        if not home.exists("state.json"):
            strangers = [name for name in self.out.names() if not name.startswith("run/")]
            if strangers:
                raise GristmillError(
                    f"the folder holds files of no run ({strangers[0]}, …)",
                    self.out.url,
                    "Choose an empty or new folder.",
                )
        else:
            state = home.read_json("state.json")
            if state["recipe"] != self.recipe.name:
                raise GristmillError(
                    f"the folder holds a run of the recipe {state['recipe']}, this is {self.recipe.name}",
                    self.out.url,
                    "Choose another folder with --out, or remove this one.",
                )
            changed = [n for n, content in inputs.items() if state["inputs"].get(n, content) != content]
            if changed and not self.accept_changed_inputs:
                raise GristmillError(
                    f"this input is not what it was when the run began ({len(changed)} of {len(inputs)} changed)",
                    changed[0],
                    "Restore it, or pass --accept-changed-inputs to refine it again.",
                )
            inputs = {**state["inputs"], **inputs}
        home.write_json("state.json", {"recipe": self.recipe.name, "inputs": inputs})


def _after_crash(task: RefineTask, crash: Crash) -> RefineTask:
    return task.after(crash)


@contextlib.contextmanager
def _lease(home: Folder) -> Iterator[None]:
    """One run at a time in a local folder, be it of output or of work; a killed run leaves no lock behind."""
    if not home.is_local:
        yield
        return
    import fcntl

    try:
        os.makedirs(home.root, exist_ok=True)
        lock = open(home.path(".lock"), "w")
    except OSError as error:
        raise GristmillError(
            f"cannot write there ({error.strerror})", home.root, "Choose a folder that you may write, with --out."
        ) from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise GristmillError(
                "another run is at work in this folder", home.root, "Wait until it is done, or choose another --out."
            ) from None
        yield


def _conserve(phase: str, where: str, came: int, left: int) -> None:
    """Law 3: what came into a phase left it."""
    if came != left:
        raise GristmillError(
            f"{came} records came into {phase}, {left} left it: the run stops and publishes nothing",
            where,
            "This is a fault of Gristmill; please report it with the run/ folder.",
        )


def _nothing_left(refined: Sequence[dict[str, Any]]) -> GristmillError:
    """Nothing survived, so there is no text for a tokenizer: which rules took it all."""
    taken: Counter[str] = Counter()
    for about in refined:
        taken.update(about["rules"])
    most = ", ".join(
        f"{rule} {count:,}" for rule, count in sorted(taken.items(), key=lambda item: (-item[1], item[0]))[:6]
    )
    records = sum(about["records"] for about in refined)
    of = f"survived of {records:,} records (taken by {most})" if records else "came in: the inputs hold no record"
    return GristmillError(
        f"no document {of}, so there is nothing to train a tokenizer on",
        "",
        "Loosen the recipe with --set or another --preset; or name a tokenizer (--set tokenizer.path=FILE): then ledger and "
        "report are published, and show the pages that were dropped.",
    )


def _misled(splits: Sequence[Split], refined: Sequence[dict[str, Any]]) -> dict[int, Split]:
    """Splits to read again, by number: those that took a record inside another (an archive in an archive) for the first.

    What lies before them reaches as far as its last record, so from there on they cannot be misled; a split that lies
    within that record holds nothing.
    """
    again = {}
    readings = enumerate(zip(splits, (about["reading"] for about in refined), strict=True))
    for _, group in groupby(readings, key=lambda one: one[1][0].file):
        reach = 0
        for number, (split, reading) in group:
            if reading["begin"] == reading["stop"]:
                continue
            if reading["begin"] < reach:
                again[number] = replace(split, start=min(reach, split.end))
            else:
                reach = reading["stop"]
    return again


def _check_tiling(splits: Sequence[Split], refined: Sequence[dict[str, Any]]) -> None:
    """The splits of each file end where the next one begins; those of an archive reach its last byte.

    Positions are bytes as stored, but in the text of compressed JSON lines, and rows in a table.
    """
    pairs = zip(splits, (about["reading"] for about in refined), strict=True)
    for file, group in groupby(pairs, key=lambda pair: pair[0].file):
        at = 0
        for split, reading in group:
            if reading["begin"] == reading["stop"]:
                continue  # one long record covers this split
            _conserve("reading (positions)", split.name, reading["begin"], at)
            at = reading["stop"]
        if file.format == "warc":
            _conserve("reading (bytes)", file.name, file.size, at)


def _entries(work: Folder, unit: str) -> list[Entry]:
    manifest = Manifest.read(work.sub(unit))
    assert manifest is not None
    return [entry for entry in manifest.entries.values() if entry.name.startswith(tuple(f"{p}/" for p in PUBLISHED))]


def _same(standing: Manifest, about: dict[str, Any], published: dict[str, tuple[str, Entry]]) -> bool:
    return standing.about == about and all(
        standing.entries.get(name) == entry for name, (_, entry) in published.items()
    )


def _missing(out: Folder, manifest: Manifest) -> list[str]:
    return [name for name in manifest.entries if not out.exists(name)]


def _inputs(splits: Sequence[Split]) -> list[dict[str, Any]]:
    files = {split.file.name: split.file for split in splits}
    return [{"name": f.name, "bytes": f.size, "content": f.content, "dump": f.dump} for _, f in sorted(files.items())]


def _reading_by_file(splits: Sequence[Split], refined: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """State, record types and lost byte ranges of each input file; only what is not complete has a reason."""
    files: dict[str, Any] = {}
    worst = ("complete", "damaged", "truncated", "not-an-archive")
    for split, about in zip(splits, refined, strict=True):
        reading = about["reading"]
        file = files.setdefault(split.file.name, {"state": "complete", "records": Counter(), "lost": [], "reason": ""})
        file["records"].update(reading["records"])
        file["lost"] += reading["lost"]
        if worst.index(reading["state"]) > worst.index(file["state"]):
            file["state"], file["reason"] = reading["state"], reading["reason"]
    return {name: {**file, "records": dict(sorted(file["records"].items()))} for name, file in sorted(files.items())}


def _sum_by_key(counts: Iterable[dict[str, float]]) -> dict[str, float]:
    total: dict[str, float] = {}
    for count in counts:
        for key, value in count.items():
            total[key] = total.get(key, 0) + value
    return total
