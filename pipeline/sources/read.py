"""Read: the pages of a split, whatever it is a split of."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import IO

from pipeline.record import Page
from pipeline.sources.html import read_html
from pipeline.sources.jsonl import read_jsonl
from pipeline.sources.open import open_bytes
from pipeline.sources.pages import Limits
from pipeline.sources.parquet import read_parquet
from pipeline.sources.split import Reading, Split
from pipeline.sources.warc import read_warc


def open_split(split: Split, reading: Reading, limits: Limits | None = None) -> Iterator[Page]:
    """One Page for every record of the split, in file order, and one for every stretch that was lost.

    A page's `fate` is set where it is no page (a request, a revisit: dropped as `record_type`) or could not be
    read (quarantined with the rule and the error). `reading` is filled as the pages are drawn and final when they
    are exhausted. No record raises; GristmillError comes where the file itself has gone.
    """
    limits = limits or Limits()
    with open_bytes(split.file, split.end) as source:
        yield from _READERS[split.file.format](source, split, reading, limits)


_READERS: dict[str, Callable[[IO[bytes], Split, Reading, Limits], Iterator[Page]]] = {
    "warc": read_warc,
    "wacz": read_warc,
    "jsonl": read_jsonl,
    "parquet": read_parquet,
    "html": read_html,
}
