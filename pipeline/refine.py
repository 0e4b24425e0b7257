"""Refine one split: every record through the steps, into documents, ledger rows and signatures.

A split is the unit of work: it needs nothing but its bytes and the recipe, so any number can run anywhere at once.
What it leaves behind, in `refine/<key>/` of the work folder:

- `documents.parquet`   the pages that came through, in the order of their offsets
- `ledger.parquet`      one row for every record of the split
- `signatures.parquet`  what deduplication needs of each document
- `samples.parquet`     for each rule a few of the pages it dropped, to be read by a person
- `manifest.json`       entries of these, written last; without it the split is not refined
"""

from __future__ import annotations

import gc
import heapq
import re
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cache
from hashlib import blake2b
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.dedup import SignatureWriter
from pipeline.errors import GristmillError, Quarantine
from pipeline.overrun import Limit, Overran, cpu_limit
from pipeline.pool import NO_RECORD, Crash, on_record
from pipeline.recipe import Recipe, digest
from pipeline.record import REFINED_SCHEMA, Drop, Fate, Page, ledger_schema
from pipeline.sources import Reading, Split, open_split
from pipeline.steps import Step
from pipeline.store import Folder, Manifest
from pipeline.tables import document_table, ledger_table

BATCH = 1000  # records between two writes: bounds memory whatever the size of the split
SAMPLES_PER_RULE = 5
SAMPLES_KEPT = 12
EXCERPT = 3000  # characters of a sample
SAMPLE_SCHEMA = pa.schema(
    [(n, pa.string()) for n in ("record_id", "url", "state", "step", "rule", "detail", "language", "excerpt")]
    + [("value", pa.float64()), ("limit", pa.float64()), ("rank", pa.string())]
)


@dataclass(frozen=True, slots=True)
class RefineTask:
    """One split to refine into `refine/<key>/` of the work folder at `work`.

    `poison` holds offsets of records that twice took a worker with them, and how; `suspects` those that did once.
    """

    split: Split
    recipe: Recipe
    work: str
    key: str
    poison: tuple[tuple[int, str], ...] = ()
    suspects: tuple[int, ...] = ()

    def after(self, crash: Crash) -> RefineTask:
        """The task to try next when a worker died on it: the same again, then without the record it died on."""
        if self.suspects.count(crash.offset) == 0:
            return replace(self, suspects=(*self.suspects, crash.offset))
        if crash.offset == NO_RECORD or any(offset == crash.offset for offset, _ in self.poison):
            raise GristmillError(
                f"a worker died twice outside any record ({crash.reason})",
                self.split.name,
                "Give workers more memory (limits.worker_memory_mb) or use fewer (--workers), and run again; it resumes.",
            )
        return replace(self, poison=(*self.poison, (crash.offset, crash.reason)))


def refine_key(split: Split, recipe: Recipe) -> str:
    """Names the work on a split: its bytes, its published name, and what of the recipe can change the outcome."""
    file = split.file
    signing = recipe.dedup.signature_settings()
    place = (split.start, split.end)
    return digest(file.name, file.dump, file.content, file.size, place, recipe.key("steps", "limits"), signing)


def refine_split(task: RefineTask) -> dict[str, Any]:
    """Refine the split and return its manifest's `about`; a split that stands is not refined again."""
    folder = Folder(task.work).sub(f"refine/{task.key}")
    standing = Manifest.read(folder)
    if standing is not None:
        return standing.about
    for step in task.recipe.steps:
        step.load()  # once a worker: its cost is no page's
    _keep_loaded()
    reading, tally = Reading(), Tally()
    samples = Samples()
    schema = ledger_schema(task.recipe.measured)
    manifest = Manifest()
    with (
        folder.create("documents.parquet") as documents,
        folder.create("ledger.parquet") as ledger,
        folder.create("signatures.parquet") as signatures,
    ):
        kept_writer = pq.ParquetWriter(documents.file, REFINED_SCHEMA, compression="zstd")
        ledger_writer = pq.ParquetWriter(ledger.file, schema, compression="zstd")
        signature_writer = SignatureWriter(signatures.file, task.recipe.dedup)
        with kept_writer, ledger_writer, signature_writer:
            for pages in _batches(_refined(task, reading, tally, samples)):
                kept = [page for page in pages if page.fate and page.fate.state == "kept"]
                ledger_writer.write_table(ledger_table(pages, schema))
                if kept:
                    kept_writer.write_table(document_table(kept))
                    signature_writer.add([page.record_id for page in kept], [page.text for page in kept])
        _check_account(task.split, reading, tally)
        manifest.add(documents.commit(tally.states["kept"]))
        manifest.add(ledger.commit(tally.records))
        manifest.add(signatures.commit(tally.states["kept"]))
    manifest.add(folder.write_table("samples.parquet", samples.table(task.recipe)))
    manifest.about = {"split": task.split.name, **tally.summary(), "reading": _reading(reading)}
    folder.write_json("timing.json", tally.timing())
    manifest.write(folder)
    return manifest.about


@dataclass
class Tally:
    """Counts of one split, and the CPU seconds that each step took."""

    records: int = 0
    stored_bytes: int = 0
    chars: int = 0
    states: Counter[str] = field(default_factory=Counter)
    rules: Counter[str] = field(default_factory=Counter)  # "step/rule" → records
    seconds: dict[str, float] = field(default_factory=lambda: {"reader": 0.0})
    entered: Counter[str] = field(default_factory=Counter)  # pages that came to a step

    def add(self, page: Page) -> None:
        fate = page.fate or Fate("kept")
        self.records += 1
        self.stored_bytes += page.length
        self.states[fate.state] += 1
        if fate.state == "kept":
            self.chars += len(page.text)
        elif fate.drop:
            self.rules[f"{fate.step}/{fate.drop.rule}"] += 1

    def took(self, step: str, begun: float) -> float:
        """Count what a step spent on a page since `begun`; gives the time now, at which the next one begins."""
        now = time.process_time()
        self.seconds[step] = self.seconds.get(step, 0.0) + now - begun
        self.entered[step] += 1
        return now

    def summary(self) -> dict[str, Any]:
        return {
            "records": self.records,
            "bytes": self.stored_bytes,
            "chars": self.chars,
            "states": dict(sorted(self.states.items())),
            "rules": dict(sorted(self.rules.items())),
        }

    def timing(self) -> dict[str, Any]:
        """CPU seconds and pages by step: for the run's own folder, never published."""
        return {"cpu_seconds": self.seconds, "pages": {"reader": self.records, **self.entered}}


class Samples:
    """The pages of each rule whose hashed record_id is smallest: seeded by identity, so the same on any machine."""

    def __init__(self) -> None:
        self._heaps: dict[tuple[str, str, str], list[tuple[str, dict[str, Any]]]] = {}

    def offer(self, page: Page) -> None:
        fate = page.fate or Fate("kept")
        drop = fate.drop or Drop("")
        if fate.step == "reader" and fate.state == "dropped":  # no page
            return
        size = SAMPLES_KEPT if fate.state == "kept" else SAMPLES_PER_RULE
        heap = self._heaps.setdefault((fate.state, fate.step, drop.rule), [])
        rank = rank_of(page.record_id)
        # heapq keeps the smallest on top, and we throw out the largest: order by the complement
        inverse = rank.translate(_COMPLEMENT)
        if len(heap) == size and inverse <= heap[0][0]:
            return
        row = {
            "record_id": page.record_id,
            "url": page.url,
            "state": fate.state,
            "step": fate.step,
            "rule": drop.rule,
            "detail": drop.detail,
            "language": page.language,
            "excerpt": "" if fate.step == "reader" else _beginning(page),  # its bytes could not be read
            "value": drop.value,
            "limit": drop.limit,
            "rank": rank,
        }
        (heapq.heappush if len(heap) < size else heapq.heapreplace)(heap, (inverse, row))

    def table(self, recipe: Recipe) -> pa.Table:
        """All samples in a stated order, personal data removed as the recipe removes it."""
        rows = [
            row for key in sorted(self._heaps) for _, row in sorted(self._heaps[key], reverse=True, key=lambda r: r[0])
        ]
        remover = recipe.step("pii")
        for row in rows:
            row["excerpt"] = _excerpt(row["excerpt"])
            row["excerpt"] = _without_pii(remover, row) if remover else row["excerpt"]
        return pa.Table.from_pylist(rows, SAMPLE_SCHEMA)


def judge(page: Page, steps: tuple[Step, ...], tally: Tally | None = None) -> None:
    """Take a page through the steps until one drops or quarantines it; its fate is then set.

    A page that the language step set aside for a part of its own is judged no further, only amended.
    """
    begun = time.process_time()
    for step in steps:
        if "part" in page.notes and (step.rules or step.name == "datatrove"):
            continue
        try:
            drop = step.check(page)
        except Quarantine as error:
            page.fate = Fate("quarantined", step.label, Drop(error.rule, detail=_printable(error.detail)))
        except Exception as error:  # law 3: whatever a page does to a step, it costs that page alone
            page.fate = Fate("quarantined", step.label, Drop("exception", detail=_last_line(error)))
        else:
            if drop is not None:
                page.fate = Fate("dropped", step.label, drop)
        if tally is not None:
            begun = tally.took(step.label, begun)
        if page.fate is not None:
            return
    page.fate = Fate("kept")


def _refined(task: RefineTask, reading: Reading, tally: Tally, samples: Samples) -> Iterator[Page]:
    poison = dict(task.poison)
    pages = open_split(task.split, reading)
    with cpu_limit(task.recipe.limits.page_cpu_seconds) as limit:
        while True:
            begun = time.process_time()
            page = next(pages, None)
            tally.seconds["reader"] += time.process_time() - begun
            if page is None:
                return
            if page.fate is None and page.offset in poison:
                page.fate = Fate("quarantined", "worker", Drop("killed_worker", detail=poison[page.offset]))
            if page.fate is None:
                on_record(page.offset)
                _within_limits(page, task.recipe, limit, tally)
                on_record(NO_RECORD)
            tally.add(page)
            samples.offer(page)
            page.shed()
            yield page


def _within_limits(page: Page, recipe: Recipe, limit: Limit, tally: Tally) -> None:
    """Refine the page within its CPU time; over it, once more from the start, then quarantine."""
    page.given_text = page.text if page.has_text else None
    for _ in range(2):
        try:
            with limit:
                judge(page, recipe.steps, tally)
            return
        except Overran:
            page.again()
    seconds = recipe.limits.page_cpu_seconds
    page.fate = Fate("quarantined", "worker", Drop("page_cpu_seconds", None, seconds, "took longer, twice"))


def _batches(pages: Iterator[Page]) -> Iterator[list[Page]]:
    batch: list[Page] = []
    for page in pages:
        batch.append(page)
        if len(batch) == BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


def _check_account(split: Split, reading: Reading, tally: Tally) -> None:
    """Law 3 for one split: every record has one state, and the records tile the bytes that were read."""
    if sum(tally.states.values()) != tally.records:
        raise GristmillError(f"{tally.records} records, but states {dict(tally.states)}", split.name, _REPORT)
    tiled = split.file.format in ("warc", "wacz")
    if tiled and tally.stored_bytes != reading.stop - reading.begin:
        what = f"records hold {tally.stored_bytes} bytes, {reading.stop - reading.begin} were read"
        raise GristmillError(what, split.name, _REPORT)


def _reading(reading: Reading) -> dict[str, Any]:
    return {
        "begin": reading.begin,
        "stop": reading.stop,
        "state": reading.state,
        "records": dict(sorted(reading.records.items())),
        "lost": [list(lost) for lost in reading.lost],
        "reason": reading.reason,
    }


@cache
def _keep_loaded() -> None:
    """Tell the garbage collector that what is loaded stays: walking a million objects takes as long as fifty pages."""
    gc.freeze()


def _beginning(page: Page) -> str | bytes:
    """What an excerpt of the page can be made of: its text or, where it has none yet, so much of its HTML."""
    if page.has_text:
        return page.text[:EXCERPT]
    if page.mime and "html" not in page.mime and not page.mime.startswith("text/"):
        return ""
    return bytes(page.payload[: 20 * EXCERPT])


def _excerpt(beginning: str | bytes) -> str:
    if isinstance(beginning, str):
        return beginning
    return " ".join(_TAGS.sub(" ", beginning.decode("utf-8", "replace")).split())[:EXCERPT]


def _without_pii(remover: Step, row: dict[str, Any]) -> str:
    page = Page(row["record_id"], "", 0, 0, "document", given_text=row["excerpt"], language=row["language"])
    try:
        remover.check(page)
    except Exception:  # an excerpt that cannot be cleaned is not shown
        return ""
    return page.text


def _last_line(error: Exception) -> str:
    return _printable(traceback.format_exception_only(error)[-1].strip())


def _printable(text: str) -> str:
    """One line without addresses in memory, which would differ from run to run."""
    return _ADDRESS.sub("0x…", " ".join(text.split()))[:300]


def rank_of(record_id: str) -> str:
    """The hash by which samples are chosen: those of smallest rank are shown."""
    return blake2b(record_id.encode(), digest_size=8).hexdigest()


_COMPLEMENT = str.maketrans("0123456789abcdef", "fedcba9876543210")
_ADDRESS = re.compile(r"0x[0-9a-fA-F]{6,}")
_TAGS = re.compile(r"(?s)<script.*?</script>|<style.*?</style>|<!--.*?-->|<[^>]*>")
_REPORT = "This is a fault of Gristmill: nothing was published. Please report it with the file."
