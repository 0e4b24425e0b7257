"""The bundled crawl is genuine WARC, and what the script builds."""

from __future__ import annotations

import gzip
import io
import zlib
from base64 import b32encode
from collections import Counter
from hashlib import sha1
from pathlib import Path

import brotli
import pytest
from fastwarc.warc import ArchiveIterator, WarcRecordType

from pipeline.sample import CRAWL, load_key
from pipeline.sample.build import build

FILES = sorted(CRAWL.glob("*.warc.gz"))


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return build(tmp_path_factory.mktemp("sample"))


def test_building_twice_gives_the_same_bytes(built: list[Path], tmp_path: Path) -> None:
    again = build(tmp_path)
    assert [path.name for path in again] == [path.name for path in built]
    assert [path.read_bytes() for path in again] == [path.read_bytes() for path in built]
    assert (tmp_path / "key.jsonl").read_bytes() == (built[0].parents[1] / "key.jsonl").read_bytes()


def test_the_bundled_files_are_what_the_script_builds(built: list[Path]) -> None:
    """Record by record, since another zlib compresses the same content to other bytes."""
    assert [path.name for path in built] == [path.name for path in FILES]
    for mine, bundled in zip(built, FILES, strict=True):
        assert _contents(mine.read_bytes()) == _contents(bundled.read_bytes())


def test_it_stays_small() -> None:
    assert sum(path.stat().st_size for path in FILES) < 1_500_000


def test_every_member_is_one_record_at_the_offset_that_the_key_names() -> None:
    for path in FILES:
        offsets = [entry["offset"] for entry in load_key() if entry["file"] == path.name]
        members = list(_members(path.read_bytes()))
        assert [offset for offset, _ in members] == offsets
        assert sum(data is None for _, data in members) == (path.name[-13:-8] in ("00001", "00003"))
        for _, data in members:
            assert data is None or data.startswith(b"WARC/1.1\r\n")
            assert data is None or data.endswith(b"\r\n\r\n")


def test_fastwarc_reads_every_record_up_to_the_damage_with_its_digests_right() -> None:
    for path in FILES:
        whole = b"".join(gzip.compress(data) for _, data in _members(path.read_bytes()) if data)
        seen: Counter[str] = Counter()
        for record in ArchiveIterator(io.BytesIO(whole), parse_http=False):
            seen[record.headers["WARC-Type"]] += 1
            if record.record_type == WarcRecordType.response:
                block = record.reader.read()
                assert record.headers["WARC-Block-Digest"] == _digest(block)
                if b"Transfer-Encoding: chunked" not in block.partition(b"\r\n\r\n")[0]:
                    body = block.partition(b"\r\n\r\n")[2]
                    assert record.headers["WARC-Payload-Digest"] == _digest(body)
        assert seen["warcinfo"] == 1
        assert seen["request"] >= seen["response"] > 10


def test_the_web_is_in_it() -> None:
    responses = [entry for entry in load_key() if entry["type"] == "response"]
    hosts = {entry["url"].split("/")[2] for entry in responses}
    assert len(responses) >= 140
    assert len(hosts) >= 40
    assert all(host.endswith(".example") for host in hosts), "every host lies under a reserved top-level domain"
    assert {entry["language"] for entry in responses if "language" in entry} >= set(
        "en de fr es ru zh ja ar pt".split()
    )
    kinds = Counter(word.split()[0] for entry in responses for word in entry.get("gone", ()))
    assert set(kinds) >= {"email", "phone", "card", "iban", "ssn", "ip"}
    assert len({entry["cluster"] for entry in responses if "cluster" in entry}) >= 6


def _members(data: bytes) -> list[tuple[int, bytes | None]]:
    """(offset, content) of each gzip member; None where it is damaged, going on at the next member's magic."""
    found: list[tuple[int, bytes | None]] = []
    at = 0
    while at < len(data):
        unpacker = zlib.decompressobj(31)
        try:
            content = unpacker.decompress(data[at:])
            if not unpacker.eof:
                found.append((at, None))
                break
            found.append((at, content))
            at = len(data) - len(unpacker.unused_data)
        except zlib.error:
            found.append((at, None))
            at = data.index(b"\x1f\x8b\x08\x00\x00\x00\x00\x00", at + 1)
    return found


def _contents(data: bytes) -> list[bytes | None]:
    """What stands in each member, content-encodings undone and without the headers that follow from their bytes."""
    return [content and _decoded(content) for _, content in _members(data)]


def _decoded(content: bytes) -> bytes:
    head, _, block = content.partition(b"\r\n\r\n")
    http, _, body = block.partition(b"\r\n\r\n")
    encoded = b"Content-Encoding: " in http and b"X-Crawl-Content-Encoding" not in http
    if not encoded:
        return content
    lines = [line for line in head.split(b"\r\n") if b"Digest" not in line and b"Length" not in line]
    http = b"\r\n".join(line for line in http.split(b"\r\n") if not line.startswith(b"Content-Length"))
    if b"torn.html" in head:  # its body is broken on purpose
        return b"\r\n".join(lines) + http
    if b"chunked" in http:
        body = _unchunked(body)
    body = (
        brotli.decompress(body.rstrip(b"\r\n")) if b"Encoding: br" in http else zlib.decompressobj(31).decompress(body)
    )
    return b"\r\n".join(lines) + http + body


def _unchunked(body: bytes) -> bytes:
    out, rest = b"", body
    while size := int(rest.partition(b"\r\n")[0], 16):
        rest = rest.partition(b"\r\n")[2]
        out, rest = out + rest[:size], rest[size + 2 :]
    return out


def _digest(data: bytes) -> str:
    return "sha1:" + b32encode(sha1(data).digest()).decode()
