"""CPU time of tokenizer training, encoding and token shards: `python -m tests.bench.bench_tokens` prints a table.

Texts are main texts of real web pages and documents in 400 languages from the shared data. Interleaved: each round
runs every setup over the same texts, and each round has texts of its own, so that a cache of words helps an encoder
no more than in a run (`tokenizers` alone meets them twice). MB are 10^6 bytes of UTF-8, times are CPU seconds of the
process, threads included. Every encoder's ids are compared with those of `tokenizers`.
"""

from __future__ import annotations

import argparse
import gzip
import io
import json
import lzma
from collections.abc import Callable
from pathlib import Path
from statistics import median
from time import process_time
from typing import Any

import numpy as np
import pyarrow as pa
import tiktoken

from pipeline.tokens import Encoder, TokenizerSettings, TokenShard, TokenShardWriter, train
from pipeline.tokens.bpe import _byte_letters
from pipeline.tokens.encode import _tokenizers_engine

DATA = Path(__file__).resolve().parents[2].parent / "shared/data"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--vocab-size", type=int, default=32768)
    options = parser.parse_args()
    texts, unseen = corpus()
    size, unseen_size = megabytes(texts), megabytes(unseen)
    start = process_time()
    tokenizer = train(texts, TokenizerSettings(vocab_size=options.vocab_size))
    seconds = process_time() - start
    print(f"train {options.vocab_size} tokens on {size:.1f} MB: {seconds:.1f} CPU s, {size / seconds:.1f} MB/s\n")
    start = process_time()
    encoder = Encoder(tokenizer)
    print(f"start an Encoder, self-check included: {1000 * (process_time() - start):.0f} ms ({encoder.engine})\n")
    print(f"encode {len(unseen)} unseen documents, {unseen_size:.1f} MB\n")
    print("| encoder | MB/s/core | x tokenizers | other ids in |\n| --- | ---: | ---: | ---: |")
    measured = encoders(encoder, tokenizer, unseen, options.rounds)
    for name, (seconds, differing) in measured.items():
        times = measured["tokenizers"][0] / seconds
        print(f"| {name} | {unseen_size / seconds:.1f} | {times:.1f} | {differing} of {len(unseen)} |")
    print("\n| token shard | M tokens/s/core | bytes a token |\n| --- | ---: | ---: |")
    for name, (rate, bytes_a_token) in shards(encoder, unseen, options.rounds).items():
        print(f"| {name} | {rate:.0f} | {bytes_a_token:.2f} |")


def corpus() -> tuple[list[str], list[str]]:
    """Texts to train on and others to encode."""

    def lines(data: bytes) -> list[str]:
        return [json.loads(line)["text"] for line in data.decode().splitlines()]

    pages = lines(gzip.decompress((DATA / "curation/extraction/wcxb_dev.truth.jsonl.gz").read_bytes()))
    languages = gzip.decompress((DATA / "curation/lid/udhr_documents.tsv.gz").read_bytes()).decode().splitlines()
    articles = [lines(lzma.decompress((DATA / f"train/text/wikipedia-0{n}.jsonl.xz").read_bytes())) for n in (0, 1)]
    udhr = [line.split("\t")[-1] for line in languages]
    return pages[::2] + udhr[::2] + articles[0], pages[1::2] + udhr[1::2] + articles[1]


def encoders(encoder: Encoder, tokenizer: bytes, texts: list[str], rounds: int) -> dict[str, tuple[float, int]]:
    """CPU seconds and the number of documents whose ids differ from those of `tokenizers`, by encoder."""
    reference = _tokenizers_engine(encoder._reference)
    tik = _tiktoken(tokenizer)
    setups: dict[str, Callable[[list[str]], Any]] = {
        "tokenizers": reference,
        "tiktoken, same merges": lambda batch: [tik.encode_to_numpy(text, disallowed_special=()) for text in batch],
        f"Encoder ({encoder.engine})": encoder.encode_batch,
    }
    times = dict.fromkeys(setups, 0.0)
    differing = dict.fromkeys(setups, 0)
    for number in range(rounds):
        part = texts[number::rounds]
        expected = _documents([reference(part)])
        for name, encode in setups.items():
            start = process_time()
            batches = [encode(part[i : i + 1000]) for i in range(0, len(part), 1000)]
            times[name] += process_time() - start
            found = _documents(batches)
            differing[name] += sum(not np.array_equal(a, b) for a, b in zip(found, expected, strict=True))
    return {name: (times[name], differing[name]) for name in setups}


def _documents(batches: list[Any]) -> list[np.ndarray]:
    """Each document's ids, whatever the encoder's shape."""
    if isinstance(batches[0], list):
        return [ids for batch in batches for ids in batch]
    return [ids for flat, offsets in batches for ids in np.split(flat, offsets[1:-1])]


def _tiktoken(tokenizer: bytes) -> tiktoken.Encoding:
    of_letter = {letter: byte for byte, letter in enumerate(_byte_letters())}
    vocab = json.loads(tokenizer)["model"]["vocab"]
    ranks = {bytes(of_letter[letter] for letter in token): rank for token, rank in vocab.items()}
    pattern = TokenizerSettings().regex
    return tiktoken.Encoding("bench", pat_str=pattern, mergeable_ranks=ranks, special_tokens={})


def shards(encoder: Encoder, texts: list[str], rounds: int) -> dict[str, tuple[float, float]]:
    """M tokens per CPU second and bytes a token, writing and reading one shard held in memory."""
    ids, offsets = encoder.encode_batch(texts)
    rows = pa.table({"id": [f"{n:032x}" for n in range(len(texts))], "url": ["https://example.org/"] * len(texts)})

    def write() -> bytes:
        file = io.BytesIO()
        with TokenShardWriter(file, encoder) as writer:
            writer.add(rows, ids, offsets)
        return file.getvalue()

    data = write()

    def read() -> None:
        with TokenShard.open(io.BytesIO(data), encoder.sha256) as shard:
            assert sum(len(group.tokens) for group in shard) == len(ids)

    def read_as_lists() -> None:
        import pyarrow.parquet as pq

        assert sum(map(len, pq.read_table(io.BytesIO(data))["tokens"].to_pylist())) == len(ids)

    found = {}
    for name, run in (("write", write), ("read", read), ("read through to_pylist", read_as_lists)):
        times = []
        for _ in range(rounds):
            start = process_time()
            run()
            times.append(process_time() - start)
        found[name] = (len(ids) / 1e6 / median(times), len(data) / len(ids))
    return found


def megabytes(texts: list[str]) -> float:
    return sum(len(text.encode()) for text in texts) / 1e6


if __name__ == "__main__":
    main()
