"""Small pretraining runs, and one rank of several: `python -m tests.model.runs OUT DATA STRATEGY…`."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from model.data import Source
from model.journal import read_journal
from model.optim import OptimizerConfig
from model.pretrain import PretrainConfig
from model.train import LoopSettings

LOOP = LoopSettings(
    steps=0,
    micro_tokens=128,
    optimizer=OptimizerConfig(warmup_steps=2),
    validate_every=0,
    sample_every=0,
    save_every=0,
    prompts=(),
)


def config(out: Path, dataset: Path, steps: int = 8, loop: dict[str, Any] | None = None, **changes: Any):
    """A model of one layer on rows of 32 tokens, 16 rows a step, in four accumulated parts."""
    base = PretrainConfig(
        data=(Source(str(dataset)),), out=str(out), model="d1", seq_len=32, batch_tokens=512, steps=steps, device="cpu"
    )
    return replace(base, loop=replace(LOOP, **(loop or {})), **changes)


def losses(out: Path) -> list[float]:
    return [event["loss"] for event in read_journal(out / "log.jsonl") if event["kind"] == "step"]


def main() -> None:
    """Join the group that the environment names; run each strategy; then end the first without a second group."""
    import torch.distributed as dist

    from model.pretrain import pretrain

    torch.set_num_threads(1)
    out, dataset, *strategies = sys.argv[1:]
    dist.init_process_group("gloo")
    for strategy in strategies:
        loop = {"strategy": strategy, "save_every": 4, "keep": 9, "validate_every": 4, "prompts": ("the",)}
        pretrain(config(Path(out) / strategy, Path(dataset), loop=loop))
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
