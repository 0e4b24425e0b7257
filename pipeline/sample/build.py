"""Builds the sample crawl and its key: `python -m pipeline.sample.build [FOLDER]`.

Four WARCs of about forty invented hosts: two as Common Crawl writes them (00001 with a damaged record), one of
other languages and charsets, and one as a crawler writes that stores bodies as they came over the wire, cut off
in its last record. Dates, identifiers and order are fixed, so building twice gives the same bytes; another zlib
may compress to other bytes of the same content.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from zlib import crc32

import brotli
import orjson

from pipeline.sample.oddities import Oddity, oddities
from pipeline.sample.pages import Source, read_sources
from pipeline.sample.themes import render
from pipeline.sample.writer import capture, digest, member, revisit, warcinfo

HERE = Path(__file__).parent
CRAWL_NAME = "GRISTMILL-SAMPLE-2026-43"
FILES = 4
AS_FETCHED = 3  # the file whose bodies stand as they came over the wire
DUPLICATE: dict[str, list[str]] = {"dedup": []}

# For these the language decides before anything else does, in presets that keep English.
_OTHER_LANGUAGE: dict[str, list[str]] = {"early_language": [], "language": []}


@dataclass(frozen=True, slots=True)
class Fetch:
    """One fetch as it goes into a file, and what must become of it."""

    file: int
    url: str
    body: bytes
    expect: dict[str, Any]
    headers: dict[str, str]
    status: str = "200 OK"
    identified: str = "text/html"
    damage: str = ""
    digest: str = ""
    truncated: str = ""


@dataclass(slots=True)
class _File:
    """A WARC while it is written."""

    name: str
    clock: datetime
    data: bytearray = field(default_factory=bytearray)
    key: list[dict[str, Any]] = field(default_factory=list)

    def add(self, kind: str, stored: bytes, expect: dict[str, Any], url: str = "") -> None:
        where = {"file": self.name, "offset": len(self.data), "type": kind}
        self.key.append({**where, **({"url": url} if url else {}), **expect})
        self.data += stored

    def tick(self) -> str:
        self.clock += timedelta(seconds=7)
        return f"{self.clock:%Y-%m-%dT%H:%M:%SZ}"


def build(out: Path = HERE) -> list[Path]:
    """Write `crawl/*.warc.gz` and `key.jsonl` below `out`; returns the WARCs."""
    fetches = defaultdict(list)
    for fetch in [*_pages(), *map(_oddity, oddities())]:
        fetches[fetch.file].append(fetch)
    (out / "crawl").mkdir(parents=True, exist_ok=True)
    paths, key = [], []
    for number in range(FILES):
        file = _write(number, fetches[number])
        paths.append(out / "crawl" / file.name)
        paths[-1].write_bytes(file.data)
        key += file.key
    (out / "key.jsonl").write_bytes(b"".join(orjson.dumps(line) + b"\n" for line in key))
    return paths


def _write(number: int, fetches: list[Fetch]) -> _File:
    start = datetime(2026, 10, 17, 10 + number, 15, 0)
    end = start + timedelta(hours=3)
    file = _File(f"{CRAWL_NAME}-{start:%Y%m%d%H%M%S}-{end:%Y%m%d%H%M%S}-{number:05d}.warc.gz", start)
    fields = {
        "isPartOf": CRAWL_NAME,
        "publisher": "Gristmill",
        "description": "An invented web, written for tests and demonstrations",
        "software": "gristmill sample",
        "robots": "checked via crawler-commons 1.5",
        "format": "WARC File Format 1.1",
        "conformsTo": "http://iipc.github.io/warc-specifications/specifications/warc-format/warc-1.1/",
    }
    file.add("warcinfo", member(warcinfo(file.name, file.tick(), fields)), _not_a_page("warcinfo"))
    for fetch in sorted(fetches, key=lambda f: (f.damage == "cut", crc32(f.url.encode()))):
        _write_fetch(file, fetch)
    return file


def _write_fetch(file: _File, fetch: Fetch) -> None:
    date = file.tick()
    ip = f"203.0.113.{crc32(fetch.url.split('/')[2].encode()) % 254 + 1}"
    rows = capture(
        file=file.name,
        url=fetch.url,
        date=date,
        status_line=f"HTTP/1.1 {fetch.status}",
        headers=fetch.headers,
        body=fetch.body,
        ip=ip,
        identified=fetch.identified,
        truncated=fetch.truncated,
        payload_digest=fetch.digest,
        metadata={"fetchTimeMs": str(40 + crc32(fetch.body) % 900)},
    )
    for kind, raw in rows:
        stored, expect = member(raw), fetch.expect if kind == "response" else _not_a_page(kind)
        if kind == "response" and fetch.damage == "flip":
            stored, expect = (
                _flip(stored),
                _lost("Three bytes of its gzip member are flipped; its neighbours must live."),
            )
        if kind == "response" and fetch.damage == "cut":
            half = stored[: len(stored) // 2]
            file.add(kind, half, _lost("The file ends in the middle of this record."), fetch.url)
            return
        file.add(kind, stored, expect, fetch.url)
    if fetch.damage == "revisit":
        again = revisit(
            file=file.name,
            url=fetch.url,
            date=file.tick(),
            of_url=fetch.url,
            of_date=date,
            payload_digest=fetch.digest or digest(fetch.body),
            ip=ip,
        )
        file.add("revisit", member(again), _not_a_page("revisit"), fetch.url)


def _flip(stored: bytes) -> bytes:
    hurt = bytearray(stored)
    for offset in range(len(hurt) // 2, len(hurt) // 2 + 3):
        hurt[offset] ^= 0xFF
    return bytes(hurt)


def _not_a_page(kind: str) -> dict[str, Any]:
    return {"state": ["dropped"], "drop": {"reader": []}, "why": f"A {kind} record is no page."}


def _lost(why: str) -> dict[str, Any]:
    return {"state": ["quarantined"], "drop": {}, "why": why}


def _pages() -> Iterator[Fetch]:
    sources = read_sources()
    sites = defaultdict(list)
    for source in sources:
        sites[source.host].append(source)
    for number, source in enumerate(sources):
        html = render(source, sites[source.host])
        file = int(source.file) if source.file else _file_of(source, number)
        fetch = _fetch(source, html, file)
        yield fetch
        for mirror in source.mirrors:
            # The same payload elsewhere, in the next file: a duplicate must be found across files.
            yield replace(fetch, url=mirror, file=(file + 1) % 2, damage="")


def _file_of(source: Source, number: int) -> int:
    if source.encoding or source.damage in ("revisit", "cut"):
        return AS_FETCHED
    return 2 if source.lang != "en" or source.charset else number % 2


def _fetch(source: Source, html: str, file: int) -> Fetch:
    charset, _, where = (source.charset or "utf-8/both").partition("/")
    if source.damage == "mojibake":
        html = html.encode().decode("cp1252", errors="replace")
    body = html.encode(charset, errors="xmlcharrefreplace")
    truncated = ""
    if source.damage == "truncated":
        body, truncated = body[: int(len(body) * 0.6)], "length"
    mime = "application/xhtml+xml" if source.charset.endswith("xhtml") else "text/html"
    headers = {
        "Date": "Sat, 17 Oct 2026 10:20:00 GMT",
        "Server": ("nginx", "Apache/2.4.62 (Debian)", "cloudfront")[crc32(source.host.encode()) % 3],
        "Content-Type": f"{mime}; charset={charset}" if where in ("header", "both") else mime,
    }
    if source.damage == "untyped":
        del headers["Content-Type"]
    stored, payload_digest = body, ""
    if file == AS_FETCHED:
        stored, payload_digest = _encode(body, source.encoding, headers)
    else:
        headers["X-Crawl-Content-Encoding"] = "gzip"
    if "chunked" not in source.encoding:
        headers["Content-Length"] = str(len(stored))
    return Fetch(
        file,
        source.url,
        stored,
        _expect(source),
        headers,
        damage=source.damage,
        digest=payload_digest,
        truncated=truncated,
        identified=mime,
    )


def _encode(body: bytes, encodings: str, headers: dict[str, str]) -> tuple[bytes, str]:
    """The body as it came over the wire, and the digest of the payload: what is left without transfer-encoding."""
    for encoding in filter(None, encodings.split("+")):
        if encoding == "chunked":
            headers["Transfer-Encoding"] = "chunked"
            chunks = [body[i : i + 4096] for i in range(0, len(body), 4096)]
            stored = b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n"
            return stored, digest(body)
        headers["Content-Encoding"] = encoding
        body = member(body) if encoding == "gzip" else brotli.compress(body)
    return body, digest(body)


def _expect(source: Source) -> dict[str, Any]:
    expect: dict[str, Any] = {"state": ["kept"], "drop": {}, "language": source.lang}
    if source.lang != "en":
        expect |= {"state": ["dropped"], "drop": _OTHER_LANGUAGE}
        expect["under"] = {"multilingual": {"state": ["kept"], "drop": {}}}
    elif source.drop:
        expect |= {"state": ["dropped"], "drop": _steps(source.drop)}
        # Its rules differ by language; what an English page that fails here becomes is not the point there.
        expect["under"] = {"multilingual": {"state": ["kept", "dropped"], "drop": {}}}
        del expect["language"]
    cluster = source.cluster or (source.url if source.mirrors else "")
    if cluster:
        expect |= {"cluster": cluster, "state": ["kept", "dropped"], "drop": DUPLICATE}
    for name in ("present", "absent", "gone"):
        if values := getattr(source, name):
            expect[{"present": "with", "absent": "without"}.get(name, name)] = values
    return expect | {"why": source.why or _why(source)}


def _why(source: Source) -> str:
    if source.lang != "en":
        return f"Written in {source.lang}; the recipe keeps English."
    return "Original prose in the page chrome of its kind."


def _oddity(odd: Oddity) -> Fetch:
    expect = {"state": odd.state.split(), "drop": _steps(odd.steps), "why": odd.why}
    headers = {**odd.headers, "Content-Length": str(len(odd.body))}
    return Fetch(odd.file, odd.url, odd.body, expect, headers, odd.status, odd.identified)


def _steps(text: str) -> dict[str, list[str]]:
    """`step/rule,rule step` → {step: [rules]}; no rules accept any rule of that step."""
    return {
        step: [rule for rule in rules.split(",") if rule]
        for step, _, rules in (entry.partition("/") for entry in text.split())
    }


if __name__ == "__main__":
    for path in build(Path(sys.argv[1]) if len(sys.argv) > 1 else HERE):
        print(f"{path.name}  {path.stat().st_size:,} bytes")
