"""CPU time of PII removal on real texts: `python -m tests.bench.bench_pii` prints markdown tables.

Interleaved: each round runs every setup over the same texts, and the table has the median round. Presidio
plain is its analyzer with a null language engine and the same entities; datatrove's formatter does e-mail and
IPv4 alone.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from statistics import median
from time import process_time
from typing import Any

from pipeline.pii.scan import ENTITIES
from pipeline.record import Page
from pipeline.steps.pii import RemovePii

DATA = Path(__file__).resolve().parents[2].parent / "shared/data/curation"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--presidio-texts", type=int, default=60, help="it is slow")
    options = parser.parse_args()
    # Presidio's own e-mail recogniser would otherwise ask the network for the public suffix list
    os.environ.setdefault("TLDEXTRACT_PUBLIC_SUFFIX_LIST_URLS", "")
    for name, texts in corpora().items():
        print(f"\n{name}: {len(texts)} texts, {sum(map(len, texts)) // len(texts):,} characters on average\n")
        print("| setup | ms / text | texts / s / core |\n| --- | ---: | ---: |")
        for setup, seconds in measure(texts, options.rounds, options.presidio_texts).items():
            print(f"| {setup} | {1000 * seconds:.3f} | {1 / seconds:,.0f} |")
    print(f"\nfirst text in a new process: {start_cost()}")


def corpora() -> dict[str, list[str]]:
    def texts(name: str) -> list[str]:
        rows = gzip.decompress((DATA / name).read_bytes()).decode().splitlines()
        return [json.loads(row)["text"] for row in rows]

    return {
        "news articles": texts("near_duplicates/articles.jsonl.gz"),
        "web pages, main text": texts("extraction/wcxb_dev.truth.jsonl.gz"),
        "one value a text": texts("pii/presidio_synthetic.jsonl.gz"),
    }


def measure(texts: list[str], rounds: int, presidio_texts: int) -> dict[str, float]:
    """CPU seconds a text for each setup: the median of the rounds."""
    every = max(1, len(texts) // presidio_texts)
    setups: dict[str, tuple[Callable[[str], Any], list[str]]] = {
        "gristmill, 7 entities": (with_step(RemovePii()), texts),
        "gristmill, surrogates": (with_step(RemovePii(style="surrogate")), texts),
        "gristmill, datatrove style": (
            with_step(RemovePii(style="datatrove", entities=("email", "ip"))),
            texts,
        ),
        "datatrove PIIFormatter": (datatrove(), texts),
        "Presidio, same entities, no language model": (presidio_plain(), texts[::every]),
    }
    times: dict[str, list[float]] = {name: [] for name in setups}
    for run, some in setups.values():
        run(some[0])
    for _ in range(rounds):
        for name, (run, some) in setups.items():
            began = process_time()
            for text in some:
                run(text)
            times[name].append((process_time() - began) / len(some))
    return {name: median(spent) for name, spent in times.items()}


def with_step(step: RemovePii) -> Callable[[str], str]:
    def run(text: str) -> str:
        page = Page(record_id="", file="", offset=0, length=0, record_type="document")
        page.text = text
        step.check(page)
        return page.text

    return run


def datatrove() -> Callable[[str], str]:
    from datatrove.pipeline.formatters import PIIFormatter

    formatter = PIIFormatter()
    return lambda text: str(formatter.format(text))


def presidio_plain() -> Callable[[str], Any]:
    from pipeline.pii.presidio import presidio, recogniser

    package = presidio()
    from presidio_analyzer.nlp_engine import NoOpNlpEngine

    engine = NoOpNlpEngine(models=[{"lang_code": "en", "model_name": "none"}])
    engine.load()
    names = ["Email", "Phone", "CreditCard", "Iban", "UsSsn", "Ip", "Crypto"]
    registry = package.RecognizerRegistry(recognizers=[recogniser(f"{name}Recognizer") for name in names])
    analyzer = package.AnalyzerEngine(registry=registry, nlp_engine=engine, supported_languages=["en"])
    entities = list(ENTITIES.values())
    return lambda text: analyzer.analyze(text, language="en", entities=entities)


def start_cost() -> str:
    code = (
        "import psutil\n"
        "from time import process_time\n"
        "from pipeline.pii.scan import ENTITIES, find_pii\n"
        "before = process_time(), psutil.Process().memory_info().rss\n"
        "find_pii('joe@host.co.uk, 020 7946 0958', tuple(ENTITIES))\n"
        "print(f'{process_time() - before[0]:.2f} CPU s, {psutil.Process().memory_info().rss >> 20} MB')"
    )
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


if __name__ == "__main__":
    main()
