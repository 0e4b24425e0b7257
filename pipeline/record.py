"""What flows through the mill: Page, Drop, record_id, and the Arrow schemas. The one place that defines columns."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import blake2b
from typing import Any, Literal, TypeVar
from urllib.parse import urlsplit

import pyarrow as pa

T = TypeVar("T")
State = Literal["kept", "dropped", "quarantined"]

# Record types that carry a page. Every other type (request, metadata, revisit, warcinfo, …) is counted as
# what it is and dropped by the reader; a damaged stretch of a file is a quarantined record of type LOST.
PAGE_TYPES = frozenset({"response", "resource", "conversion", "document"})
LOST = "lost"


def record_id(file: str, offset: int, digest: str) -> str:
    """The identity of a record for ever: 32 hex digits over the archive's name, the record's offset and digest.

    `file` is the archive's published name (never a path of this machine), `offset` the byte offset of the
    record as stored (compressed), `digest` the payload digest (`sha1:…`), or "" for what has none.
    """
    return blake2b(f"{file}\0{offset}\0{digest}".encode(), digest_size=16).hexdigest()


@dataclass(frozen=True, slots=True)
class Drop:
    """Why a page goes: the rule, the value that was measured and the limit that it passed."""

    rule: str
    value: float | None = None
    limit: float | None = None
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Fate:
    """The one state in which a record ends, and which step said so."""

    state: State
    step: str = ""
    drop: Drop | None = None


@dataclass(slots=True, eq=False)
class Page:
    """One record of an archive, while it is being refined.

    The reader sets the identity and the payload; steps set `text`, `language` and the measured values.
    A record that is no page (a request, a lost stretch of bytes) leaves the reader with its `fate` already set.
    """

    # identity, set once by the reader
    record_id: str
    file: str  # published name of the archive
    offset: int  # of the record as stored, in bytes
    length: int  # of the record as stored, in bytes: records and lost stretches tile the file
    record_type: str  # WARC-Type, or LOST, or "document" for JSONL and Parquet rows
    url: str = ""
    date: str = ""  # WARC-Date, ISO 8601
    digest: str = ""  # payload digest as in the archive, else computed: "sha1:BASE32"
    dump: str = ""  # crawl, e.g. CC-MAIN-2026-43, or ""
    warc_record_id: str = ""  # WARC-Record-ID, or ""
    # what HTTP said
    status: int | None = None
    mime: str = ""  # lower case, without parameters
    charset: str = ""  # of the Content-Type header, or ""
    truncated: str = ""  # WARC-Truncated, or ""
    payload: bytes = b""  # body after transfer- and content-decoding
    given_text: str | None = None  # text that came as such (WET, JSONL): nothing is extracted then
    # what refining found
    language: str = ""
    language_score: float = 0.0
    values: dict[str, float] = field(default_factory=dict)  # "step.value" → measured
    notes: dict[str, Any] = field(default_factory=dict)  # what else a step adds: extractor, title, pii counts
    fate: Fate | None = None
    _html: str | None = None
    _text: str | None = None
    _from_html: dict[Callable[..., Any], Any] = field(default_factory=dict)
    _from_text: dict[Callable[..., Any], Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._text = self.given_text

    def again(self) -> None:
        """Back to what the reader made of it, for a second try."""
        self.language, self.language_score, self.fate = "", 0.0, None
        self.values.clear()
        self.notes.clear()
        self._html = None
        self._from_html.clear()
        self._text = self.given_text
        self._from_text.clear()

    def shed(self) -> None:
        """Let go of everything that only steps need, so that a batch of judged pages is small."""
        self.payload, self._html = b"", None
        self._from_html.clear()
        self._from_text.clear()

    @property
    def host(self) -> str:
        """Lower-case host of the URL, "" where there is none."""
        return _host(self.url)

    @property
    def html(self) -> str:
        """The payload as text, decoded once (header, BOM, meta, then detection: see `sources/decode.py`)."""
        if self._html is None:
            from pipeline.sources.decode import decode_html

            self._html, self.notes["charset"] = decode_html(self.payload, self.charset)
        return self._html

    @html.setter
    def html(self, html: str) -> None:
        self._html = html
        self._from_html.clear()

    @property
    def text(self) -> str:
        """The extracted text; "" until a step sets it."""
        return self._text or ""

    @text.setter
    def text(self, text: str) -> None:
        if text != self._text:
            self._text = text
            self._from_text.clear()

    @property
    def has_text(self) -> bool:
        """Whether a text was given or extracted, be it an empty one."""
        return self._text is not None

    @property
    def words(self) -> list[str]:
        """The words of the text, split once per version of the text."""
        from pipeline.steps.words import page_words

        return self.from_text(page_words)

    def from_html(self, derive: Callable[[Page], T]) -> T:
        """`derive(page)`, computed once for this page's HTML (a parse tree that two steps need)."""
        if derive not in self._from_html:
            self._from_html[derive] = derive(self)
        return self._from_html[derive]  # type: ignore[no-any-return]  # keyed by the function that made it

    def from_text(self, derive: Callable[[Page], T]) -> T:
        """`derive(page)`, computed once for each version of the text (words, lines, n-gram counts)."""
        if derive not in self._from_text:
            self._from_text[derive] = derive(self)
        return self._from_text[derive]  # type: ignore[no-any-return]  # keyed by the function that made it


@lru_cache(1024)  # request, response and metadata follow each other
def _host(url: str) -> str:
    try:
        return (urlsplit(url).hostname or "").lower()
    except ValueError:
        return ""


_dictionary = pa.dictionary(pa.int32(), pa.string())

# Text shards: FineWeb's nine columns first, then the lineage.
DOCUMENT_SCHEMA = pa.schema(
    [
        ("text", pa.large_string()),
        ("id", pa.string()),
        ("dump", pa.string()),
        ("url", pa.string()),
        ("date", pa.string()),
        ("file_path", pa.string()),
        ("language", pa.string()),
        ("language_score", pa.float64()),
        ("token_count", pa.int32()),
        ("warc_offset", pa.int64()),
        ("warc_length", pa.int64()),
        ("digest", pa.string()),
        ("extractor", pa.string()),
        ("cluster_id", pa.string()),  # smallest record_id of the near-duplicate cluster; null where alone
        ("cluster_size", pa.int32()),  # 1 where alone
    ]
)

# Documents of one split on their way from refining to publishing: what is not yet known left out, the host added.
REFINED_SCHEMA = pa.schema(
    [f for f in DOCUMENT_SCHEMA if f.name not in ("token_count", "cluster_id", "cluster_size")]
    + [pa.field("host", pa.string()), pa.field("part", pa.string())]  # part: null, or one that a step chose
)

# One row for each record of the input. Measured values follow as float64 columns named "step.value".
LEDGER_SCHEMA = pa.schema(
    [
        ("record_id", pa.string()),
        ("file", _dictionary),
        ("offset", pa.int64()),
        ("length", pa.int64()),
        ("record_type", _dictionary),
        ("url", pa.string()),
        ("host", pa.string()),
        ("state", _dictionary),  # kept | dropped | quarantined
        ("step", _dictionary),  # that dropped or quarantined it
        ("rule", _dictionary),
        ("value", pa.float64()),
        ("limit", pa.float64()),
        ("detail", pa.string()),  # the error of a quarantine; the survivor's record_id of a duplicate
        ("language", _dictionary),
        ("language_score", pa.float64()),
        ("chars", pa.int64()),  # of the text as far as the page got, null where none was extracted
        ("cluster_id", pa.string()),
        ("cluster_size", pa.int32()),
        ("shard", _dictionary),  # kept: name without folder and ending, e.g. train-00000
        ("row", pa.int32()),  # kept: row in text/ and tokens/ of that shard
        ("token_start", pa.int64()),  # kept: index of its first token in that token shard
        ("n_tokens", pa.int32()),
    ]
)


def ledger_schema(measured: Iterable[str]) -> pa.Schema:
    """LEDGER_SCHEMA and one float64 column for each measured value, in the order given."""
    schema = LEDGER_SCHEMA
    for column in measured:
        schema = schema.append(pa.field(column, pa.float64()))
    return schema
