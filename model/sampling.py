"""From logits to the next token: temperature, top-k, top-p, min-p, repetition penalty, and a seeded draw."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from pipeline.errors import GristmillError


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """How tokens are chosen and when to end. Temperature 0 is greedy; the defaults change nothing else.

    The order is that of `transformers`: repetition penalty, temperature, top-k, top-p, min-p.
    """

    max_tokens: int = 128
    temperature: float = 1.0
    top_k: int = 0  # 0: all
    top_p: float = 1.0  # nucleus (Holtzman et al. 2019, arXiv 1904.09751)
    min_p: float = 0.0  # of the likeliest token's probability (Nguyen et al. 2024, arXiv 2407.01082)
    repetition_penalty: float = 1.0  # CTRL (Keskar et al. 2019, arXiv 1909.05858), over prompt and output
    stop: tuple[int, ...] = ()  # token ids that end the output and are left out of it
    seed: int = 0

    def __post_init__(self) -> None:
        ranges = {
            "max_tokens": self.max_tokens >= 0,
            "temperature": self.temperature >= 0,
            "top_k": self.top_k >= 0,
            "top_p": 0 < self.top_p <= 1,
            "min_p": 0 <= self.min_p <= 1,
            "repetition_penalty": self.repetition_penalty > 0,
        }
        for name, holds in ranges.items():
            if not holds:
                raise GristmillError(f"{getattr(self, name)} is out of range", name, "See `gristmill generate --help`.")


def probabilities(
    logits: Tensor, sampling: Sampling, history: Sequence[int] = (), allowed: Tensor | None = None
) -> Tensor:
    """(V,) float32 chances of the next token after (V,) `logits`; greedy puts all on the likeliest.

    `history` is what the repetition penalty looks at; `allowed` (V,) bool rules tokens out beforehand.
    """
    scores = logits.float()
    if sampling.repetition_penalty != 1.0 and history:
        seen = torch.tensor(sorted(set(history)), device=scores.device)
        there = scores[seen]
        penalised = torch.where(there > 0, there / sampling.repetition_penalty, there * sampling.repetition_penalty)
        scores = scores.index_put((seen,), penalised)
    if allowed is not None:
        scores = scores.masked_fill(~allowed, -torch.inf)
    if sampling.temperature == 0:
        return torch.zeros_like(scores).index_fill_(0, scores.argmax(), 1.0)
    scores = scores / sampling.temperature
    if 0 < sampling.top_k < len(scores):
        scores = scores.masked_fill(scores < scores.topk(sampling.top_k).values[-1], -torch.inf)
    if sampling.top_p < 1:
        scores = _nucleus(scores, sampling.top_p)
    chances = scores.softmax(0)
    if sampling.min_p > 0:
        chances = chances * (chances >= sampling.min_p * chances.max())
        chances = chances / chances.sum()
    return chances


def draw(chances: Tensor, generator: torch.Generator) -> int:
    """One index with the given chances: a single number of the generator, the same on any device."""
    summed = chances.double().cumsum(0)
    point = torch.rand((), generator=generator, dtype=torch.float64).to(summed.device) * summed[-1]
    return int(torch.searchsorted(summed, point, right=True).clamp_(max=len(summed) - 1))


def generators(seed: int, streams: Iterable[int]) -> list[torch.Generator]:
    """A generator for each stream; streams of one seed are independent of each other and of how many there are."""
    # The multiplier (2^64 / golden ratio) keeps stream 1 of seed 0 apart from stream 0 of seed 1.
    return [torch.Generator().manual_seed((seed + stream * 0x9E3779B97F4A7C15) % (1 << 63)) for stream in streams]


def _nucleus(scores: Tensor, top_p: float) -> Tensor:
    """Keep the likeliest tokens up to and with the one at which their sum reaches `top_p`."""
    ordered, order = scores.sort(descending=True)
    before = ordered.softmax(0).cumsum(0) - ordered.softmax(0)
    cut = torch.zeros_like(scores, dtype=torch.bool).index_put_((order,), before >= top_p)
    return scores.masked_fill(cut, -torch.inf)
