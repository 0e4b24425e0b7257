"""Pages: from what was found in an archive to the rows of the ledger."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.errors import Quarantine
from pipeline.record import LOST, PAGE_TYPES, Drop, Fate, Page, record_id
from pipeline.sources import digests
from pipeline.sources.archive import Piece
from pipeline.sources.decode import dechunk, decode_body
from pipeline.sources.heads import Head
from pipeline.sources.http import Http, parse_content_type, parse_http
from pipeline.sources.records import Found
from pipeline.sources.split import InputFile

STEP = "reader"


@dataclass(frozen=True, slots=True)
class Limits:
    """What a single record may cost."""

    max_record: int = 64 << 20  # bytes of a record's block; a larger one is passed over and quarantined
    max_payload: int = 16 << 20  # bytes of a page after content-decoding; a larger one is quarantined


def make_page(file: InputFile, piece: Piece, limits: Limits) -> Page:
    """The page of a piece; with its `fate` set where it is no page or was lost."""
    found = piece.found
    if piece.filler:
        return _drop(_bare(file, piece, None, piece.filler))
    if found.head is None or found.problem:
        return lost_page(file, piece)
    page = _bare(file, piece, found.head, found.head.type)
    page.notes.update(found.notes)
    if page.record_type not in PAGE_TYPES:
        page.digest = _claimed(found.head, "warc-payload-digest") or _claimed(found.head, "warc-block-digest")
        _identify(page, piece)
        return _drop(page)
    try:
        _fill(page, found, limits)
    except Quarantine as problem:
        page.fate = Fate("quarantined", STEP, Drop(problem.rule, detail=problem.detail))
    _identify(page, piece)
    return page


def lost_page(file: InputFile, piece: Piece) -> Page:
    """The row of a stretch that could not be read; what its header still says is on it."""
    found = piece.found
    page = _bare(file, piece, found.head, LOST)
    if found.head:
        page.notes["record_type"] = found.head.type
    _identify(page, piece)
    page.fate = Fate("quarantined", STEP, Drop(found.problem, detail=found.detail))
    return page


def _bare(file: InputFile, piece: Piece, head: Head | None, record_type: str) -> Page:
    page = Page("", file.name, piece.offset, piece.length, record_type, dump=file.dump)
    if head:
        page.url = _unwrapped(head.get("warc-target-uri"))
        page.date = head.get("warc-date")
        page.warc_record_id = _unwrapped(head.get("warc-record-id"))
        page.truncated = head.get("warc-truncated").lower()
    _identify(page, piece)
    return page


def _identify(page: Page, piece: Piece) -> None:
    """Records that share a member may share its offset: their place inside it tells them apart."""
    name = f"{page.file}!{piece.position}" if piece.position else page.file
    page.record_id = record_id(name, piece.offset if not piece.position else piece.anchor or 0, page.digest)


def _fill(page: Page, found: Found, limits: Limits) -> None:
    head, block = found.head, found.block
    assert head is not None
    http = _http(head, block)
    declared = http.content_type if http.status is not None else head.get("content-type")
    page.status = http.status
    page.mime, page.charset = parse_content_type(declared)
    if page.mime == "application/http":  # it says so, but holds no HTTP response
        page.mime = ""
    if identified := head.get("warc-identified-payload-type"):
        page.notes["identified_mime"] = identified.lower()
    body = block[http.body_at :]
    if not page.truncated and not http.transfer_encoding and http.content_length not in (None, len(body)):
        page.notes["content_length"] = http.content_length
    if _is_binary(page.mime):
        page.payload = bytes(body)
    else:
        page.payload, odd = decode_body(body, http, limits.max_payload, bool(page.truncated))
        page.notes.update(odd)
    page.digest = _claimed(head, "warc-payload-digest")
    _check_digest(page, head, block, http, found.vouched)
    page.digest = page.digest or digests.sha1(page.payload)
    if page.record_type == "conversion" and page.mime in ("text/plain", ""):
        page.mime = "text/plain"
        page.text = page.payload.decode("utf-8", "replace")  # WET files are UTF-8


def _http(head: Head, block: memoryview) -> Http:
    """Only responses hold HTTP; a resource or conversion is its own payload."""
    return parse_http(block) if head.type == "response" else Http(None, 0)


def _check_digest(page: Page, head: Head, block: memoryview, http: Http, vouched: bool) -> None:
    """Compare what the archive says the record hashes to with what stands there.

    A payload digest that does not fit is damage only where nothing else says that the bytes are whole: of the
    compressed real archives that we test on, one in a few hundred records has a digest that is simply wrong,
    under a gzip checksum that is right. What was meant by payload differs by writer, too. So where a checksum of
    the compression or the block's own digest vouches for the bytes, a misfit is noted and the page lives.
    """
    fits = _payload_fits(page.digest, block[http.body_at :], page.payload, http)
    if fits or (fits is None and vouched):
        return
    whole = vouched or digests.matches(head.get("warc-block-digest"), block)
    if fits is False and whole:
        page.notes["digest"] = "does not fit the payload"
    elif fits is False or whole is False:
        page.payload = b""
        raise Quarantine("digest_mismatch", page.digest or head.get("warc-block-digest"))


def _payload_fits(digest: str, body: memoryview, payload: bytes, http: Http) -> bool | None:
    """Whether a digest fits the body as stored, without its chunks, or without any encoding."""
    fits = digests.matches(digest, body)
    if fits is False and http.transfer_encoding and (joined := dechunk(body)) is not None:
        fits = digests.matches(digest, joined)
    if fits is False and len(payload) != len(body):
        fits = digests.matches(digest, payload)
    return fits


def _claimed(head: Head, name: str) -> str:
    return digests.normalise(head.get(name)) if head.get(name) else ""


def _is_binary(mime: str) -> bool:
    return mime.startswith(("image/", "video/", "audio/", "font/"))


def _drop(page: Page) -> Page:
    page.fate = Fate("dropped", STEP, Drop("record_type", detail=page.record_type))
    return page


def _unwrapped(value: str) -> str:
    """`<urn:uuid:…>` and the `<http://…>` of old wget without their brackets; the rest as it is."""
    value = value.strip()
    return value[1:-1].strip() if value.startswith("<") and value.endswith(">") else value
