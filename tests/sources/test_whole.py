"""The common member is read in one go just as it is with all care."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.record import Page
from pipeline.sources import archive
from pipeline.sources.whole import read_whole
from tests.sources.archives import gz, html, hundred, read, record, response, write

DATA = Path(__file__).parents[2].parent / "shared/data"
RECORDS = [
    *hundred(6),
    record("metadata", "https://a.example/", b"fetchTimeMs: 1\r\n"),
    response("https://large.example/", b"".join(html(seed, 9000) for seed in range(3))),  # of several bites
    record("response", "https://short.example/", b"HTTP/1.1 200 OK\r\n\r\n" + html(1), length=12),
    record("response", "https://long.example/", b"HTTP/1.1 200 OK\r\n\r\n" + html(1), length=10**6),
    record("response", "https://number.example/", b"x").replace(b"Content-Length: 1", b"Content-Length: one"),
    b"warc/1.0\nWARC-Type: response\nContent-Length: 1\n\nx\n\n",
    b"\r\n" + record("resource", "https://late.example/", b"x"),
    record("response", "https://tail.example/", b"x") + b"\r\n",
    record("response", "https://two.example/1", b"x") + record("response", "https://two.example/2", b"y"),
    b"WARC/1.0\r\nWARC-Type: response\r\nWARC/1.0\r\nWARC-Type: request\r\nContent-Length: 0\r\n\r\n\r\n\r\n",
    record("response", "https://fold.example/", b"x").replace(b"WARC-Date: ", b"WARC-Date:\r\n  "),
    b"http://a.example/ 1.2.3.4 20080509190241 text/html 5\nhello\n",
    b"",
    b"nothing of the kind",
    response("https://last.example/", html(99)),
]


def both_ways(monkeypatch: pytest.MonkeyPatch, folder: Path, data: bytes, **limits: Any) -> tuple[Any, Any]:
    file = write(folder, "x.warc.gz", data)
    fast = told(*read(file, **limits))
    with monkeypatch.context() as patch:
        patch.setattr(archive, "read_whole", lambda *_: None)
        return fast, told(*read(file, **limits))


def told(pages: Sequence[Page], reading: Any) -> Any:
    fields = [field for field in Page.__slots__ if not field.startswith("_")]
    return [[getattr(page, field) for field in fields] for page in pages], reading


def test_every_kind_of_member_is_read_alike(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    fast, careful = both_ways(monkeypatch, tmp_path, gz(RECORDS))
    assert fast == careful
    fast, careful = both_ways(monkeypatch, tmp_path, gz(RECORDS), max_record=20_000)
    assert fast == careful


@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    place=st.floats(0, 1, exclude_max=True),
    damage=st.sampled_from([b"", b"\x00", b"\x1f\x8b\x08", b"zz"]),
    cut=st.booleans(),
)
def test_every_damage_is_told_alike(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, place: float, damage: bytes, cut: bool
) -> None:
    data = gz(RECORDS[:8])
    at = int(place * len(data))
    fast, careful = both_ways(monkeypatch, tmp_path, data[:at] + damage + (b"" if cut else data[at + 1 :]))
    assert fast == careful


def test_sound_records_do_go_the_fast_way(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    taken: list[bool] = []

    def counted(*given: Any) -> Any:
        found = read_whole(*given)
        taken.append(found is not None)
        return found

    monkeypatch.setattr(archive, "read_whole", counted)
    read(write(tmp_path, "x.warc.gz", gz(RECORDS[:8])))
    assert taken == [True] * 8


@pytest.mark.skipif(not DATA.exists(), reason="the real archives lie beside the checkout only")
def test_real_archives_are_read_alike(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for path in sorted(DATA.rglob("*.warc.gz"))[:6]:
        fast, careful = both_ways(monkeypatch, tmp_path, path.read_bytes()[: 3 << 20])
        assert fast == careful
