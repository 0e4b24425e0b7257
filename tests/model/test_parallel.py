"""Two processes train what one trains, replicated or sharded, and their checkpoints change hands."""

import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from model.checkpoint import list_checkpoints
from model.parallel import processes
from model.pretrain import pretrain
from model.weights import load_model
from pipeline.errors import GristmillError
from tests.model.datasets import publish
from tests.model.runs import config, losses

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """`ds`, and what one process (`one`) and two (`ddp`, `fsdp`) trained on it."""
    folder = tmp_path_factory.mktemp("parallel")
    dataset = publish(folder / "ds")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    common = {**os.environ, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": "2", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "tests.model.runs", str(folder), str(dataset), "ddp", "fsdp"]
    ranks = [subprocess.Popen(command, cwd=ROOT, env={**common, "RANK": str(rank)}) for rank in range(2)]
    torch.set_num_threads(1)
    pretrain(config(folder / "one", dataset, loop={"save_every": 4, "keep": 9, "validate_every": 4}))
    assert [rank.wait(timeout=200) for rank in ranks] == [0, 0]
    return folder


@pytest.mark.parametrize("strategy", ["ddp", "fsdp"])
def test_two_processes_lose_what_one_loses(folder, strategy):
    assert len(losses(folder / strategy)) == 8
    # Newton-Schulz in bfloat16 rounds otherwise when gradients were summed in another order.
    assert losses(folder / strategy) == pytest.approx(losses(folder / "one"), abs=5e-3)
    assert losses(folder / strategy)[0] == pytest.approx(losses(folder / "one")[0], abs=1e-5)


@pytest.mark.parametrize("strategy", ["ddp", "fsdp"])
def test_their_weights_are_whole(folder, strategy):
    ours, theirs = (load_model(folder / name / "model").state_dict() for name in ("one", strategy))
    assert ours.keys() == theirs.keys()
    assert all(ours[name].shape == theirs[name].shape for name in ours)


@pytest.mark.parametrize("strategy", ["ddp", "fsdp"])
def test_one_process_goes_on_from_a_checkpoint_of_two(folder, tmp_path, strategy):
    shutil.copytree(folder / strategy, tmp_path / "run")
    newest = list_checkpoints(tmp_path / "run/checkpoints")[-1]
    assert newest.name == "step-00000008"
    shutil.rmtree(newest)
    torch.set_num_threads(1)
    pretrain(config(tmp_path / "run", folder / "ds"))
    assert losses(tmp_path / "run") == pytest.approx(losses(folder / strategy), abs=5e-3)


def test_a_device_that_is_not_there_is_told():
    if torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    with pytest.raises(GristmillError, match="no CUDA device"), processes("cuda"):
        pass
