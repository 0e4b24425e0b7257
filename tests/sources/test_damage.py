"""Damage costs the record that it hits, is told with its byte range, and the rest of the file is read."""

from __future__ import annotations

import random
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.record import LOST, Page
from pipeline.sources import InputFile
from pipeline.sources.digests import sha1
from tests.sources.archives import (
    STORED,
    check_tiles,
    gz,
    gz_whole,
    html,
    hundred,
    plain,
    read,
    record,
    response,
    write,
    zst,
)

RECORDS = hundred(100, 120)
URLS = [f"https://site{i}.example/{i}" for i in range(100)]


def whole(pages: list[Page]) -> list[str]:
    """URLs of the records that came through."""
    return [page.url for page in pages if page.fate is None]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("damage")


def damaged(folder: Path, data: bytes, at: int, damage: Callable[[bytes], bytes]) -> InputFile:
    return write(folder, "x.warc", data[:at] + damage(data[at:]))


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
@pytest.mark.parametrize("name", ["gz", "zst", "lz4_frames"])
def test_a_flipped_bit_costs_one_record(folder: Path, name: str, place: float, bit: int) -> None:
    data = STORED[name](RECORDS)
    at = int(place * len(data))
    file = damaged(folder, data, at, lambda rest: bytes([rest[0] ^ 1 << bit]) + rest[1:])
    pages, reading = read(file)
    check_tiles(pages, reading)
    through = whole(pages)
    assert len(through) >= 99
    assert through == [url for url in URLS if url in set(through)]
    for page in pages:
        if page.fate is None:  # and what came through is what was written
            assert page.payload == html(int(page.url.rpartition("/")[2]), 120)
    if len(through) == 99:
        assert reading.state in ("damaged", "truncated")
        assert any(start <= at < end for start, end in reading.lost)


@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
@given(place=st.floats(0, 1, exclude_max=True))
def test_a_flipped_byte_of_a_plain_file_costs_one_record_and_is_noticed(folder: Path, place: float) -> None:
    """No checksum there: the payload digest stands in."""
    data = plain(RECORDS)
    file = damaged(folder, data, int(place * len(data)), lambda rest: bytes([rest[0] ^ 4]) + rest[1:])
    pages, reading = read(file)
    check_tiles(pages, reading)
    good = [page for page in pages if page.fate is None]
    assert len(good) >= 99
    for page in good:
        if page.url in URLS:
            assert page.payload == html(URLS.index(page.url), 120)


@pytest.mark.parametrize("length", [10, 64, 5000])
@pytest.mark.parametrize("name", ["gz", "zst", "plain"])
def test_zeroed_bytes_cost_what_they_cover(folder: Path, name: str, length: int) -> None:
    data = STORED[name](RECORDS)
    lengths = [page.length for page in read(write(folder, "whole.warc", data))[0]]
    draw = random.Random(length)
    for _ in range(10):
        at = draw.randrange(len(data) - length)
        file = damaged(folder, data, at, lambda rest: b"\0" * length + rest[length:])
        pages, reading = read(file)
        check_tiles(pages, reading)
        touched = sum(at < sum(lengths[: i + 1]) and sum(lengths[:i]) < at + length for i in range(100))
        assert len(whole(pages)) >= 100 - touched
        assert reading.state in ("damaged", "truncated") or name == "plain"


def test_a_zeroed_member_header_costs_one_record_wherever_it_is(folder: Path) -> None:
    data = gz(RECORDS)
    offsets = [page.offset for page in read(write(folder, "whole.warc", data))[0]]
    for i in (0, 1, 50, 99):
        pages, reading = read(damaged(folder, data, offsets[i], lambda rest: b"\0" * 10 + rest[10:]))
        check_tiles(pages, reading)
        assert whole(pages) == URLS[:i] + URLS[i + 1 :]
        assert (reading.state, len(reading.lost)) == ("damaged", 1)


def test_what_is_lost_still_says_what_it_was(folder: Path) -> None:
    data = gz(RECORDS)
    page = read(write(folder, "whole.warc", data))[0][10]
    pages, reading = read(damaged(folder, data, page.offset + page.length - 6, lambda rest: b"\xff" + rest[1:]))
    lost = pages[10]
    assert lost.record_type == LOST
    assert lost.fate
    assert lost.fate.state == "quarantined"
    assert lost.fate.step == "reader"
    assert lost.fate.drop
    assert lost.fate.drop.rule == "damaged_member"
    assert (lost.url, lost.notes["record_type"]) == (URLS[10], "response")
    assert reading.lost == [(page.offset, page.offset + page.length)]
    assert "damaged_member" in reading.reason


@pytest.mark.parametrize("name", ["gz", "plain", "zst", "lz4_frames"])
def test_a_truncated_file_loses_its_last_record_and_says_so(folder: Path, name: str) -> None:
    data = STORED[name](RECORDS)
    pages, _ = read(write(folder, "whole.warc", data))
    draw = random.Random(3)
    for i in (0, 1, 40, 99):
        for _ in range(4):
            size = pages[i].offset + draw.randint(12, pages[i].length - 5)
            got, reading = read(write(folder, "cut.warc", data[:size]))
            check_tiles(got, reading)
            assert whole(got) == URLS[:i]
            assert reading.state == "truncated"
            assert reading.lost == [(pages[i].offset, size)]
            assert str(pages[i].offset) in reading.reason


def test_a_file_cut_between_records_is_complete(folder: Path) -> None:
    pages, _ = read(write(folder, "whole.warc", gz(RECORDS)))
    got, reading = read(write(folder, "cut.warc", gz(RECORDS)[: pages[50].offset]))
    assert (len(got), reading.state) == (50, "complete")


def test_damage_in_one_big_member_keeps_what_stands_in_front_of_it(folder: Path) -> None:
    data = gz_whole(RECORDS)
    pages, reading = read(damaged(folder, data, len(data) // 2, lambda rest: rest[:9_000]))
    check_tiles(pages, reading)
    assert reading.state == "truncated"
    assert 45 <= len(whole(pages)) <= 80
    assert reading.lost[-1][1] == reading.stop


def test_garbage_between_records_is_told(folder: Path) -> None:
    for store in (gz, plain):
        parts = [store(RECORDS[:5]), b"what is this\n" * 9, store(RECORDS[5:10]), b"and this"]
        pages, reading = read(write(folder, "x.warc", b"".join(parts)))
        check_tiles(pages, reading)
        assert whole(pages) == URLS[:10]
        rules = [page.fate.drop.rule for page in pages if page.fate and page.fate.drop]
        assert rules == ["garbage_between_records"] * 2
        assert [end - start for start, end in reading.lost] == [13 * 9, 8]
        assert reading.state == "damaged"


@pytest.mark.parametrize("wrong", [-40, 40, 10**6, 10**12])
@pytest.mark.parametrize("store", [gz, plain])
def test_a_wrong_length_costs_at_most_its_record(folder: Path, store: Callable[..., bytes], wrong: int) -> None:
    block = b"HTTP/1.1 200 OK\r\n\r\n" + html(1)
    bad = record("response", "https://wrong.example/", block, length=len(block) + wrong)
    pages, reading = read(write(folder, "x.warc", store([*RECORDS[:5], bad, *RECORDS[5:10]])))
    check_tiles(pages, reading)
    assert [url for url in whole(pages) if "wrong" not in url] == URLS[:10]
    assert reading.state != "complete" or pages[5].notes["record_length"]


@pytest.mark.parametrize("wrong", [-40, 40])
@pytest.mark.parametrize("store", [gz, plain])
def test_a_wrong_length_is_mended_where_the_digest_proves_it(
    folder: Path, store: Callable[..., bytes], wrong: int
) -> None:
    good = response("https://wrong.example/", html(1))
    size = len(good.partition(b"\r\n\r\n")[2]) - 4
    bad = good.replace(b"Content-Length: %d" % size, b"Content-Length: %d" % (size + wrong))
    pages, reading = read(write(folder, "x.warc", store([*RECORDS[:5], bad, *RECORDS[5:10]])))
    check_tiles(pages, reading)
    assert pages[5].fate is None
    assert pages[5].payload == html(1)
    assert pages[5].notes["record_length"] == size + wrong
    assert (len(pages), reading.state) == (11, "complete")


def test_a_wrong_digest_under_a_good_checksum_costs_nothing(folder: Path) -> None:
    block = b"HTTP/1.1 200 OK\r\n\r\n" + html(1)
    bad = record("response", "https://a.example/", block, "WARC-Payload-Digest: sha1:" + "A" * 32)
    pages, reading = read(write(folder, "x.warc.gz", gz([bad])))
    assert (pages[0].fate, pages[0].payload, reading.state) == (None, html(1), "complete")


def test_a_wrong_digest_under_a_good_block_digest_is_only_noted(folder: Path) -> None:
    block = b"HTTP/1.1 200 OK\r\n\r\n" + html(1)
    claims = ("WARC-Payload-Digest: sha1:" + "A" * 32, f"WARC-Block-Digest: {sha1(block)}")
    pages, reading = read(write(folder, "x.warc", record("response", "https://a.example/", block, *claims)))
    assert pages[0].fate is None
    assert (pages[0].notes["digest"], reading.state) == ("does not fit the payload", "complete")


def test_a_record_too_large_is_passed_over(folder: Path) -> None:
    big = response("https://big.example/", b"x" * 300_000)
    for store in (gz, plain, gz_whole, zst):
        pages, reading = read(write(folder, "x.warc", store([*RECORDS[:3], big, *RECORDS[3:6]])), max_record=200_000)
        check_tiles(pages, reading)
        assert whole(pages) == URLS[:6]
        assert pages[3].fate
        assert pages[3].fate.drop
        assert pages[3].fate.drop.rule == "record_too_large"
        assert pages[3].url == "https://big.example/"


@pytest.mark.parametrize("name", ["plain", "gz_whole", "gz"])
def test_memory_does_not_grow_with_the_file(folder: Path, name: str) -> None:
    """64 MB of records, one of them 40 MB, in a few megabytes."""
    page = response("https://a.example/", html(1, 20_000))
    records = [page] * 40 + [response("https://big.example/", b"<p>" * 13_000_000)] + [page] * 40
    file = write(folder, "big.warc", STORED[name](records))
    reading_limits = {"max_record": 2 << 20}
    tracemalloc.start()
    try:
        from pipeline.sources import Limits, Reading, Split, open_split

        count = sum(1 for _ in open_split(Split(file, 0, file.size), Reading(), Limits(**reading_limits)))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
        Path(file.url).unlink()
    assert count == 81
    assert peak < 16 << 20
