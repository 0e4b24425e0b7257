"""Small published datasets: real tokenizer, real shards, real manifest."""

from __future__ import annotations

import functools
import random
from pathlib import Path

import numpy as np
import pyarrow as pa

from pipeline.store import Folder, Manifest
from pipeline.tokens import Encoder, TokenizerSettings, TokenShardWriter, train
from tests.tokens.token_texts import corpus


@functools.cache
def tokenizer_json(vocab_size: int = 400) -> bytes:
    return train(corpus(200), TokenizerSettings(vocab_size=vocab_size))


def lengths(count: int, seed: int, longest: int = 400) -> list[int]:
    """Document lengths as the web has them: most short, some far longer than a row."""
    draw = random.Random(seed)
    return [min(longest, max(1, round(draw.lognormvariate(3, 1.1)))) for _ in range(count)]


def publish(
    folder: Path, documents: int = 120, shards: int = 3, validation: int = 20, seed: int = 0, vocab_size: int = 400
) -> Path:
    """A dataset of corpus texts: every shard a row group of its own, ids `train-0-5`."""
    encoder = Encoder(tokenizer_json(vocab_size))
    target, manifest = Folder(folder), Manifest({"format": "gristmill-dataset/1"})
    manifest.add(target.write_bytes("tokenizer/tokenizer.json", tokenizer_json(vocab_size)))
    parts = [("train", shard, documents // shards) for shard in range(shards)]
    parts += [("validation", 0, validation)] if validation else []
    for part, shard, count in parts:
        texts = corpus(count, seed=seed * 1000 + shard + (500 if part == "validation" else 0))
        encoded = [encoder.encode(text) for text in texts]
        manifest.add(_write(target, f"tokens/{part}-{shard:05d}.parquet", encoder, encoded, f"{part}-{shard}"))
    manifest.write(target)
    return folder


def _write(target: Folder, name: str, encoder: Encoder, encoded: list, prefix: str):
    offsets = np.concatenate([[0], np.cumsum([len(ids) for ids in encoded])]).astype(np.int64)
    table = pa.table({"id": [f"{prefix}-{number}" for number in range(len(encoded))]})

    def fill(file) -> int:
        with TokenShardWriter(file, encoder) as writer:
            if encoded:
                writer.add(table, np.concatenate(encoded), offsets)
        return len(encoded)

    return target.write(name, fill)
