"""Transfer-encoding, content-encoding and charset, as servers and archives really use and misuse them."""

from __future__ import annotations

import contextlib
import gzip
import random
import time
import zlib
from pathlib import Path

import brotli
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import Quarantine
from pipeline.sources.decode import dechunk, decode_body, decode_html
from pipeline.sources.http import Http, parse_content_type, parse_http
from tests.sources.archives import gz, html, hundred, read, response, write

PAGE = html(1)


def raw_deflate(data: bytes) -> bytes:
    squeeze = zlib.compressobj(wbits=-15)
    return squeeze.compress(data) + squeeze.flush()


ENCODERS = {
    "gzip": gzip.compress,
    "x-gzip": gzip.compress,
    "deflate": zlib.compress,
    "deflate, raw": raw_deflate,
    "br": brotli.compress,
    "zstd": zstandard.compress,
}


def decode(body: bytes, encoding: str = "", transfer: str = "", limit: int = 1 << 20, cut_off: bool = False) -> bytes:
    http = Http(200, 0, content_encoding=encoding.partition(", raw")[0], transfer_encoding=transfer)
    return decode_body(memoryview(body), http, limit, cut_off)[0]


def chunked(body: bytes, size: int = 100, extension: str = "") -> bytes:
    parts = [body[i : i + size] for i in range(0, len(body), size)]
    return b"".join(b"%x%s\r\n%s\r\n" % (len(p), extension.encode(), p) for p in parts) + b"0\r\n\r\n"


@pytest.mark.parametrize("encoding", ENCODERS)
def test_every_encoding_is_taken_off(encoding: str) -> None:
    assert decode(ENCODERS[encoding](PAGE), encoding) == PAGE


def test_several_encodings_are_taken_off_in_reverse() -> None:
    assert decode(brotli.compress(gzip.compress(PAGE)), "gzip, br") == PAGE
    assert decode(chunked(gzip.compress(PAGE)), "gzip", "chunked") == PAGE


@pytest.mark.parametrize("encoding", ["", "identity", "utf-8", "none"])
def test_no_encoding_and_words_that_are_none_change_nothing(encoding: str) -> None:
    assert decode(PAGE, encoding) == PAGE


@pytest.mark.parametrize("encoding", ENCODERS)
def test_a_body_that_is_already_decoded_is_believed_before_its_header(encoding: str) -> None:
    http = Http(200, 0, content_encoding=encoding.partition(", raw")[0])
    payload, notes = decode_body(memoryview(PAGE), http)
    assert payload == PAGE
    assert "already decoded" in notes["content_encoding"]


@pytest.mark.parametrize("encoding", ENCODERS)
def test_a_body_that_cannot_be_decoded_is_quarantined(encoding: str) -> None:
    good = ENCODERS[encoding](PAGE)
    for bad in (good[: len(good) // 2], b"\x1f\x8b\x08" + bytes(range(256)) * 2):
        with pytest.raises(Quarantine) as caught:
            decode(bad, encoding)
        assert caught.value.rule == "bad_content_encoding"
        assert caught.value.detail


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br"])
def test_of_a_body_that_the_crawler_cut_off_the_beginning_is_kept(encoding: str) -> None:
    page = html(2, 5000)
    body = ENCODERS[encoding](page)
    got = decode(body[: len(body) * 2 // 3], encoding, cut_off=True)
    assert len(got) > 1000
    assert page.startswith(got)


@pytest.mark.parametrize("encoding", ENCODERS)
def test_a_bomb_costs_no_more_than_the_limit(encoding: str) -> None:
    bomb = ENCODERS[encoding](b"\0" * (64 << 20))
    began = time.process_time()
    with pytest.raises(Quarantine) as caught:
        decode(bomb, encoding, limit=1 << 20)
    assert caught.value.rule == "payload_too_large"
    assert time.process_time() - began < 0.5


def test_a_bomb_in_an_archive_costs_itself_alone(tmp_path: Path) -> None:
    bomb = response("https://bomb.example/", gzip.compress(b"\0" * (40 << 20)), ["Content-Encoding: gzip"])
    pages, reading = read(write(tmp_path, "x.warc.gz", gz([*hundred(2), bomb, *hundred(1)])))
    assert reading.state == "complete"
    assert [page.fate.drop.rule if page.fate and page.fate.drop else "" for page in pages] == [
        "", "", "payload_too_large", "",
    ]  # fmt: skip
    assert pages[2].payload == b""


@given(st.binary(max_size=2000), st.integers(1, 300))
def test_chunks_are_joined(body: bytes, size: int) -> None:
    if body:
        assert dechunk(memoryview(chunked(body, size, ";name=value"))) == body


def test_chunking_that_is_wrong_loses_no_text() -> None:
    assert dechunk(memoryview(PAGE)) is None  # already joined
    good = chunked(PAGE, 400)
    assert dechunk(memoryview(good[: 5 + 300])) == PAGE[:300]
    broken = good[: 5 + 400 + 2] + b"zz\r\n<p>the rest"
    assert dechunk(memoryview(broken)) == PAGE[:400] + b"zz\r\n<p>the rest"


@settings(max_examples=200)
@given(st.binary(max_size=600), st.sampled_from(["gzip", "deflate", "br", "zstd", "gzip, br", ""]), st.booleans())
def test_no_body_raises_anything_but_quarantine(body: bytes, encoding: str, transfer: bool) -> None:
    with contextlib.suppress(Quarantine):
        decode(body, encoding, "chunked" if transfer else "", 10_000)


def test_http_heads() -> None:
    message = b'HTTP/1.1 404 Not Found\nContent-type:  Text/HTML;charset="UTF-8"\n\nbody'
    http = parse_http(memoryview(message))
    assert (http.status, message[http.body_at :]) == (404, b"body")
    assert parse_content_type(http.content_type) == ("text/html", "UTF-8")
    assert parse_http(memoryview(b"<html>no head</html>")) == Http(None, 0)
    assert parse_http(memoryview(b"HTTP/1.0 302 \r\nLocation: /\r\n\r\n")).status == 302
    assert parse_http(memoryview(b"HTTP/2 200\r\n\r\nx")).body_at == 14
    assert parse_http(memoryview(b"HTTP/1.1 200 OK\r\nContent-Length: 12, 12\r\n\r\n")).content_length is None
    assert parse_content_type("text/html, text/html; charset=latin1") == ("text/html", "latin1")


RUSSIAN = "Съешь же ещё этих мягких французских булок да выпей чаю. " * 8
GERMAN = "<p>Zwölf Boxkämpfer jagen Viktor quer über den großen Sylter Deich.</p>" * 3
CHINESE = "<p>国务院总理今天在北京人民大会堂会见了来访的客人，双方进行了友好的谈话。</p>" * 5
JAPANESE = "<p>吾輩は猫である。名前はまだ無い。どこで生れたかとんと見当がつかぬ。</p>" * 5


@pytest.mark.parametrize(
    ("text", "codec", "header", "used"),
    [
        (GERMAN, "utf-8", "utf-8", "utf-8"),
        (GERMAN, "utf-8", "", "utf-8"),
        (GERMAN, "utf-8-sig", "iso-8859-1", "utf-8"),
        (GERMAN, "utf-8", "iso-8859-1", "utf-8"),  # the header is Apache's default
        (GERMAN, "cp1252", "ISO-8859-1", "windows-1252"),
        (GERMAN + "<p>“quoted” – and so on…</p>", "cp1252", "iso-8859-1", "windows-1252"),
        (GERMAN, "utf-16", "utf-8", "utf-16-le"),
        (RUSSIAN, "cp1251", "windows-1251", "windows-1251"),
        (RUSSIAN, "cp1251", "utf-8", "windows-1251"),  # declared wrong: detection
        (RUSSIAN, "koi8_r", "koi8-r", "koi8-r"),
        (CHINESE, "gb2312", "gb2312", "gb18030"),
        (CHINESE + "镕", "gbk", "gb2312", "gb18030"),  # not in gb2312; pages say so anyway
        (CHINESE, "utf-8", "gb2312", "utf-8"),
        (JAPANESE, "cp932", "Shift_JIS", "shift_jis"),
        (JAPANESE, "euc_jp", "x-euc-jp", "euc-jp"),
        (JAPANESE, "iso2022_jp", "iso-2022-jp", "iso-2022-jp"),
        (CHINESE, "gb18030", "no-such-thing", "gb18030"),
    ],
)
def test_charsets(text: str, codec: str, header: str, used: str) -> None:
    assert decode_html(text.encode(codec), header) == (text, used)


def test_meta_is_asked_where_the_header_says_nothing() -> None:
    for tag in (
        '<meta charset="windows-1251">',
        "<META http-equiv=Content-Type content='text/html; charset=windows-1251'>",
    ):
        text = f"<html><head>{tag}</head>{RUSSIAN}"
        assert decode_html(text.encode("cp1251"), "") == (text, "windows-1251")
    xml = f'<?xml version="1.0" encoding="koi8-r"?><html>{RUSSIAN}'
    assert decode_html(xml.encode("koi8_r"), "") == (xml, "koi8-r")
    utf16 = '<meta charset="utf-16">' + GERMAN
    assert decode_html(utf16.encode(), "") == (utf16, "utf-8")


def test_a_character_cut_in_two_does_not_change_the_charset() -> None:
    text, used = decode_html(GERMAN.encode()[: GERMAN.encode().index("ö".encode()) + 1], "")
    assert used == "utf-8"
    assert text.endswith("\ufffd")


@settings(max_examples=300)
@given(
    st.binary(max_size=300), st.sampled_from(["", "utf-8", "gb2312", "iso-2022-jp", "utf-16", "cp1252", "utf-7", "\0"])
)
def test_no_bytes_raise(payload: bytes, charset: str) -> None:
    text, used = decode_html(payload, charset)
    assert isinstance(text, str)
    assert used


def test_random_bytes_decode_quickly() -> None:
    noise = random.Random(1).randbytes(2 << 20)
    began = time.process_time()
    decode_html(noise, "utf-8")
    assert time.process_time() - began < 2
