"""Processes, devices, and how a model is spread over them. The model knows nothing of this."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal

import torch
import torch.distributed as dist
from torch import Tensor, nn

from model.config import ModelConfig
from model.loss import Objective
from pipeline.errors import GristmillError

Strategy = Literal["auto", "ddp", "fsdp"]
Precision = Literal["auto", "float32", "bfloat16"]

FSDP_FROM = 1_000_000_000  # parameters; below that a copy on every GPU is cheaper than gathering shards


@dataclass(frozen=True)
class Processes:
    """This process among those that `torchrun` started; alone without it."""

    rank: int
    world: int
    device: torch.device

    @property
    def is_first(self) -> bool:
        return self.rank == 0

    def sum(self, *values: Tensor) -> list[Tensor]:
        """Each scalar summed over all processes."""
        stacked = torch.stack([value.detach().double() for value in values])
        if self.world > 1:
            dist.all_reduce(stacked)
        return list(stacked)

    def barrier(self) -> None:
        if self.world > 1:
            dist.barrier()


@contextmanager
def processes(device: str = "auto") -> Iterator[Processes]:
    """Join the processes that `torchrun` started, over NCCL on GPUs and gloo on CPUs; leave them at the end.

    Raises GristmillError where the device asked for is not there.
    """
    wanted = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
    if wanted.startswith("cuda") and not torch.cuda.is_available():
        raise GristmillError("there is no CUDA device", f"--device {device}", "Use --device cpu.")
    world, rank = int(os.environ.get("WORLD_SIZE", "1")), int(os.environ.get("RANK", "0"))
    where = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0"))) if wanted == "cuda" else torch.device(wanted)
    if where.type == "cuda":
        torch.cuda.set_device(where)
        torch.set_float32_matmul_precision("high")
    started = world > 1 and not dist.is_initialized()
    if started:
        # Checkpoints are written from CPU copies, so a GPU run needs both backends.
        backend = "cpu:gloo,cuda:nccl" if where.type == "cuda" else "gloo"
        dist.init_process_group(backend, timeout=timedelta(minutes=20))
    try:
        yield Processes(rank, world, where)
    finally:
        if started:
            dist.destroy_process_group()


def spread(
    objective: Objective,
    group: Processes,
    strategy: Strategy = "auto",
    compiled: bool | None = None,
    recompute: bool = False,
    precision: Precision = "auto",
) -> nn.Module:
    """Put the objective on the device and over the processes; what is returned is called like it.

    In this order: activation checkpoints, compilation of each layer (one graph serves all, in seconds), then DDP
    or FSDP2 by `strategy`; auto shards from a billion parameters. `compiled` None compiles on GPUs. Activations have
    `precision`, auto being bfloat16 on GPUs and float32 on CPUs, of which only those with AVX512-BF16 or AMX gain by
    the other; parameters and their gradients are float32 always.
    """
    model = objective.model
    objective.to(group.device)
    model.recompute = recompute
    narrow = group.device.type == "cuda" if precision == "auto" else precision == "bfloat16"
    model.activation_dtype = torch.bfloat16 if narrow else None
    if group.device.type == "cuda" if compiled is None else compiled:
        for layer in model.layers:
            layer.compile(dynamic=False)
    if group.world == 1:
        return objective
    if strategy == "auto":
        size = sum(parameter.numel() for parameter in objective.parameters())
        strategy = "fsdp" if size >= FSDP_FROM and group.device.type == "cuda" else "ddp"
    return _sharded(objective, group, narrow) if strategy == "fsdp" else _replicated(objective, group)


def micro_tokens(config: ModelConfig, device: torch.device, recompute: bool = False) -> int:
    """Slots of one forward that fit on the device, a power of two: 8,192 on a CPU, at most 65,536 on a GPU.

    About 48 bytes a token, layer and unit of width are kept for the backward pass in bfloat16 (Korthikanti et al.
    2022, arXiv 2205.05198, count 34; norms here are float32), 2 where they are recomputed; they get 40 % of the memory.
    """
    if device.type != "cuda":
        return 1 << 13
    a_token = (2 if recompute else 48) * config.n_layers * config.d_model
    fitting = 0.4 * torch.cuda.get_device_properties(device).total_memory / a_token
    return 1 << min(16, max(10, int(math.log2(fitting))))


@contextmanager
def accumulating(spread_objective: nn.Module, last: bool) -> Iterator[None]:
    """Within, gradients are summed over processes only where `last`."""
    if isinstance(spread_objective, nn.parallel.DistributedDataParallel):
        if last:
            yield
        else:
            with spread_objective.no_sync():
                yield
        return
    if hasattr(spread_objective, "set_requires_gradient_sync"):
        spread_objective.set_requires_gradient_sync(last)
    yield


def _replicated(objective: Objective, group: Processes) -> nn.Module:
    ids = [group.device.index] if group.device.type == "cuda" else None
    return nn.parallel.DistributedDataParallel(objective, device_ids=ids, gradient_as_bucket_view=True)


def _sharded(objective: Objective, group: Processes, narrow: bool) -> nn.Module:
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard, register_fsdp_forward_method

    mesh = init_device_mesh(group.device.type, (group.world,))
    gathered = torch.bfloat16 if narrow else None
    policy = MixedPrecisionPolicy(param_dtype=gathered, reduce_dtype=torch.float32)
    settings: dict[str, Any] = {"mesh": mesh, "mp_policy": policy}
    for layer in objective.model.layers:
        fully_shard(layer, **settings)
    fully_shard(objective, **settings)
    register_fsdp_forward_method(objective, "logits")
    return objective
