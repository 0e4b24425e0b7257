"""Grown crawls: genuine, distinct, the same for the same seed, with duplicates at the rates that are said."""

from __future__ import annotations

import re
import time
from collections import Counter
from pathlib import Path

import pytest
from fastwarc.warc import ArchiveIterator, WarcRecordType

from pipeline.errors import GristmillError
from pipeline.pool import Pool
from pipeline.sample import grow
from pipeline.sample.grow import MIXTURE, mixture, page


def shingles(body: bytes) -> set[tuple[str, ...]]:
    words = re.sub(r"<[^>]+>", " ", " ".join(re.findall(r"<p>(.*?)</p>\n", body.decode(), re.S))).lower().split()
    return set(zip(*(words[i:] for i in range(5)), strict=False))


def jaccard(a: set[tuple[str, ...]], b: set[tuple[str, ...]]) -> float:
    return len(a & b) / max(1, len(a | b))


def test_the_same_seed_gives_the_same_bytes_and_another_one_others(tmp_path: Path) -> None:
    (first,), (again,), (other,) = (grow(30, seed, tmp_path / name) for name, seed in (("a", 7), ("b", 7), ("c", 8)))
    assert first.read_bytes() == again.read_bytes()
    assert first.read_bytes() != other.read_bytes()


def test_pages_do_not_depend_on_how_many_there_are_or_in_how_many_files(tmp_path: Path) -> None:
    few, many = grow(20, 7, tmp_path / "few"), grow(40, 7, tmp_path / "many", files=3)
    bodies = [_bodies(path) for path in (*few, *many)]
    assert bodies[0] == [body for file in bodies[1:] for body in file][:20]


def test_the_archive_holds_triplets_with_right_digests(tmp_path: Path) -> None:
    (path,) = grow(40, 7, tmp_path)
    with path.open("rb") as file:
        records = list(Counter(r.headers["WARC-Type"] for r in ArchiveIterator(file)).items())
    assert dict(records) == {"warcinfo": 1, "request": 40, "response": 40, "metadata": 40}
    with path.open("rb") as file:
        for record in ArchiveIterator(file, record_types=WarcRecordType.response, parse_http=False):
            assert record.verify_block_digest()


def test_the_mixture_is_the_one_that_is_said() -> None:
    counts = mixture(4000, 11)
    assert counts.total() == 4000
    for kind, share in MIXTURE.items():
        assert abs(counts[kind] / 4000 - share) < 0.02


def test_articles_are_distinct_and_duplicates_are_not() -> None:
    pages = {number: page(3, number) for number in range(400)}
    kinds = {number: url.split("/")[3] for number, (url, *_) in pages.items()}
    articles = {n: shingles(pages[n][3]) for n in pages if kinds[n] == "article"}
    numbers = list(articles)
    assert max(jaccard(articles[a], articles[b]) for a in numbers[:60] for b in numbers if a != b) < 0.2
    for number, kind in kinds.items():
        if kind == "near":
            assert max(jaccard(shingles(pages[number][3]), text) for text in articles.values()) > 0.8
        if kind == "exact":
            assert pages[number][3] in {pages[n][3] for n in articles}


def test_two_processes_write_what_one_does(tmp_path: Path) -> None:
    one = grow(60, 7, tmp_path / "one", files=3)
    with Pool(2) as pool:
        two = grow(60, 7, tmp_path / "two", files=3, executor=pool)
    assert [path.name for path in one] == [path.name for path in two]
    assert [path.read_bytes() for path in one] == [path.read_bytes() for path in two]


def test_a_page_is_as_large_as_pages_are() -> None:
    sizes = sorted(len(page(5, number)[3]) for number in range(200))
    assert 12_000 < sizes[100] < 60_000


def test_it_is_fast_enough_to_feed_a_benchmark(tmp_path: Path) -> None:
    grow(1, 1, tmp_path / "warm")
    start = time.process_time()
    grow(400, 1, tmp_path / "many")
    assert 400 / (time.process_time() - start) > 250  # about 1,300 a second where nothing else runs


def test_numbers_that_make_no_sense_are_refused(tmp_path: Path) -> None:
    with pytest.raises(GristmillError, match="do not go into"):
        grow(3, 1, tmp_path, files=4)


def _bodies(path: Path) -> list[bytes]:
    with path.open("rb") as file:
        return [r.reader.read() for r in ArchiveIterator(file, record_types=WarcRecordType.response)]
