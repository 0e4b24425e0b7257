"""JSON lines: one page a line; a line that is no JSON costs itself alone.

Offsets are positions in the text, which in a plain file are those of the file. A compressed file cannot be cut, and
its pages tile [0, length of the text).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import IO

import orjson

from pipeline.record import Page
from pipeline.sources.lines import Broken, Line, compression, read_lines
from pipeline.sources.open import open_bytes
from pipeline.sources.pages import Limits
from pipeline.sources.rows import lost_row, page_of_row
from pipeline.sources.split import InputFile, Reading, Split
from pipeline.sources.stored import Stored
from pipeline.sources.warc import account

_CHUNK = 1 << 20


def read_jsonl(source: IO[bytes], split: Split, reading: Reading, limits: Limits) -> Iterator[Page]:
    """One page for each line that begins in the split. `rows.py` knows the names of its fields."""
    stored = Stored(source, split.file.size)
    cut = compression(bytes(stored.view(0, 8))) is None
    numbers = _Numbers(split)
    reading.begin = -1
    for page in _pages(stored, split, cut, numbers, limits):
        if cut and page.offset >= split.end:
            reading.stop = page.offset
            break
        if reading.begin < 0:
            reading.begin = page.offset
        reading.stop = page.offset + page.length
        account(page, reading)
        yield page
    else:
        reading.stop = split.file.size if cut else reading.stop
    if reading.begin < 0:
        reading.begin = reading.stop


def _pages(stored: Stored, split: Split, cut: bool, numbers: _Numbers, limits: Limits) -> Iterator[Page]:
    at = split.start
    try:
        for line in read_lines(stored, split.start if cut else 0, limits.max_record):
            at = line.offset + line.length
            yield _page(split.file, line, numbers, limits)
    except Broken as broken:
        rule = "truncated_file" if broken.truncated else "damaged_member"
        yield lost_row(split.file, at, broken.at + broken.size - at, rule, broken.why)


def _page(file: InputFile, line: Line, numbers: _Numbers, limits: Limits) -> Page:
    if line.size > limits.max_record:
        detail = f"line {numbers.of(line)}: {line.size} bytes"
        return lost_row(file, line.offset, line.length, "record_too_large", detail)
    try:
        row = orjson.loads(line.data.removeprefix(b"\xef\xbb\xbf"))
        if not isinstance(row, dict):
            raise ValueError(f"a JSON object is wanted, not {type(row).__name__}")
    except ValueError as error:
        return lost_row(file, line.offset, line.length, "bad_json", f"line {numbers.of(line)}: {error}")
    return page_of_row(file, line.offset, line.length, row, limits)


class _Numbers:
    """Line numbers, counted from 1; what stands in front of a split is counted when it is first asked for."""

    def __init__(self, split: Split) -> None:
        self._split = split
        self._before: int | None = None if split.start else 0

    def of(self, line: Line) -> int:
        if self._before is None:
            # Where reading began: one byte in front of the split, at the line whose end was passed over.
            self._before = _line_ends(self._split.file, self._split.start - 1)
        return self._before + line.before + 1


def _line_ends(file: InputFile, until: int) -> int:
    count = 0
    with open_bytes(file) as source:
        while until > 0 and (chunk := source.read(min(until, _CHUNK))):
            count += chunk.count(b"\n")
            until -= len(chunk)
    return count
