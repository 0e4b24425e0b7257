"""A token shard holds what was written, any tool can read it, and what is damaged or foreign is refused."""

from __future__ import annotations

import io
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.errors import GristmillError
from pipeline.record import DOCUMENT_SCHEMA
from pipeline.store import Folder
from pipeline.tokens import Encoder, ShardHeader, TokenShard, TokenShardWriter
from pipeline.tokens.contract import METADATA_KEY, ROW_GROUP_TOKENS, token_schema
from tests.tokens.token_texts import corpus

TEXTS = ["", *corpus(120, seed=1), ""]


def documents(texts: list[str]) -> pa.Table:
    """Rows as they stand in a text shard."""
    rows = [
        {"text": text, "id": f"{n:032x}", "url": f"https://h{n % 7}.org/{n}", "dump": "CC-MAIN-2026-43",
         "language": ["en", "de"][n % 2], "language_score": 0.5 + n / 1000}
        for n, text in enumerate(texts)
    ]  # fmt: skip
    return pa.Table.from_pylist(rows, DOCUMENT_SCHEMA)


def write(encoder: Encoder, texts: list[str], batch: int = 1000) -> bytes:
    file = io.BytesIO()
    table = documents(texts)
    with TokenShardWriter(file, encoder) as writer:
        for start in range(0, len(texts), batch):
            ids, offsets = encoder.encode_batch(texts[start : start + batch])
            writer.add(table.slice(start, batch), ids, offsets)
    return file.getvalue()


@pytest.fixture(scope="module")
def path(encoder: Encoder, tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("ds") / "tokens" / "train-00000.parquet"
    file.parent.mkdir()
    file.write_bytes(write(encoder, TEXTS))
    return file


def test_what_was_written_is_read(path: Path, encoder: Encoder) -> None:
    with TokenShard.open(path, encoder.sha256) as shard:
        read = [encoder.decode(tokens) for group in shard for tokens in group.documents()]
        header = shard.header
        columns = shard.columns(0, ["id", "url", "language", "n_tokens"])
    ids, offsets = encoder.encode_batch(TEXTS)
    assert read == TEXTS
    assert (header.documents, header.tokens) == (len(TEXTS), len(ids))
    assert (header.vocab_size, header.eot_id, header.dtype) == (800, 784, "uint16")
    assert columns["n_tokens"].to_numpy().tolist() == np.diff(offsets).tolist()
    assert columns["url"][3].as_py() == "https://h3.org/3"


def test_bytes_do_not_depend_on_how_documents_came(encoder: Encoder, path: Path) -> None:
    assert {write(encoder, TEXTS, batch) for batch in (1, 7, 50)} == {path.read_bytes()}


def test_arrays_are_views_of_what_arrow_decoded(path: Path) -> None:
    with TokenShard.open(path) as shard:
        tokens, offsets = shard.read(0)
    assert tokens.dtype == np.uint16
    assert not tokens.flags.owndata
    assert not tokens.flags.writeable
    assert offsets.dtype == np.int32
    assert offsets[0] == 0
    assert offsets[-1] == len(tokens)


def test_row_groups_are_cut_by_tokens_alone() -> None:
    """Lengths around the limit: exactly full, one more, a document larger than a row group, empty ones."""
    vocabulary = SimpleNamespace(sha256="0" * 64, vocab_size=1 << 16, eot_id=0)
    limit = ROW_GROUP_TOKENS
    lengths = [limit // 2, limit // 2, 0, 1, limit - 1, 2 * limit, 0, 5, limit]
    expected = [(3, limit), (2, limit), (1, 2 * limit), (2, 5), (1, limit)]
    made = set()
    for batch in (1, 2, 4, 9):
        file = io.BytesIO()
        writer = TokenShardWriter(file, vocabulary)
        for start in range(0, len(lengths), batch):
            part = lengths[start : start + batch]
            offsets = np.concatenate([[0], np.cumsum(part)]).astype(np.int64)
            ids = np.zeros(offsets[-1], np.uint16)
            writer.add(pa.table({"id": [str(n) for n in range(len(part))]}), ids, offsets)
        writer.close()
        made.add(tuple(writer.row_groups))
        shard = TokenShard.open(io.BytesIO(file.getvalue()))
        assert [len(group.tokens) for group in shard] == [tokens for _, tokens in writer.row_groups]
    assert made == {tuple(expected)}


def test_large_vocabularies_are_stored_as_uint32() -> None:
    file = io.BytesIO()
    vocabulary = SimpleNamespace(sha256="0" * 64, vocab_size=151_669, eot_id=151_643)
    with TokenShardWriter(file, vocabulary) as writer:
        writer.add(pa.table({"id": ["a"]}), np.array([151_642, 3], np.uint32), np.array([0, 2]))
    shard = TokenShard.open(io.BytesIO(file.getvalue()))
    assert shard.read(0).tokens.tolist() == [151_642, 3]
    assert shard.header.dtype == "uint32"


def test_a_shard_of_no_documents_is_a_shard(encoder: Encoder) -> None:
    shard = TokenShard.open(io.BytesIO(write(encoder, [])))
    assert len(shard) == shard.header.tokens == 0
    assert list(shard) == []


def test_an_error_while_writing_leaves_no_shard(encoder: Encoder, tmp_path: Path) -> None:
    folder = Folder(tmp_path)

    def fail() -> None:
        with folder.create("tokens/train-00000.parquet") as draft, TokenShardWriter(draft.file, encoder) as writer:
            ids, offsets = encoder.encode_batch(["one"])
            writer.add(documents(["one"]), ids, offsets)
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        fail()
    assert folder.names() == []


def test_the_writer_refuses_what_cannot_be_right(encoder: Encoder) -> None:
    writer = TokenShardWriter(io.BytesIO(), encoder)
    with pytest.raises(ValueError, match="offsets"):
        writer.add(documents(["a", "b"]), np.array([1, 2], np.uint16), np.array([0, 2]))
    with pytest.raises(ValueError, match="id 800"):
        writer.add(documents(["a"]), np.array([800], np.uint16), np.array([0, 1]))


# --- damaged and foreign files


def refused(data: bytes | Path, tokenizer: str | None = None) -> GristmillError:
    with pytest.raises(GristmillError) as found:
        list(TokenShard.open(io.BytesIO(data) if isinstance(data, bytes) else data, tokenizer))
    assert found.value.where
    assert found.value.todo
    return found.value


def test_a_missing_or_truncated_file_is_refused(path: Path, tmp_path: Path) -> None:
    assert "no such token shard" in refused(tmp_path / "train-00007.parquet").what
    whole = path.read_bytes()
    for size in (0, 3, 100, len(whole) // 2, len(whole) - 1):
        assert "not a whole Parquet file" in refused(whole[:size]).what


def test_no_flipped_byte_goes_unnoticed(path: Path, encoder: Encoder) -> None:
    """In any page or in the footer: refused, or at least what is read is what was written."""
    whole = path.read_bytes()
    expected = encoder.encode_batch(TEXTS)[0].tolist()
    refusals = 0
    for position in range(4, len(whole) - 8, max(1, len(whole) // 400)):
        damaged = bytearray(whole)
        damaged[position] ^= 0x10
        try:
            with TokenShard.open(io.BytesIO(bytes(damaged)), encoder.sha256) as shard:
                assert np.concatenate([group.tokens for group in shard]).tolist() == expected
        except GristmillError:
            refusals += 1
    assert refusals > 100


def test_another_tokenizer_is_refused(path: Path) -> None:
    error = refused(path, "f" * 64)
    assert "made with the tokenizer" in error.what
    assert "ffffffffffff" in error.what


def test_any_other_parquet_file_is_refused(tmp_path: Path) -> None:
    pq.write_table(documents(TEXTS), tmp_path / "text.parquet")
    assert "no token shard" in refused(tmp_path / "text.parquet").what


def _rewritten(path: Path, table: pa.Table | None = None, **facts: Any) -> bytes:
    """The shard with other columns or other facts in its metadata."""
    with TokenShard.open(path) as shard:
        header = {name: getattr(shard.header, name) for name in ShardHeader.__slots__}
    table = pq.read_table(path) if table is None else table
    metadata = {METADATA_KEY: ShardHeader(**{**header, **facts}).to_json()}
    file = io.BytesIO()
    pq.write_table(table.replace_schema_metadata(metadata), file)
    return file.getvalue()


def test_a_shard_at_odds_with_its_metadata_is_refused(path: Path) -> None:
    table = pq.read_table(path)
    assert list(TokenShard.open(io.BytesIO(_rewritten(path))))
    groups = ((122, 1),)
    wide = table.set_column(1, "tokens", table["tokens"].cast(pa.list_(pa.uint32())))
    counts = table.set_column(2, "n_tokens", pa.array(np.zeros(len(table), np.int32)))
    gaps = pa.array([None, *table["tokens"].to_pylist()[1:]], pa.list_(pa.uint16()))
    for data, what in (
        (_rewritten(path, wide), "the column tokens is list<element: uint32>"),
        (_rewritten(path, dtype="uint32"), "the column tokens"),
        (_rewritten(path, dtype="uint8"), "uint8"),
        (_rewritten(path, table.drop_columns(["n_tokens"])), "n_tokens is missing"),
        (_rewritten(path, counts), "n_tokens does not agree"),
        (_rewritten(path, table.slice(5)), "documents in 1 row groups"),
        (_rewritten(path, tokens=5), "do not sum up"),
        (_rewritten(path, tokens=1, row_groups=groups), "its metadata says 122 and 1"),
        (_rewritten(path, vocab_size=700, eot_id=1), "of a vocabulary of 700"),
        (_rewritten(path, eot_id=800), "end-of-text id 800"),
        (_rewritten(path, table.set_column(1, "tokens", gaps)), "nulls"),
    ):
        assert what in refused(data).what


def test_a_later_format_and_broken_metadata_are_refused(path: Path) -> None:
    table = pq.read_table(path)
    for text, what in (
        ('{"format": "gristmill.tokens", "version": 9, "row_groups": []}', "version 9"),
        ('{"format": "gristmill.tokens", "version": 1}', "damaged"),
        ("[1]", "damaged"),
        ("{", "damaged"),
    ):
        file = io.BytesIO()
        pq.write_table(table.replace_schema_metadata({METADATA_KEY: text}), file)
        assert what in refused(file.getvalue()).what


# --- the same shard through the tools that people use


def expected_rows(encoder: Encoder) -> list[list[int]]:
    return [encoder.encode(text).tolist() for text in TEXTS]


def test_datasets_reads_it(path: Path, encoder: Encoder, tmp_path: Path) -> None:
    from datasets import load_dataset

    found = load_dataset("parquet", data_files=str(path), split="train", cache_dir=str(tmp_path))
    assert found["tokens"][:] == expected_rows(encoder)
    assert found.features["tokens"].feature.dtype == "uint16"


def test_duckdb_reads_it(path: Path, encoder: Encoder) -> None:
    import duckdb

    rows = expected_rows(encoder)
    total = sum(map(len, rows))
    assert duckdb.sql(f"select sum(n_tokens), sum(len(tokens)) from '{path}'").fetchall() == [(total, total)]
    assert [row for (row,) in duckdb.sql(f"select tokens from '{path}'").fetchall()] == rows
    english = duckdb.sql(f"select count(*) from '{path}' where language = 'en'").fetchall()
    assert english == [((len(TEXTS) + 1) // 2,)]


def test_polars_and_pandas_read_it(path: Path, encoder: Encoder) -> None:
    import pandas
    import polars

    rows = expected_rows(encoder)
    assert polars.read_parquet(path)["tokens"].to_list() == rows
    assert polars.scan_parquet(path).select(polars.col("n_tokens").sum()).collect().item() == sum(map(len, rows))
    assert [list(row) for row in pandas.read_parquet(path)["tokens"]] == rows


def test_plain_pyarrow_and_torch_read_it(path: Path, encoder: Encoder) -> None:
    torch = pytest.importorskip("torch")
    file = pq.ParquetFile(path)
    rows = []
    for group in range(file.num_row_groups):
        column = file.read_row_group(group, columns=["tokens"])["tokens"].chunk(0)
        offsets = column.offsets.to_numpy()
        tokens = torch.from_numpy(column.flatten().to_numpy().astype(np.int32))
        rows += [tokens[a:b].tolist() for a, b in pairwise(offsets)]
    assert rows == expected_rows(encoder)


def test_tokens_are_packed_and_carry_no_statistics(path: Path) -> None:
    parquet = pq.ParquetFile(path).metadata
    columns = {parquet.row_group(0).column(i).path_in_schema: parquet.row_group(0).column(i) for i in range(7)}
    tokens = columns["tokens.list.element"]
    assert "RLE_DICTIONARY" in tokens.encodings
    assert tokens.compression == "ZSTD"
    assert not tokens.is_stats_set
    assert columns["n_tokens"].is_stats_set
    assert pq.read_schema(path).names == token_schema("uint16").names


def test_reading_a_shard_needs_no_tokenizer_library() -> None:
    code = "import sys, pipeline.tokens.contract, pipeline.tokens as t; t.TokenShard; print(sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    for heavy in ("tokenizers", "fastokens", "transformers", "torch", "tldextract", "pydantic", "fsspec"):
        assert f"'{heavy}'" not in done.stdout
