"""RecordGate: status, type, size and truncation, each with its value and limit."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from pipeline.record import Drop, Page
from pipeline.steps.gate import RecordGate, binary_type, sniffed_type

HTML = b"<!doctype html><title>A page</title><p>Words."


def page(**fields: Any) -> Page:
    given: dict[str, Any] = {"status": 200, "mime": "text/html", "payload": HTML, **fields}
    return Page("0" * 32, "a.warc.gz", 0, 1, given.pop("record_type", "response"), **given)


def test_a_good_page_passes_and_leaves_its_values() -> None:
    good = page()
    assert RecordGate().check(good) is None
    assert good.values == {
        "record_gate.status": 200.0,
        "record_gate.bytes": float(len(HTML)),
        "record_gate.truncated": 0.0,
    }


@pytest.mark.parametrize(
    ("fields", "drop"),
    [
        ({"status": 404}, Drop("status_too_high", 404.0, 200.0)),
        ({"status": 101}, Drop("status_too_low", 101.0, 200.0)),
        ({"payload": b""}, Drop("too_small", 0.0, 1.0)),
        ({"mime": "application/pdf"}, Drop("mime", detail="application/pdf")),
        (
            {"payload": b"%PDF-1.4 rest"},
            Drop("mime", detail="text/html, but the content is application/pdf"),
        ),
        ({"mime": "", "payload": b"plain words"}, Drop("mime", detail="text/plain")),
    ],
)
def test_what_is_dropped_and_why(fields: dict[str, Any], drop: Drop) -> None:
    assert RecordGate().check(page(**fields)) == drop


def test_size_and_truncation_follow_the_settings() -> None:
    assert RecordGate(max_bytes=10).check(page()) == Drop("too_large", float(len(HTML)), 10.0)
    assert RecordGate().check(page(truncated="length")) is None
    assert RecordGate(keep_truncated=False).check(page(truncated="length")) == Drop("truncated", 1.0, 0.0)
    assert RecordGate(keep_truncated=False).check(page()) is None


def test_a_rule_that_is_switched_off_keeps_everything() -> None:
    off = RecordGate(min_status=None, max_status=None, mimes=None, min_bytes=None, max_bytes=None)
    assert off.check(page(status=500, mime="application/json", payload=b"")) is None


@pytest.mark.parametrize("record_type", ["conversion", "document"])
def test_text_records_are_not_asked_for_a_type(record_type: str) -> None:
    text = page(record_type=record_type, mime="text/plain", status=None, payload=b"words")
    assert RecordGate().check(text) is None


def test_a_row_that_brings_text_and_no_payload_is_not_too_small() -> None:
    row = page(record_type="document", mime="", status=None, payload=b"")
    row.text = "A text from a table."
    assert RecordGate().check(row) is None


def test_unknown_types_are_sniffed_and_the_page_says_so() -> None:
    unknown = page(mime="application/octet-stream")
    assert RecordGate().check(unknown) is None
    assert unknown.mime == unknown.notes["mime_sniffed"] == "text/html"


@pytest.mark.parametrize(
    ("payload", "mime"),
    [
        (b"\xef\xbb\xbf  <HTML lang=en>", "text/html"),
        (b"<!-- a note --><div class=x>", "text/html"),
        ("<html><p>\u0159eka".encode("utf-16"), "text/html"),
        (b'<?xml version="1.0"?><html xmlns="http://www.w3.org/1999/xhtml">', "application/xhtml+xml"),
        (b'<?xml version="1.0"?><rss version="2.0">', "text/xml"),
        (b"<abbr>not one of the tags", "text/plain"),
        (b"\x00\x01\x02\x03", "application/octet-stream"),
        (b"RIFF\x00\x00\x00\x00WEBPVP8 ", "image/webp"),
        (b"\x00\x00\x00\x18ftypmp42", "video/mp4"),
        (b"", "text/plain"),
    ],
)
def test_sniffing(payload: bytes, mime: str) -> None:
    assert sniffed_type(payload) == mime


def test_a_page_of_comments_is_sniffed_in_linear_time() -> None:
    assert sniffed_type(b"<!---->" * 300) == "text/plain"


def test_text_proves_no_binary_type() -> None:
    assert binary_type(HTML) == binary_type(b"") == ""


def test_a_setting_that_is_no_content_type_is_refused() -> None:
    with pytest.raises(ValidationError, match="text/html; charset"):
        RecordGate(mimes=("text/html; charset=utf-8",))
    assert RecordGate(mimes=("Text/HTML",)).mimes == ("text/html",)
