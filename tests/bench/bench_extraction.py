"""What extraction costs: `python -m tests.bench.bench_extraction [--data FOLDER] [--every N]`.

CPU milliseconds a page on labelled pages, engines in turn page by page; trafilatura both as it is and as the exact
engine runs it, with a check that the texts are equal; `mill` by stages too, and with its Python twins.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import trafilatura

from pipeline.extractors.mill import MODEL, Mill, choose, load_model
from pipeline.extractors.mill_labels import MEASURING_SETS, pages_of
from pipeline.extractors.reading import pages_kernel, read_page, read_page_python
from pipeline.extractors.render import as_text
from pipeline.extractors.resiliparse_strict import ResiliparseStrict
from pipeline.extractors.trafilatura_twin import extract_text
from pipeline.record import Page

DATA = Path(__file__).parents[3] / "shared/data/curation/extraction"
T = TypeVar("T")


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--data", type=Path, default=DATA)
    arguments.add_argument("--every", type=int, default=10, help="take every Nth page of each set")
    given = arguments.parse_args()
    if not given.data.is_dir():
        sys.exit(f"{given.data}: no labelled pages there; name their folder with --data")
    pages = [
        html.encode("utf-8", "replace").decode()
        for name in MEASURING_SETS
        for number, (_, html) in enumerate(pages_of(given.data, name))
        if number % given.every == 0
    ]
    spent: dict[str, float] = defaultdict(float)

    def timed(what: str, run: Callable[[], T]) -> T:
        started = time.process_time()
        result = run()
        spent[what] += time.process_time() - started
        return result

    mill, resiliparse = Mill("balanced"), ResiliparseStrict("balanced")
    for html in pages[:: max(len(pages) // 10, 1)]:  # models, lists and rules load on first use
        whole_engines(html, mill, resiliparse, lambda _, run: run())
        stages(html, lambda _, run: run())
    equal = 0
    for html in pages:
        equal += whole_engines(html, mill, resiliparse, timed)
        stages(html, timed)
    kilobytes = sum(map(len, pages)) / len(pages) / 1000
    print(f"{len(pages)} pages of {kilobytes:.0f} kB, kernel in C: {'yes' if pages_kernel() else 'no'}\n")
    print("| what | CPU ms a page | times trafilatura |\n| --- | ---: | ---: |")
    slowest = spent["trafilatura precision, as it is"]
    for what, seconds in spent.items():
        print(f"| {what} | {1000 * seconds / len(pages):.2f} | {slowest / seconds:.1f} |")
    print(f"\nthe exact engine's text equal to trafilatura's: {equal} of {2 * len(pages)}")


def whole_engines(
    html: str,
    mill: Mill,
    resiliparse: ResiliparseStrict,
    timed: Callable[[str, Callable[[], str]], str],
) -> int:
    """Run each engine; how many of the two modes of the exact one gave trafilatura's text."""
    equal = 0
    for mode in ("precision", "balanced"):
        precise = mode == "precision"
        reference = timed(
            f"trafilatura {mode}, as it is",
            lambda precise=precise: (  # type: ignore[misc]  # mypy infers no default argument in a lambda
                trafilatura.extract(html, favor_precision=precise, include_comments=False, deduplicate=False) or ""
            ),
        )
        exact = timed(f"trafilatura {mode}, exact engine", lambda mode=mode: extract_text(html, mode))  # type: ignore[misc]  # as above
        equal += exact == reference
    timed("resiliparse strict", lambda: resiliparse.extract(_page(html)).text)
    timed("mill", lambda: mill.extract(_page(html)).text)
    return equal


def stages(html: str, timed: Callable[[str, Callable[[], T]], T]) -> None:
    """mill step by step."""
    model = load_model(MODEL)
    found = timed("mill: reading (shared with the language gate)", lambda: read_page(html))
    timed("mill: reading, in Python", lambda: read_page_python(html))
    blocks, head = found.blocks, timed("mill: head", lambda: found.head)
    if not blocks.texts:
        return
    chances = timed("mill: numbers and both looks", lambda: model.chances(blocks, head))
    timed("mill: numbers and both looks, in Python", lambda: model.chances_python(blocks, head))
    timed("mill: choose and write", lambda: as_text(blocks, choose(blocks, chances)))


def _page(html: str) -> Page:
    page = Page("0" * 32, file="", offset=0, length=len(html), record_type="response")
    page.html = html
    return page


if __name__ == "__main__":
    main()
