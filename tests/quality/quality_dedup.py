"""How well dedup agrees with people and with known pairs: `python -m tests.quality.quality_dedup`.

Prints two tables. *Judged pairs*: 115 pairs of pages of one crawl (CC-MAIN-2015-11) that people judged, 3 for equal
down to 0.5 for hardly related; how many of each are candidates of the 14 x 8 bands, and how many are removed at
each least similarity. *Known pairs*: 1,000 news articles with 10 pairs of near-duplicates and no others.
"""

from __future__ import annotations

import gzip
import json
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from hashlib import blake2b
from pathlib import Path
from typing import Any

import pyarrow as pa

from pipeline.dedup import DedupSettings, RefinedSplit, deduplicate, load_verdicts, signature_row, write_signatures
from pipeline.dedup.shingles import shingle_hashes, shingle_set
from pipeline.store import Folder

DATA = Path(__file__).parents[3] / "shared/data/curation/near_duplicates"
LIMITS = (0.7, 0.75, 0.8, 0.85, 0.9)


def main() -> None:
    if not DATA.exists():
        raise SystemExit(f"the pairs are not here: {DATA}")
    judged_pairs(DedupSettings())
    print()
    known_pairs()


def judged_pairs(settings: DedupSettings) -> None:
    by_label: dict[str, list[tuple[bool, float]]] = defaultdict(list)
    for pair in read("cc2015_judged_pairs.jsonl.gz"):
        texts = pair["text_a"], pair["text_b"]
        rows = [signature_row(text, settings) for text in texts]
        sets = [set(shingle_set(shingle_hashes(text, settings)).tolist()) for text in texts]
        candidate = any(a == b for a, b in zip(rows[0].bands, rows[1].bands, strict=True))
        same = rows[0].exact == rows[1].exact
        similarity = 1.0 if same else len(sets[0] & sets[1]) / max(1, len(sets[0] | sets[1]))
        by_label[str(pair["label"])].append((same or (candidate and rows[0].shingles > 0), similarity))
    print("| label | pairs | median similarity | candidates | " + " | ".join(f"≥ {at}" for at in LIMITS) + " |")
    print("| --- " * (4 + len(LIMITS)) + "|")
    for label, pairs in sorted(by_label.items()):
        median = sorted(similarity for _, similarity in pairs)[len(pairs) // 2]
        removed = [sum(found and similarity >= at for found, similarity in pairs) for at in LIMITS]
        candidates = sum(found for found, _ in pairs)
        print(f"| {label} | {len(pairs)} | {median:.2f} | {candidates} | " + " | ".join(map(str, removed)) + " |")


def known_pairs() -> None:
    articles = list(read("articles.jsonl.gz"))
    truth = {frozenset(line.split()) for line in (DATA / "articles.truth.tsv").read_text().splitlines()[1:]}
    names = {blake2b(a["id"].encode(), digest_size=16).hexdigest(): a["id"] for a in articles}
    print("| shingles | least similarity | pairs found | of | wrongly removed |")
    print("| --- | --- | --- | --- | --- |")
    for mode in ("folded", "datatrove"):
        for limit in (0.0, 0.75, 0.8, 0.9):
            settings = DedupSettings.model_validate({"shingles": mode, "min_jaccard": limit})
            found = removed_pairs(list(names), [a["text"] for a in articles], settings)
            pairs = {frozenset(names[one] for one in pair) for pair in found}
            print(f"| {mode} | {limit} | {len(pairs & truth)} | {len(truth)} | {len(pairs - truth)} |")


def removed_pairs(ids: list[str], texts: list[str], settings: DedupSettings) -> set[tuple[str, str]]:
    with tempfile.TemporaryDirectory() as root:
        folder = Folder(root).sub("articles")
        folder.write_table("documents.parquet", pa.table({"id": ids, "text": texts, "url": [""] * len(ids)}))
        write_signatures(folder, "signatures.parquet", ids, texts, settings)
        out = Folder(root).sub("out")
        deduplicate([RefinedSplit(folder)], settings, out, map)
        verdicts = load_verdicts(out, "articles")
        return {(one, verdict.survivor_id) for one, verdict in verdicts.items() if verdict.survivor_id}


def read(name: str) -> Iterator[dict[str, Any]]:
    with gzip.open(DATA / name, "rt") as lines:
        yield from map(json.loads, lines)


if __name__ == "__main__":
    main()
