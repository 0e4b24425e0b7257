"""Checkpoints: whole or not there, the last few kept, told where they cannot be written or read."""

import json
import resource
from pathlib import Path

import pytest
import torch

from model.checkpoint import STATE, Checkpoints, list_checkpoints
from model.optim import OptimizerConfig, Optimizers
from model.parallel import Processes
from pipeline.errors import GristmillError
from tests.model.tiny import random_model, tiny_config

ALONE = Processes(0, 1, torch.device("cpu"))


def trained(folder: Path, steps: int = 1, seed: int = 0, **shape) -> Checkpoints:
    model = random_model(tiny_config(**shape), seed)
    optimizers = Optimizers(model, OptimizerConfig(), 64, model.config.tie_embeddings)
    for step in range(steps):
        model(torch.arange(8)[None] + step).logsumexp(-1).sum().backward()
        optimizers.step(step, 10)
    return Checkpoints(folder, model, optimizers, ALONE)


def everything(checkpoints: Checkpoints) -> list[torch.Tensor]:
    momenta = [
        value
        for optimizer in checkpoints.optimizers.all
        for state in optimizer.state.values()
        for value in state.values()
        if isinstance(value, torch.Tensor)
    ]
    return [*checkpoints.model.state_dict().values(), *momenta]


def test_what_was_saved_is_loaded_and_goes_on_the_same(tmp_path):
    first = trained(tmp_path, steps=3)
    first.save(3, {"step": 3, "model": {}})
    expected = [value.clone() for value in everything(first)]
    for value in everything(first):  # saving was asynchronous: what follows must not reach the disk
        value.add_(1)
    first.wait()
    second = trained(tmp_path, steps=0, seed=9)
    assert second.load(list_checkpoints(tmp_path)[-1])["step"] == 3
    found = everything(second)
    assert len(found) == len(expected)
    assert all(torch.equal(*pair) for pair in zip(found, expected, strict=True))


def test_the_last_few_are_kept(tmp_path):
    checkpoints = trained(tmp_path)
    for step in range(1, 6):
        checkpoints.save(step, {"step": step})
    checkpoints.wait()
    assert [path.name for path in list_checkpoints(tmp_path)] == ["step-00000004", "step-00000005"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-00000004", "step-00000005"]


def test_a_full_disk_leaves_the_checkpoint_before(tmp_path):
    checkpoints = trained(tmp_path)
    checkpoints.save(1, {"step": 1})
    checkpoints.wait()
    before = {path: path.read_bytes() for path in sorted(tmp_path.rglob("*")) if path.is_file()}
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
    try:
        with pytest.raises(GristmillError, match="step-00000001 is whole") as told:
            checkpoints.save(2, {"step": 2})
            checkpoints.wait()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "too large" in str(told.value)
    assert {path: path.read_bytes() for path in sorted(tmp_path.rglob("*")) if path.is_file()} == before
    checkpoints.save(3, {"step": 3})
    checkpoints.wait()
    assert list_checkpoints(tmp_path)[-1].name == "step-00000003"


def test_a_draft_is_no_checkpoint_and_a_damaged_one_is_told(tmp_path):
    checkpoints = trained(tmp_path)
    checkpoints.save(1, {"step": 1})
    checkpoints.wait()
    draft = tmp_path / ".step-00000002.tmp"
    draft.mkdir()
    (draft / STATE).write_text(json.dumps({"step": 2}))
    (path,) = list_checkpoints(tmp_path)
    with pytest.raises(GristmillError, match="cannot be loaded"):
        trained(tmp_path, d_ff=64).load(path)
    shard = next(path.glob("*.distcp"))
    shard.write_bytes(shard.read_bytes()[:100])
    with pytest.raises(GristmillError, match="cannot be loaded"):
        trained(tmp_path).load(path)
    (path / STATE).write_text("{")
    with pytest.raises(GristmillError, match="no checkpoint"):
        trained(tmp_path).load(path)
