"""What deduplication costs: `python -m tests.bench.bench_dedup signatures | join [DOCUMENTS] [--memory MB]`.

`signatures` prints CPU milliseconds a document for each part of a signature on real news texts, with the C kernels
and with numpy, and for datatrove 0.10.1's, interleaved. `join` makes that many documents (5 % exact copies, 5 %
near-duplicates, 1 % relatives below the threshold), signs them, deduplicates them in one process and prints CPU
seconds and peak memory of each stage.
"""

from __future__ import annotations

import argparse
import gzip
import json
import resource
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from hashlib import blake2b
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline.dedup import DedupSettings, RefinedSplit, deduplicate, shingles, signatures, write_signatures
from pipeline.store import Folder

ARTICLES = Path(__file__).parents[3] / "shared/data/curation/near_duplicates/articles.jsonl.gz"
WORDS = 150
SPLIT = 20_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["signatures", "join"])
    parser.add_argument("documents", type=int, nargs="?", default=200_000)
    parser.add_argument("--memory", type=int, default=1024, help="MiB of one task")
    asked = parser.parse_args()
    if asked.what == "signatures":
        bench_signatures()
    else:
        bench_join(asked.documents, asked.memory << 20)


def bench_signatures(rounds: int = 7) -> None:
    """Median CPU ms a document; texts of six articles each, about as long as a web page that survives filters."""
    with gzip.open(ARTICLES, "rt") as lines:
        articles = [json.loads(line)["text"] for line in lines]
    texts = [" ".join(articles[at : at + 6]) for at in range(0, 600, 6)]
    settings = DedupSettings()
    hashes = [shingles.shingle_hashes(text, settings) for text in texts]
    native = shingles.native
    parts: dict[str, Callable[[], Any]] = {
        "normalise + shingle": lambda: [shingles.shingle_hashes(text, settings) for text in texts],
        "112 minima": lambda: [signatures.minima(h, settings) for h in hashes],
        "whole signature": lambda: [signatures.signature_row(text, settings) for text in texts],
    }
    found: dict[str, list[float]] = {}
    for _ in range(rounds):
        for kernel in ("native", "numpy"):
            if kernel == "native" and native is None:
                continue
            shingles.native = native if kernel == "native" else None
            for name, part in parts.items():
                found.setdefault(f"{name}, {kernel}", []).append(cpu_ms(part) / len(texts))
        shingles.native = native
        found.setdefault("datatrove 0.10.1", []).append(cpu_ms(datatrove(texts[:20])) / 20)
    print(f"{len(texts)} texts, {statistics.mean(map(len, texts)):.0f} characters, ", end="")
    print(f"{statistics.mean(h.size for h in hashes):.0f} shingles; median of {rounds} rounds, CPU ms a document")
    for name, times in found.items():
        print(f"{name:32} {statistics.median(times):8.3f}")


def datatrove(texts: list[str]) -> Callable[[], Any]:
    from datatrove.pipeline.dedup.minhash import MinhashDedupSignature

    step = MinhashDedupSignature(tempfile.gettempdir())
    step.get_shingles(texts[0])
    return lambda: [step.get_signature(step.get_shingles(text)) for text in texts]


def cpu_ms(work: Callable[[], Any]) -> float:
    begun = time.process_time()
    work()
    return (time.process_time() - begun) * 1000


def bench_join(documents: int, memory: int) -> None:
    settings = DedupSettings(memory=memory)
    with tempfile.TemporaryDirectory() as root:
        begun = time.monotonic()
        work = [(Path(root), number, settings) for number in range(-(-documents // SPLIT))]
        with get_context("spawn").Pool() as pool:  # other processes, so that this one's peak is the join's
            splits = pool.starmap(make_split, work, chunksize=1)
        print(f"made and signed {len(splits) * SPLIT:,} documents in {time.monotonic() - begun:.0f} s")
        before = peak_mb()
        stages: dict[str, list[float]] = {}

        def run_tasks(task: Callable[[Any], Any], items: Any) -> Iterator[Any]:
            for item in items:
                begun = time.process_time()
                yield task(item)
                stages.setdefault(item.stage, []).append(time.process_time() - begun)

        begun, wall = time.process_time(), time.monotonic()
        result = deduplicate(splits, settings, Folder(Path(root) / "out"), run_tasks)
        cpu, seconds = time.process_time() - begun, time.monotonic() - wall
        for stage, times in stages.items():
            print(f"  {stage:18} {sum(times):8.2f} CPU s in {len(times)} tasks")
        stats = result.stats
        print(f"whole: {cpu:.1f} CPU s, {seconds:.1f} s; {cpu / documents * 1e6:.1f} CPU s a million documents")
        print(f"peak memory {peak_mb():.0f} MB ({before:.0f} MB before), task memory {memory >> 20} MiB")
        print({key: stats[key] for key in ("documents", "removed", "candidate_pairs", "rejected_pairs", "clusters")})


def make_split(root: Path, number: int, settings: DedupSettings) -> RefinedSplit:
    """SPLIT documents of WORDS random words; each twentieth a near-duplicate and an exact copy of an earlier one."""
    draw = np.random.default_rng(number)
    vocabulary = np.random.default_rng(0).integers(97, 123, (50_000, 7), dtype=np.uint8)
    vocabulary[:, 6] = ord(" ")
    words = draw.integers(0, 50_000, (SPLIT, WORDS))
    fifth = SPLIT // 20
    words[:fifth] = words[fifth : 2 * fifth]
    words[2 * fifth : 3 * fifth] = words[3 * fifth : 4 * fifth]
    words[2 * fifth : 3 * fifth, 40:42] = draw.integers(0, 50_000, (fifth, 2))
    relatives = SPLIT // 100
    words[4 * fifth : 4 * fifth + relatives] = words[5 * fifth : 5 * fifth + relatives]
    words[4 * fifth : 4 * fifth + relatives, 10::35] += 1
    words %= 50_000
    texts = [row.tobytes().decode() for row in vocabulary[words].reshape(SPLIT, -1)]
    ids = [blake2b(f"{number}/{n}".encode(), digest_size=16).hexdigest() for n in range(SPLIT)]
    folder = Folder(root).sub(f"split-{number:05d}")
    urls = [f"https://host{n % 997}.example/{n}" for n in range(SPLIT)]
    folder.write_table("documents.parquet", pa.table({"id": ids, "text": texts, "url": urls}), row_group_size=1000)
    write_signatures(folder, "signatures.parquet", ids, texts, settings)
    return RefinedSplit(folder)


def peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
