"""Genuine WARC/1.1 records, as Common Crawl writes them: one gzip member a record, digests, capture triplets."""

from __future__ import annotations

import zlib
from base64 import b32encode
from collections.abc import Iterable, Mapping
from hashlib import sha1
from uuid import UUID, uuid5

_NAMESPACE = UUID("6d6f6c69-6e6f-4d69-8c6c-677269737421")


def digest(data: bytes) -> str:
    """`sha1:BASE32`, the form of WARC-Block-Digest and WARC-Payload-Digest in crawls."""
    return "sha1:" + b32encode(sha1(data).digest()).decode()


def record_uri(*parts: str) -> str:
    """A WARC-Record-ID that is the same for the same parts for ever."""
    return f"<urn:uuid:{uuid5(_NAMESPACE, chr(0).join(parts))}>"


def record(headers: Iterable[tuple[str, str]], block: bytes) -> bytes:
    """One WARC/1.1 record, uncompressed; Content-Length and the two closing line ends are added here."""
    lines = [f"{name}: {value}" for name, value in headers if value]
    head = "\r\n".join(["WARC/1.1", *lines, f"Content-Length: {len(block)}"])
    return head.encode() + b"\r\n\r\n" + block + b"\r\n\r\n"


def member(data: bytes, level: int = 9) -> bytes:
    """`data` as one gzip member without time or name, so that the same bytes give the same member."""
    packer = zlib.compressobj(level, zlib.DEFLATED, 31)
    return packer.compress(data) + packer.flush()


def http_block(status_line: str, headers: Mapping[str, str], body: bytes) -> bytes:
    """The HTTP message as a response record stores it."""
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"{status_line}\r\n{lines}\r\n".encode() + body


def warcinfo(file: str, date: str, fields: Mapping[str, str]) -> bytes:
    """The record that opens a file and names the crawl."""
    block = "".join(f"{name}: {value}\r\n" for name, value in fields.items()).encode()
    return record(
        [
            ("WARC-Type", "warcinfo"),
            ("WARC-Date", date),
            ("WARC-Record-ID", record_uri("warcinfo", file)),
            ("WARC-Filename", file),
            ("Content-Type", "application/warc-fields"),
        ],
        block,
    )


def capture(
    *,
    file: str,
    url: str,
    date: str,
    status_line: str,
    headers: Mapping[str, str],
    body: bytes,
    ip: str,
    identified: str = "",
    truncated: str = "",
    payload_digest: str = "",
    metadata: Mapping[str, str] | None = None,
) -> list[tuple[str, bytes]]:
    """The triplet of one fetch, as (WARC-Type, record): request, response, metadata.

    `body` is what the response record stores after the HTTP headers. `payload_digest` overrides the digest of
    `body`, for a body that is stored in chunks.
    """
    key = (file, url, date)
    response_id, info = record_uri("response", *key), record_uri("warcinfo", file)
    path = url.split("/", 3)[3] if url.count("/") > 2 else ""
    host = url.split("/", 3)[2]
    request = (
        f"GET /{path} HTTP/1.1\r\nUser-Agent: GristmillSampleBot/1.0\r\nAccept: text/html,*/*;q=0.5\r\n"
        f"Accept-Language: en-US,en;q=0.5\r\nAccept-Encoding: br,gzip\r\nHost: {host}\r\nConnection: Keep-Alive\r\n\r\n"
    ).encode()
    block = http_block(status_line, headers, body)
    common = [("WARC-Date", date), ("WARC-Warcinfo-ID", info)]
    rows = [
        (
            "request",
            record(
                [
                    ("WARC-Type", "request"),
                    *common,
                    ("WARC-Record-ID", record_uri("request", *key)),
                    ("WARC-Concurrent-To", response_id),
                    ("WARC-IP-Address", ip),
                    ("WARC-Target-URI", url),
                    ("Content-Type", "application/http; msgtype=request"),
                ],
                request,
            ),
        ),
        (
            "response",
            record(
                [
                    ("WARC-Type", "response"),
                    *common,
                    ("WARC-Record-ID", response_id),
                    ("WARC-Concurrent-To", record_uri("request", *key)),
                    ("WARC-IP-Address", ip),
                    ("WARC-Target-URI", url),
                    ("WARC-Truncated", truncated),
                    ("WARC-Payload-Digest", payload_digest or digest(body)),
                    ("WARC-Block-Digest", digest(block)),
                    ("WARC-Identified-Payload-Type", identified),
                    ("Content-Type", "application/http; msgtype=response"),
                ],
                block,
            ),
        ),
    ]
    if metadata is not None:
        fields = "".join(f"{name}: {value}\r\n" for name, value in metadata.items()).encode()
        rows.append(
            (
                "metadata",
                record(
                    [
                        ("WARC-Type", "metadata"),
                        *common,
                        ("WARC-Record-ID", record_uri("metadata", *key)),
                        ("WARC-Concurrent-To", response_id),
                        ("WARC-Target-URI", url),
                        ("Content-Type", "application/warc-fields"),
                    ],
                    fields,
                ),
            )
        )
    return rows


def revisit(*, file: str, url: str, date: str, of_url: str, of_date: str, payload_digest: str, ip: str) -> bytes:
    """A second fetch that met the same payload: WARC 1.1's identical-payload-digest profile, headers only."""
    block = http_block("HTTP/1.1 200 OK", {"Content-Type": "text/html; charset=utf-8"}, b"")
    return record(
        [
            ("WARC-Type", "revisit"),
            ("WARC-Date", date),
            ("WARC-Warcinfo-ID", record_uri("warcinfo", file)),
            ("WARC-Record-ID", record_uri("revisit", file, url, date)),
            ("WARC-IP-Address", ip),
            ("WARC-Target-URI", url),
            ("WARC-Profile", "http://netpreserve.org/warc/1.1/revisit/identical-payload-digest"),
            ("WARC-Refers-To-Target-URI", of_url),
            ("WARC-Refers-To-Date", of_date),
            ("WARC-Payload-Digest", payload_digest),
            ("WARC-Block-Digest", digest(block)),
            ("Content-Type", "application/http; msgtype=response"),
        ],
        block,
    )
