"""A run through `sbatch`: a stand-in on PATH that keeps to sbatch's manners and really runs the script."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from flows.slurm import submit
from pipeline.errors import GristmillError
from pipeline.recipe import load_recipe
from tests.conftest import SAMPLE, tree

# Says "Submitted batch job N", and runs each element of the array before it returns; a job that depends on one that
# failed is not run.
pytestmark = pytest.mark.cluster

SBATCH = """#!/bin/bash
set -u
home=$(dirname "$0"); id=$(( $(cat "$home/last" 2>/dev/null || echo 100) + 1 )); echo $id > "$home/last"
script="${@: -1}"
echo "$@" >> "$home/calls"
array=$(grep -oP '^#SBATCH --array=\\K[0-9,-]+' "$script" || echo 0)
first=${array%%-*}; last=${array##*-}; last=${last%%\\%*}
for i in $(seq "$first" "$last"); do
  SLURM_ARRAY_TASK_ID=$i SLURM_JOB_ID=$id SLURM_ARRAY_JOB_ID=$id SLURM_NODEID=0 bash "$script" >> "$home/log" 2>&1 \\
    || echo "$id $i" >> "$home/failed"
done
echo "Submitted batch job $id"
"""


@pytest.fixture
def sbatch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "slurm"
    folder.mkdir()
    (folder / "sbatch").write_text(SBATCH)
    (folder / "sbatch").chmod(stat.S_IRWXU)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return folder


def test_a_job_array_and_the_job_after_it_publish_the_same_bytes(
    sbatch: Path, light: tuple[Path, dict[str, str]], tmp_path: Path
) -> None:
    out = tmp_path / "ds"
    job = submit(load_recipe(light[0]), [str(SAMPLE)], str(out), "cpu", tasks=2, cores=2, with_srun=False)
    assert int(job) > 101
    assert not (sbatch / "failed").exists(), (sbatch / "log").read_text()
    assert "afterok:101" in (sbatch / "calls").read_text()
    assert tree(out) == light[1]


def test_without_slurm_it_says_so(
    light: tuple[Path, dict[str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(GristmillError, match="sbatch is not there"):
        submit(load_recipe(light[0]), [str(SAMPLE)], str(tmp_path / "ds"), "cpu")
