"""The contract of a token shard, and its reader.

A token shard is a Parquet file with one row a document and its facts (whose tokenizer, how many tokens, where
they lie) in the file's metadata. No begin or end token stands inside `tokens`: who reads joins documents with
`eot_id`. Documents are not cut or packed, for that depends on a model's length. Needs pyarrow and numpy,
nothing else.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import IO, Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.errors import GristmillError

FORMAT = "gristmill.tokens"
FORMAT_VERSION = 1
METADATA_KEY = b"gristmill.tokens"  # of the Parquet file's key-value metadata; its value is JSON
ROW_GROUP_TOKENS = 1 << 20  # a row group is full before it passes this; a longer document stands alone

REQUIRED = ("id", "tokens", "n_tokens")  # other columns may be missing or added

_TYPES: dict[str, pa.DataType] = {"uint16": pa.uint16(), "uint32": pa.uint32()}
_TODO = "Fetch the file again, or run `gristmill verify` on the dataset and rebuild what it names."


def token_dtype(vocab_size: int) -> str:
    """How ids are stored: "uint16" while they fit, else "uint32"."""
    return "uint16" if vocab_size <= 1 << 16 else "uint32"


def token_schema(dtype: str) -> pa.Schema:
    """The columns of a token shard: the document's id and tokens first, then what mixtures choose by."""
    return pa.schema(
        [
            ("id", pa.string()),  # record_id
            ("tokens", pa.list_(_TYPES[dtype])),
            ("n_tokens", pa.int32()),
            ("url", pa.string()),
            ("dump", pa.string()),
            ("language", pa.string()),
            ("language_score", pa.float32()),
        ]
    )


@dataclass(frozen=True, slots=True)
class ShardHeader:
    """What a token shard says of itself. `row_groups` holds (documents, tokens) of each."""

    tokenizer_sha256: str  # of the bytes of tokenizer.json
    vocab_size: int  # special tokens included; every id is smaller
    eot_id: int  # ends a document; never inside `tokens`
    dtype: str  # uint16 | uint32
    documents: int
    tokens: int
    row_groups: tuple[tuple[int, int], ...]

    def to_json(self) -> str:
        facts = {name: getattr(self, name) for name in self.__slots__}
        return json.dumps({"format": FORMAT, "version": FORMAT_VERSION, **facts}, sort_keys=True)

    @classmethod
    def from_json(cls, text: bytes, where: str) -> ShardHeader:
        """Raises GristmillError where `text` is not such a header, or one of a later version."""
        try:
            facts = json.loads(text)
            version = facts.pop("version")
            if facts.pop("format") != FORMAT:
                raise ValueError(FORMAT)
            if version != FORMAT_VERSION:
                raise GristmillError(
                    f"token shard of format version {version}; this Gristmill reads version {FORMAT_VERSION}",
                    where,
                    "Upgrade Gristmill, or publish the dataset again with this one.",
                )
            groups = tuple((int(documents), int(tokens)) for documents, tokens in facts.pop("row_groups"))
            return cls(row_groups=groups, **facts)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise GristmillError(f"the shard's metadata is damaged ({error})", where, _TODO) from error


class RowGroup(NamedTuple):
    """Documents of one row group: document i is `tokens[offsets[i]:offsets[i + 1]]`."""

    tokens: np.ndarray[Any, Any]  # uint16 or uint32, read-only, no copy of what Arrow decoded
    offsets: np.ndarray[Any, Any]  # int32, one more than documents, from 0

    def documents(self) -> Iterator[np.ndarray[Any, Any]]:
        for start, end in pairwise(self.offsets):
            yield self.tokens[start:end]


class TokenShard:
    """One token shard, open for reading: facts in `header`, tokens by row group.

    More than 100 M tokens a CPU second (`python -m tests.bench.bench_tokens`); one row group lies in memory at a time.
    """

    def __init__(self, file: pq.ParquetFile, header: ShardHeader, name: str) -> None:
        self._file, self.header, self.name = file, header, name

    @classmethod
    def open(cls, source: str | os.PathLike[str] | IO[bytes], tokenizer_sha256: str | None = None) -> TokenShard:
        """Open a shard by path or as a binary file.

        Raises GristmillError where it is missing, damaged, no token shard, at odds with its own metadata, or,
        given `tokenizer_sha256`, made with another tokenizer.
        """
        name = str(getattr(source, "name", None) or getattr(source, "path", source))
        try:
            file = pq.ParquetFile(source, page_checksum_verification=True, pre_buffer=False)  # see store/parquet.py
        except FileNotFoundError as error:
            raise GristmillError("there is no such token shard", name, "Check the path; see manifest.json.") from error
        except (OSError, pa.ArrowException) as error:
            raise GristmillError(f"not a whole Parquet file ({_first_line(error)})", name, _TODO) from error
        facts = (file.metadata.metadata or {}).get(METADATA_KEY)
        if facts is None:
            raise GristmillError(
                "a Parquet file, but no token shard: its metadata lacks gristmill.tokens",
                name,
                "Give a file of a dataset's tokens/ folder.",
            )
        shard = cls(file, ShardHeader.from_json(facts, name), name)
        shard._check()
        made_with = shard.header.tokenizer_sha256
        if tokenizer_sha256 is not None and tokenizer_sha256 != made_with:
            raise GristmillError(
                f"the shard was made with the tokenizer {made_with[:12]}…, not with {tokenizer_sha256[:12]}…",
                name,
                "Use the tokenizer/ folder of the same dataset, or tokenize the dataset again.",
            )
        return shard

    def __len__(self) -> int:
        """The number of row groups."""
        return len(self.header.row_groups)

    def __iter__(self) -> Iterator[RowGroup]:
        return (self.read(index) for index in range(len(self)))

    def __enter__(self) -> TokenShard:
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()

    def read(self, index: int) -> RowGroup:
        """Row group `index`. Raises GristmillError where its bytes are damaged or its counts do not agree."""
        table = self.columns(index, ["tokens", "n_tokens"])
        column = table["tokens"].combine_chunks()
        lists = column.chunk(0) if isinstance(column, pa.ChunkedArray) else column
        if lists.null_count or lists.values.null_count:
            raise self._fault(f"row group {index} holds nulls in tokens")
        offsets = lists.offsets.to_numpy(zero_copy_only=True)
        tokens = lists.values.to_numpy(zero_copy_only=True)
        if (len(offsets) - 1, len(tokens)) != self.header.row_groups[index]:
            documents, count = self.header.row_groups[index]
            raise self._fault(
                f"row group {index} holds {len(offsets) - 1} documents and {len(tokens)} tokens, "
                f"its metadata says {documents} and {count}"
            )
        if not np.array_equal(np.diff(offsets), table["n_tokens"].to_numpy()):
            raise self._fault(f"row group {index}: n_tokens does not agree with tokens")
        if len(tokens) and int(tokens.max()) >= self.header.vocab_size:
            raise self._fault(
                f"row group {index} holds the id {tokens.max()} of a vocabulary of {self.header.vocab_size}"
            )
        return RowGroup(tokens, offsets)

    def columns(self, index: int, names: list[str]) -> pa.Table:
        """Some columns of row group `index`, such as `id`, `url` and `language`."""
        try:
            return self._file.read_row_group(index, columns=names, use_threads=False)
        except (OSError, pa.ArrowException) as error:
            raise self._fault(f"row group {index} cannot be read ({_first_line(error)})") from error

    def _check(self) -> None:
        """The Parquet file against its own metadata, without reading a token."""
        header, parquet = self.header, self._file.metadata
        if header.dtype not in _TYPES:
            raise self._fault(f"the metadata says ids are {header.dtype}; they are uint16 or uint32")
        schema, expected = self._file.schema_arrow, token_schema(header.dtype)
        for field in (expected.field(name) for name in REQUIRED):
            found = schema.field(field.name).type if field.name in schema.names else None
            if found != field.type:
                raise self._fault(f"the column {field.name} is {found or 'missing'}, the metadata says {field.type}")
        if not 0 <= header.eot_id < header.vocab_size:
            raise self._fault(
                f"the end-of-text id {header.eot_id} is not below the vocabulary's size {header.vocab_size}"
            )
        rows = [parquet.row_group(i).num_rows for i in range(parquet.num_row_groups)]
        if rows != [documents for documents, _ in header.row_groups] or sum(rows) != header.documents:
            raise self._fault(
                f"the file holds {sum(rows)} documents in {len(rows)} row groups, its metadata says otherwise"
            )
        if header.tokens != sum(tokens for _, tokens in header.row_groups):
            raise self._fault("the token counts of its row groups do not sum up to its own")

    def _fault(self, what: str) -> GristmillError:
        return GristmillError(what, self.name, _TODO)


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
