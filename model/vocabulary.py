"""What the trainer needs of a tokenizer: bytes a token for bits per byte, and prompts and samples as text."""

from __future__ import annotations

import json
from functools import cached_property
from typing import Any

import torch
from torch import Tensor


class Vocabulary:
    """A `tokenizer.json`. `transformers` is not needed; `tokenizers` only to encode and decode."""

    def __init__(self, tokenizer_json: bytes) -> None:
        self.tokenizer_json = tokenizer_json

    def encode(self, text: str) -> list[int]:
        return list(self._tokenizer.encode(text, add_special_tokens=False).ids)

    def decode(self, ids: list[int]) -> str:
        return str(self._tokenizer.decode(ids, skip_special_tokens=True))

    @cached_property
    def bytes_per_token(self) -> Tensor:
        """(V,) int64: UTF-8 bytes that each id stands for; 0 for special tokens, which stand for no text."""
        facts = json.loads(self.tokenizer_json)
        vocabulary = facts["model"]["vocab"]
        pairs = vocabulary.items() if isinstance(vocabulary, dict) else ((t[0], i) for i, t in enumerate(vocabulary))
        special = {token["id"]: token for token in facts.get("added_tokens") or []}
        by_id = dict.fromkeys(special, 0) | {i: _byte_length(token, _is_byte_level(facts)) for token, i in pairs}
        for index, token in special.items():
            by_id[index] = 0 if token.get("special") else len(token["content"].encode())
        lengths = torch.zeros(max(by_id) + 1, dtype=torch.int64)
        for index, length in by_id.items():
            lengths[index] = length
        return lengths

    @cached_property
    def _tokenizer(self) -> Any:
        from tokenizers import Tokenizer

        tokenizer = Tokenizer.from_buffer(self.tokenizer_json)
        tokenizer.encode_special_tokens = True  # a special token's name in a text is text
        return tokenizer


def _is_byte_level(facts: dict[str, Any]) -> bool:
    """Byte-level vocabularies write each byte as one printable character (GPT-2)."""
    return '"ByteLevel"' in json.dumps([facts.get("pre_tokenizer"), facts.get("decoder")])


def _byte_length(token: str, byte_level: bool) -> int:
    if byte_level:
        return len(token)
    if len(token) == 6 and token.startswith("<0x"):  # SentencePiece's byte fallback
        return 1
    return len(token.replace("▁", " ").encode())
