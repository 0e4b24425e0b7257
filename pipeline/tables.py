"""Tables: judged pages as rows under the schemas of `record.py`, column by column."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline.absent import absent
from pipeline.record import LEDGER_SCHEMA, REFINED_SCHEMA, Drop, Fate, Page

Columns = Mapping[str, Callable[[Page], Any]]

_KEPT, _NO_DROP = Fate("kept"), Drop("")


def ledger_table(pages: Sequence[Page], schema: pa.Schema) -> pa.Table:
    """The pages' rows under `schema`, a `ledger_schema`; what is decided later is null."""
    judged = _judged(pages)
    measured = _measured(pages, schema.names[len(LEDGER_SCHEMA) :])
    columns = []
    for field in schema:
        if field.name in measured:
            columns.append(measured[field.name])
        elif field.name in judged:
            columns.append(pa.array(judged[field.name], field.type))
        else:
            columns.append(pa.nulls(len(pages), field.type))
    return pa.Table.from_arrays(columns, schema=schema)


def document_table(pages: Sequence[Page]) -> pa.Table:
    """The pages as documents under REFINED_SCHEMA."""
    columns = [pa.array([_DOCUMENT[field.name](page) for page in pages], field.type) for field in REFINED_SCHEMA]
    return pa.Table.from_arrays(columns, schema=REFINED_SCHEMA)


def keep_pandas_out() -> None:
    """Let pyarrow decide now that it needs no pandas, in a process that makes no data frames.

    With its first array pyarrow imports pandas where that is installed, to know a Series when it sees one: a second of
    CPU and 50 MB in each worker, for nothing. `to_pandas()` still imports it; where pandas is loaded nothing changes.
    """
    with absent("pandas"):
        pa.array([0])


def _judged(pages: Sequence[Page]) -> dict[str, list[Any]]:
    """The ledger's columns of what is known of each page once it is judged."""
    fates = [page.fate or _KEPT for page in pages]
    drops = [fate.drop or _NO_DROP for fate in fates]
    return {
        "record_id": [page.record_id for page in pages],
        "file": [page.file for page in pages],
        "offset": [page.offset for page in pages],
        "length": [page.length for page in pages],
        "record_type": [page.record_type for page in pages],
        "url": [page.url for page in pages],
        "host": [page.host for page in pages],
        "state": [fate.state for fate in fates],
        "step": [fate.step or None for fate in fates],
        "rule": [drop.rule or None for drop in drops],
        "value": [drop.value for drop in drops],
        "limit": [drop.limit for drop in drops],
        "detail": [drop.detail or None for drop in drops],
        "language": [page.language or None for page in pages],
        "language_score": [page.language_score if page.language else None for page in pages],
        "chars": [len(page.text) if page.has_text else None for page in pages],
    }


def _measured(pages: Sequence[Page], names: Sequence[str]) -> dict[str, pa.Array]:
    """A float64 column for each measured value: most pages end before most of them are taken."""
    numbers = {name: number for number, name in enumerate(names)}
    values, absent = np.zeros((len(names), len(pages))), np.ones((len(names), len(pages)), bool)
    for row, page in enumerate(pages):
        for name, value in page.values.items():
            column = numbers.get(name)
            if column is not None:
                values[column, row], absent[column, row] = value, False
    return {name: pa.array(values[number], mask=absent[number]) for name, number in numbers.items()}


_DOCUMENT: Columns = {
    "text": lambda page: page.text,
    "id": lambda page: page.record_id,
    "dump": lambda page: page.dump,
    "url": lambda page: page.url,
    "date": lambda page: page.date,
    "file_path": lambda page: page.file,
    "language": lambda page: page.language,
    "language_score": lambda page: page.language_score,
    "warc_offset": lambda page: page.offset,
    "warc_length": lambda page: page.length,
    "digest": lambda page: page.digest,
    "extractor": lambda page: page.notes.get("extractor", ""),
    "host": lambda page: page.host,
    "part": lambda page: page.notes.get("part"),
}
