"""Constrained decoding: output that a regular expression or a JSON schema accepts, through llguidance."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pipeline.errors import GristmillError


class Grammar:
    """What the output must be, for one tokenizer. Each output asks `start` for its own Matcher."""

    def __init__(self, tokenizer_json: bytes, vocab_size: int, end_ids: tuple[int, ...], grammar: str) -> None:
        self._vocab_size, self._grammar, self._end_ids = vocab_size, grammar, end_ids
        self._tokenizer = _tokenizer(tokenizer_json, vocab_size, end_ids)
        self.start()  # tells a mistake in the grammar now

    @classmethod
    def regex(cls, pattern: str, tokenizer_json: bytes, vocab_size: int, end_ids: tuple[int, ...]) -> Grammar:
        """The whole output matches `pattern`. `vocab_size` is the model's, `end_ids` end the output."""
        return cls(tokenizer_json, vocab_size, end_ids, _library().LLMatcher.grammar_from_regex(pattern))

    @classmethod
    def json_schema(
        cls, schema: dict[str, Any], tokenizer_json: bytes, vocab_size: int, end_ids: tuple[int, ...]
    ) -> Grammar:
        """The whole output is a JSON value that `schema` accepts."""
        # Free white space would let a poor model write blanks until its length is spent.
        compact = {"whitespace_flexible": False}
        grammar = _library().LLMatcher.grammar_from_json_schema(json.dumps(schema), compact)
        return cls(tokenizer_json, vocab_size, end_ids, grammar)

    def start(self) -> Matcher:
        """Raises GristmillError where the grammar itself is wrong."""
        matcher = _library().LLMatcher(self._tokenizer, self._grammar, log_level=0)
        if matcher.is_error():
            what = f"not a grammar that can be followed ({matcher.get_error().strip().splitlines()[0]})"
            raise GristmillError(what, "--regex or --schema", "Mend the regular expression or the JSON schema.")
        return Matcher(matcher, self._vocab_size)


class Matcher:
    """The state of one output."""

    def __init__(self, matcher: Any, vocab_size: int) -> None:
        self._matcher, self._vocab_size = matcher, vocab_size

    def allowed(self) -> Tensor:
        """(V,) bool: the tokens that may come next; an end token among them once the output is whole."""
        bits = np.unpackbits(np.frombuffer(self._matcher.compute_bitmask(), np.uint8), bitorder="little")
        mask = np.zeros(self._vocab_size, bool)
        mask[: len(bits)] = bits[: self._vocab_size]
        return torch.from_numpy(mask)

    def take(self, token: int) -> bool:
        """Note the chosen token; whether the output is whole and nothing may follow."""
        self._matcher.consume_token(token)
        return bool(self._matcher.is_stopped())


@cache
def _tokenizer(tokenizer_json: bytes, vocab_size: int, end_ids: tuple[int, ...]) -> Any:
    from tokenizers import Tokenizer

    known = Tokenizer.from_buffer(tokenizer_json).get_vocab_size(with_added_tokens=True)
    try:
        return _library().LLTokenizer(tokenizer_json.decode(), n_vocab=max(vocab_size, known), eos_token=list(end_ids))
    except (ValueError, RuntimeError) as error:
        raise GristmillError(
            f"constrained decoding cannot use this tokenizer ({str(error).splitlines()[0]})",
            "tokenizer.json",
            "Generate without --regex and --schema.",
        ) from error


@cache
def _library() -> Any:
    try:
        import llguidance
    except ImportError as error:
        raise GristmillError(
            "constrained decoding needs llguidance", "--regex or --schema", "pip install llguidance"
        ) from error
    return llguidance
