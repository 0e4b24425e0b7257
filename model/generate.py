"""Engine: many prompts at once, each row at its own length, from one key-value cache.

A request takes a free slot as soon as one is there (continuous batching, Yu et al. 2022, "Orca"); what a prompt
shares with an earlier one is copied, not computed. What a request draws depends on its own seed and number alone, not on
which others ran beside it.
"""

from __future__ import annotations

from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from model.attention import KVCache
from model.constrain import Grammar, Matcher
from model.sampling import Sampling, draw, generators, probabilities
from model.weights import Model
from pipeline.errors import GristmillError

Finish = Literal["stop", "length", "grammar"]
Ids = Sequence[int]


@dataclass(frozen=True, slots=True)
class Completion:
    """What was generated. `logprobs` are the model's own (nats), before temperature and filters."""

    tokens: list[int]
    logprobs: list[float]
    finish: Finish

    @property
    def mean_logprob(self) -> float:
        return sum(self.logprobs) / max(len(self.logprobs), 1)


class Token(NamedTuple):
    """One step of one request; `finish` is set on its last. A stop token is not told: `token` is None."""

    request: int
    token: int | None
    logprob: float
    finish: Finish | None


class Engine:
    """Generates with one model. Not for use from two threads at once.

    `slots` rows decode together; `prefix_tokens` tokens of keys and values of earlier prompts are kept (0: none).
    `vocab_size` rules out the ids beyond the tokenizer's, which only pad the embedding.
    """

    def __init__(self, model: Model, slots: int = 8, prefix_tokens: int = 8192, vocab_size: int = 0) -> None:
        self.model, self.slots = model.eval(), max(slots, 1)
        self.vocab_size = min(vocab_size or model.config.vocab_size, model.config.vocab_size)
        self.prefixes = PrefixCache(prefix_tokens)

    def generate(
        self, prompts: Sequence[Ids], sampling: Sampling | Sequence[Sampling], grammar: Grammar | None = None
    ) -> list[Completion]:
        """A completion for each prompt (token ids), in order. Raises GristmillError where a prompt does not fit."""
        found = [Completion([], [], "length") for _ in prompts]
        for request, token, logprob, finish in self.stream(prompts, sampling, grammar):
            if token is not None:
                found[request].tokens.append(token)
                found[request].logprobs.append(logprob)
            if finish:
                found[request] = replace(found[request], finish=finish)
        return found

    @torch.inference_mode()
    def stream(
        self, prompts: Sequence[Ids], sampling: Sampling | Sequence[Sampling], grammar: Grammar | None = None
    ) -> Iterator[Token]:
        """The same, token by token as they come, requests mixed."""
        each = [sampling] * len(prompts) if isinstance(sampling, Sampling) else list(sampling)
        waiting = deque(self._requests(prompts, each, grammar))
        if not waiting:
            return
        slots: list[_Request | None] = [None] * min(self.slots, len(waiting))
        most = max(len(request.prompt) + request.sampling.max_tokens for request in waiting)
        cache = self._cache(len(slots), min(most, self.model.config.max_seq_len))
        while waiting or any(slots):
            for slot, request in enumerate(slots):
                if request is None and waiting:
                    slots[slot] = started = waiting.popleft()
                    yield from self._chosen(slots, slot, self._prefill(started, cache, slot))
            if any(slots):
                for slot, logits in self._decode(slots, cache):
                    yield from self._chosen(slots, slot, logits)

    def _requests(
        self, prompts: Sequence[Ids], each: list[Sampling], grammar: Grammar | None
    ) -> Iterator[_Request]:
        limit = self.model.config.max_seq_len
        for number, (prompt, sampling) in enumerate(zip(prompts, each, strict=True)):
            if not 0 < len(prompt) < limit:
                what = f"the prompt has {len(prompt)} tokens; the model's context holds 1 to {limit - 1} and a token more"
                raise GristmillError(what, f"prompt {number}", "Shorten the prompt.")
            (generator,) = generators(sampling.seed, [number])
            matcher = grammar.start() if grammar else None
            yield _Request(number, list(prompt), sampling, generator, matcher)

    def _prefill(self, request: _Request, cache: KVCache, slot: int) -> Tensor:
        """Put the prompt into row `slot`; the logits (V,) behind it."""
        prompt = request.prompt
        row = self._cache(1, cache.max_len)
        known = self.prefixes.restore(prompt, row)
        logits = self.model.logits(self._hidden(torch.tensor([prompt[known:]]), row)[0, -1])
        self.prefixes.store(prompt, row)
        cache.keys[:, slot, :, : len(prompt)] = row.keys[:, 0, :, : len(prompt)]
        cache.values[:, slot, :, : len(prompt)] = row.values[:, 0, :, : len(prompt)]
        cache.lengths[slot] = len(prompt)
        return logits

    def _decode(self, slots: list[_Request | None], cache: KVCache) -> list[tuple[int, Tensor]]:
        """One token of every busy slot through the model; the logits (V,) behind each."""
        busy = [slot for slot, request in enumerate(slots) if request]
        for slot, request in enumerate(slots):
            if request is None:
                cache.lengths[slot] = 0  # an idle row computes, but at the least length and for nobody
        last = torch.tensor([[request.made[-1] if request else 0] for request in slots])
        logits = self.model.logits(self._hidden(last, cache)[:, -1])
        return [(slot, logits[slot]) for slot in busy]

    def _chosen(self, slots: list[_Request | None], slot: int, logits: Tensor) -> Iterator[Token]:
        """Draw the slot's next token, note it, and free the slot where it was the last."""
        request = slots[slot]
        assert request is not None
        if request.sampling.max_tokens == 0:
            slots[slot] = None
            yield Token(request.number, None, 0.0, "length")
            return
        token, logprob = request.choose(logits[: self.vocab_size])
        finish = request.note(token, self.model.config.max_seq_len)
        if finish:
            slots[slot] = None
        told = None if token in request.sampling.stop else token
        yield Token(request.number, told, logprob, finish)

    def _hidden(self, tokens: Tensor, cache: KVCache) -> Tensor:
        return self.model.hidden(tokens.to(cache.keys.device), cache=cache).states

    def _cache(self, rows: int, length: int) -> KVCache:
        weight = self.model.output_weight
        return KVCache(self.model.config, rows, length, weight.device, self.model.activation_dtype or weight.dtype)


@dataclass(slots=True)
class _Request:
    number: int
    prompt: list[int]
    sampling: Sampling
    generator: torch.Generator
    matcher: Matcher | None
    made: list[int] = field(default_factory=list)

    def choose(self, logits: Tensor) -> tuple[int, float]:
        allowed = self.matcher.allowed()[: len(logits)].to(logits.device) if self.matcher else None
        chances = probabilities(logits, self.sampling, self.prompt + self.made, allowed)
        token = draw(chances, self.generator)
        return token, float(logits.float().log_softmax(0)[token])

    def note(self, token: int, context: int) -> Finish | None:
        if token in self.sampling.stop:
            return "stop"
        self.made.append(token)
        if self.matcher and self.matcher.take(token):
            return "grammar"
        full = len(self.prompt) + len(self.made) >= context
        return "length" if full or len(self.made) >= self.sampling.max_tokens else None


class PrefixCache:
    """Keys and values of the last prompts, by their tokens; the least recently used goes first."""

    def __init__(self, tokens: int) -> None:
        self.limit, self.reused = tokens, 0
        self._kept: OrderedDict[tuple[int, ...], tuple[Tensor, Tensor]] = OrderedDict()  # (L, G, S, D) each

    def restore(self, prompt: list[int], row: KVCache) -> int:
        """Fill `row` (a cache of one row) with the longest known prefix of `prompt`, less its last token; its length."""
        # The last token is always computed: its logits are what the caller wants.
        best, known = None, 0
        for tokens in self._kept:
            shared = _shared(tokens, prompt[:-1])
            if shared > known:
                best, known = tokens, shared
        if best is not None:
            keys, values = self._kept[best]
            self._kept.move_to_end(best)
            row.keys[:, 0, :, :known], row.values[:, 0, :, :known] = keys[:, :, :known], values[:, :, :known]
            row.lengths[0] = known
        self.reused += known
        return known

    def store(self, prompt: list[int], row: KVCache) -> None:
        size = len(prompt)
        if size > self.limit or tuple(prompt) in self._kept:
            return
        self._kept[tuple(prompt)] = row.keys[:, 0, :, :size].clone(), row.values[:, 0, :, :size].clone()
        while sum(map(len, self._kept)) > self.limit:
            self._kept.popitem(last=False)


def best_of_n(
    engine: Engine, prompt: Ids, sampling: Sampling, n: int, scorer: Callable[[Completion], float] | None = None
) -> tuple[Completion, list[float]]:
    """The best of `n` samples by `scorer` (default: mean log-probability), and the scores of all."""
    samples = engine.generate([prompt] * n, sampling)
    scores = [scorer(sample) if scorer else sample.mean_logprob for sample in samples]
    return samples[max(range(n), key=scores.__getitem__)], scores


def self_consistency(
    engine: Engine, prompt: Ids, sampling: Sampling, n: int, answer: Callable[[Completion], str | None]
) -> tuple[str | None, Counter[str]]:
    """The answer most of `n` samples come to (Wang et al. 2022, arXiv 2203.11171), and all votes.

    `answer` reads the final answer off a sample, None where it has none. Ties go to the answer seen first.
    """
    found = (answer(sample) for sample in engine.generate([prompt] * n, sampling))
    votes = Counter(text for text in found if text is not None)
    return (votes.most_common(1)[0][0] if votes else None), votes


def _shared(one: Sequence[int], other: Sequence[int]) -> int:
    length = 0
    for a, b in zip(one, other, strict=False):
        if a != b:
            break
        length += 1
    return length
