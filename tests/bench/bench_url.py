"""The URL filter against datatrove's: `python -m tests.bench.bench_url` prints start, memory and time a URL.

Each side runs in a process of its own, with the same URLs; the lists of both are complete. datatrove's archive
is unpacked, and Gristmill's cache built, before the clock starts (the second column says what building costs).
"""

from __future__ import annotations

import gzip
import json
import multiprocessing
import os
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

DATA = Path(__file__).resolve().parents[2].parent / "shared/data/curation/extraction"
ROUNDS = 5


def main() -> None:
    if not DATA.exists():
        raise SystemExit(f"the URLs are not here: {DATA}")
    urls = real_urls()
    print(f"{len(urls)} URLs of real pages, {ROUNDS} rounds")
    print("| filter | first build, CPU s | load, CPU s | memory added, MB | CPU µs a URL | dropped |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    with tempfile.TemporaryDirectory() as cache:
        os.environ.update(GRISTMILL_CACHE=cache, HF_ASSETS_CACHE=cache)
        for name, make in {"datatrove 0.10.1": datatrove, "datatrove-0.10": parity, "strict": strict}.items():
            build = in_process(measure, make, urls[:1])[0]
            load, memory, each, dropped = in_process(measure, make, urls)
            print(f"| {name} | {build:.1f} | {load:.2f} | {memory:.0f} | {each:.1f} | {dropped} |")


def real_urls() -> list[str]:
    found = set()
    for path in sorted(DATA.glob("*.truth.jsonl.gz")):
        with gzip.open(path, "rt") as lines:
            found |= {json.loads(line).get("url") or "" for line in lines}
    return sorted(found - {""})


def measure(make: Callable[[], Callable[[str], bool]], urls: list[str]) -> tuple[float, float, float, int]:
    """CPU seconds to the first answer, MB of memory for it, CPU microseconds a URL, and URLs dropped."""
    before, started = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    drops = make()
    drops(urls[0])
    load = time.process_time() - started
    memory = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    started = time.process_time()
    for _ in range(ROUNDS):
        dropped = sum(map(drops, urls))
    return load, memory, 1e6 * (time.process_time() - started) / (ROUNDS * len(urls)), dropped


def datatrove() -> Callable[[str], bool]:
    from datatrove.data import Document
    from datatrove.pipeline.filters.url_filter import URLFilter
    from tldextract import TLDExtract

    step = URLFilter()
    step.tldextractor = TLDExtract(suffix_list_urls=(), cache_dir=None)
    return lambda url: step.filter(Document(text="", id="", metadata={"url": url})) is not True


def parity() -> Callable[[str], bool]:
    return ours("datatrove-0.10")


def strict() -> Callable[[str], bool]:
    return ours("strict")


def ours(matching: str) -> Callable[[str], bool]:
    from pipeline.record import Page
    from pipeline.steps.url import UrlFilter

    step = UrlFilter.model_validate({"matching": matching})
    step.load()
    return lambda url: step.check(Page("0" * 32, "", 0, 1, "response", url=url)) is not None


def in_process(work: Callable[..., Any], *arguments: Any) -> Any:
    """`work(*arguments)` in a fresh interpreter."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(work, arguments)


if __name__ == "__main__":
    main()
