"""The index of earlier datasets: what a new crawl is joined to, so that nothing comes twice through time.

An index is a folder with one sub-folder a dataset, appended and never changed. A part of it holds, for each original
of one split, the signature, the shingle set (so that candidates can be verified when the texts are long gone; about
half the size of the compressed text) and which document of its cluster was kept. Exact copies are left out, and so
is what was removed because a still earlier dataset has it.

The rule is keep-first: a document that is a copy of an indexed one goes, whichever is longer; what is published stays
published. So A and then B against the index of A leaves the documents of B that a joint run with that rule would
leave.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import IO

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.dedup.identity import halves, texts
from pipeline.dedup.plan import RefinedSplit, Source
from pipeline.dedup.settings import DedupSettings
from pipeline.dedup.shingles import shingle_hashes, shingle_set
from pipeline.dedup.signatures import signature_schema
from pipeline.dedup.stage import RunTasks
from pipeline.dedup.verdicts import load_verdicts
from pipeline.errors import GristmillError
from pipeline.store import Entry, Folder, Manifest
from pipeline.store.parquet import open_parquet

_BATCH = 1 << 10  # documents in memory at a time


def index_schema(bands: int) -> pa.Schema:
    """The signature, then the id of the document that stayed (its own, where it did), then the shingle set."""
    schema = signature_schema(bands)
    for field in (
        pa.field("survivor_high", pa.uint64()),
        pa.field("survivor_low", pa.uint64()),
        pa.field("shingle_set", pa.list_(pa.uint32())),
    ):
        schema = schema.append(field)
    return schema


def append_to_index(
    index: Folder,
    label: str,
    splits: Sequence[RefinedSplit],
    verdicts: Folder,
    settings: DedupSettings,
    run_tasks: RunTasks,
) -> Manifest:
    """Add a deduplicated dataset to an index under a label of its own (a crawl's name); all or nothing.

    `verdicts` is the output folder of `deduplicate` over the same splits and settings. Appending the same dataset
    again changes nothing. Raises GristmillError where the label is taken or the index was made under other settings.
    """
    made = Manifest.read(verdicts)
    if made is None:
        raise GristmillError("deduplication is not finished here", verdicts.url, "Deduplicate the dataset first.")
    others = [other for other in read_index(index.url, settings) if other.label != label]
    folder = index.sub(label)
    standing = Manifest.read(folder)
    if standing is not None:
        if standing.about["key"] != made.about["key"]:
            raise GristmillError("the index holds another dataset of this name", folder.url, "Choose another label.")
        return standing
    about = {
        "label": label,
        "number": max((other.number + 1 for other in others), default=0),
        "key": made.about["key"],
        "signature": settings.signature_settings(),
    }
    tasks = [_PartTask(folder, split, verdicts, settings) for split in splits]
    manifest = Manifest(about, {entry.name: entry for entry in sorted(run_tasks(_write_part, tasks))})
    manifest.write(folder)
    return manifest


@dataclass(frozen=True)
class Indexed:
    """One dataset of an index."""

    folder: Folder
    label: str
    number: int  # in the order in which they were appended
    entries: tuple[Entry, ...]


def read_index(url: str, settings: DedupSettings) -> list[Indexed]:
    """The datasets of an index, oldest first; none where there is no such folder yet.

    Raises GristmillError where one was signed under other settings.
    """
    index = Folder(url)
    found = []
    for name in index.names():
        label, _, file = name.rpartition("/")
        if file != "manifest.json" or not label:
            continue
        manifest = Manifest.read(index.sub(label))
        if manifest is None:
            continue
        if manifest.about["signature"] != settings.signature_settings():
            raise GristmillError(
                "this index was made under other dedup settings",
                index.path(label),
                "Use the settings that it was made with, or start another index.",
            )
        found.append(Indexed(index.sub(label), label, manifest.about["number"], tuple(manifest.entries.values())))
    return sorted(found, key=lambda one: (one.number, one.label))


def index_sources(settings: DedupSettings) -> list[Source]:
    """The parts of all indexes that `settings.against` names; their ages follow the order of time."""
    sources: list[Source] = []
    age = 0
    for url in settings.against:
        datasets = read_index(url, settings)
        if not datasets:
            raise GristmillError("there is no dedup index here", url, "Mend `dedup.against` or leave it out.")
        for dataset in datasets:
            for entry in dataset.entries:
                name = f"{dataset.label}/{entry.name}"
                place = (dataset.folder.url, "", entry.name)
                sources.append(Source(*place, name, age, dataset.label, digest=entry.sha256))
            age += 1
    return sources


@dataclass(frozen=True)
class _PartTask:
    folder: Folder
    split: RefinedSplit
    verdicts: Folder
    settings: DedupSettings


def _write_part(task: _PartTask) -> Entry:
    """The originals of one split, with the document of their cluster that was kept."""
    split, verdicts = task.split, load_verdicts(task.verdicts, task.split.name)
    schema = index_schema(task.settings.bands)
    with task.folder.create(f"{split.name}.parquet") as draft:
        writer = pq.ParquetWriter(draft.file, schema, compression="zstd", use_dictionary=False)
        rows = 0
        with writer, split.folder.open(split.documents) as documents, split.folder.open(split.signatures) as signed:
            bodies = dict[str, str]()
            texts_of = _bodies(documents)
            for batch in open_parquet(signed).iter_batches(_BATCH, use_threads=False):
                ids = texts(batch["id_high"].to_numpy(), batch["id_low"].to_numpy())
                while not bodies.keys() >= set(ids):
                    bodies.update(next(texts_of))
                found = [verdicts.get(one) for one in ids]
                stays = [not v or v.survivor_id is None or (v.kind == "near" and not v.seen_in) for v in found]
                survivors = [(v.survivor_id if v else None) or one for v, one in zip(found, ids, strict=True)]
                sets = [shingle_set(shingle_hashes(bodies.pop(one), task.settings)) for one in ids]
                high, low = halves(survivors)
                columns = [*batch.columns, pa.array(high), pa.array(low), pa.array(sets, pa.list_(pa.uint32()))]
                table = pa.table(columns, schema=schema).filter(pa.array(stays, pa.bool_()))
                writer.write_table(table)
                rows += table.num_rows
        return draft.commit(rows)


def _bodies(documents: IO[bytes]) -> Iterator[dict[str, str]]:
    for batch in open_parquet(documents).iter_batches(_BATCH, columns=["id", "text"], use_threads=False):
        yield dict(zip(batch["id"].to_pylist(), batch["text"].to_pylist(), strict=True))
