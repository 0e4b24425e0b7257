"""Packages that are kept out of a process, and come back."""

from __future__ import annotations

import subprocess
import sys

import pytest

from pipeline.absent import absent


def test_a_package_that_is_loaded_stays() -> None:
    import json

    with absent("json"):
        import json as again
    assert again is json


def test_a_package_is_hidden_for_as_long_as_the_block_lasts() -> None:
    assert "this" not in sys.modules
    with absent("this"), pytest.raises(ModuleNotFoundError):
        import this
    import this  # noqa: F401

    del sys.modules["this"]


def told_by_a_fresh_process(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def test_workers_write_tables_without_pandas_and_can_still_ask_for_it() -> None:
    pytest.importorskip("pandas")
    code = (
        "import sys, pipeline.worker, pyarrow as pa; table = pa.table({'a': [1, None]}); "
        "print('pandas' in sys.modules, type(table.to_pandas()).__name__)"
    )
    assert told_by_a_fresh_process(code) == "False DataFrame"


def test_other_languages_are_split_without_torch() -> None:
    pytest.importorskip("torch")
    code = (
        "import sys; from pipeline.steps.words import split_into_words; "
        "print(split_into_words('Das ist z.B. ein Test!', 'de'), 'torch' in sys.modules)"
    )
    assert told_by_a_fresh_process(code) == "['Das', 'ist', 'z.B.', 'ein', 'Test', '!'] False"
