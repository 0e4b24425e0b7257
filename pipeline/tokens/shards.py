"""Write token shards that keep the contract."""

from __future__ import annotations

import contextlib
from types import TracebackType
from typing import IO, Any, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.tokens.contract import METADATA_KEY, ROW_GROUP_TOKENS, ShardHeader, token_dtype, token_schema

_BY_VALUE = [
    "tokens.list.element",
    "dump",
    "language",
]  # few distinct values: a dictionary packs them to a few bits
_CARRIED = ("url", "dump", "language", "language_score")


class Vocabulary(Protocol):
    """What a shard tells of its tokenizer; an Encoder is one."""

    @property
    def sha256(self) -> str: ...
    @property
    def vocab_size(self) -> int: ...
    @property
    def eot_id(self) -> int: ...


class TokenShardWriter:
    """Writes documents and their tokens into one shard; a context manager around `add`.

    Row groups are cut by the documents' order and lengths alone, never by how they came in batches, so the
    same documents give the same bytes. `row_groups` tells (documents, tokens) of each for the dataset's
    manifest; it is whole once the writer is closed.
    """

    def __init__(self, file: IO[bytes], vocabulary: Vocabulary) -> None:
        self._vocabulary = vocabulary
        self._dtype = token_dtype(vocabulary.vocab_size)
        self._schema = token_schema(self._dtype)
        self._writer = pq.ParquetWriter(
            file,
            self._schema,
            compression="zstd",
            compression_level=3,
            use_dictionary=_BY_VALUE,
            dictionary_pagesize_limit=4 << 20,  # a page holds 256k distinct ids before falling back to plain
            write_statistics=[name for name in self._schema.names if name != "tokens"],
            write_page_checksum=True,
        )
        self._pending: list[pa.Table] = []
        self._pending_tokens = 0
        self.row_groups: list[tuple[int, int]] = []

    def __enter__(self) -> TokenShardWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.close()
            return
        with contextlib.suppress(OSError, pa.ArrowException):  # the file is of no use, what stopped it is told
            self._writer.close()

    def add(self, documents: pa.Table, ids: npt.NDArray[Any], offsets: npt.NDArray[np.int64]) -> None:
        """Append documents; document i's tokens are `ids[offsets[i]:offsets[i + 1]]`.

        `documents` has a column `id`; url, dump, language and language_score are taken along where they are.
        """
        if len(offsets) != documents.num_rows + 1 or offsets[0] != 0 or int(offsets[-1]) != len(ids):
            raise ValueError("offsets do not fit documents and ids")
        if len(ids) and int(ids.max()) >= self._vocabulary.vocab_size:
            raise ValueError(f"id {ids.max()} in a vocabulary of {self._vocabulary.vocab_size}")
        table = self._table(documents, ids, offsets)
        start = 0
        while start < documents.num_rows:
            end = self._end_of_group(offsets, start)
            if end > start:
                self._pending.append(table.slice(start, end - start))
                self._pending_tokens += int(offsets[end] - offsets[start])
            if end < documents.num_rows:
                self._flush()
            start = end

    def close(self) -> None:
        """Write what is pending and the shard's metadata."""
        self._flush()
        header = ShardHeader(
            tokenizer_sha256=self._vocabulary.sha256,
            vocab_size=self._vocabulary.vocab_size,
            eot_id=self._vocabulary.eot_id,
            dtype=self._dtype,
            documents=sum(documents for documents, _ in self.row_groups),
            tokens=sum(tokens for _, tokens in self.row_groups),
            row_groups=tuple(self.row_groups),
        )
        self._writer.add_key_value_metadata({METADATA_KEY: header.to_json()})
        self._writer.close()

    def _end_of_group(self, offsets: npt.NDArray[np.int64], start: int) -> int:
        """The first document from `start` that no longer fits the open row group; an empty one takes any."""
        room = ROW_GROUP_TOKENS - self._pending_tokens
        end = int(np.searchsorted(offsets, offsets[start] + room, side="right")) - 1
        return max(end, start + 1) if not self._pending else max(end, start)

    def _table(self, documents: pa.Table, ids: npt.NDArray[Any], offsets: npt.NDArray[np.int64]) -> pa.Table:
        columns: dict[str, Any] = {
            "id": documents["id"],
            "tokens": pa.ListArray.from_arrays(
                pa.array(offsets.astype(np.int32)), pa.array(ids.astype(self._dtype, copy=False))
            ),
            "n_tokens": pa.array(np.diff(offsets).astype(np.int32)),
        }
        for name in _CARRIED:
            there = name in documents.column_names
            kind = self._schema.field(name).type
            columns[name] = documents[name].cast(kind) if there else pa.nulls(documents.num_rows, kind)
        return pa.table(columns).cast(self._schema)

    def _flush(self) -> None:
        if not self._pending:
            return
        group = pa.concat_tables(self._pending).combine_chunks()
        self._writer.write_table(group, row_group_size=group.num_rows)
        self.row_groups.append((group.num_rows, self._pending_tokens))
        self._pending, self._pending_tokens = [], 0
