"""Formats: what an input file is, by its content, and whether it can be cut into splits."""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass, field
from typing import IO, Literal

from pipeline.errors import GristmillError
from pipeline.sources.archive import holds_records, read_pieces
from pipeline.sources.lines import compression
from pipeline.sources.open import open_url
from pipeline.sources.parquet import open_table
from pipeline.sources.stored import Stored
from pipeline.sources.wacz import Inner, list_inner

Format = Literal["warc", "wacz", "jsonl", "parquet", "html"]

_JSONL = re.compile(r"\.(?:jsonl|ndjson)(?:\.(?:gz|zst|xz))?$", re.I)
_HTML = re.compile(r"\.x?html?$", re.I)
_HTML_START = re.compile(rb"(?:\xef\xbb\xbf)?\s*<(?:!doctype|html|head|body)\b", re.I)
_PART_OF = re.compile(rb"^isPartOf:[ \t]*(CC-MAIN-\d{4}-\d{2})(?!\d)", re.M)
_MAX_RECORD = 1 << 20


@dataclass(frozen=True, slots=True)
class Facts:
    """What looking into a file tells of it."""

    format: Format
    cuttable: bool  # its records can be found from the middle
    dump: str = ""  # crawl, where the archive's own warcinfo says it
    inner: list[Inner] = field(default_factory=list)  # the archives of a WACZ


def examine(place: str, size: int, content: str) -> Facts:
    """What lies at a path or URL. Raises GristmillError where it is nothing that pages can be read from."""
    if _HTML.search(place):
        return Facts("html", False)
    with open_url(place, size, content) as source:
        stored = Stored(source, size)
        head = bytes(stored.view(0, 64))
        if _JSONL.search(place):
            return Facts("jsonl", not compression(head))
        if head.startswith(b"PAR1"):
            open_table(source, place)
            return Facts("parquet", True)
        if head.startswith(b"PK\x03\x04"):
            return _examine_wacz(source, place)
        if holds_records(stored):
            return Facts("warc", is_cuttable(stored), crawl_of(stored))
        if head.lstrip().startswith(b"{"):
            return Facts("jsonl", True)
        if _HTML_START.match(head):
            return Facts("html", False)
    raise GristmillError(
        f"not an archive: it begins with {head[:16]!r}",
        where=place,
        todo="Gristmill reads WARC, WET, ARC, WACZ, JSON lines, Parquet and HTML. Was it fetched whole?",
    )


def _examine_wacz(source: IO[bytes], place: str) -> Facts:
    inner = list_inner(source, place)
    if not inner:
        raise GristmillError("no archive inside this zip file", where=place, todo="A WACZ holds archive/*.warc.gz.")
    return Facts("wacz", False, inner=inner)


def is_cuttable(stored: Stored) -> bool:
    """Whether more than one place can be read from: not where the whole file is one member."""
    first_two = list(itertools.islice(read_pieces(stored, 0, _MAX_RECORD), 2))
    anchors = [piece.anchor for piece in first_two]
    return len(anchors) < 2 or anchors[0] is None or anchors[0] != anchors[1]


def crawl_of(stored: Stored) -> str:
    """The crawl that the archive's warcinfo says it is part of, "" where it does not."""
    for piece in itertools.islice(read_pieces(stored, 0, _MAX_RECORD), 1):
        match = _PART_OF.search(piece.found.block)
        return match[1].decode() if match else ""
    return ""
