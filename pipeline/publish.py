"""Lay the survivors out: text shards, token shards and the ledger, each a task of its own.

Shards are planned from the survivors of each split in the order of the input, so what is in a shard depends on the
inputs and the recipe alone. Three kinds of task, each restartable by itself:

- `place_split`   which documents of a split survived, and in which part (train or validation)
- `write_shard`   one text shard and its twin of tokens, from a run of splits
- `write_ledger`  one part of the published ledger, with what became of every record
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.dedup import load_verdicts
from pipeline.recipe import Recipe, digest
from pipeline.record import DOCUMENT_SCHEMA, ledger_schema
from pipeline.refine import EXCERPT, SAMPLE_SCHEMA, SAMPLES_PER_RULE, rank_of
from pipeline.store import Folder, Manifest
from pipeline.tokens import Encoder, TokenShardWriter, part_of

PARTS = ("train", "validation", "other")  # other: pages in other languages, where the recipe publishes them
_PLACED = pa.schema(
    [
        ("id", pa.string()),
        ("part", pa.string()),  # null for a document that was removed
        ("survivor_id", pa.string()),
        ("kind", pa.string()),  # exact | near
        ("similarity", pa.float64()),
        ("limit", pa.float64()),
        ("cluster_id", pa.string()),
        ("cluster_size", pa.int32()),
    ]
)


@dataclass(frozen=True, slots=True)
class PlaceTask:
    split_key: str
    work: str
    dedup_key: str  # "" where nothing is deduplicated
    recipe: Recipe

    @property
    def name(self) -> str:
        return f"placed/{digest('samples', self.split_key, self.dedup_key, self.recipe.key('publish'))}"


def place_split(task: PlaceTask) -> dict[str, Any]:
    """Decide part and cluster of each document of a split; returns documents and bytes of text by part."""
    work = Folder(task.work)
    folder = work.sub(task.name)
    standing = Manifest.read(folder)
    if standing is not None:
        return standing.about
    documents = work.read_table(
        f"refine/{task.split_key}/documents.parquet", columns=["id", "host", "url", "language", "text", "part"]
    )
    ids, hosts = documents["id"].to_pylist(), documents["host"].to_pylist()
    sizes = pc.binary_length(documents["text"]).to_pylist()
    verdicts = load_verdicts(work.sub(f"dedup/{task.dedup_key}"), task.split_key) if task.dedup_key else {}
    settings = task.recipe.publish
    rows: list[dict[str, Any]] = []
    by_part, kinds = Counter[str](), Counter[str]()
    documents_by_part = Counter[str]()
    for doc, host, size, chosen in zip(ids, hosts, sizes, documents["part"].to_pylist(), strict=True):
        verdict = verdicts.get(doc)
        part: str | None = None
        if verdict and verdict.survivor_id:
            kinds[str(verdict.kind)] += 1
        else:
            part = placed = chosen or part_of(host, doc, settings.seed, settings.validation_share)
            by_part[placed] += size
            documents_by_part[placed] += 1
        rows.append(
            {
                "id": doc,
                "part": part,
                "survivor_id": verdict.survivor_id if verdict else None,
                "kind": verdict.kind if verdict else None,
                "similarity": verdict.similarity if verdict and verdict.survivor_id else None,
                "limit": task.recipe.dedup.min_jaccard if verdict and verdict.kind == "near" else None,
                "cluster_id": verdict.cluster_id if verdict else None,
                "cluster_size": verdict.cluster_size if verdict else 1,
            }
        )
    manifest = Manifest(
        {
            "bytes": dict(sorted(by_part.items())),
            "documents": dict(sorted(documents_by_part.items())),
            "removed": dict(sorted(kinds.items())),
        }
    )
    manifest.add(folder.write_table("placed.parquet", pa.Table.from_pylist(rows, _PLACED)))
    manifest.add(folder.write_table("samples.parquet", _removed_samples(rows, documents)))
    manifest.write(folder)
    return manifest.about


def _removed_samples(rows: Sequence[dict[str, Any]], documents: pa.Table) -> pa.Table:
    """A few of the duplicates that were removed, by kind, to be read by a person beside those that the steps dropped."""
    samples: list[dict[str, Any]] = []
    for kind in ("exact", "near"):
        removed = [(rank_of(row["id"]), i) for i, row in enumerate(rows) if row["part"] is None and row["kind"] == kind]
        for rank, i in sorted(removed)[:SAMPLES_PER_RULE]:
            document = documents.slice(i, 1).to_pylist()[0]
            samples.append(
                {
                    "record_id": document["id"],
                    "url": document["url"],
                    "state": "dropped",
                    "step": "dedup",
                    "rule": f"{kind}_duplicate",
                    "detail": f"of {rows[i]['survivor_id']}",
                    "language": document["language"],
                    "excerpt": document["text"][:EXCERPT],
                    "value": rows[i]["similarity"],
                    "limit": rows[i]["limit"],
                    "rank": rank,
                }
            )
    return pa.Table.from_pylist(samples, SAMPLE_SCHEMA)


@dataclass(frozen=True, slots=True)
class ShardTask:
    """`splits` holds (split key, name of its `placed` folder), in the order of the input."""

    name: str  # train-00000
    part: str
    splits: tuple[tuple[str, str], ...]
    work: str
    tokenizer_key: str
    end_of_text: str | None

    @property
    def folder(self) -> str:
        return f"shards/{digest(self.name, self.splits, self.tokenizer_key)}"


def plan_shards(
    placed: Sequence[tuple[str, str, dict[str, Any]]], recipe: Recipe, work: str, tokenizer_key: str
) -> list[ShardTask]:
    """Group consecutive splits into shards of about `publish.shard_mb` of text; `placed` is (key, folder, counts)."""
    target = recipe.publish.shard_mb * (1 << 20)
    tasks = []
    for part in PARTS:
        groups: list[list[tuple[str, str]]] = []
        filled = target
        for key, folder, counts in placed:
            size = counts["bytes"].get(part, 0)
            if not counts["documents"].get(part, 0):
                continue
            if filled + size > target and filled > 0:
                groups.append([])
                filled = 0
            groups[-1].append((key, folder))
            filled += size
        tasks += [
            ShardTask(f"{part}-{number:05d}", part, tuple(group), work, tokenizer_key, recipe.tokenizer.end_of_text)
            for number, group in enumerate(groups)
        ]
    return tasks


def write_shard(task: ShardTask) -> dict[str, Any]:
    """Write `text/NAME.parquet`, `tokens/NAME.parquet` and where each document came to lie; returns what the manifest says."""
    work = Folder(task.work)
    folder = work.sub(task.folder)
    standing = Manifest.read(folder)
    if standing is not None:
        return standing.about
    encoder = Encoder(work.read(f"tokenizer/{task.tokenizer_key}/tokenizer/tokenizer.json"), task.end_of_text)
    manifest = Manifest()
    row, token = 0, 0
    positions = []
    with (
        folder.create(f"text/{task.name}.parquet") as text_draft,
        folder.create(f"tokens/{task.name}.parquet") as token_draft,
    ):
        text_writer = pq.ParquetWriter(text_draft.file, DOCUMENT_SCHEMA, compression="zstd", compression_level=3)
        token_writer = TokenShardWriter(token_draft.file, encoder)
        with text_writer, token_writer:
            for documents in _survivors(work, task):
                ids, offsets = encoder.encode_batch(documents["text"].to_pylist())
                counts = pa.array((offsets[1:] - offsets[:-1]).astype("int32"))
                documents = documents.append_column("token_count", counts).select(DOCUMENT_SCHEMA.names)
                text_writer.write_table(documents.cast(DOCUMENT_SCHEMA))
                token_writer.add(documents, ids, offsets)
                size = documents.num_rows
                positions.append(
                    pa.table(
                        {
                            "record_id": documents["id"],
                            "row": pa.array(range(row, row + size), pa.int32()),
                            "token_start": pa.array(offsets[:-1] + token, pa.int64()),
                            "n_tokens": counts,
                        }
                    )
                )
                row, token = row + size, token + int(offsets[-1])
        manifest.add(text_draft.commit(row))
        manifest.add(token_draft.commit(row))
    table = pa.concat_tables(positions)
    manifest.add(folder.write_table("positions.parquet", table))
    manifest.about = {
        "name": task.name,
        "part": task.part,
        "documents": row,
        "tokens": token,
        "row_groups": token_writer.row_groups,
    }
    manifest.write(folder)
    return manifest.about


@dataclass(frozen=True, slots=True)
class LedgerTask:
    """One part of the published ledger: `splits` as in ShardTask, `shards` (name, folder) that hold their documents."""

    name: str  # ledger/part-00000.parquet
    splits: tuple[tuple[str, str], ...]
    shards: tuple[tuple[str, str], ...]
    work: str
    recipe: Recipe

    @property
    def folder(self) -> str:
        return f"ledgers/{digest(self.name, self.splits, self.shards, self.recipe.key('steps'))}"


def write_ledger(task: LedgerTask) -> dict[str, Any]:
    """Join what each split's ledger, deduplication and the shards say of its records; returns counts by state."""
    work = Folder(task.work)
    folder = work.sub(task.folder)
    standing = Manifest.read(folder)
    if standing is not None:
        return standing.about
    schema = ledger_schema(task.recipe.measured)
    where = _positions(work, task.shards)
    states: Counter[str] = Counter()
    manifest = Manifest()
    with folder.create(task.name) as draft:
        rows = 0
        with pq.ParquetWriter(draft.file, schema, compression="zstd", compression_level=3) as writer:
            for key, placed in task.splits:
                table = _settled(work, key, placed, where, schema)
                writer.write_table(table)
                rows += table.num_rows
                states.update(table["state"].to_pylist())
        manifest.add(draft.commit(rows))
    manifest.about = {"records": rows, "states": dict(sorted(states.items()))}
    manifest.write(folder)
    return manifest.about


def plan_ledger(
    placed: Sequence[tuple[str, str, dict[str, Any]]],
    records: Sequence[int],
    shards: Sequence[ShardTask],
    recipe: Recipe,
    work: str,
) -> list[LedgerTask]:
    """Group consecutive splits into ledger parts of about a million records."""
    groups: list[list[int]] = []
    filled = 0
    for index, count in enumerate(records):
        if not groups or filled + count > 1_000_000:
            groups.append([])
            filled = 0
        groups[-1].append(index)
        filled += count
    holders: dict[tuple[str, str], list[int]] = {}  # numbers of the shards that hold a split's documents
    for number, shard in enumerate(shards):
        for split in shard.splits:
            holders.setdefault(split, []).append(number)
    tasks = []
    for number, group in enumerate(groups):
        splits = tuple((placed[i][0], placed[i][1]) for i in group)
        numbers = sorted({n for split in splits for n in holders.get(split, ())})
        holding = tuple((shards[n].name, shards[n].folder) for n in numbers)
        tasks.append(LedgerTask(f"ledger/part-{number:05d}.parquet", splits, holding, work, recipe))
    return tasks


def _survivors(work: Folder, task: ShardTask) -> Iterator[pa.Table]:
    """The shard's documents, a slice of a split at a time, with cluster columns."""
    for key, placed_folder in task.splits:
        placed = work.read_table(f"{placed_folder}/placed.parquet")
        documents = work.read_table(f"refine/{key}/documents.parquet")
        chosen = pc.fill_null(pc.equal(placed["part"], task.part), False)
        documents = documents.append_column("cluster_id", placed["cluster_id"]).append_column(
            "cluster_size", placed["cluster_size"]
        )
        documents = documents.filter(chosen)
        for start in range(0, documents.num_rows, 1000):
            yield documents.slice(start, 1000)


def _positions(work: Folder, shards: Sequence[tuple[str, str]]) -> dict[str, tuple[str, int, int, int]]:
    where = {}
    for name, folder in shards:
        table = work.read_table(f"{folder}/positions.parquet")
        columns = [table[c].to_pylist() for c in ("record_id", "row", "token_start", "n_tokens")]
        where.update({record: (name, *rest) for record, *rest in zip(*columns, strict=True)})
    return where


def _settled(
    work: Folder, key: str, placed_folder: str, where: dict[str, tuple[str, int, int, int]], schema: pa.Schema
) -> pa.Table:
    """A split's ledger with the last word on every record."""
    ledger = work.read_table(f"refine/{key}/ledger.parquet")
    verdicts = {row["id"]: row for row in work.read_table(f"{placed_folder}/placed.parquet").to_pylist()}
    columns: dict[str, list[Any]] = {
        name: ledger[name].to_pylist() for name in ("record_id", "state", "step", "rule", "value", "limit", "detail")
    }
    more: dict[str, list[Any]] = {
        name: [None] * ledger.num_rows
        for name in ("cluster_id", "cluster_size", "shard", "row", "token_start", "n_tokens")
    }
    for i, record in enumerate(columns["record_id"]):
        verdict = verdicts.get(record)
        if verdict is None:
            continue
        more["cluster_id"][i], more["cluster_size"][i] = verdict["cluster_id"], verdict["cluster_size"]
        if verdict["part"] is None:
            columns["state"][i], columns["step"][i] = "dropped", "dedup"
            columns["rule"][i] = f"{verdict['kind']}_duplicate"
            columns["value"][i], columns["limit"][i] = verdict["similarity"], verdict["limit"]
            columns["detail"][i] = verdict["survivor_id"]
        else:
            more["shard"][i], more["row"][i], more["token_start"][i], more["n_tokens"][i] = where[record]
    for name, values in {**columns, **more}.items():
        index = schema.get_field_index(name)
        ledger = ledger.set_column(
            index, schema.field(index), pa.array(values, _plain_type(schema, index)).cast(schema.field(index).type)
        )
    return ledger


def _plain_type(schema: pa.Schema, index: int) -> pa.DataType:
    kind = schema.field(index).type
    return kind.value_type if pa.types.is_dictionary(kind) else kind
