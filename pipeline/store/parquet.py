"""Parquet files, opened so that the calling thread alone reads them."""

from __future__ import annotations

import os
from typing import IO, Any

import pyarrow.parquet as pq


def open_parquet(source: str | os.PathLike[str] | IO[bytes], **options: Any) -> pq.ParquetFile:
    """A Parquet file. Give `use_threads=False` to whatever reads from it.

    Arrow reads ahead on threads of its own unless told otherwise. One that holds a Python file may outlive the
    interpreter and then aborts the process (apache/arrow#50482); and a run has a process for each core as it is.

    Raises FileNotFoundError, OSError or pyarrow.ArrowException where it is missing or no whole Parquet file.
    """
    return pq.ParquetFile(source, pre_buffer=False, **options)
