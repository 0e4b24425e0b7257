"""Parquet: one page a row. A page's offset is the number of its row, its length 1; the rows tile the table.

A split owns the row groups whose first byte lies in it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import IO, Any

import pyarrow as pa

from pipeline.errors import GristmillError
from pipeline.record import Page
from pipeline.sources.pages import Limits
from pipeline.sources.rows import COLUMNS, CONTENT, lost_row, page_of_row
from pipeline.sources.split import Reading, Split
from pipeline.sources.warc import account
from pipeline.store.parquet import open_parquet

_ROWS = 64  # at a time: rows may hold pages of a megabyte


def open_table(source: IO[bytes], place: str) -> Any:
    """The Parquet file; raises GristmillError where it is damaged or has no column that a page can come from."""
    try:
        table = open_parquet(source)
    except (pa.ArrowException, OSError) as error:
        raise GristmillError(
            f"not a readable Parquet file: {error}", where=place, todo="Was it fetched whole? Fetch it again."
        ) from error
    if not CONTENT & set(table.schema_arrow.names):
        raise GristmillError(
            f"no column holds pages; there are {', '.join(table.schema_arrow.names)}",
            where=place,
            todo="Name the column `text` or `html`.",
        )
    return table


def read_parquet(source: IO[bytes], split: Split, reading: Reading, limits: Limits) -> Iterator[Page]:
    """One page for each row of the split's row groups."""
    table = open_table(source, split.file.url)
    metadata = table.metadata
    columns = [name for name in table.schema_arrow.names if name in COLUMNS]
    first = 0
    reading.begin = reading.stop = -1
    for group in range(metadata.num_row_groups):
        rows = metadata.row_group(group).num_rows
        ours = split.start <= _first_byte(metadata.row_group(group)) < split.end
        if ours and reading.begin < 0:
            reading.begin = first
        if ours:
            for page in _read_group(table, group, first, rows, columns, split, limits):
                account(page, reading)
                yield page
        elif reading.begin >= 0:
            break
        elif _first_byte(metadata.row_group(group)) >= split.end:
            reading.begin = first
            break
        first += rows
    reading.begin = first if reading.begin < 0 else reading.begin
    reading.stop = first


def _first_byte(group: Any) -> int:
    """Where the first column's first page lies. The file begins with four bytes of magic, so it is never 0."""
    column = group.column(0)
    pages = [at for at in (column.dictionary_page_offset, column.data_page_offset) if at]
    return int(min(pages))


def _read_group(
    table: Any, group: int, first: int, rows: int, columns: list[str], split: Split, limits: Limits
) -> Iterator[Page]:
    at = first
    try:
        for batch in table.iter_batches(_ROWS, row_groups=[group], columns=columns, use_threads=False):
            for row in batch.to_pylist():
                yield page_of_row(split.file, at, 1, row, limits)
                at += 1
    except (pa.ArrowException, OSError) as error:
        yield lost_row(split.file, at, first + rows - at, "damaged_row_group", str(error).splitlines()[0])
