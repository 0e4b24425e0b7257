"""HTML files: the whole file is one page."""

from __future__ import annotations

from collections.abc import Iterator
from typing import IO
from urllib.parse import quote

from pipeline.record import Drop, Fate, Page, record_id
from pipeline.sources import digests
from pipeline.sources.pages import STEP, Limits
from pipeline.sources.split import Reading, Split
from pipeline.sources.warc import account


def read_html(source: IO[bytes], split: Split, reading: Reading, limits: Limits) -> Iterator[Page]:
    """The one page of the file; its URL is `file:///` and the published name."""
    file = split.file
    page = Page("", file.name, 0, file.size, "document", dump=file.dump, mime="text/html")
    page.url = f"file:///{quote(file.name)}"
    if file.size > limits.max_payload:
        detail = f"{file.size} bytes, the limit is {limits.max_payload}"
        page.fate = Fate("quarantined", STEP, Drop("payload_too_large", detail=detail))
    else:
        page.payload = b"".join(iter(lambda: source.read(1 << 20), b""))
        page.digest = digests.sha1(page.payload)
    page.record_id = record_id(file.name, 0, page.digest)
    reading.stop = file.size
    account(page, reading)
    yield page
