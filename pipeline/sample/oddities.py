"""What the web has besides pages: other types, errors, empty and hostile bodies, lies about encodings."""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field

import brotli

from pipeline.sample.writer import member

GATE = "record_gate"


@dataclass(frozen=True, slots=True)
class Oddity:
    """One fetch that is no ordinary page, with the steps (`step/rule`) that may end it."""

    url: str
    body: bytes
    state: str
    steps: str
    why: str
    status: str = "200 OK"
    headers: dict[str, str] = field(default_factory=lambda: {"Content-Type": "text/html; charset=utf-8"})
    identified: str = "text/html"
    file: int = 3


def oddities() -> Iterator[Oddity]:
    yield from _other_types()
    yield from _errors()
    yield from _hostile()


def _other_types() -> Iterator[Oddity]:
    yield _typed(
        "https://www.fernhill-council.example/files/allotment-rules.pdf",
        pdf("Allotment rules, seventh edition"),
        "application/pdf",
        "A PDF is no HTML page.",
    )
    yield _typed(
        "https://img.lantern-press.example/2025/harbour-at-dusk.png", _png(), "image/png", "An image is no HTML page."
    )
    stations = [{"id": n, "name": f"Gauge {n}", "level_m": round(0.42 + n * 0.07, 2)} for n in range(40)]
    yield _typed(
        "https://api.river-almanac.example/v2/stations?format=json",
        json.dumps({"stations": stations}, indent=1).encode(),
        "application/json",
        "An API's answer is no HTML page.",
    )
    yield _typed(
        "https://www.harrow-bindery.example/robots.txt",
        b"User-agent: *\nDisallow: /basket/\nCrawl-delay: 5\n",
        "text/plain",
        "robots.txt is plain text.",
    )
    yield _typed(
        "https://www.fernhill-council.example/css/site.css",
        b"body{margin:0 auto;max-width:60rem;font:16px/1.5 sans-serif}\n" * 12,
        "text/css",
        "A style sheet is no HTML page.",
    )
    yield Oddity(
        "https://www.fernhill-council.example/download.php?id=88",
        pdf("Minutes of the parks committee"),
        "dropped",
        GATE,
        "The server says text/html, the bytes are a PDF; whoever asks only the header extracts rubbish.",
        headers={"Content-Type": "text/html"},
        identified="application/pdf",
    )


def _typed(url: str, body: bytes, mime: str, why: str) -> Oddity:
    return Oddity(url, body, "dropped", GATE, why, headers={"Content-Type": mime}, identified=mime)


def _errors() -> Iterator[Oddity]:
    lost = "<html><head><title>{0}</title></head><body><h1>{0}</h1><p>{1}</p></body></html>"
    for url, status, text in (
        (
            "https://www.tidewater-post.example/local/old-story-4471",
            "404 Not Found",
            "This story is not here any more.",
        ),
        ("https://harbour-board.example/thread/99181", "410 Gone", "The thread was removed by its author."),
        (
            "https://www.fernhill-council.example/planning/search",
            "500 Internal Server Error",
            "Please try again later.",
        ),
        ("https://www.harrow-bindery.example/account", "403 Forbidden", "You may not see this page."),
    ):
        body = lost.format(status, text).encode()
        yield Oddity(url, body, "dropped", GATE, f"The status is {status[:3]}, not 200.", status=status)
    yield Oddity(
        "http://river-almanac.example/",
        b"",
        "dropped",
        GATE,
        "A redirect has no text of its own.",
        status="301 Moved Permanently",
        headers={"Content-Type": "text/html", "Location": "https://www.river-almanac.example/"},
        identified="",
    )
    yield Oddity(
        "https://www.tidewater-post.example/live/ticker",
        b"",
        "dropped",
        f"{GATE} extract",
        "Status 200, but the body is empty.",
        identified="application/x-empty",
    )


def _hostile() -> Iterator[Oddity]:
    depth = 60_000
    nested = b"<html><body>" + b"<div>" * depth + b"Bottom." + b"</div>" * depth + b"</body></html>"
    yield Oddity(
        "http://nesting-doll.example/deep.html",
        nested,
        "quarantined",
        "extract/tree_too_deep",
        f"{depth:,} nested elements: overflows the stack of a recursive parser. It must cost itself alone.",
    )
    yield Oddity(
        "http://nesting-doll.example/bomb.html",
        brotli.compress(b"<" * (64 << 20), quality=9),
        "dropped quarantined",
        "",
        "64 MiB of '<' in a brotli body of some dozen bytes.",
        headers={"Content-Type": "text/html", "Content-Encoding": "br"},
    )
    torn = bytearray(member(b"<html><body>" + b"<p>The archive keeps what it was sent.</p>" * 200 + b"</body></html>"))
    torn[len(torn) // 2 :] = b"\xff" * (len(torn) - len(torn) // 2)
    yield Oddity(
        "http://nesting-doll.example/torn.html",
        bytes(torn),
        "quarantined",
        "",
        "The gzip content-encoding breaks in the middle; the WARC record itself is whole.",
        headers={"Content-Type": "text/html", "Content-Encoding": "gzip"},
        identified="application/gzip",
    )


def pdf(title: str) -> bytes:
    """A small PDF of one page that readers open."""
    stream = f"BT /F1 18 Tf 72 720 Td ({title}) Tj ET".encode()
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents 4 0 R"
        b" /Resources << /Font << /F1 5 0 R >> >> >>",
        b"<< /Length %d >>\nstream\n%s\nendstream" % (len(stream), stream),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ]
    out = bytearray(b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n")
    offsets = []
    for number, body in enumerate(objects, 1):
        offsets.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    start = len(out)
    out += b"xref\n0 6\n0000000000 65535 f \n" + b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    return bytes(out + b"trailer\n<< /Size 6 /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % start)


def _png(width: int = 64, height: int = 48) -> bytes:
    """A greyscale gradient as a valid PNG."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = b"".join(b"\0" + bytes((x * 2 + y * 3) % 256 for x in range(width)) for y in range(height))
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows, 9)) + chunk(b"IEND", b"")
