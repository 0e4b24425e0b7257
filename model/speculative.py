"""Speculative decoding (Leviathan et al. 2022, arXiv 2211.17192): a small model proposes, the large one checks."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from model.attention import KVCache
from model.generate import Completion, Finish
from model.sampling import Sampling, draw, generators, probabilities
from model.weights import Model
from pipeline.errors import GristmillError


@dataclass(frozen=True, slots=True)
class Speculated:
    """The completion, and how it came about: `accepted` of `proposed` tokens, in `passes` of the large model."""

    completion: Completion
    proposed: int
    accepted: int
    passes: int


@torch.inference_mode()
def speculate(
    model: Model, draft: Model, prompt: list[int], sampling: Sampling, ahead: int = 4, vocab_size: int = 0
) -> Speculated:
    """Complete `prompt` with `model`, checking `ahead` tokens of `draft` at a time; ids from `vocab_size` on are padding.

    Greedy output is the model's own; sampled output has its distribution. Raises GristmillError where the two have
    not the same vocabulary, or the prompt does not fit.
    """
    limit = min(model.config.max_seq_len, draft.config.max_seq_len)
    if model.config.vocab_size != draft.config.vocab_size:
        what = f"the draft's vocabulary is {draft.config.vocab_size}, the model's {model.config.vocab_size}"
        raise GristmillError(what, "--draft", "Train the draft on the same dataset.")
    if not 0 < len(prompt) < limit:
        raise GristmillError(f"the prompt has {len(prompt)} tokens", "prompt", f"It must have 1 to {limit - 1}.")
    room = min(sampling.max_tokens, limit - len(prompt))
    (generator,) = generators(sampling.seed, [0])
    known = vocab_size or model.config.vocab_size
    large, small = _Reader(model, limit, known), _Reader(draft, limit, known)
    tokens, logprobs = list(prompt), list[float]()
    proposed = accepted = passes = 0
    finish: Finish = "length"
    while len(logprobs) < room and finish == "length":
        count = min(ahead, room - len(logprobs) - 1)
        guesses, beliefs = _propose(small, tokens, count, sampling, generator)
        logits = large.read(tokens + guesses)[-(count + 1) :]  # behind the last token and behind each guess
        passes, proposed = passes + 1, proposed + count
        for at in range(count + 1):
            truth = probabilities(logits[at], sampling, tokens)
            if at < count:
                token, took = judge(truth, beliefs[at], guesses[at], generator)
                accepted += took
            else:
                token, took = draw(truth, generator), False
            if token in sampling.stop:
                finish = "stop"
                break
            tokens.append(token)
            logprobs.append(float(logits[at].float().log_softmax(0)[token]))
            if not took:
                break
    return Speculated(Completion(tokens[len(prompt) :], logprobs, finish), proposed, accepted, passes)


def judge(truth: Tensor, belief: Tensor, guess: int, generator: torch.Generator) -> tuple[int, bool]:
    """Keep `guess`, which was drawn from `belief` (V,), or draw another, so that the result follows `truth` (V,).

    Kept with chance min(1, truth/belief); else drawn from what truth has beyond belief (algorithm 1).
    """
    if float(torch.rand((), generator=generator)) * float(belief[guess]) < float(truth[guess]):
        return guess, True
    return draw((truth - belief).clamp(min=0), generator), False


def _propose(
    reader: _Reader, tokens: list[int], count: int, sampling: Sampling, generator: torch.Generator
) -> tuple[list[int], list[Tensor]]:
    guesses: list[int] = []
    beliefs: list[Tensor] = []
    for _ in range(count):
        belief = probabilities(reader.read(tokens + guesses)[-1], sampling, tokens + guesses)
        guesses.append(draw(belief, generator))
        beliefs.append(belief)
    return guesses, beliefs


class _Reader:
    """A model that reads a text which grows, and is sometimes cut back, computing only what is new."""

    def __init__(self, model: Model, max_len: int, vocab_size: int) -> None:
        weight = model.output_weight
        self.model, self.vocab_size, self.read_so_far = model, vocab_size, list[int]()
        self.cache = KVCache(model.config, 1, max_len, weight.device, model.activation_dtype or weight.dtype)

    def read(self, tokens: list[int]) -> Tensor:
        """Logits (T, V) behind each token that is new since the last call; at least the last."""
        known = 0
        while known < min(len(self.read_so_far), len(tokens) - 1) and self.read_so_far[known] == tokens[known]:
            known += 1
        self.cache.lengths[0] = known
        new = torch.tensor([tokens[known:]], device=self.cache.keys.device)
        self.read_so_far = list(tokens)
        return self.model(new, cache=self.cache)[0, :, : self.vocab_size]
