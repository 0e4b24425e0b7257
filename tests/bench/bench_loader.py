"""What the training loader costs: `python -m tests.bench.bench_loader`. CPU seconds, so that a busy machine counts little.

Needed: 0.46 M tokens/s per H100 at 124 M parameters, so 3.7 M/s of the stream that each of eight ranks walks.
"""

from __future__ import annotations

import itertools
import tempfile
import time

import numpy as np
import torch

from model.data import Loader, Source
from model.packing import PACKERS, Window
from pipeline.store import Folder, Manifest
from pipeline.tokens import Encoder
from tests.model.datasets import _write, tokenizer_json

T = 2048


def main() -> None:
    torch.set_num_threads(1)
    draw = np.random.default_rng(0)
    # Lengths as the web has them: mean 1,000, some of a hundred rows.
    lengths = np.clip(draw.lognormal(6.3, 1.1, 8000), 16, 200_000).astype(np.int64)
    packing(lengths[:4000])
    loading(lengths)


def packing(lengths: np.ndarray) -> None:
    """Decisions, padding and loss of each packing over one window of 4,000 documents."""
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    tokens = np.zeros(offsets[-1], np.uint16)
    for name in PACKERS:
        start = time.process_time()
        window = Window(tokens, offsets, 0, T, name, range)
        seconds = time.process_time() - start
        used = sum(window.slots(row) for row in range(len(window)))
        padding, kept = 1 - used / (len(window) * T), used / (offsets[-1] + len(lengths))
        print(f"{name:13} {offsets[-1] / seconds / 1e6:5.0f} Mtoken/CPU-s  padding {padding:.3%}  kept {kept:.1%}")


def loading(lengths: np.ndarray) -> None:
    """From shard to batch, as one rank of one and of eight."""
    encoder, draw = Encoder(tokenizer_json()), np.random.default_rng(1)
    with tempfile.TemporaryDirectory() as path:
        folder, manifest = Folder(path), Manifest({})
        manifest.add(folder.write_bytes("tokenizer/tokenizer.json", tokenizer_json()))
        documents = [draw.integers(0, 300, length) for length in lengths]
        manifest.add(_write(folder, "tokens/train-00000.parquet", encoder, documents, "train"))
        manifest.write(folder)
        for world in (1, 8):
            loader = Loader([Source(path)], T, 256, world=world, prefetch=2)
            start, tokens = time.process_time(), 0
            for batch in itertools.islice(loader, 40):
                tokens += batch.tokens
            rate = tokens / (time.process_time() - start)
            print(f"loader, rank 0 of {world}: {rate / 1e6:.1f} Mtoken of the stream per CPU-s")


if __name__ == "__main__":
    main()
