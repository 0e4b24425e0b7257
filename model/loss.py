"""Cross-entropy that never holds all logits, and Objective: the module that is wrapped, compiled and sharded."""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.attention import KVCache
from model.packing import IGNORED
from model.weights import Model

LOGIT_BYTES = 1 << 28  # of one chunk's logits in float32


class Loss(NamedTuple):
    """`nats` is summed over the targets, so that who averages knows by what; `router` is a mean (0 without experts)."""

    nats: Tensor  # ()
    router: Tensor  # ()


class Objective(nn.Module):
    """A model with its loss. One module holds both, so that sharded weights are whole where the loss needs them."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.model = model

    def forward(self, inputs: Tensor, targets: Tensor, doc_ids: Tensor | None = None) -> Loss:
        """From (B, T) inputs and targets; a target of -100 counts nothing. All masked gives 0, not NaN."""
        hidden = self.model.hidden(inputs, doc_ids=doc_ids)
        nats = cross_entropy(hidden.states.flatten(0, 1), self.model.output_weight, targets.flatten())
        return Loss(nats, hidden.router_loss)

    def logits(self, tokens: Tensor, cache: KVCache | None = None) -> Tensor:
        """The model's own logits, for samples from sharded weights."""
        return self.model(tokens, cache=cache)


def cross_entropy(states: Tensor, weight: Tensor, targets: Tensor, chunk: int = 0) -> Tensor:
    """Summed -log softmax(states @ weight.T)[targets] in nats, float32, over targets that are not -100.

    `states` (N, C), `weight` (V, C), `targets` (N,) int64. Logits of `chunk` tokens exist at a time (by default
    256 MiB of them); gradients are made in the same pass, so nothing is computed twice.
    """
    chunk = chunk or max(1, LOGIT_BYTES // (4 * weight.shape[0]))
    if torch.is_grad_enabled() and (states.requires_grad or weight.requires_grad):
        return _CrossEntropy.apply(states, weight, targets, chunk)
    narrow = weight.to(states.dtype)
    total = states.new_zeros((), dtype=torch.float32)
    for part, wanted in zip(states.split(chunk), targets.split(chunk), strict=True):
        total = total + F.cross_entropy((part @ narrow.T).float(), wanted, ignore_index=IGNORED, reduction="sum")
    return total


class _CrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, states: Tensor, weight: Tensor, targets: Tensor, chunk: int) -> Tensor:
        narrow = weight.to(states.dtype)
        step = _compiled() if states.device.type == "cuda" else _step
        total = states.new_zeros((), dtype=torch.float32)
        grad_states, grad_weight = torch.empty_like(states), torch.zeros_like(weight, dtype=torch.float32)
        for start in range(0, len(states), chunk):
            part = states[start : start + chunk]
            nats, grad_logits = step(part @ narrow.T, targets[start : start + chunk])
            total += nats
            grad_states[start : start + chunk] = grad_logits @ narrow
            grad_weight += grad_logits.T @ part
        ctx.save_for_backward(grad_states, grad_weight)
        ctx.weight_dtype = weight.dtype
        return total

    @staticmethod
    def backward(ctx: Any, scale: Tensor) -> tuple[Tensor, Tensor, None, None]:  # type: ignore[override]  # torch's own takes any
        grad_states, grad_weight = ctx.saved_tensors
        return grad_states * scale.to(grad_states.dtype), (grad_weight * scale).to(ctx.weight_dtype), None, None


def _step(logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Summed nats of (n, V) logits, and their gradient in the logits' dtype."""
    wide = logits.float()
    counted = targets != IGNORED
    wanted = torch.where(counted, targets, 0)[:, None]
    log_sum = wide.logsumexp(dim=-1, keepdim=True)
    nats = ((log_sum - wide.gather(1, wanted))[:, 0] * counted).sum()
    # softmax less one at the target, in one buffer
    grad = (wide - log_sum).exp_().scatter_add_(1, wanted, torch.full_like(log_sum, -1.0)).mul_(counted[:, None])
    return nats, grad.to(logits.dtype)


@cache
def _compiled() -> Any:
    # Eager, each of the five passes over (n, V) float32 would go through memory: a tenth of a step at 124 M.
    return torch.compile(_step, dynamic=True)
