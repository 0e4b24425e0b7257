"""HTTP messages as archives store them: status, the headers that matter, and where the body begins."""

from __future__ import annotations

import re
from typing import NamedTuple

_STATUS = re.compile(rb"(?:HTTP/\d(?:\.\d)?|ICY)[ \t]+(\d{3})(?!\d)")
_FIELD = re.compile(
    rb"^(content-type|content-encoding|transfer-encoding|content-length)[ \t]*:[ \t]*([^\r\n]*)", re.I | re.M
)
_CHARSET = re.compile(r"charset\s*=\s*[\"']?\s*([^\s\"';,]+)", re.I)
_BLANK_LINE = re.compile(rb"\n\r*\n")
_MAX_HEADER = 256 << 10


class Http(NamedTuple):
    """What a server said; `status` is None where the bytes are no HTTP response, and all of them are body then."""

    status: int | None
    body_at: int
    content_type: str = ""
    content_encoding: str = ""
    transfer_encoding: str = ""
    content_length: int | None = None


def parse_http(block: memoryview) -> Http:
    """The head of an HTTP response; lines may end in LF alone, and the header may be all there is."""
    if not (status := _STATUS.match(block)):
        return Http(None, 0)
    head = bytes(block[:4096])
    end = _head_end(head)
    if end < 0:
        head = bytes(block[:_MAX_HEADER])
        end = _head_end(head)
    if end < 0:  # no blank line: a response without a body
        end = len(head)
    fields: dict[bytes, str] = {}
    for name, value in _FIELD.findall(head[:end]):
        fields.setdefault(name.lower(), value.decode("latin-1").strip())
    length = fields.get(b"content-length", "")
    return Http(
        int(status[1]),
        end,
        fields.get(b"content-type", ""),
        fields.get(b"content-encoding", "").lower(),
        fields.get(b"transfer-encoding", "").lower(),
        int(length) if length.isascii() and length.isdigit() and len(length) < 19 else None,
    )


def _head_end(head: bytes) -> int:
    blank = _BLANK_LINE.search(head)
    return blank.end() if blank else -1


def parse_content_type(value: str) -> tuple[str, str]:
    """(MIME type in lower case without parameters, charset or "")."""
    charset = _CHARSET.search(value)
    mime = value.partition(";")[0].partition(",")[0].strip().lower()
    return mime, charset[1] if charset else ""
