"""The four quality filters against datatrove's: `python -m tests.bench.bench_filters`.

Every document goes through datatrove's four filters, then through ours, in CPU time; decisions are compared
on the way. "Empty memo" is the start of a run, when most words are new; "in a run" comes after as
many other documents. Without the C extension its pure-Python twin runs, which the second table shows. Start
and memory are those of a fresh process up to its first words.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections import defaultdict
from typing import NamedTuple

from datatrove.data import Document
from datatrove.pipeline.filters import (
    C4QualityFilter,
    FineWebQualityFilter,
    GopherQualityFilter,
    GopherRepetitionFilter,
)

from pipeline.speed import ACTIVE
from pipeline.steps import words
from pipeline.steps.c4 import C4Quality
from pipeline.steps.fineweb import FinewebQuality
from pipeline.steps.gopher import GopherQuality, GopherRepetition
from pipeline.steps.words import reading, segmenter
from tests.steps.quality_texts import DATA, articles, extracted_pages, judged_pages, page_of

DOCUMENTS = 300
PAIRS = {
    "Gopher repetition": (GopherRepetitionFilter(), GopherRepetition()),
    "Gopher quality": (GopherQualityFilter(), GopherQuality()),
    "C4": (C4QualityFilter(filter_no_terminal_punct=False), C4Quality(require_terminal_punctuation=False)),
    "FineWeb": (FineWebQualityFilter(), FinewebQuality()),
}
STARTS = {
    "datatrove 0.10.1": "from datatrove.utils.text import split_into_words; split_into_words('It works.', 'eng')",
    "Gristmill": "from pipeline.steps.words import split_into_words; split_into_words('It works.', 'en')",
}


def main() -> None:
    if not DATA.exists():
        raise SystemExit(f"the documents are not here: {DATA}")
    texts, others = english_documents()
    size = sum(len(page_of(text).words) for text in texts) / len(texts)
    warm_up(texts[0])
    empty = measure(texts)
    warm_up(texts[0])
    measure(others, with_datatrove=False)
    run = measure(texts)
    print(f"\n{len(texts)} English documents of {size:.0f} words; kernels: {ACTIVE}. CPU ms a document:\n")
    print("| filter | datatrove 0.10.1 | empty memo | in a run | ratio |")
    print("| --- | ---: | ---: | ---: | ---: |")
    for name in run.ours:
        print(row(name, run.theirs[name], empty.ours[name], run.ours[name]))
    print(row("all", *(sum(side.values()) for side in (run.theirs, empty.ours, run.ours))))
    print(f"\nSame decisions and text: {run.agreed} of {len(texts)}")
    if ACTIVE == "native":
        subprocess.run(
            [sys.executable, "-m", "tests.bench.bench_filters"], env={**os.environ, "GRISTMILL_PURE": "1"}, check=True
        )
        starts()


class Spent(NamedTuple):
    """CPU milliseconds a document of each filter, and the number of documents on which they agreed."""

    theirs: dict[str, float]
    ours: dict[str, float]
    agreed: int


def row(name: str, theirs: float, empty: float, run: float) -> str:
    ratio = f"{theirs / run:.0f}" if theirs else ""
    return f"| {name} | {theirs:.2f} | {empty:.3f} | {run:.3f} | {ratio} |"


def english_documents() -> tuple[list[str], list[str]]:
    """The documents to measure, and as many others."""
    found = [text for text in (*extracted_pages(), *judged_pages(), *articles(600)) if len(text.split()) > 100]
    chosen = random.Random(7).sample(found, 2 * DOCUMENTS)
    return chosen[:DOCUMENTS], chosen[DOCUMENTS:]


def warm_up(text: str) -> None:
    """Load both sides before the clock starts, then let our memo begin empty."""
    for theirs, ours in PAIRS.values():
        theirs.filter(Document(text=text, id="0"))
        ours.check(page_of(text))
    for made in (segmenter, words._build, words._reading_as):
        made.cache_clear()
    segmenter("en")


def measure(texts: list[str], with_datatrove: bool = True) -> Spent:
    theirs_spent, ours_spent = defaultdict[str, float](float), defaultdict[str, float](float)
    scale = 1000 / len(texts)
    agreed = 0
    for text in texts:
        document, verdicts, drops = Document(text=text, id="0"), [], []
        for name, (theirs, _) in PAIRS.items() if with_datatrove else ():
            started = time.process_time()
            verdicts.append(theirs.filter(document) is True)
            theirs_spent[name] += scale * (time.process_time() - started)
        page = page_of(text)
        started = time.process_time()
        reading(page)  # datatrove splits inside its filters, again and again
        ours_spent["splitting into words"] += scale * (time.process_time() - started)
        for name, (_, ours) in PAIRS.items():
            started = time.process_time()
            drops.append(ours.check(page) is None)
            ours_spent[name] += scale * (time.process_time() - started)
        agreed += drops == verdicts and page.text == document.text
    return Spent(theirs_spent, ours_spent, agreed)


def starts() -> None:
    print("\n| | to the first words, CPU s | peak memory, MB |")
    print("| --- | ---: | ---: |")
    for name, code in STARTS.items():
        # Not ru_maxrss, which a child takes over from its parent.
        code += (
            "; import time; peak = [line for line in open('/proc/self/status') if line.startswith('VmHWM')];"
            "print(time.process_time(), int(peak[0].split()[1]) / 1024)"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        seconds, memory = map(float, done.stdout.split())
        print(f"| {name} | {seconds:.2f} | {memory:.0f} |")


if __name__ == "__main__":
    main()
