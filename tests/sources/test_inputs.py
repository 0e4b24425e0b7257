"""From paths, globs and folders to splits: names, order, identity of content, and what a user is told."""

from __future__ import annotations

import gzip
import os
import zipfile
from pathlib import Path

import pytest

from pipeline.errors import GristmillError
from pipeline.sources import Reading, open_split, plan_inputs
from pipeline.sources.inputs import published_names
from pipeline.sources.inspect import inspect
from tests.sources.archives import STORED, check_tiles, gz, gz_blocks, hundred, plain, read, record, write


@pytest.fixture
def crawl(tmp_path: Path) -> Path:
    for name in (
        "b.warc.gz",
        "sub/a.warc.gz",
        "sub/b.warc.gz",
        "sub/notes.txt",
        "crawl-data/CC-MAIN-2024-10/x/b.warc.gz",
    ):
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(gz(hundred(2)) + gz([record("metadata", name, b"")]))
    return tmp_path / "in"


def test_a_folder_is_every_file_of_a_known_ending(crawl: Path) -> None:
    files = [split.file for split in plan_inputs([str(crawl)])]
    assert [file.name for file in files] == [
        "a.warc.gz",
        "crawl-data/CC-MAIN-2024-10/x/b.warc.gz",
        "in/b.warc.gz",
        "sub/b.warc.gz",
    ]
    assert [file.dump for file in files] == ["", "CC-MAIN-2024-10", "", ""]
    assert len({file.content for file in files}) == 4
    assert all(file.content.startswith("sha256:") for file in files)


def test_order_and_doubling_of_patterns_change_nothing(crawl: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = plan_inputs([str(crawl)])
    os.symlink(crawl / "b.warc.gz", crawl / "link.warc.gz")
    again = plan_inputs([f"{crawl}/**/*.warc.gz", str(crawl / "sub" / ".." / "b.warc.gz"), f"file://{crawl}/sub"])
    assert again == whole
    monkeypatch.chdir(crawl)
    assert plan_inputs(["sub", ".", "b.warc.gz"]) == whole


def test_published_names() -> None:
    names = published_names(
        [
            "/data/x/a.warc.gz",
            "/data/y/a.warc.gz",
            "/data/y/b.warc.gz",
            "https://data.example/crawl-data/CC-MAIN-2024-10/segments/1/warc/c.warc.gz",
            "s3://one/d%20d.warc.gz",
            "s3://two/d%20d.warc.gz",
        ]
    )
    assert names == [
        "x/a.warc.gz",
        "y/a.warc.gz",
        "b.warc.gz",
        "crawl-data/CC-MAIN-2024-10/segments/1/warc/c.warc.gz",
        "one/d d.warc.gz",
        "two/d d.warc.gz",
    ]


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (None, "no such file"),
        (b"", "empty"),
        (b"this is no archive at all", "not an archive"),
        (gzip.compress(b"neither is this", mtime=0), "not an archive"),
        (os.urandom(5000), "not an archive"),
        (b"PK\x03\x04" + b"\0" * 50, "WACZ"),
    ],
)
def test_what_cannot_be_read_is_told_with_what_to_do(tmp_path: Path, content: bytes | None, what: str) -> None:
    path = tmp_path / "x.warc.gz"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(GristmillError) as caught:
        plan_inputs([str(path)])
    assert what in caught.value.what
    assert str(path) in caught.value.where
    assert caught.value.todo


def test_globs_and_folders_without_a_file_are_told(tmp_path: Path) -> None:
    with pytest.raises(GristmillError, match="no file matches"):
        plan_inputs([f"{tmp_path}/*.warc.gz"])
    with pytest.raises(GristmillError, match="no file of a known ending"):
        plan_inputs([str(tmp_path)])


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_what_may_not_be_read_is_told(crawl: Path) -> None:
    (crawl / "sub").chmod(0)
    try:
        with pytest.raises(GristmillError, match="permission"):
            plan_inputs([str(crawl)])
    finally:
        (crawl / "sub").chmod(0o755)


def test_a_file_that_changed_since_it_was_planned_is_refused(crawl: Path) -> None:
    split = plan_inputs([str(crawl / "b.warc.gz")])[0]
    with open(crawl / "b.warc.gz", "ab") as file:
        file.write(b"more")
    with pytest.raises(GristmillError, match="changed"):
        list(open_split(split, Reading()))


@pytest.mark.parametrize("name", STORED)
def test_a_format_is_known_by_its_content(tmp_path: Path, name: str) -> None:
    (tmp_path / "no-ending").write_bytes(STORED[name](hundred(4)))
    (split, *_) = plan_inputs([str(tmp_path / "no-ending")])
    assert split.file.format == "warc"


def test_the_crawl_is_read_from_the_warcinfo(tmp_path: Path) -> None:
    info = record("warcinfo", "", b"isPartOf: CC-MAIN-2026-43\r\npublisher: Common Crawl\r\n")
    (tmp_path / "x.warc.gz").write_bytes(gz([info, *hundred(50)]))
    splits = plan_inputs([str(tmp_path)], split_bytes=10_000)
    assert len(splits) > 2
    for split in splits:  # also where the split does not hold the warcinfo
        assert {page.dump for page in open_split(split, Reading())} == {"CC-MAIN-2026-43"}


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_archives_in_a_wacz(tmp_path: Path, method: int) -> None:
    path = tmp_path / "x.wacz"
    archives = {
        "archive/data.warc.gz": gz(hundred(40)),
        "archive/sp ace#1.warc": plain(hundred(3)),
        "pages/pages.jsonl": b"{}",
    }
    with zipfile.ZipFile(path, "w", method) as wacz:
        for name, data in archives.items():
            wacz.writestr(name, data)
    splits = plan_inputs([str(path)], split_bytes=4000)
    assert sorted({s.file.name for s in splits}) == ["x.wacz/archive/data.warc.gz", "x.wacz/archive/sp ace#1.warc"]
    # What is deflated in the zip can only be read from its start.
    assert (len(splits) > 3) == (method == zipfile.ZIP_STORED)
    for name in ("archive/data.warc.gz", "archive/sp ace#1.warc"):
        alone, _ = read(write(tmp_path, "alone.warc", archives[name]))
        got = []
        for split in splits:
            if split.file.name == f"x.wacz/{name}":
                reading = Reading()
                pages = list(open_split(split, reading))
                check_tiles(pages, reading)
                got += pages
        assert [(p.offset, p.length, p.url, p.payload) for p in got] == [
            (p.offset, p.length, p.url, p.payload) for p in alone
        ]


def test_a_wacz_damaged_inside_loses_what_is_damaged(tmp_path: Path) -> None:
    path = tmp_path / "x.wacz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as wacz:
        wacz.writestr("archive/data.warc", plain(hundred(40)))
    data = bytearray(path.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 200] = b"\xff" * 200
    path.write_bytes(bytes(data))
    (split,) = plan_inputs([str(path)])
    reading = Reading()
    pages = list(open_split(split, reading))
    check_tiles(pages, reading)
    assert reading.stop == split.file.size
    assert reading.state != "complete"
    assert 10 < sum(page.fate is None for page in pages) < 40


def test_inspect_tells_the_state(tmp_path: Path) -> None:
    data = gz(hundred(5))
    offsets = [page.offset for page in read(write(tmp_path, "w.warc.gz", data))[0]]
    assert inspect(tmp_path / "w.warc.gz") == {
        "file": str(tmp_path / "w.warc.gz"),
        "state": "complete",
        "records": {"response": 5},
        "lost": [],
        "reason": "",
    }
    write(tmp_path, "cut.warc.gz", data[:-20])
    cut = inspect(tmp_path / "cut.warc.gz")
    assert (cut["state"], cut["records"], cut["lost"]) == (
        "truncated", {"response": 4}, [[offsets[4], len(data) - 20]],
    )  # fmt: skip
    bad = data[: offsets[2] + 50] + b"\xff" * 20 + data[offsets[2] + 70 :]
    write(tmp_path, "bad.warc.gz", bad)
    damaged = inspect(tmp_path / "bad.warc.gz")
    assert (damaged["state"], damaged["lost"]) == ("damaged", [[offsets[2], offsets[3]]])
    for name, content in (("no.warc.gz", b"nothing of the kind"), ("none.warc", b"")):
        write(tmp_path, name, content)
        answer = inspect(tmp_path / name)
        assert (answer["state"], answer["records"]) == ("not-an-archive", {})
        assert answer["reason"]
    with pytest.raises(GristmillError, match="no such file"):
        inspect(tmp_path / "missing.warc.gz")


def test_gzip_in_blocks_is_read_whole(tmp_path: Path) -> None:
    for size in (300, 5000, 60_000):
        pages, reading = read(write(tmp_path, "x.warc.gz", gz_blocks(hundred(20), size)))
        check_tiles(pages, reading)
        assert (len(pages), reading.state) == (20, "complete")


@pytest.mark.parametrize("version", ["WARC/0.17", "WARC/0.18", "WARC/1.0", "WARC/1.1"])
def test_every_version_of_warc(tmp_path: Path, version: str) -> None:
    block = b"HTTP/1.1 200 OK\nContent-Type: text/html\n\n<p>x"
    data = plain([record(kind, f"https://{kind}.example/", block, version=version) for kind in ("response", "revisit")])
    pages, reading = read(write(tmp_path, "x.warc", data + data.replace(b"\r\n", b"\n")))
    assert reading.records == {"response": 2, "revisit": 2}
    assert {page.payload for page in pages} == {b"<p>x", b""}


ARC = (
    b"filedesc://x.arc.gz 0.0.0.0 20080619093439 text/plain 73\n1 0 CommonCrawl\n"
    b"URL IP-address Archive-date Content-type Archive-length\n\n"
)


@pytest.mark.parametrize("compressed", [True, False])
def test_arc_of_both_versions(tmp_path: Path, compressed: bool) -> None:
    block = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n<p>arc</p>"
    one = b"http://a.example/?q=two words 1.2.3.4 20080509190241 text/html %d\n" % len(block)
    two = b"http://b.example/ 1.2.3.4 20080509190241 text/html 200 - - 0 x.arc.gz %d\n" % len(block)
    records = [ARC, one + block + b"\n", two + block + b"\n"]
    data = gz(records) if compressed else plain(records)
    pages, reading = read(write(tmp_path, "x.arc", data))
    check_tiles(pages, reading)
    assert (reading.records, reading.state) == ({"warcinfo": 1, "response": 2}, "complete")
    assert [(p.url, p.date, p.payload, p.status) for p in pages[1:]] == [
        ("http://a.example/?q=two words", "2008-05-09T19:02:41Z", b"<p>arc</p>", 200),
        ("http://b.example/", "2008-05-09T19:02:41Z", b"<p>arc</p>", 200),
    ]


def test_every_record_is_counted_as_what_it_is(tmp_path: Path) -> None:
    http = b"HTTP/1.1 200 OK\r\nContent-Type: text/html;charset=UTF-8\r\n\r\n<p>page"
    kinds = {
        "warcinfo": b"software: x",
        "request": b"GET / HTTP/1.1\r\n\r\n",
        "response": http,
        "revisit": http,
        "metadata": b"a: b",
        "resource": b"<p>resource",
        "conversion": "Text, ähem.".encode(),
        "continuation": b"...",
        "Own-Type": b"?",
    }
    types = {"resource": "text/html", "conversion": "text/plain"}
    records = [
        record(kind, f"<https://{kind}.example/a b>", block, f"Content-Type: {types.get(kind, 'application/http')}")
        for kind, block in kinds.items()
    ]
    pages, reading = read(write(tmp_path, "x.warc.gz", gz(records)))
    assert reading.records == {kind.lower(): 1 for kind in kinds}
    by_type = {page.record_type: page for page in pages}
    for kind, page in by_type.items():
        if kind in ("response", "resource", "conversion"):
            assert page.fate is None
        else:
            assert page.fate
            assert page.fate.drop
            assert (page.fate.state, page.fate.step) == ("dropped", "reader")
            assert (page.fate.drop.rule, page.fate.drop.detail) == ("record_type", kind)
    response = by_type["response"]
    assert (response.url, response.status, response.mime, response.charset, response.payload) == (
        "https://response.example/a b", 200, "text/html", "UTF-8", b"<p>page",
    )  # fmt: skip
    assert by_type["resource"].payload == b"<p>resource"
    assert (by_type["resource"].status, by_type["resource"].mime) == (None, "text/html")
    assert (by_type["conversion"].text, by_type["conversion"].mime) == ("Text, ähem.", "text/plain")
    assert len({page.record_id for page in pages}) == len(pages)
