"""Decode: from an HTTP body as stored to the bytes of the page, and from those to text (see `charset.py`).

Archives often keep a header whose encoding they have already taken off (Common Crawl before 2018, most ARC
writers), so a body that plainly is text is believed before the header that calls it compressed.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from isal import isal_zlib

from pipeline.errors import Quarantine
from pipeline.sources.charset import decode_html
from pipeline.sources.http import Http
from pipeline.sources.members import GzipError

__all__ = ["decode_body", "decode_html"]

MAX_PAYLOAD = 16 << 20
_STEP = 64 << 10
_CHUNK_SIZE = re.compile(rb"[ \t]*([0-9A-Fa-f]{1,8})[ \t]*(?:;[^\r\n]{0,1024})?\r?\n")
_CONTROL = bytes(set(range(32)) - set(b"\t\n\v\f\r\x1b") | {127})
_ALIASES = {"x-gzip": "gzip", "x-deflate": "deflate", "brotli": "br", "zst": "zstd"}


def decode_body(
    body: memoryview, http: Http, max_payload: int = MAX_PAYLOAD, cut_off: bool = False
) -> tuple[bytes, dict[str, Any]]:
    """(the page's bytes, what was odd about its encodings).

    `cut_off` says that the archive holds only the beginning (WARC-Truncated): of a compressed body, what comes
    out is kept then. Raises Quarantine `bad_content_encoding`, or `payload_too_large` for a body of more than
    `max_payload` bytes, of which no more than that is ever inflated.
    """
    notes: dict[str, Any] = {}
    if "chunked" in http.transfer_encoding:
        joined = dechunk(body)
        if joined is None:
            notes["transfer_encoding"] = "already decoded"
        else:
            body = memoryview(joined)
    for name in reversed([part.strip() for part in http.content_encoding.split(",")]):
        decoder = _DECODERS.get(_ALIASES.get(name, name))
        if decoder and body:
            decoded = _undo(name, decoder, body, max_payload, cut_off)
            if decoded is None:
                notes["content_encoding"] = f"{name}, already decoded"
                break
            body = memoryview(decoded)
    if len(body) > max_payload:
        raise Quarantine("payload_too_large", f"{len(body)} bytes, the limit is {max_payload}")
    return bytes(body), notes


def dechunk(body: memoryview) -> bytes | None:
    """The chunks of a body joined; None where it does not begin with a chunk.

    Where the chunking breaks off or goes wrong, the rest is taken as it stands, as a page cut off is still a page.
    """
    parts: list[memoryview] = []
    at = 0
    while at < len(body):
        match = _CHUNK_SIZE.match(body, at)
        if match is None:
            if not parts:
                return None
            parts.append(body[at:])
            break
        size = int(match[1], 16)
        if size == 0:
            break
        parts.append(body[match.end() : match.end() + size])
        at = match.end() + size
        if bytes(body[at : at + 2]) == b"\r\n":
            at += 2
        elif bytes(body[at : at + 1]) == b"\n":
            at += 1
    return b"".join(parts)


class _TooLarge(Exception):
    pass


class _Incomplete(Exception):
    def __init__(self, so_far: bytes) -> None:
        self.so_far = so_far
        super().__init__("it ends too early")


def _undo(
    name: str, decoder: Callable[[memoryview, int], bytes], body: memoryview, limit: int, cut_off: bool
) -> bytes | None:
    """One encoding taken off; None where the body is not encoded at all."""
    try:
        return decoder(body, limit)
    except _TooLarge:
        raise Quarantine("payload_too_large", f"{name}: more than {limit} bytes") from None
    except _Incomplete as error:
        if cut_off and error.so_far:
            return error.so_far
        reason = str(error)
    except Exception as error:  # each library has its own
        reason = str(error) or type(error).__name__
    if _is_text(body):
        return None
    raise Quarantine("bad_content_encoding", f"{name}: {reason}")


def _is_text(body: memoryview) -> bool:
    """Whether the body can be read without decoding: no control characters near its start, or UTF-16."""
    head = bytes(body[:1024])
    return head.startswith((b"\xff\xfe", b"\xfe\xff")) or head.translate(None, _CONTROL) == head


def _gunzip(body: memoryview, limit: int) -> bytes:
    """All gzip members of the body; what follows the last is ignored, as browsers do."""
    joined = b""
    while bytes(body[:2]) == b"\x1f\x8b" or not joined:
        inflater = isal_zlib.decompressobj(31)
        joined += _inflate(inflater, body, limit - len(joined))
        body = memoryview(inflater.unused_data)
        if not body:
            break
    return joined


def _deflate(body: memoryview, limit: int) -> bytes:
    """zlib's format as the standard has it, or bare deflate as many servers send it."""
    try:
        return _inflate(isal_zlib.decompressobj(15), body, limit)
    except GzipError:
        return _inflate(isal_zlib.decompressobj(-15), body, limit)


def _inflate(inflater: Any, body: memoryview, limit: int) -> bytes:
    text: bytes = inflater.decompress(body, limit + 1)
    if len(text) > limit:
        raise _TooLarge
    if not inflater.eof:
        raise _Incomplete(text)
    return text


def _unbrotli(body: memoryview, limit: int) -> bytes:
    import brotli

    inflater = brotli.Decompressor()
    parts = [inflater.process(bytes(body), output_buffer_limit=_STEP)]
    size = len(parts[0])
    while not inflater.is_finished() and size <= limit:
        part = inflater.process(b"", output_buffer_limit=_STEP)
        if not part:
            raise _Incomplete(b"".join(parts))
        parts.append(part)
        size += len(part)
    if size > limit:
        raise _TooLarge
    return b"".join(parts)


def _unzstd(body: memoryview, limit: int) -> bytes:
    import zstandard

    # RFC 8878 / RFC 9659: a window of at most 8 MB may be asked of an HTTP client.
    inflater = zstandard.ZstdDecompressor(max_window_size=128 << 20)
    with inflater.stream_reader(bytes(body), read_across_frames=True) as reader:
        text: bytes = reader.read(limit + 1)
    if len(text) > limit:
        raise _TooLarge
    if not text:
        raise _Incomplete(b"")
    return text


_DECODERS: dict[str, Callable[[memoryview, int], bytes]] = {
    "gzip": _gunzip,
    "deflate": _deflate,
    "br": _unbrotli,
    "zstd": _unzstd,
}
