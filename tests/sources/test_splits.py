"""Splits at any byte positions give the records of the whole file, each once."""

from __future__ import annotations

import gzip
import itertools
import random
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.sources import InputFile, archive, plan_inputs
from tests.sources.archives import STORED, check_tiles, gz, hundred, plain, read, record, response, told, write


@pytest.fixture(autouse=True)
def no_look_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """These files are smaller than what a split reads in front of its start: let each find its own way in."""
    monkeypatch.setattr(archive, "LOOK_BACK", 0)


def assert_splits_agree(file: InputFile, cuts: list[int]) -> None:
    whole, reading = read(file)
    check_tiles(whole, reading)
    assert (reading.begin, reading.stop) == (0, file.size)
    edges = [0, *sorted(set(cuts) - {0, file.size}), file.size]
    pieces, stop = [], 0
    for start, end in itertools.pairwise(edges):
        pages, part = read(file, start, end)
        check_tiles(pages, part)
        assert part.begin == stop
        stop = part.stop
        pieces += pages
    assert stop == file.size
    assert [told(p) for p in pieces] == [told(p) for p in whole]


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> dict[str, InputFile]:
    folder = tmp_path_factory.mktemp("stored")
    records = hundred(30, 60)
    return {name: write(folder, f"{name}.warc", store(records)) for name, store in STORED.items()}


@pytest.mark.parametrize("name", STORED)
@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_any_cuts_give_the_whole(stored: dict[str, InputFile], name: str, data: st.DataObject) -> None:
    file = stored[name]
    cuts = data.draw(st.lists(st.integers(0, file.size), max_size=6))
    assert_splits_agree(file, cuts)


def test_cuts_at_and_around_every_record(tmp_path: Path) -> None:
    for name, data in (("a.warc.gz", gz(hundred(8, 40))), ("a.warc", plain(hundred(8, 40)))):
        file = write(tmp_path, name, data)
        whole, _ = read(file)
        for page in whole:
            for cut in (page.offset - 1, page.offset, page.offset + 1):
                assert_splits_agree(file, [max(0, cut)])


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(seed=st.integers(0, 10**6), compressed=st.booleans())
def test_any_cuts_of_a_damaged_file(tmp_path: Path, seed: int, compressed: bool) -> None:
    draw = random.Random(seed)
    data = bytearray((gz if compressed else plain)(hundred(20, 60)))
    for _ in range(draw.randint(1, 3)):
        at, length = draw.randrange(len(data)), draw.choice([1, 30, 2000])
        damage = draw.choice([b"\0" * length, draw.randbytes(length), b""])
        data[at : at + length] = damage
    if draw.random() < 0.3:
        del data[draw.randrange(len(data)) :]
    if len(data) < 200:
        return
    file = write(tmp_path, "damaged.warc", bytes(data))
    assert_splits_agree(file, [draw.randrange(len(data)) for _ in range(draw.randint(1, 5))])


@pytest.mark.parametrize("compressed", [True, False])
def test_an_archive_inside_a_page_is_not_taken_for_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, compressed: bool
) -> None:
    """Somebody crawled a page that is itself a WARC: its records are payload, wherever a split begins."""
    inner = gz(hundred(20, 80)) if compressed else plain(hundred(20, 80))
    page = response("https://archive.example/x.warc", inner, ["Content-Type: application/warc"])
    records = [*hundred(30, 90), page, *hundred(33, 50)[30:]]
    # Level 0 stores what it is given, so the inner members lie there byte for byte.
    data = b"".join(gzip.compress(r, 0, mtime=0) for r in records) if compressed else plain(records)
    assert inner in data
    monkeypatch.setattr(archive, "LOOK_BACK", len(inner) + 1000)
    file = write(tmp_path, "nested.warc", data)
    whole, _ = read(file)
    assert len(whole) == 34
    draw = random.Random(5)
    for _ in range(25):
        assert_splits_agree(file, [draw.randrange(file.size) for _ in range(2)])


def test_a_page_that_quotes_a_record_is_one_page(tmp_path: Path) -> None:
    quoted = b"<pre>" + record("response", "http://quoted.example/", b"HTTP/1.1 200 OK\r\n\r\nno") + b"</pre>"
    file = write(tmp_path, "q.warc", plain([*hundred(2), response("https://docs.example/", quoted), *hundred(1)]))
    pages, reading = read(file)
    assert [p.url for p in pages][2] == "https://docs.example/"
    assert (len(pages), reading.state) == (4, "complete")


def test_planned_splits_tile_and_are_whole_records(tmp_path: Path) -> None:
    write(tmp_path, "a.warc.gz", gz(hundred(60)))
    splits = plan_inputs([str(tmp_path)], split_bytes=20_000)
    assert len(splits) > 3
    assert max(s.end - s.start for s in splits) <= 20_000
    urls = []
    for split in splits:
        pages, _ = read(split.file, split.start, split.end)
        urls += [p.url for p in pages]
    assert urls == [f"https://site{i}.example/{i}" for i in range(60)]


@pytest.mark.parametrize("name", ["gz_whole", "gz_blocks"])
def test_what_can_only_be_read_from_its_start_is_one_split(tmp_path: Path, name: str) -> None:
    write(tmp_path, "a.warc.gz", STORED[name](hundred(60)))
    assert len(plan_inputs([str(tmp_path)], split_bytes=2000)) == 1
