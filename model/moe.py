"""A feed-forward block of experts, each token sent to a few: Qwen3-MoE's computation and parameter names."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from model.config import ModelConfig


class SparseMLP(nn.Module):
    """Top-k of E experts a token, weighted by the router's softmax.

    Returns the output (B, T, C) and the load-balancing loss of Switch Transformers (Fedus et al. 2021,
    arXiv 2101.03961, eq. 4-6): E x sum over experts of (share of assignments x mean probability); k when balanced
    and every token goes to k experts, as Hugging Face counts it.
    """

    def __init__(self, config: ModelConfig, expert: Callable[[int, int], nn.Module]) -> None:
        super().__init__()
        self.per_token = config.n_experts_per_token
        self.normalize = config.normalize_expert_weights
        self.gate = nn.Linear(config.d_model, config.n_experts, bias=False)
        self.experts = nn.ModuleList(expert(config.d_model, config.d_expert) for _ in range(config.n_experts))

    def forward(self, states: Tensor) -> tuple[Tensor, Tensor]:
        flat = states.flatten(0, -2)  # (N, C)
        # In float32 throughout: two experts a rounding apart must not swap places between dtypes.
        probabilities = torch.softmax(flat.float() @ self.gate.weight.float().T, dim=-1)  # (N, E)
        weights, chosen = probabilities.topk(self.per_token, dim=-1)  # (N, k)
        if self.normalize:
            weights = weights / weights.sum(-1, keepdim=True)
        output = torch.zeros_like(flat)
        for index, expert in enumerate(self.experts):
            # An expert without tokens is run all the same: every rank must have every gradient.
            tokens, slot = torch.where(chosen == index)
            mixed = expert(flat[tokens]) * weights[tokens, slot, None].to(flat.dtype)
            output = output.index_add(0, tokens, mixed)
        return output.view_as(states), balance_loss(probabilities, chosen)


def balance_loss(probabilities: Tensor, chosen: Tensor) -> Tensor:
    """From (N, E) router probabilities and (N, k) chosen experts."""
    experts = probabilities.shape[-1]
    counts = torch.bincount(chosen.flatten(), minlength=experts).to(probabilities.dtype)
    return experts * (counts / len(chosen) * probabilities.mean(dim=0)).sum()
