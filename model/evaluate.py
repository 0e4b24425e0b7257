"""What a model is worth: bits per byte, multiple choice by log-likelihood, cloze, minimal pairs, and what it memorised."""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F

from model.generate import Engine
from model.sampling import Sampling
from model.tasks import Item
from model.vocabulary import Vocabulary
from model.weights import Model
from pipeline.errors import GristmillError


class Score(NamedTuple):
    """Of one continuation after its context."""

    nats: float  # -log p of the continuation
    greedy: bool  # whether greedy decoding would have given it
    tokens: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Rate:
    """A share of `count` trials, with its standard error (binomial)."""

    value: float
    count: int

    @property
    def stderr(self) -> float:
        return math.sqrt(self.value * (1 - self.value) / self.count) if self.count else math.nan

    def to_dict(self) -> dict[str, float]:
        return {"value": self.value, "stderr": self.stderr, "count": self.count}


@dataclass
class Evaluator:
    """One model with its tokenizer. `batch_tokens` slots go through the model at once.

    Every text starts behind the end-of-text token `eot_id`, as every document did in training.
    """

    model: Model
    vocabulary: Vocabulary
    eot_id: int
    batch_tokens: int = 1 << 13
    _device: torch.device = field(init=False)

    def __post_init__(self) -> None:
        self.model.eval()
        self._device = self.model.output_weight.device

    def bits_per_byte(self, texts: Iterable[str]) -> dict[str, float]:
        """Over whole texts, each token once and, beyond the first window, with at least half the context before it.

        bits_per_byte compares across tokenizers; perplexity is by token, word_perplexity by white-space word.
        """
        size, windows = self.model.config.max_seq_len, list[tuple[list[int], int]]()
        count = words = read = 0
        for text in texts:
            ids = self.vocabulary.encode(text)
            count, words, read = count + len(ids), words + len(text.split()), read + len(text.encode())
            windows += _windows([self.eot_id, *ids], size)
        if not count:
            raise GristmillError("no text to measure", "bits per byte", "Give texts that are not empty.")
        nats = sum(score.nats for score in self._scores(windows))
        return {
            "bits_per_byte": nats / math.log(2) / read,
            "loss": nats / count,
            "perplexity": math.exp(min(nats / count, 700)),
            "word_perplexity": math.exp(min(nats / max(words, 1), 700)),
            "bytes": read,
            "tokens": count,
        }

    def score(self, pairs: Sequence[tuple[str, str]]) -> list[Score]:
        """Each continuation after its context; a context too long loses its start."""
        limit = self.model.config.max_seq_len
        windows = []
        for context, continuation in pairs:
            before, after = self._encoded(context, continuation)
            whole = [self.eot_id, *before, *after][-(limit + 1) :]
            windows.append((whole, min(len(after), len(whole) - 1)))
        lengths = [len(continuation.encode()) for _, continuation in pairs]
        return [score._replace(bytes=size) for score, size in zip(self._scores(windows), lengths, strict=True)]

    def accuracy(self, items: Sequence[Item], shots: int = 0, pool: Sequence[Item] = (), seed: int = 0) -> dict[str, Any]:
        """Accuracy over items of one kind, with `shots` solved examples of `pool` before each.

        Choices: `accuracy` by summed log-likelihood, `accuracy_per_byte` by the mean over bytes; pairs: `accuracy`;
        clozes: `accuracy` of greedy decoding and `perplexity` of the answer's tokens. `groups` as well where there
        are several.
        """
        prefixes = [_examples(item, shots, pool or items, random.Random(f"{seed}/{n}")) for n, item in enumerate(items)]
        asked = [
            (prefix + context, ending)
            for item, prefix in zip(items, prefixes, strict=True)
            for context, ending in item.options
        ]
        scores = iter(self.score(asked))
        found = [(item, [next(scores) for _ in item.options]) for item in items]
        hits = [(item.group, _right(item, scored, per_byte=False)) for item, scored in found]
        result: dict[str, Any] = {"shots": shots, "accuracy": _rate(hit for _, hit in hits).to_dict()}
        if items and items[0].kind == "choice":
            result["accuracy_per_byte"] = _rate(_right(item, scored, per_byte=True) for item, scored in found).to_dict()
            result["chance"] = sum(1 / len(item.options) for item in items) / len(items)
        if items and items[0].kind == "cloze":
            nats, tokens = sum(s[0].nats for _, s in found), sum(s[0].tokens for _, s in found)
            result["perplexity"] = math.exp(min(nats / max(tokens, 1), 700))
        groups = sorted({group for group, _ in hits if group})
        if len(groups) > 1:
            result["groups"] = {name: _rate(hit for group, hit in hits if group == name).to_dict() for name in groups}
        return result

    def memorisation(
        self, seen: Iterable[str], unseen: Iterable[str], prefix: int = 32, length: int = 32
    ) -> dict[str, Any]:
        """How often greedy decoding goes on verbatim for `length` tokens after a text's first `prefix` tokens.

        Carlini et al. 2022 (arXiv 2202.07646), on training text (`seen`) and, for the rate that comes of common
        phrases alone, on held-out text (`unseen`).
        """
        return {
            "seen": self._verbatim(seen, prefix, length).to_dict(),
            "unseen": self._verbatim(unseen, prefix, length).to_dict(),
            "prefix_tokens": prefix,
            "continuation_tokens": length,
        }

    def _verbatim(self, texts: Iterable[str], prefix: int, length: int) -> Rate:
        ids = [self.vocabulary.encode(text)[: prefix + length] for text in texts]
        whole = [text for text in ids if len(text) == prefix + length]
        engine = Engine(self.model, slots=max(1, self.batch_tokens // (prefix + length)), prefix_tokens=0)
        prompts = [[self.eot_id, *text[:prefix]] for text in whole]
        made = engine.generate(prompts, Sampling(max_tokens=length, temperature=0))
        return _rate(c.tokens == text[prefix:] for c, text in zip(made, whole, strict=True))

    def _encoded(self, context: str, continuation: str) -> tuple[list[int], list[int]]:
        """Encoded as one text, cut where the context's own tokens end."""
        before, whole = self.vocabulary.encode(context), self.vocabulary.encode(context + continuation)
        if whole[: len(before)] == before and len(whole) > len(before):
            return before, whole[len(before) :]
        return before, self.vocabulary.encode(continuation)

    def _scores(self, windows: list[tuple[list[int], int]]) -> list[Score]:
        """For each (ids, n): the last n ids after those before them. Alike lengths go together."""
        found: list[Score | None] = [None] * len(windows)
        for batch in _batches(windows, self.batch_tokens):
            for index, score in zip(batch, self._forward([windows[i] for i in batch]), strict=True):
                found[index] = score
        return [score for score in found if score is not None]

    @torch.inference_mode()
    def _forward(self, windows: list[tuple[list[int], int]]) -> list[Score]:
        longest = max(len(ids) for ids, _ in windows)
        # Padding stands on the right, where nothing before it sees it.
        rows = torch.tensor([ids + [self.eot_id] * (longest - len(ids)) for ids, _ in windows], device=self._device)
        states = self.model.hidden(rows[:, :-1]).states
        found = []
        for row, (ids, count) in enumerate(windows):
            wanted = rows[row, len(ids) - count : len(ids)]
            logits = self.model.logits(states[row, len(ids) - 1 - count : len(ids) - 1]).float()
            nats = float(F.cross_entropy(logits, wanted, reduction="sum"))
            found.append(Score(nats, bool((logits.argmax(-1) == wanted).all()), count, 0))
        return found


def _windows(ids: list[int], size: int) -> Iterator[tuple[list[int], int]]:
    """(ids, n) of at most size + 1 ids: the last n are new; each but the first id is new once."""
    done = 1
    while done < len(ids):
        fresh = min(size if done == 1 else max(1, size // 2), len(ids) - done)
        end = done + fresh
        yield ids[max(0, end - size - 1) : end], fresh
        done = end


def _batches(windows: list[tuple[list[int], int]], tokens: int) -> Iterator[list[int]]:
    order = sorted(range(len(windows)), key=lambda index: -len(windows[index][0]))
    while order:
        rows = max(1, tokens // len(windows[order[0]][0]))
        yield order[:rows]
        order = order[rows:]


def _examples(item: Item, shots: int, pool: Sequence[Item], draw: random.Random) -> str:
    chosen = draw.sample(pool, min(shots + 1, len(pool))) if shots else []
    return "".join(f"{other.example}\n\n" for other in [other for other in chosen if other != item][:shots])


def _right(item: Item, scored: list[Score], per_byte: bool) -> bool:
    if item.kind == "cloze":
        return scored[0].greedy
    costs = [score.nats / max(score.bytes, 1) if per_byte else score.nats for score in scored]
    # A tie is no knowledge: the right one must be better than every other.
    return all(costs[item.gold] < cost for index, cost in enumerate(costs) if index != item.gold)


def _rate(hits: Iterable[bool]) -> Rate:
    found = list(hits)
    return Rate(sum(found) / len(found) if found else math.nan, len(found))
