"""What the two language gates decide on labelled text and pages: `python -m tests.quality.quality_language`.

First table: lid.176 on labelled sentences and documents, and how sharply a score of 0.65 tells English.
Second table: the early gate on real pages, held against the late gate on the same pages' main text: what it
would lose of what the late gate keeps, and what of the rest it spares the extractor. `--engine trafilatura`
extracts with that one (slower); each language in which the sets have at least 40 pages is a target in turn.
"""

from __future__ import annotations

import argparse
import gzip
import json
import lzma
import tarfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import zstandard

from pipeline.record import Page
from pipeline.steps.extract import Extract
from pipeline.steps.html import visible_windows
from pipeline.steps.language_codes import LID176, tongue
from pipeline.steps.language_loss import _upper_bound
from pipeline.steps.lid import identifier

DATA = Path(__file__).resolve().parents[2].parent / "shared/data/curation"
Looks = list[dict[str, float]]  # probabilities by language, of each window that the early gate looks at
MIN_SCORE = 0.65
THRESHOLDS = (0.02, 0.05, 0.1, 0.2, 0.5)
# Varieties that the labels of the sets and of the model tell apart differently.
FOLD = {
    "yue": "zh",
    "wuu": "zh",
    "nn": "no",
    "arz": "ar",
    "azb": "az",
    "ckb": "ku",
    "sh": "sr",
    "hr": "sr",
    "bs": "sr",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--engine", choices=["resiliparse", "trafilatura"], default="resiliparse")
    options = parser.parse_args()
    if not DATA.exists():
        raise SystemExit(f"the labelled sets are not here: {DATA}")
    label_table()
    print()
    gate_table(options.engine)


def label_table() -> None:
    print("| set | texts in languages of lid.176 | label right | English kept at 0.65 | others kept as English |")
    print("| --- | ---: | ---: | ---: | ---: |")
    for path in sorted((DATA / "lid").glob("*.tsv.gz")):
        right = Counter[bool]()
        english, others = Counter[bool](), Counter[bool]()
        for code, text in labelled(path):
            found, score = identifier().best(text)
            if code in LID176:
                right[fold(found.code) == fold(code)] += 1
            kept = found.code == "en" and score >= MIN_SCORE
            (english if code == "en" else others)[kept] += 1
        columns = [share(right), share(english), f"{others[True]} of {others.total()}"]
        print(f"| {path.name.removesuffix('.tsv.gz')} | {right.total()} | {' | '.join(columns)} |")


def labelled(path: Path) -> Iterator[tuple[str, str]]:
    with gzip.open(path, "rt") as lines:
        for line in lines:
            code, _, text = line.rstrip("\n").split("\t", 2)
            yield tongue(code).code, text


def gate_table(engine: str) -> None:
    """For each page the probability of each language early, by window, and the late label and score."""
    early: list[Looks] = []
    late: list[tuple[str, float]] = []
    extract = Extract.model_validate({"engine": engine})
    for page in pages():
        windows = list(visible_windows(page, 2000, 200))
        if extract.check(page) is not None:
            continue
        found, score = identifier().best(page.text)
        late.append((found.code, score))
        early.append([{found.code: score for found, score in identifier().probabilities(window)} for window in windows])
    counts = Counter(code for code, score in late if score >= MIN_SCORE)
    targets = [code for code, n in counts.most_common() if n >= 40]
    print(f"{len(late)} pages with text, {engine}; 2,000 characters, second look at the middle")
    print("| kept language | late gate keeps | early threshold | lost | loss at most (95 %) | spared of the rest |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    for target in targets:
        for threshold in THRESHOLDS:
            print(gate_row(target, threshold, early, late))
    for windows in (1, 2):
        lost = sum(
            max(w.get(code, 0.0) for w in looks[:windows]) < 0.1
            for looks, (code, score) in zip(early, late, strict=True)
            if looks and score >= MIN_SCORE
        )
        print(f"each page's own language as target, threshold 0.1, {windows} look(s): lost {lost} of {counts.total()}")


def gate_row(target: str, threshold: float, early: list[list[dict[str, float]]], late: list[tuple[str, float]]) -> str:
    kept = lost = rest = spared = 0
    for looks, (code, score) in zip(early, late, strict=True):
        dropped = bool(looks) and max(look.get(target, 0.0) for look in looks) < threshold
        if code == target and score >= MIN_SCORE:
            kept, lost = kept + 1, lost + dropped
        else:
            rest, spared = rest + 1, spared + dropped
    bound = f"{100 * _upper_bound(lost, kept):.1f} %"
    return f"| {target} | {kept} | {threshold} | {lost} | {bound} | {100 * spared / rest:.1f} % |"


def pages() -> Iterator[Page]:
    """The pages of the labelled extraction sets and of the Common Crawl sample."""
    for path in sorted(DATA.glob("extraction/*.pages.tar.xz")):
        with lzma.open(path) as packed, tarfile.open(fileobj=packed, mode="r|") as archive:
            for member in archive:
                file = archive.extractfile(member) if member.isfile() else None
                if file is not None:
                    yield response(member.name, file.read())
    with (DATA / "crawl_sample/common_crawl_100.jsonl.zst").open("rb") as file:
        text = zstandard.ZstdDecompressor().stream_reader(file).read().decode("utf-8", "replace")
        for line in text.rstrip("\n").split("\n"):
            row = json.loads(line)
            yield response(row["u"], row["h"].encode())


def response(name: str, payload: bytes) -> Page:
    return Page("0" * 32, name, 0, len(payload), "response", payload=payload)


def fold(code: str) -> str:
    return FOLD.get(code, code)


def share(right: Counter[bool]) -> str:
    return f"{100 * right[True] / right.total():.1f} %" if right.total() else "–"


if __name__ == "__main__":
    main()
