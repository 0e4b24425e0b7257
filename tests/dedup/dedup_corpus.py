"""Documents made for the dedup tests, and the splits that hold them."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa

from pipeline.dedup import DedupSettings, RefinedSplit, Verdict, deduplicate, load_verdicts, write_signatures
from pipeline.store import Folder

CURATION = Path(__file__).parents[3] / "shared/data/curation"


class Doc(NamedTuple):
    id: str
    text: str
    url: str = "https://example.org/"


def make_id(name: str) -> str:
    return blake2b(name.encode(), digest_size=16).hexdigest()


def prose(seed: int, words: int = 120) -> list[str]:
    """Words of a document that shares no 5-gram with another seed's."""
    draw = random.Random(seed)
    return ["".join(draw.choices("abcdefghijklmnoprstuvz", k=draw.randint(2, 9))) for _ in range(words)]


def edited(words: Sequence[str], seed: int, edits: int) -> list[str]:
    """The same words with `edits` of them replaced."""
    draw = random.Random(seed)
    out = list(words)
    for at in draw.sample(range(len(out)), edits):
        out[at] = f"edit{seed}x{at}"
    return out


def write_splits(root: Path, parts: Iterable[Sequence[Doc]], settings: DedupSettings) -> list[RefinedSplit]:
    splits = []
    for number, docs in enumerate(parts):
        folder = Folder(root).sub(f"split-{number}")
        columns = {name: [getattr(doc, name) for doc in docs] for name in Doc._fields}
        schema = pa.schema([(name, pa.string()) for name in Doc._fields])
        folder.write_table("documents.parquet", pa.table(columns, schema=schema), row_group_size=100)
        write_signatures(folder, "signatures.parquet", columns["id"], columns["text"], settings)
        splits.append(RefinedSplit(folder))
    return splits


def all_verdicts(out: Folder, splits: Sequence[RefinedSplit]) -> dict[str, Verdict]:
    return {key: verdict for split in splits for key, verdict in load_verdicts(out, split.name).items()}


def run(root: Path, parts: Iterable[Sequence[Doc]], settings: DedupSettings) -> dict[str, Verdict]:
    """The verdicts over these documents, split as `parts` are."""
    splits = write_splits(root, parts, settings)
    deduplicate(splits, settings, Folder(root).sub("out"), map)
    return all_verdicts(Folder(root).sub("out"), splits)


def kept(docs: Iterable[Doc], verdicts: dict[str, Verdict]) -> set[str]:
    return {doc.id for doc in docs if doc.id not in verdicts or verdicts[doc.id].survivor_id is None}
