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
from pipeline.sources.split import InputFile

STEP = "reader"
_BINARY = ("image/", "video/", "audio/", "font/")  # never decoded: no page is made of them
_NO_HTTP = Http(None, 0)  # only responses hold HTTP; a resource or conversion is its own payload


@dataclass(frozen=True, slots=True)
class Limits:
    """What a single record may cost."""

    max_record: int = 64 << 20  # bytes of a record's block; a larger one is passed over and quarantined
    max_payload: int = 16 << 20  # bytes of a page after content-decoding; a larger one is quarantined


def make_page(file: InputFile, piece: Piece, limits: Limits) -> Page:
    """The page of a piece; with its `fate` set where it is no page or was lost."""
    found = piece.found
    page = _bare(file, piece)
    page.notes.update(found.notes)
    if piece.filler:
        page.fate = _dropped(page)
    elif found.head is None or found.problem:
        page.fate = Fate("quarantined", STEP, Drop(found.problem, detail=found.detail))
    elif page.record_type not in PAGE_TYPES:
        page.digest = _claimed(found.head, "warc-payload-digest") or _claimed(found.head, "warc-block-digest")
        page.fate = _dropped(page)
    else:
        try:
            _fill(page, found.head, found.block, found.vouched, limits)
        except Quarantine as problem:
            page.fate = Fate("quarantined", STEP, Drop(problem.rule, detail=problem.detail))
    # Records that share a member may share its offset: their place inside it tells them apart.
    if piece.position:
        page.record_id = record_id(f"{file.name}!{piece.position}", piece.anchor or 0, page.digest)
    else:
        page.record_id = record_id(file.name, piece.offset, page.digest)
    return page


def _bare(file: InputFile, piece: Piece) -> Page:
    """What the header says; of a stretch that was lost, what its header still says."""
    head, lost = piece.found.head, bool(piece.found.problem) or piece.found.head is None
    page = Page("", file.name, piece.offset, piece.length, piece.filler or LOST, dump=file.dump)
    if head:
        if lost:
            page.notes["record_type"] = head.type
        else:
            page.record_type = head.type
        page.url = _unwrapped(head.get("warc-target-uri"))
        page.date = head.get("warc-date")
        page.warc_record_id = _unwrapped(head.get("warc-record-id"))
        page.truncated = head.get("warc-truncated").lower()
    return page


def _fill(page: Page, head: Head, block: memoryview, vouched: bool, limits: Limits) -> None:
    http = parse_http(block) if head.type == "response" else _NO_HTTP
    page.status = http.status
    page.mime, page.charset = parse_content_type(http.content_type if http.status else head.get("content-type"))
    if page.mime == "application/http":  # it says so, but holds no HTTP response
        page.mime = ""
    if identified := head.get("warc-identified-payload-type"):
        page.notes["identified_mime"] = identified.lower()
    body = block[http.body_at :]
    if not page.truncated and not http.transfer_encoding and http.content_length not in (None, len(body)):
        page.notes["content_length"] = http.content_length
    if page.mime.startswith(_BINARY):
        page.payload = bytes(body)
    else:
        page.payload, odd = decode_body(body, http, limits.max_payload, bool(page.truncated))
        page.notes.update(odd)
    page.digest = _claimed(head, "warc-payload-digest")
    if not vouched:
        _check_digest(page, head, block, http)
    page.digest = page.digest or digests.sha1(page.payload)
    if page.record_type == "conversion" and page.mime in ("text/plain", ""):
        page.mime = "text/plain"
        page.text = page.payload.decode("utf-8", "replace")  # WET files are UTF-8


def _check_digest(page: Page, head: Head, block: memoryview, http: Http) -> None:
    """Compare what the archive says the record hashes to with what stands there, where no checksum has done so.

    A payload digest that does not fit is damage only where nothing else says that the bytes are whole: of the
    compressed real archives that we test on, one in a few hundred records has a digest that is simply wrong,
    under a gzip checksum that is right. What was meant by payload differs by writer, too. So a checksum of the
    compression makes this check needless, and where the block's own digest vouches for the bytes, a misfit is noted
    and the page lives.
    """
    fits = _payload_fits(page.digest, block[http.body_at :], page.payload, http)
    if fits:
        return
    whole = digests.matches(head.get("warc-block-digest"), block)
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


def _dropped(page: Page) -> Fate:
    return Fate("dropped", STEP, Drop("record_type", detail=page.record_type))


def _unwrapped(value: str) -> str:
    """`<urn:uuid:…>` and the `<http://…>` of old wget without their brackets; the rest as it is."""
    value = value.strip()
    return value[1:-1].strip() if value.startswith("<") and value.endswith(">") else value
