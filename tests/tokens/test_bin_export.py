"""The `.bin` files are what an llm.c-style loader expects."""

from __future__ import annotations

import io
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest

from pipeline.errors import GristmillError
from pipeline.tokens import TokenShardWriter, export_bin


def dataset(folder: Path, vocab_size: int = 50_000, sha: str = "0") -> list[list[int]]:
    """Two train shards and one for validation; returns the train documents in order."""
    draw = np.random.default_rng(3)
    rows: list[list[int]] = []
    for name, count in (("train-00000", 20), ("train-00001", 13), ("validation-00000", 4)):
        found = [draw.integers(1, vocab_size, draw.integers(0, 60)).tolist() for _ in range(count)]
        file = io.BytesIO()
        with TokenShardWriter(file, SimpleNamespace(sha256=sha * 64, vocab_size=vocab_size, eot_id=0)) as writer:
            offsets = np.cumsum([0, *map(len, found)]).astype(np.int64)
            flat = np.array([token for row in found for token in row], np.uint32)
            writer.add(pa.table({"id": [str(n) for n in range(count)]}), flat, offsets)
        (folder / "tokens").mkdir(exist_ok=True)
        (folder / f"tokens/{name}.parquet").write_bytes(file.getvalue())
        rows += found if name.startswith("train") else []
    return rows


def read_as_llm_c(path: Path) -> np.ndarray:
    """What llm.c's dataloader checks and reads."""
    header = np.fromfile(path, "<i4", 256)
    dtype = {(20240520, 1): "<u2", (20240801, 7): "<u4"}[int(header[0]), int(header[1])]
    tokens = np.fromfile(path, dtype, offset=1024)
    assert len(tokens) == header[2]
    assert not header[3:].any()
    return tokens


@pytest.mark.parametrize("vocab_size", [50_000, 150_000])
def test_documents_lie_one_after_another_behind_end_of_text(tmp_path: Path, vocab_size: int) -> None:
    rows = dataset(tmp_path, vocab_size)
    entries = export_bin(str(tmp_path), str(tmp_path / "bin"), file_tokens=200)
    assert [entry.name for entry in entries] == [f"train_{n:06d}.bin" for n in range(len(entries))]
    files = [read_as_llm_c(tmp_path / "bin" / entry.name) for entry in entries]
    assert len(files) > 3
    assert all(len(file) == 200 for file in files[:-1])
    expected = [token for row in rows for token in (0, *row)]
    assert np.concatenate(files).tolist() == expected
    assert (
        (tmp_path / "bin/train_000000.bin").stat().st_size
        == entries[0].bytes
        == 1024 + 200 * (2 if vocab_size < 1 << 16 else 4)
    )


def test_validation_has_the_name_that_llm_c_looks_for(tmp_path: Path) -> None:
    dataset(tmp_path)
    assert [entry.name for entry in export_bin(str(tmp_path), str(tmp_path / "bin"), "validation")] == [
        "val_000000.bin"
    ]


def test_what_cannot_be_exported_is_explained(tmp_path: Path) -> None:
    with pytest.raises(GristmillError, match="no token shards of the train part"):
        export_bin(str(tmp_path), str(tmp_path / "bin"))
    dataset(tmp_path)
    with pytest.raises(GristmillError, match="a file's header"):
        export_bin(str(tmp_path), str(tmp_path / "bin"), file_tokens=1 << 31)
    other = tmp_path / "other"
    other.mkdir()
    dataset(other, sha="f")
    (other / "tokens/train-00000.parquet").replace(tmp_path / "tokens/train-00001.parquet")
    with pytest.raises(GristmillError, match="was made with the tokenizer"):
        export_bin(str(tmp_path), str(tmp_path / "bin"))
    assert not list(tmp_path.glob("bin/*.bin"))
