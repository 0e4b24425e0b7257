"""Fifty kills at random moments: each resumed run publishes the bytes of an uninterrupted one."""

from pathlib import Path

import pytest

from tests.conftest import tree
from tests.test_run import killed_runs


@pytest.mark.parametrize("seed", range(50))
def test_kill_and_resume(published: Path, tmp_path: Path, seed: int) -> None:
    killed_runs(tmp_path / "ds", kills=1, seed=100 + seed, longest=8.0)
    assert tree(tmp_path / "ds") == tree(published)
