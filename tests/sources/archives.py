"""Archives that the reader's tests write for themselves: records as bytes, stored in every way a reader must know."""

from __future__ import annotations

import base64
import gzip
import hashlib
import random
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lz4.frame
import zstandard

from pipeline.record import LOST, Page
from pipeline.sources import InputFile, Limits, Reading, Split, open_split

WORDS = Path(__file__).read_text().split()


def html(seed: int, words: int = 300) -> bytes:
    """A page of words that do not compress to nothing."""
    draw = random.Random(seed)
    body = " ".join(draw.choice(WORDS) + str(draw.randrange(10**6)) for _ in range(words))
    return f"<!doctype html><html><body><p>page {seed}</p><p>{body}</p></body></html>".encode()


def response(url: str, payload: bytes, headers: Sequence[str] = ("Content-Type: text/html; charset=utf-8",)) -> bytes:
    """A response as Common Crawl stores it, digest and all."""
    block = "\r\n".join(["HTTP/1.1 200 OK", *headers, "", ""]).encode() + payload
    digest = base64.b32encode(hashlib.sha1(payload).digest()).decode()
    return record("response", url, block, f"WARC-Payload-Digest: sha1:{digest}")


def record(
    kind: str, url: str, block: bytes, *fields: str, version: str = "WARC/1.0", length: int | None = None
) -> bytes:
    lines = [
        version,
        f"WARC-Type: {kind}",
        f"WARC-Target-URI: {url}",
        "WARC-Date: 2026-01-02T03:04:05Z",
        f"WARC-Record-ID: <urn:uuid:{zlib.crc32(url.encode() + kind.encode()):032x}>",
        f"Content-Length: {len(block) if length is None else length}",
        *fields,
    ]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + block + b"\r\n\r\n"


def hundred(count: int = 100, words: int = 300) -> list[bytes]:
    """Responses of as many pages."""
    return [response(f"https://site{i}.example/{i}", html(i, words)) for i in range(count)]


def gz(records: Sequence[bytes]) -> bytes:
    return b"".join(gzip.compress(r, 6, mtime=0) for r in records)


def gz_whole(records: Sequence[bytes]) -> bytes:
    return gzip.compress(b"".join(records), 6, mtime=0)


def gz_blocks(records: Sequence[bytes], size: int = 5000) -> bytes:
    """As bgzip cuts it: members that end anywhere."""
    text = b"".join(records)
    return b"".join(gzip.compress(text[i : i + size], 6, mtime=0) for i in range(0, len(text), size))


def plain(records: Sequence[bytes]) -> bytes:
    return b"".join(records)


def zst(records: Sequence[bytes]) -> bytes:
    return b"".join(zstandard.ZstdCompressor(write_checksum=True).compress(r) for r in records)


def zst_unchecked(records: Sequence[bytes]) -> bytes:
    return b"".join(zstandard.ZstdCompressor().compress(r) for r in records)


def zst_dictionary(records: Sequence[bytes], squeeze: bool = False) -> bytes:
    """As the zstd-WARC specification has it: the dictionary in a skippable frame in front."""
    dictionary = zstandard.train_dictionary(4096, list(records) * 2)
    data = dictionary.as_bytes()
    stored = zstandard.ZstdCompressor().compress(data) if squeeze else data
    frame = struct.pack("<II", 0x184D2A5D, len(stored)) + stored
    compressor = zstandard.ZstdCompressor(dict_data=dictionary, write_checksum=True)
    return frame + b"".join(compressor.compress(r) for r in records)


def lz4_frames(records: Sequence[bytes]) -> bytes:
    return b"".join(lz4.frame.compress(r, content_checksum=True) for r in records)


STORED = {f.__name__: f for f in (gz, gz_whole, gz_blocks, plain, zst, zst_unchecked, zst_dictionary, lz4_frames)}


def write(folder: Path, name: str, data: bytes) -> InputFile:
    path = folder / name
    path.write_bytes(data)
    return InputFile(name, str(path), len(data), "warc", "")


def read(file: InputFile, start: int = 0, end: int | None = None, **limits: Any) -> tuple[list[Page], Reading]:
    reading = Reading()
    split = Split(file, start, file.size if end is None else end)
    return list(open_split(split, reading, Limits(**limits))), reading


def check_tiles(pages: Sequence[Page], reading: Reading) -> None:
    """The byte law: records and lost stretches lie one behind another from `begin` to `stop`."""
    at = reading.begin
    for page in pages:
        assert page.offset == at, f"a gap or overlap at byte {at}: {page.offset}"
        assert page.length >= 0
        at += page.length
    assert at == reading.stop
    assert sum(reading.records.values()) == len(pages)
    assert reading.lost == [(p.offset, p.offset + p.length) for p in pages if p.record_type == LOST]
    ids = [page.record_id for page in pages]
    assert len(set(ids)) == len(ids)


def told(page: Page) -> tuple[Any, ...]:
    """All of a page that a reader says."""
    return (
        page.record_id, page.offset, page.length, page.record_type, page.url, page.date, page.digest, page.status,
        page.mime, page.charset, page.payload, page.text, page.fate, page.notes,
    )  # fmt: skip
