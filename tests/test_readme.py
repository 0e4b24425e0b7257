"""The README's snippets run as they stand, against a dataset called dataset/."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
SNIPPETS = re.findall(r"```python\n(.*?)```", README, re.S)


def first_library(snippet: str) -> str:
    found = re.search(r"^(?:from|import) (\w+)", snippet, re.M)
    assert found
    return found.group(1)


@pytest.mark.parametrize("snippet", SNIPPETS, ids=[first_library(snippet) for snippet in SNIPPETS])
def test_a_snippet_runs(snippet: str, published: Path, tmp_path: Path) -> None:
    (tmp_path / "dataset").symlink_to(published)
    environment = {**os.environ, "HF_HOME": str(tmp_path / "hf"), "PYTHONPATH": str(Path(__file__).parents[1])}
    done = subprocess.run(
        [sys.executable, "-c", snippet], cwd=tmp_path, capture_output=True, text=True, env=environment, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


def test_the_commands_that_the_readme_names_exist() -> None:
    named = set(re.findall(r"^gristmill (\S+)", README, re.M)) - {"recipe"}
    listed = subprocess.run(
        [sys.executable, "-m", "pipeline", "--help"], capture_output=True, text=True, check=True
    ).stdout
    assert {command for command in named if command not in listed} == set()
