"""RecordGate: what HTTP and the archive say of a record, asked before anything is decoded."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import ClassVar

from pydantic import Field, field_validator

from pipeline.record import Drop, Page
from pipeline.steps.step import Rule, Step, Takes

# Records whose reader already knows that they hold text: WET files, and rows of JSONL and Parquet.
_TEXT_RECORDS = frozenset({"conversion", "document"})

# What servers send when they do not know; the content decides then.
_UNKNOWN = frozenset(
    {"", "unknown/unknown", "application/unknown", "application/octet-stream", "binary/octet-stream", "*/*"}
)


class RecordGate(Step):
    """Drop records by HTTP status, content type, size and truncation, before any work is spent on them."""

    name: ClassVar[str] = "record_gate"
    takes: ClassVar[Takes] = "record"
    rules: ClassVar[tuple[Rule, ...]] = (
        Rule("status_too_low", "status", ">=", "min_status"),
        Rule("status_too_high", "status", "<=", "max_status"),
        Rule("too_small", "bytes", ">=", "min_bytes"),
        Rule("too_large", "bytes", "<=", "max_bytes"),
        Rule("truncated", "truncated", "<=", "keep_truncated"),
    )

    min_status: int | None = Field(200, description="Lowest HTTP status that is kept; empty asks for none.")
    max_status: int | None = Field(200, description="Highest HTTP status that is kept; empty asks for none.")
    mimes: tuple[str, ...] | None = Field(
        ("text/html", "application/xhtml+xml"),
        description="Content types that are kept, without parameters; empty keeps all. Where the server "
        "names none, the content is looked at. WET records and rows of JSONL and Parquet are not asked.",
    )
    min_bytes: int | None = Field(1, ge=0, description="Smallest payload, in bytes after content decoding.")
    max_bytes: int | None = Field(20_000_000, ge=0, description="Largest payload, in bytes after content decoding.")
    keep_truncated: bool = Field(
        True, description="Keep payloads that the crawler cut off (WARC-Truncated); their beginning is text."
    )

    @field_validator("mimes")
    @classmethod
    def _plain_types(cls, mimes: tuple[str, ...] | None) -> tuple[str, ...] | None:
        if mimes is None:
            return None
        for mime in mimes:
            if not re.fullmatch(r"[\w.+-]+/[\w.+-]+", mime):
                raise ValueError(f"{mime!r} is no content type; write it like text/html, without parameters")
        return tuple(mime.lower() for mime in mimes)

    def measure(self, page: Page) -> Mapping[str, float | None]:
        return {
            "status": page.status,
            "bytes": len(page.payload) if page.payload or not page.text else None,
            "truncated": float(bool(page.truncated)),
        }

    def check(self, page: Page) -> Drop | None:
        return super().check(page) or self._check_type(page)

    def _check_type(self, page: Page) -> Drop | None:
        """Drop what is no page by its declared type, or by its first bytes where they contradict it."""
        if self.mimes is None or page.record_type in _TEXT_RECORDS:
            return None
        if page.mime in _UNKNOWN:
            page.mime = sniffed_type(page.payload)
            page.notes["mime_sniffed"] = page.mime
        if page.mime not in self.mimes:
            return Drop("mime", detail=page.mime)
        binary = binary_type(page.payload)
        return Drop("mime", detail=f"{page.mime}, but the content is {binary}") if binary else None


# Signatures of the MIME Sniffing Standard (mimesniff.spec.whatwg.org, sections 5.2 and 6), longest first.
_SIGNATURES = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"%!PS-Adobe-", "application/postscript"),
    (b"Rar!\x1a\x07", "application/x-rar-compressed"),
    (b"7z\xbc\xaf\x27\x1c", "application/x-7z-compressed"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "application/x-ole-storage"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
    (b"%PDF-", "application/pdf"),
    (b"OggS\0", "application/ogg"),
    (b"fLaC", "audio/flac"),
    (b"wOF2", "font/woff2"),
    (b"wOFF", "font/woff"),
    (b"\x7fELF", "application/x-executable"),
    (b"\x28\xb5\x2f\xfd", "application/zstd"),
    (b"\x1a\x45\xdf\xa3", "video/webm"),
    (b"PK\x03\x04", "application/zip"),
    (b"ID3", "audio/mpeg"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"\x1f\x8b\x08", "application/gzip"),
)


def binary_type(payload: bytes) -> str:
    """The content type that the first bytes prove, "" where they look like text."""
    head = payload[:16]
    for signature, mime in _SIGNATURES:
        if head.startswith(signature):
            return mime
    if head[:4] == b"RIFF" and head[8:12] in (b"WEBP", b"WAVE", b"AVI "):
        return {b"WEBP": "image/webp", b"WAVE": "audio/wave", b"AVI ": "video/avi"}[head[8:12]]
    return "video/mp4" if head[4:8] == b"ftyp" else ""


# The tags by which the MIME Sniffing Standard knows HTML, and those that begin fragments on the web.
_HTML = re.compile(
    rb"\s*+(?:(?><!--.*?-->)\s*+|(?><\?xml[^>]*>)\s*+)*+"  # possessive: a page of comments costs linear time
    rb"<(?:!doctype\s+html|html|head|script|iframe|h1|div|font|table|a|style|title|b|body|br|p|meta|link|base"
    rb"|ul|ol|section|article|main|center|noscript|frameset)(?:[\s>/]|$)",
    re.IGNORECASE | re.DOTALL,
)
# Control bytes that no text in any ASCII-compatible encoding contains (ESC is ISO-2022-JP's).
_BINARY_BYTES = re.compile(rb"[\x00-\x08\x0b\x0e-\x1a\x1c-\x1f]")
_SNIFFED = 1445  # bytes that browsers look at


def sniffed_type(payload: bytes) -> str:
    """The content type by the first 1,445 bytes: HTML, XHTML, XML, plain text, or what the bytes prove."""
    if binary := binary_type(payload):
        return binary
    head = _as_ascii(payload[:_SNIFFED])
    if _HTML.match(head):
        xhtml = head.lstrip().startswith(b"<?xml") and b"http://www.w3.org/1999/xhtml" in head
        return "application/xhtml+xml" if xhtml else "text/html"
    if head.lstrip().startswith(b"<?xml"):
        return "text/xml"
    return "application/octet-stream" if _BINARY_BYTES.search(head) else "text/plain"


def _as_ascii(head: bytes) -> bytes:
    """The bytes without a byte-order mark, UTF-16 folded so that its markup can be read."""
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return head.decode("utf-16", "replace").encode("ascii", "replace")
    return head.removeprefix(b"\xef\xbb\xbf")
