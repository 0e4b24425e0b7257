"""Rows: a page from a row of JSON lines or Parquet, whatever its columns are called."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Mapping
from typing import Any

from pipeline.errors import Quarantine
from pipeline.record import LOST, Drop, Fate, Page, record_id
from pipeline.sources import digests
from pipeline.sources.http import parse_content_type
from pipeline.sources.pages import STEP, Limits
from pipeline.sources.split import InputFile

# What datatrove, FineWeb, Dolma, RedPajama, NeMo Curator and Common Crawl's own tables call their columns. What
# is not at the top is looked for in `metadata` or `meta`.
_NAMES = {
    "html": ("html", "raw_html", "html_content"),
    "html_base64": ("html_base64",),
    "text": ("text", "raw_content", "content"),
    "url": ("url", "uri", "source_url", "warc_target_uri"),
    "date": ("date", "warc_date", "crawl_date", "fetch_time", "timestamp", "added"),
    "id": ("id", "doc_id", "warc_record_id", "warc_id"),
    "dump": ("dump", "crawl"),
    "status": ("status", "http_status", "fetch_status"),
    "type": ("content_type", "mime", "content_mime_type"),
    "charset": ("charset", "encoding"),
}
_NESTED = ("metadata", "meta")
COLUMNS = frozenset(name for names in _NAMES.values() for name in names) | set(_NESTED)
CONTENT = frozenset(_NAMES["html"] + _NAMES["html_base64"] + _NAMES["text"])


def page_of_row(file: InputFile, offset: int, length: int, row: Mapping[str, Any], limits: Limits) -> Page:
    """The page in a row; quarantined where the row has neither text nor HTML, or more than a page may have."""
    page = Page("", file.name, offset, length, "document", dump=_string(row, "dump") or file.dump)
    page.url, page.date = _string(row, "url"), _string(row, "date")
    if source := _string(row, "id"):
        page.notes["source_id"] = source
    status = _value(row, "status")
    page.status = status if isinstance(status, int) else None
    page.mime, page.charset = parse_content_type(_string(row, "type"))
    try:
        _fill(page, row)
        if len(page.payload) > limits.max_payload:
            size, page.payload = len(page.payload), b""
            raise Quarantine("payload_too_large", f"{size} bytes, the limit is {limits.max_payload}")
    except Quarantine as problem:
        page.fate = Fate("quarantined", STEP, Drop(problem.rule, detail=problem.detail))
    page.record_id = record_id(file.name, offset, page.digest)
    return page


def lost_row(file: InputFile, offset: int, length: int, rule: str, detail: str) -> Page:
    """The row of the ledger for rows or lines that could not be read."""
    page = Page(record_id(file.name, offset, ""), file.name, offset, length, LOST)
    page.fate = Fate("quarantined", STEP, Drop(rule, detail=detail))
    return page


def _fill(page: Page, row: Mapping[str, Any]) -> None:
    html, encoded, text = (_value(row, key) for key in ("html", "html_base64", "text"))
    if isinstance(encoded, str) and html is None:
        try:
            html = base64.b64decode(encoded, validate=True)
        except (ValueError, binascii.Error) as error:
            raise Quarantine("bad_base64", str(error)) from error
    if isinstance(html, (str, bytes)):
        page.mime = page.mime or "text/html"
        page.payload = html if isinstance(html, bytes) else html.encode("utf-8", "replace")
        page.charset = (page.charset or _string(row, "charset")) if isinstance(html, bytes) else "utf-8"
    elif isinstance(text, (str, bytes)):
        page.mime = page.mime or "text/plain"
        page.text = text.decode("utf-8", "replace") if isinstance(text, bytes) else text
        page.payload = page.text.encode("utf-8", "replace")
    else:
        raise Quarantine("no_content", f"no text or html among its fields: {', '.join(sorted(map(str, row)))}")
    page.digest = digests.sha1(page.payload)


def _value(row: Mapping[str, Any], key: str) -> Any:
    places: Iterable[Any] = (row, *(row.get(name) for name in _NESTED))
    for place in places:
        if isinstance(place, Mapping):
            for name in _NAMES[key]:
                if place.get(name) is not None:
                    return place[name]
    return None


def _string(row: Mapping[str, Any], key: str) -> str:
    value = _value(row, key)
    if value is None or isinstance(value, (bytes, Mapping, list)):
        return ""
    return value.isoformat() if hasattr(value, "isoformat") else str(value)
