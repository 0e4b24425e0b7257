"""Muon for the matrices inside the layers, AdamW for the rest, and the warmup-stable-decay schedule."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.optim import AdamW, Muon

from pipeline.errors import GristmillError

# Width at which the AdamW rates below were found (modded-nanogpt track 3, nanochat); others scale by its square root.
REFERENCE_WIDTH = 768
MUON_MOMENTUM, MUON_MOMENTUM_START, MOMENTUM_WARMUP_STEPS = 0.95, 0.85, 300


@dataclass(frozen=True, slots=True, kw_only=True)
class OptimizerConfig:
    """Learning rates by kind of parameter, and the schedule as shares of the run.

    `adamw` puts every parameter under AdamW with `adamw_lr`: for reproductions and fine-tuning.
    """

    kind: Literal["muon", "adamw"] = "muon"
    muon_lr: float = 0.02
    muon_weight_decay: float = 0.05
    embedding_lr: float = 0.3
    tied_lr: float = 0.01  # of an embedding that is the head too: the head's sensitivity rules
    head_lr: float = 0.004
    vector_lr: float = 0.01  # norms, biases, routers
    adamw_lr: float = 6e-4  # llm.c, GPT-2 124 M
    adamw_weight_decay: float = 0.1
    clip: float | None = None  # gradient norm; None: 1.0 for adamw, none for muon, whose updates have a fixed size
    warmup_steps: int = 40
    cooldown: float = 0.6  # share of the steps in which the rate falls linearly to `final_lr` of itself
    final_lr: float = 0.0

    @property
    def clip_norm(self) -> float:
        """The norm that gradients are clipped to; infinite for none."""
        if self.clip is not None:
            return self.clip or float("inf")
        return 1.0 if self.kind == "adamw" else float("inf")


class Optimizers:
    """The optimizers of one model, stepped together. Every parameter is in exactly one group."""

    def __init__(self, model: nn.Module, config: OptimizerConfig, width: int, tied: bool) -> None:
        self.config = config
        named = [(name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad]
        self.all: list[torch.optim.Optimizer] = list(_build(named, config, width, tied))
        grouped = [id(p) for optimizer in self.all for group in optimizer.param_groups for p in group["params"]]
        assert sorted(grouped) == sorted(id(p) for _, p in named), "a parameter is in no group, or in two"
        self._base = [[group["lr"] for group in optimizer.param_groups] for optimizer in self.all]
        self.parameters = [parameter for _, parameter in named]

    def clip(self) -> Tensor:
        """The global norm of the gradients, before they are clipped to the config's."""
        norm = nn.utils.clip_grad_norm_(self.parameters, self.config.clip_norm)
        # Sharded parameters give a sharded norm.
        return norm.full_tensor() if hasattr(norm, "full_tensor") else norm

    def step(self, step: int, steps: int) -> float:
        """Apply the gradients of step `step` (from 0) of `steps`, clear them; the schedule's factor that was used."""
        factor = schedule(step, steps, self.config)
        momentum = MUON_MOMENTUM_START + (MUON_MOMENTUM - MUON_MOMENTUM_START) * min(1, step / MOMENTUM_WARMUP_STEPS)
        for optimizer, rates in zip(self.all, self._base, strict=True):
            for group, rate in zip(optimizer.param_groups, rates, strict=True):
                group["lr"] = rate * factor
                if isinstance(optimizer, Muon):
                    group["momentum"] = momentum
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        return factor

    @property
    def lr(self) -> float:
        """The rate to tell: of the first group, Muon's where there is one."""
        return float(self.all[0].param_groups[0]["lr"])


def schedule(step: int, steps: int, config: OptimizerConfig) -> float:
    """Warmup, stable, linear decay (Hägele et al. 2024, arXiv 2405.18392): the factor of the rate at `step` from 0."""
    if not 0 <= config.cooldown <= 1:
        raise GristmillError(f"the cooldown is {config.cooldown}", "--cooldown", "It is a share of the run: 0 to 1.")
    rising = min(1.0, (step + 1) / max(config.warmup_steps, 1))
    cooling = max(round(steps * config.cooldown), 1)
    falling = min(1.0, (steps - step) / cooling)
    return rising * (config.final_lr + (1 - config.final_lr) * falling)


def _build(
    named: list[tuple[str, nn.Parameter]], config: OptimizerConfig, width: int, tied: bool
) -> Iterator[torch.optim.Optimizer]:
    fused = all(parameter.device.type == "cuda" for _, parameter in named)
    if config.kind == "adamw":
        matrices = [p for name, p in named if p.ndim >= 2]
        vectors = [p for name, p in named if p.ndim < 2]
        groups: list[dict[str, Any]] = [{"params": matrices, "weight_decay": config.adamw_weight_decay}]
        groups += [{"params": vectors, "weight_decay": 0.0}] if vectors else []
        yield AdamW(groups, lr=config.adamw_lr, betas=(0.9, 0.95), fused=fused)
        return
    kinds: dict[str, list[nn.Parameter]] = {}
    for name, parameter in named:
        kinds.setdefault(_kind(name, parameter), []).append(parameter)
    if matrices := kinds.pop("matrix", []):
        yield Muon(
            matrices,
            lr=config.muon_lr,
            weight_decay=config.muon_weight_decay,
            momentum=MUON_MOMENTUM,
            adjust_lr_fn="original",
        )
    scale = (width / REFERENCE_WIDTH) ** -0.5
    rates = {
        "embedding": scale * (config.tied_lr if tied else config.embedding_lr),
        "head": scale * config.head_lr,
        "vector": config.vector_lr,
    }
    groups = [{"params": kinds[kind], "lr": rates[kind]} for kind in sorted(kinds)]
    yield AdamW(groups, betas=(0.8, 0.95), eps=1e-10, weight_decay=0.0, fused=fused)


def _kind(name: str, parameter: nn.Parameter) -> str:
    if name.endswith(("embed_tokens.weight", "wte.weight", "wpe.weight")):
        return "embedding"
    if name.endswith("lm_head.weight"):
        return "head"
    # A router's rows are experts' own directions: orthogonal ones are not what is wanted of it.
    return "vector" if parameter.ndim < 2 or name.endswith("mlp.gate.weight") else "matrix"
