"""Common Crawl's listings, on a server of the same layout."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.errors import GristmillError
from pipeline.sources import plan_inputs
from pipeline.sources.commoncrawl import Crawl, crawl_files, latest_crawls
from tests.sources.servers import Server, drop, refuse, serving

CRAWL = "CC-MAIN-2026-43"
PATHS = [f"crawl-data/{CRAWL}/segments/{s}/warc/CC-MAIN-{s}-{i:05d}.warc.gz" for s in range(3) for i in range(40)]
LISTED = [
    {
        "id": "CC-MAIN-2026-38",
        "name": "September 2026 Index",
        "from": "2026-09-01T00:00:00",
        "to": "2026-09-14T00:00:00",
    },
    {"id": CRAWL, "name": "October 2026 Index"},
    {"id": "CC-MAIN-2013-20", "name": "Summer 2013 Index"},
    {"id": "CC-MAIN-2009-2010", "name": "one without a week"},
]


@pytest.fixture
def mirror(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Server]:
    monkeypatch.setenv("GRISTMILL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("GRISTMILL_RETRY_SECONDS", "0.01")
    monkeypatch.setenv("NO_PROXY", "*")
    files = {
        f"/crawl-data/{CRAWL}/warc.paths.gz": gzip.compress("\n".join(PATHS).encode()),
        f"/crawl-data/{CRAWL}/wet.paths.gz": gzip.compress(b"crawl-data/a.warc.wet.gz\n"),
        "/crawl-data/CC-NEWS/2026/10/warc.paths.gz": gzip.compress(b"crawl-data/CC-NEWS/2026/10/n.warc.gz\n"),
        "/collinfo.json": json.dumps(LISTED).encode(),
    }
    with serving(Server(files)) as server:
        monkeypatch.setenv("GRISTMILL_COMMONCRAWL", server.url)
        yield server


def test_all_files_come_in_the_order_of_the_crawl(mirror: Server) -> None:
    assert crawl_files(CRAWL, 0, 7) == [f"{mirror.url}/{path}" for path in PATHS]
    assert crawl_files(CRAWL, 1000, 7) != crawl_files(CRAWL, 0, 7)
    assert sorted(crawl_files(CRAWL, 1000, 7)) == sorted(crawl_files(CRAWL, 0, 7))


def test_a_choice_is_stable_and_follows_the_seed(mirror: Server) -> None:
    four, eight = crawl_files(CRAWL, 4, 7), crawl_files(CRAWL, 8, 7)
    assert eight[:4] == four
    assert len(set(eight)) == 8
    assert crawl_files(CRAWL, 4, 8) != four
    # Neither the order of the list nor a file that is taken out of it moves the others.
    kept = [path for path in reversed(PATHS) if f"{mirror.url}/{path}" != four[1]]
    mirror.files[f"/crawl-data/{CRAWL}/warc.paths.gz"] = gzip.compress("\n".join(kept).encode())
    assert crawl_files(CRAWL, 3, 7) == [four[0], *four[2:]]


def test_other_kinds_and_the_news(mirror: Server) -> None:
    assert crawl_files(CRAWL, 0, 0, "wet") == [f"{mirror.url}/crawl-data/a.warc.wet.gz"]
    assert crawl_files("CC-NEWS/2026/10", 0, 0)[0].endswith("/CC-NEWS/2026/10/n.warc.gz")


def test_crawls_are_listed_the_newest_first(mirror: Server) -> None:
    assert latest_crawls() == [
        Crawl(CRAWL, "October 2026 Index", "", ""),
        Crawl("CC-MAIN-2026-38", "September 2026 Index", "2026-09-01T00:00:00", "2026-09-14T00:00:00"),
        Crawl("CC-MAIN-2013-20", "Summer 2013 Index", "", ""),
    ]


@pytest.mark.parametrize("crawl", ["CC-MAIN-2026-42", "cc-main-2026-43", "2026-43", "../../etc"])
def test_a_crawl_that_is_none_names_those_near_it(mirror: Server, crawl: str) -> None:
    with pytest.raises(GristmillError, match="no such crawl") as error:
        crawl_files(crawl, 4, 0)
    assert error.value.where == crawl
    assert CRAWL in error.value.todo
    del mirror.files["/collinfo.json"]
    with pytest.raises(GristmillError, match="no such crawl"):
        crawl_files(crawl, 4, 0)


def test_a_listing_survives_a_bad_line_and_a_broken_one_is_told(mirror: Server) -> None:
    mirror.faults = [refuse(503), None, drop(20)]
    assert len(crawl_files(CRAWL, 0, 0)) == len(PATHS)
    mirror.files[f"/crawl-data/{CRAWL}/warc.paths.gz"] = b"<html>sorry</html>"
    with pytest.raises(GristmillError, match="no list of files"):
        crawl_files(CRAWL, 0, 0)
    mirror.files["/collinfo.json"] = b"<html>sorry</html>"
    with pytest.raises(GristmillError, match="no list of crawls"):
        latest_crawls()


def test_an_address_that_is_no_url_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRISTMILL_COMMONCRAWL", "/data/cc")
    with pytest.raises(GristmillError, match="is no URL"):
        crawl_files(CRAWL, 1, 0)


def test_a_whole_crawl_is_planned_with_one_request_a_file_and_again_with_none(mirror: Server) -> None:
    mirror.files |= {f"/{path}": path.encode() * 10 for path in PATHS}
    urls = crawl_files(CRAWL, 0, 0)
    mirror.log.clear()
    splits = plan_inputs(urls)
    assert len(mirror.log) == len(PATHS)
    assert [split.file.name for split in splits] == sorted(PATHS)
    assert {split.file.dump for split in splits} == {CRAWL}
    assert plan_inputs(urls) == splits
    assert len(mirror.log) == len(PATHS)
