"""Genuine and malformed archives of many makers: every file ends in an explicit state, and no record is missed that
another reader finds."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import pytest

from pipeline.record import LOST, Page
from pipeline.sources import InputFile, Reading, Split, archive, open_split, plan_inputs
from pipeline.sources.inspect import inspect
from tests.sources.archives import check_tiles, read, told

WARCS = Path(__file__).parents[3] / "shared/data/curation/warc"
pytestmark = pytest.mark.skipif(
    not WARCS.exists(), reason="the archives of other projects do not lie beside the checkout"
)


def manifest() -> list[dict[str, Any]]:
    path = WARCS / "manifest.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def whole(name: str) -> tuple[list[Page], Reading]:
    path = WARCS / name
    return read(InputFile(path.name, str(path), path.stat().st_size, "warc", ""))


FILES = {entry["file"]: entry for entry in manifest()}
ARCHIVES = [name for name in FILES if not name.endswith(".wacz")]

# Where another reader counts more records than there are: what it counts, and why that is none.
NO_RECORDS = {
    "odd/jwat--invalid-warcfile-fields-empty.warc": "warcio takes the block of a record without length for a second one",
    "odd/jwat--invalid-warcfile-fields-invalidformat.warc": "warcio takes the block of a record without length for one",
    "odd/jwat--invalid-warcfile-record-then-garbage.warc": "warcio counts the garbage as a record",
    "odd/webarchive--invalid-warcreader-diagnosis-1.warc": "garbage without any record; warcio counts one",
    "odd/webarchive--invalid-warcheaderversion-20.warc": "the file holds one line end; warcio counts a record",
}


@pytest.mark.parametrize("name", ARCHIVES)
def test_every_byte_is_accounted_for_and_no_record_is_missed(name: str) -> None:
    pages, reading = whole(name)
    check_tiles(pages, reading)
    assert (reading.begin, reading.stop) == (0, FILES[name]["bytes"])
    assert (reading.state == "complete") == (not reading.lost)
    assert bool(reading.reason) == bool(reading.lost)
    if name in NO_RECORDS:
        return
    others = [FILES[name][reader]["records"] for reader in ("warcio", "fastwarc") if FILES[name][reader]]
    # A record that is cut off is told of in quarantine, with what its header says; the others yield its stump.
    recognised = [page for page in pages if page.record_type != LOST or "record_type" in page.notes]
    assert len([page for page in recognised if page.record_type != "empty"]) >= max(n or 0 for n in others)


@pytest.mark.parametrize("name", [name for name in ARCHIVES if name.startswith("real/")])
def test_real_archives_are_read_whole(name: str) -> None:
    pages, reading = whole(name)
    assert (reading.state, reading.lost) == ("complete", [])
    assert not [page for page in pages if page.fate and page.fate.state == "quarantined"]
    by_type = FILES[name]["warcio"]["types"]
    if not FILES[name]["warcio"]["error"]:
        assert reading.records == by_type
    ok = [p for p in pages if p.record_type == "response" and p.status == 200 and p.mime == "text/html"]
    assert len(ok) >= (FILES[name]["warcio"]["html_200"] or 0)
    assert all(page.payload for page in ok)


@pytest.mark.parametrize("name", [name for name in ARCHIVES if FILES[name]["bytes"] > 100])
def test_splits_of_every_file_agree_with_the_whole(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "LOOK_BACK", 0)
    pages, _ = whole(name)
    path = WARCS / name
    file = InputFile(path.name, str(path), path.stat().st_size, "warc", "")
    edges = [file.size * i // 4 for i in range(5)]
    got, stop = [], 0
    for start, end in itertools.pairwise(edges):
        part = Reading()
        got += [told(page) for page in open_split(Split(file, start, end), part)]
        assert part.begin == stop
        stop = part.stop
    assert got == [told(page) for page in pages]


def test_the_arc_and_the_warc_of_one_crawl_hold_the_same_payloads() -> None:
    both = []
    for name in ("real/aut--example.arc.gz", "real/aut--example.warc.gz"):
        pages, _ = whole(name)
        both.append({(p.url, p.date): (p.status, p.mime, p.payload) for p in pages if p.record_type == "response"})
    assert len(both[0]) == 299
    assert both[0] == both[1]


def test_the_common_crawl_arc_of_2008_is_read() -> None:
    pages, reading = whole("real/chatnoir-copycat--small-sample-1213893279526_0.arc")
    assert reading.records == {"warcinfo": 1, "response": 145}
    html = [page for page in pages if page.mime == "text/html"]
    assert len(html) == 139
    assert all(page.status and page.date.startswith("2008-") for page in html)
    # Its bodies lie there decoded, under headers that say chunked and gzip.
    assert all("<" in page.html for page in html if page.status == 200)


def test_one_crawl_in_lz4_and_gzip_is_the_same() -> None:
    gzip, _ = whole("real/chatnoir-resiliparse--warcfile.warc.gz")
    lz4, _ = whole("odd/chatnoir-resiliparse--warcfile.warc.lz4")
    assert [told(page)[3:] for page in gzip] == [told(page)[3:] for page in lz4]


def test_charsets_of_real_pages() -> None:
    pages, _ = whole("real/chatnoir-resiliparse--warcfile.warc.gz")
    pages = [page for page in pages if page.fate is None]
    assert not [page.url for page in pages if page.html.count("\ufffd") > len(page.html) // 1000]
    used = {page.notes["charset"] for page in pages}
    assert {"gb18030", "windows-1251", "utf-8"} <= used


def test_wet_is_text_and_wat_is_no_page() -> None:
    wet, _ = whole("real/whirlwind-python--whirlwind.warc.wet.gz")
    page = wet[1]
    assert (page.record_type, page.mime, page.fate) == ("conversion", "text/plain", None)
    assert len(page.text) > 500
    wat, reading = whole("real/whirlwind-python--whirlwind.warc.wat.gz")
    assert reading.records == {"warcinfo": 1, "metadata": 1}
    assert all(page.fate and page.fate.state == "dropped" for page in wat)


def test_brotli_gzip_and_plain_of_one_page_agree() -> None:
    payloads = set()
    for encoding in ("brotli", "gzip", "none"):
        for ending in ("warc", "warc.gz"):
            pages, reading = whole(f"odd/solrwayback--transfer_compression_{encoding}.{ending}")
            assert reading.state == "complete"
            payloads.add(next(page.payload for page in pages if page.record_type == "response"))
    assert len(payloads) == 1


def test_the_crawl_is_read_from_the_warcinfo() -> None:
    splits = plan_inputs([str(WARCS / "real")])
    dumps = {split.file.name.partition("--")[2][:20]: split.file.dump for split in splits}
    assert dumps["warcfile.warc.gz"] == "CC-MAIN-2020-34"
    assert dumps["CC-MAIN-201408200213"] in ("CC-MAIN-2014-35", "")
    assert dumps["whirlwind.warc.gz"] == "CC-MAIN-2024-22"


def test_an_archive_in_a_wacz_is_an_input_of_its_own() -> None:
    (split,) = plan_inputs([str(WARCS / "real/warcbench--test-crawl.wacz")])
    assert split.file.name == "warcbench--test-crawl.wacz/archive/test-crawl_0.warc.gz"
    reading = Reading()
    pages = list(open_split(split, reading))
    check_tiles(pages, reading)
    assert (reading.stop, reading.state) == (split.file.size, "complete")
    assert reading.records == {"warcinfo": 1, "request": 11, "response": 11}


@pytest.mark.parametrize("name", FILES)
def test_inspect_answers_for_every_file(name: str) -> None:
    answer = inspect(WARCS / name)
    assert answer["state"] in ("complete", "truncated", "damaged", "not-an-archive")
    json.dumps(answer)
    if name.startswith("real/"):
        assert answer["state"] == "complete"
