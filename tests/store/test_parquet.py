"""Parquet is read without threads that could outlive the interpreter."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

ENGINE = Path(__file__).parents[2] / "pipeline"


@pytest.mark.skipif(not os.path.isdir("/proc/self/task"), reason="counts threads in /proc")
def test_reading_starts_no_thread(tmp_path: Path) -> None:
    pq.write_table(
        pa.table({"a": list(range(1000)), "b": ["text"] * 1000}), tmp_path / "some.parquet", row_group_size=9
    )
    code = f"""
import os, pyarrow as pa
from pipeline.store import Folder
from pipeline.store.parquet import open_parquet
from pipeline.tables import keep_pandas_out
keep_pandas_out()
before = set(os.listdir("/proc/self/task"))
folder = Folder({str(tmp_path)!r})
rows = folder.read_table("some.parquet").num_rows
with folder.open("some.parquet") as file:
    rows += sum(batch.num_rows for batch in open_parquet(file).iter_batches(100, use_threads=False))
print(rows, len(set(os.listdir("/proc/self/task")) - before))
"""
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert told.split() == ["2000", "0"]


def test_the_engine_opens_parquet_in_no_other_way() -> None:
    for path in sorted(ENGINE.rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        for opened in re.findall(r"pq\.(?:read_table|ParquetFile)\(.*", text):
            assert "pre_buffer=False" in opened, f"{path.relative_to(ENGINE)}: {opened}"
        for read in re.findall(r"\.(?:iter_batches|read_row_groups?)\((?:[^()]|\([^()]*\))*\)", text):
            assert "use_threads=False" in read, f"{path.relative_to(ENGINE)}: {read}"
