"""CPU time of the two language gates a page: `python -m tests.bench.bench_language` prints a table.

Interleaved rounds over the same real pages, warm, the median of the rounds; `datatrove` is its way of asking the
same model (all 176 labels through numpy, whole text), which its own LanguageFilter cannot do offline.
"""

from __future__ import annotations

import statistics
import tarfile
import time
from collections.abc import Callable
from pathlib import Path

from pipeline.record import Page
from pipeline.steps.extract import Extract
from pipeline.steps.html import reading
from pipeline.steps.language import EarlyLanguage, Language
from pipeline.steps.lid import model_file

DATA = Path(__file__).resolve().parents[2].parent / "shared/data/curation/extraction"
PAGES, ROUNDS = 200, 5


def main() -> None:
    if not DATA.exists():
        raise SystemExit(f"the pages are not here: {DATA}")
    pages = [page for name in ("wcxb_dev", "waddle") for page in first_pages(name)]
    texts = [page.text for page in pages]
    asked: dict[str, Callable[[Page], object]] = {
        "datatrove: all labels, whole text": datatrove_lid(),
        "language, whole text": Language().check,
        "language, max_chars 2000": Language(max_chars=2000).check,
        "early_language, reading shared": early_shared,
        "early_language, with its reading": early_alone,
        "the reading alone": reading_alone,
    }
    times: dict[str, list[float]] = {what: [] for what in asked}
    for _ in range(ROUNDS):
        for what, ask in asked.items():
            started = time.process_time()
            for page in pages:
                ask(page)
            times[what].append((time.process_time() - started) / len(pages))
    print(f"{len(pages)} pages, {sum(map(len, texts)) / len(texts):.0f} characters of main text on average")
    print("| what | ms a page |")
    print("| --- | ---: |")
    for what, seconds in times.items():
        print(f"| {what} | {1000 * statistics.median(seconds):.3f} |")
    print(agreement(pages))


def first_pages(name: str) -> list[Page]:
    """The first pages of a set that have text, their HTML decoded and read."""
    found: list[Page] = []
    extract = Extract(engine="resiliparse")
    with tarfile.open(DATA / f"{name}.pages.tar.xz") as archive:
        for member in archive:
            file = archive.extractfile(member) if member.isfile() else None
            if file is None:
                continue
            page = Page("0" * 32, member.name, 0, 1, "response", payload=file.read())
            if extract.check(page) is None:
                page.from_html(reading)
                found.append(page)
            if len(found) == PAGES:
                break
    return found


def datatrove_lid() -> Callable[[Page], object]:
    from fasttext.FastText import _FastText

    model = _FastText(str(model_file()))

    def ask(page: Page) -> object:
        labels, scores = model.predict(page.text.replace("\n", " "), k=-1)
        pairs = {label.split("__")[2]: score.item() for label, score in zip(labels, scores, strict=True)}
        return max(pairs.items(), key=lambda pair: pair[1])

    return ask


def early_shared(page: Page) -> object:
    return EARLY.check(_without_text(page))


def early_alone(page: Page) -> object:
    fresh = _without_text(page)
    fresh.html = page.html
    return EARLY.check(fresh)


def reading_alone(page: Page) -> object:
    return reading(page)


def _without_text(page: Page) -> Page:
    """The page as it is before extraction, with the reading that it may have."""
    fresh = Page(page.record_id, page.file, 0, 1, "response")
    fresh._html, fresh._from_html = page.html, page._from_html
    return fresh


def agreement(pages: list[Page]) -> str:
    whole, first = Language(), Language(max_chars=2000)
    differ = sum((whole.check(page) is None) != (first.check(page) is None) for page in pages)
    return f"keeping decisions on 2,000 characters that differ from those on the whole text: {differ} of {len(pages)}"


EARLY = EarlyLanguage()

if __name__ == "__main__":
    main()
