"""The tokenizer phase: load the tokenizer that the recipe names, or train one on a seeded sample of the survivors."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from importlib.metadata import version
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.errors import GristmillError
from pipeline.recipe import digest
from pipeline.store import Folder, Manifest
from pipeline.tokens import Encoder, TokenizerSettings, in_sample, load, sample_share, shortfall, tokenizer_files, train


def make_tokenizer(
    work: Folder,
    splits: Sequence[tuple[str, str]],
    size: int,
    settings: TokenizerSettings,
    run_tasks: Callable[[Callable[[Any], Any], Sequence[Any]], Iterable[Any]],
) -> tuple[str, dict[str, Any]]:
    """Make `tokenizer/<key>/` in the work folder; returns the key and what the manifest says of the tokenizer.

    `splits` holds (split key, name of its `placed` folder); `size` is the text of the train part's survivors in
    bytes. A named tokenizer is keyed by its files' bytes, a trained one by what it was trained on, and both by the
    library that trains and encodes.
    """
    made = ("tokenizer", version("tokenizers"), settings.model_dump(mode="json"))
    if settings.path is not None:
        ready = load(settings)
        files = tokenizer_files(ready, settings)
        key = digest(*made, {name: sha256(data).hexdigest() for name, data in files.items()})
    else:
        ready = b""
        key = digest(*made, splits)
    folder = work.sub(f"tokenizer/{key}")
    standing = Manifest.read(folder)
    if standing is not None:
        return key, standing.about
    names: list[str] = []
    if settings.path is None:
        share = sample_share(size, settings)
        tasks = [SampleTask(split, placed, work.url, settings.seed, share) for split, placed in splits]
        names = list(run_tasks(sample_split, tasks))
    return key, next(iter(run_tasks(build_tokenizer, [BuildTask(work.url, key, tuple(names), settings, ready)])))


@dataclass(frozen=True, slots=True)
class SampleTask:
    split: str
    placed: str
    work: str
    seed: int
    share: float


def sample_split(task: SampleTask) -> str:
    """Write the texts of a split's train documents that are in the sample; returns the file's name."""
    work = Folder(task.work)
    name = f"tokenizer-samples/{digest(task.split, task.placed, task.seed, task.share)}.parquet"
    if not work.exists(name):
        placed = work.read_table(f"{task.placed}/placed.parquet", ["id", "part"])
        documents = work.read_table(f"refine/{task.split}/documents.parquet", ["id", "text"])
        train_part = pc.fill_null(pc.equal(placed["part"], "train"), False).to_pylist()
        chosen = [
            ours and in_sample(record, task.seed, task.share)
            for ours, record in zip(train_part, placed["id"].to_pylist(), strict=True)
        ]
        work.write_table(name, documents.filter(pa.array(chosen, pa.bool_())).select(["text"]))
    return name


@dataclass(frozen=True, slots=True)
class BuildTask:
    work: str
    key: str
    samples: tuple[str, ...]
    settings: TokenizerSettings
    ready: bytes  # the tokenizer.json that the recipe names; b"" to train


def build_tokenizer(task: BuildTask) -> dict[str, Any]:
    """Train on the samples unless the tokenizer is ready, and write its published files and what is said of it.

    Raises GristmillError where no text survived to train on.
    """
    work, settings = Folder(task.work), task.settings
    tokenizer = task.ready or train(_texts(work, task.samples), settings)
    encoder = Encoder(tokenizer, settings.end_of_text)
    folder = work.sub(f"tokenizer/{task.key}")
    manifest = Manifest(
        {
            "sha256": encoder.sha256,
            "vocab_size": encoder.vocab_size,
            "dtype": encoder.dtype,
            "eot_id": encoder.eot_id,
            "trained": not task.ready,
            "note": shortfall(tokenizer, settings) or "",
        }
    )
    for name, data in sorted(tokenizer_files(tokenizer, settings).items()):
        manifest.add(folder.write_bytes(f"tokenizer/{name}", data))
    manifest.write(folder)
    return manifest.about


def _texts(work: Folder, names: Sequence[str]) -> Iterable[str]:
    found = False
    for name in names:
        for text in work.read_table(name)["text"].to_pylist():
            found = True
            yield text
    if not found:
        raise GristmillError(
            "no document survived, so there is nothing to train a tokenizer on",
            "tokenizer",
            "See `gristmill stats` of a looser recipe, or name an existing tokenizer: --set tokenizer.path=FILE.",
        )
