"""WARC, WET, WAT and ARC: the pages of a split of an archive, and the account of its bytes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import IO

from pipeline.record import LOST, Page
from pipeline.sources.archive import pieces_of_split
from pipeline.sources.pages import Limits, make_page
from pipeline.sources.split import Reading, Split
from pipeline.sources.stored import Stored


def read_warc(source: IO[bytes], split: Split, reading: Reading, limits: Limits) -> Iterator[Page]:
    """One page for every record and every lost stretch that the split owns; they tile [begin, stop)."""
    stored = Stored(source, split.file.size)
    begun = False
    for piece in pieces_of_split(stored, split.start, split.end, limits.max_record):
        if isinstance(piece, int):
            reading.stop = piece
            reading.begin = reading.begin if begun else piece
            break
        page = make_page(split.file, piece, limits)
        if not begun:
            reading.begin, begun = piece.offset, True
        reading.stop = piece.offset + piece.length
        account(page, reading)
        yield page
    nothing = set(reading.records) == {LOST} and split.start == 0 and split.end >= split.file.size
    if nothing and reading.state != "truncated":  # an archive that is cut off in its first record is one
        reading.state = "not-an-archive"


def account(page: Page, reading: Reading) -> None:
    """Count a page in the reading of its split, and let a lost stretch tell in the state of the file."""
    reading.records[page.record_type] = reading.records.get(page.record_type, 0) + 1
    if page.record_type != LOST or page.fate is None or page.fate.drop is None:
        return
    drop = page.fate.drop
    end = page.offset + page.length
    reading.lost.append((page.offset, end))
    where = f"{drop.rule} at bytes {page.offset}-{end}" + (f" ({drop.detail})" if drop.detail else "")
    if drop.rule == "truncated_file":
        if reading.state == "complete":
            reading.state = "truncated"
        where = f"truncated: the record at byte {page.offset} is cut off"
    else:
        reading.state = "damaged"
    reading.reason = f"{reading.reason}; {where}" if 0 < len(reading.lost) - 1 < 3 else reading.reason or where
