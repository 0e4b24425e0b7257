"""Pages from JSON lines, Parquet and HTML files: what the columns are called, what a bad one costs, splits."""

from __future__ import annotations

import base64
import gzip
import itertools
import json
import lzma
import random
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.errors import GristmillError
from pipeline.record import LOST, Page
from pipeline.sources import Limits, Reading, Split, open_split, plan_inputs
from tests.sources.archives import check_tiles, html, told

COMPRESS = {"": bytes, ".gz": gzip.compress, ".zst": zstandard.compress, ".xz": lzma.compress}


def rows(count: int = 50) -> list[dict[str, Any]]:
    return [{"id": f"r{i}", "url": f"https://s{i}.example/", "text": f"text {i} " * (i % 7 + 1)} for i in range(count)]


def lines(rows: list[dict[str, Any]]) -> bytes:
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


def read_all(splits: list[Split], **limits: Any) -> list[Page]:
    """The pages of all splits, which must tile each file."""
    pages: list[Page] = []
    stop = 0
    for split in splits:
        reading = Reading()
        part = list(open_split(split, reading, Limits(**limits)))
        check_tiles(part, reading)
        assert reading.begin == (stop if split.start else 0)
        stop = reading.stop
        pages += part
    return pages


def rules(pages: list[Page]) -> list[str]:
    return [page.fate.drop.rule if page.fate and page.fate.drop else "" for page in pages]


@pytest.mark.parametrize("ending", COMPRESS)
def test_json_lines_in_any_compression(tmp_path: Path, ending: str) -> None:
    (tmp_path / f"x.jsonl{ending}").write_bytes(COMPRESS[ending](lines(rows())))
    splits = plan_inputs([str(tmp_path)], split_bytes=500)
    assert (len(splits) > 3) == (ending == "")
    pages = read_all(splits)
    assert [(p.notes["source_id"], p.url, p.text) for p in pages] == [(r["id"], r["url"], r["text"]) for r in rows()]
    assert {(p.record_type, p.mime, p.fate) for p in pages} == {("document", "text/plain", None)}
    assert all(p.digest.startswith("sha1:") for p in pages)


def test_what_a_row_may_be_called(tmp_path: Path) -> None:
    page = html(3)
    given = [
        {"html": page.decode(), "url": "https://a.example/"},
        {"html_base64": base64.b64encode("<p>тест".encode("cp1251")).decode(), "charset": "windows-1251"},
        {"raw_content": "RedPajama", "meta": {"url": "https://b.example/"}},
        {"text": "datatrove", "id": 7, "metadata": {"url": "https://c.example/", "date": "2024-01-01", "dump": "CC-MAIN-2024-10"}},
        {"html": "<p>h", "status": 404, "content_type": "text/html; charset=utf-8"},
    ]  # fmt: skip
    (tmp_path / "x.jsonl").write_bytes(lines(given))
    a, b, c, d, e = read_all(plan_inputs([str(tmp_path)]))
    assert (a.payload, a.html, a.mime, a.url) == (page, page.decode(), "text/html", "https://a.example/")
    assert b.html == "<p>тест"
    assert (c.text, c.url) == ("RedPajama", "https://b.example/")
    assert (d.url, d.date, d.dump, d.notes["source_id"]) == ("https://c.example/", "2024-01-01", "CC-MAIN-2024-10", "7")
    assert (e.status, e.mime) == (404, "text/html")


def test_a_bad_line_costs_itself_alone_and_says_its_number(tmp_path: Path) -> None:
    bad = [
        b'{"text": "cut off\n',
        b"[1, 2]\n",
        b"\n",
        b"   \n",
        b'{"nothing": 1}\n',
        b'{"html_base64": "%%%"}\n',
        b"\xff\xfe\n",
    ]
    data = [json.dumps(row).encode() + b"\n" for row in rows(40)]
    for i, line in enumerate(bad):
        data.insert(5 * i + 3, line)
    (tmp_path / "x.jsonl").write_bytes(b"".join(data))
    whole = read_all(plan_inputs([str(tmp_path)]))
    assert [rule for rule in rules(whole) if rule] == ["bad_json", "bad_json", "no_content", "bad_base64", "bad_json"]
    assert sum(page.fate is None for page in whole) == 40
    details = [p.fate.drop.detail for p in whole if p.record_type == LOST and p.fate and p.fate.drop]
    assert [detail.partition(":")[0] for detail in details] == ["line 4", "line 9", "line 34"]
    assert [told(p) for p in read_all(plan_inputs([str(tmp_path)], split_bytes=100))] == [told(p) for p in whole]


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(seed=st.integers(0, 10**6))
def test_any_cuts_of_json_lines_give_the_whole(tmp_path: Path, seed: int) -> None:
    draw = random.Random(seed)
    parts = [
        draw.choice([b"\n", b" \r\n", b"{bad\n", *[json.dumps(row).encode() + b"\n" for row in rows(8)]])
        for _ in range(30)
    ]
    data = b"".join(parts).removesuffix(b"\n") if draw.random() < 0.5 else b"".join(parts)
    (tmp_path / "x.jsonl").write_bytes(data + b'{"text": "last"}')
    (whole,) = plan_inputs([str(tmp_path)])
    edges = sorted({0, whole.end, *(draw.randrange(whole.end) for _ in range(5))})
    cut = [Split(whole.file, start, end) for start, end in itertools.pairwise(edges)]
    assert [told(p) for p in read_all(cut)] == [told(p) for p in read_all([whole])]


def test_a_line_too_long_is_passed_over(tmp_path: Path) -> None:
    data = lines(rows(3)) + b'{"text": "' + b"x" * 5_000_000 + b'"}\n' + lines(rows(2))
    (tmp_path / "x.jsonl").write_bytes(data)
    pages = read_all(plan_inputs([str(tmp_path)], split_bytes=1 << 20), max_record=1 << 20)
    assert rules(pages) == ["", "", "", "record_too_large", "", ""]


@pytest.mark.parametrize("ending", [".gz", ".zst", ".xz"])
@pytest.mark.parametrize("damage", ["cut", "zeroed"])
def test_damaged_compression_keeps_what_stands_in_front(tmp_path: Path, ending: str, damage: str) -> None:
    many = [{"text": html(i, 50).decode()} for i in range(400)]
    data = bytearray(COMPRESS[ending](lines(many)))
    at = len(data) * 2 // 3
    data[at:] = b"" if damage == "cut" else b"\0" * 500 + data[at + 500 :]
    (tmp_path / f"x.jsonl{ending}").write_bytes(bytes(data))
    (split,) = plan_inputs([str(tmp_path)])
    reading = Reading()
    pages = list(open_split(split, reading))
    check_tiles(pages, reading)
    assert reading.state in ("truncated", "damaged")
    good = [page for page in pages if page.fate is None]
    # zstd comes out in blocks of 128 KiB. Where bytes were replaced, what comes out behind them until a checksum
    # says so may be anything.
    assert [page.text for page in good[:150]] == [row["text"] for row in many[:150]]


def write_table(path: Path, count: int = 100, **columns: list[Any]) -> None:
    table = pa.table(
        columns or {"text": [f"text {i} " * 50 for i in range(count)], "url": [f"u{i}" for i in range(count)]}
    )
    pq.write_table(table, path, row_group_size=10)


def test_parquet_rows_and_splits_of_row_groups(tmp_path: Path) -> None:
    write_table(tmp_path / "x.parquet")
    (whole,) = plan_inputs([str(tmp_path)])
    pages = read_all([whole])
    assert [(p.url, p.text) for p in pages] == [(f"u{i}", f"text {i} " * 50) for i in range(100)]
    assert [(p.offset, p.length) for p in pages] == [(i, 1) for i in range(100)]
    splits = plan_inputs([str(tmp_path)], split_bytes=300)
    assert len(splits) > 5
    assert [told(p) for p in read_all(splits)] == [told(p) for p in pages]


def test_parquet_html_as_bytes_or_text_and_nested_metadata(tmp_path: Path) -> None:
    write_table(
        tmp_path / "x.parquet",
        html=["<p>тест".encode("cp1251"), b"<p>x", None],
        encoding=["windows-1251", None, None],
        metadata=[{"url": "https://a.example/"}, None, None],
    )
    a, b, c = read_all(plan_inputs([str(tmp_path)]))
    assert (a.html, a.url, a.mime) == ("<p>тест", "https://a.example/", "text/html")
    assert b.html == "<p>x"
    assert rules([c]) == ["no_content"]


def test_a_damaged_row_group_costs_its_rows(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    write_table(path)
    start = pq.ParquetFile(path).metadata.row_group(3).column(0).dictionary_page_offset
    data = bytearray(path.read_bytes())
    data[start : start + 20] = b"\xff" * 20
    path.write_bytes(bytes(data))
    pages = read_all(plan_inputs([str(tmp_path)]))
    assert [p.offset for p in pages if p.record_type != LOST] == [i for i in range(100) if not 30 <= i < 40]
    assert rules([p for p in pages if p.record_type == LOST]) == ["damaged_row_group"]


def test_parquet_that_holds_no_pages_is_refused(tmp_path: Path) -> None:
    write_table(tmp_path / "x.parquet", numbers=[1, 2, 3])
    with pytest.raises(GristmillError, match="numbers"):
        plan_inputs([str(tmp_path)])
    (tmp_path / "x.parquet").write_bytes(b"PAR1" + b"\0" * 100)
    with pytest.raises(GristmillError, match="Parquet"):
        plan_inputs([str(tmp_path)])


def test_html_files_are_pages(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    for name in ("a/index.html", "page one.htm", "index.html"):
        (tmp_path / name).write_bytes(f'<meta charset="koi8-r"><p>{name} ё'.encode("koi8_r"))
    pages = read_all(plan_inputs([str(tmp_path)]))
    top = tmp_path.name
    assert [p.file for p in pages] == ["a/index.html", "page one.htm", f"{top}/index.html"]
    assert pages[1].url == "file:///page%20one.htm"
    assert pages[1].html == '<meta charset="koi8-r"><p>page one.htm ё'
    assert rules(read_all(plan_inputs([str(tmp_path)]), max_payload=30))[2] == "payload_too_large"
