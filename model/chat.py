"""ChatML: conversations to tokens with the loss mask, exactly as the published tokenizer's chat template has them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import NamedTuple

from tokenizers import Tokenizer

from model.vocabulary import Vocabulary
from pipeline.errors import GristmillError

IM_START, IM_END = "<|im_start|>", "<|im_end|>"
ASSISTANT = "assistant"


class Message(NamedTuple):
    """One turn: who (`system`, `user`, `assistant`, `tool`) and what."""

    role: str
    content: str


@dataclass(frozen=True, slots=True)
class Rendered:
    """A conversation as token ids, and for each whether the model is to learn to write it."""

    ids: list[int]
    learn: list[bool]

    def __len__(self) -> int:
        return len(self.ids)


class ChatTemplate:
    """Renders conversations for one tokenizer.

    Raises GristmillError where its vocabulary lacks `<|im_start|>` or `<|im_end|>`.
    """

    def __init__(self, tokenizer_json: bytes) -> None:
        tokenizer = Tokenizer.from_buffer(tokenizer_json)
        tokenizer.no_truncation()
        tokenizer.no_padding()
        # The name of a special token inside a message is text: a user cannot end the turn and speak as another.
        tokenizer.encode_special_tokens = True
        self._tokenizer = tokenizer
        self._bytes = Vocabulary(tokenizer_json).bytes_per_token.tolist()
        self.start_id, self.end_id = self._id(IM_START), self._id(IM_END)
        self._newline = self._encode("\n")

    def render(self, messages: Sequence[Message]) -> Rendered:
        """A whole conversation: `<|im_start|>role\\ncontent<|im_end|>\\n` for each message.

        Learned are the assistant's words and the `<|im_end|>` behind them; not the role, nor the line break that
        follows, which the template writes.
        """
        ids: list[int] = []
        learn: list[bool] = []
        for role, content in messages:
            spoken = role == ASSISTANT
            # Role and content are encoded as one text, as the template's string is, for a line break at the
            # content's start joins the one before it.
            body = self._encode(f"{role}\n{content}")
            head = len(f"{role}\n".encode())
            starts = accumulate((self._bytes[token] for token in body), initial=0)
            ids += [self.start_id, *body, self.end_id, *self._newline]
            learn.append(False)
            learn += [spoken and start >= head for start, _ in zip(starts, body, strict=False)]
            learn += [spoken] + [False] * len(self._newline)
        return Rendered(ids, learn)

    def prompt(self, messages: Sequence[Message]) -> list[int]:
        """The conversation so far and the assistant's head: what the model goes on from."""
        return [*self.render(messages).ids, self.start_id, *self._encode(f"{ASSISTANT}\n")]

    def decode(self, ids: Sequence[int]) -> str:
        """The text of generated ids, special tokens left out."""
        return str(self._tokenizer.decode(list(ids), skip_special_tokens=True))

    def _encode(self, text: str) -> list[int]:
        return list(self._tokenizer.encode(text, add_special_tokens=False).ids)

    def _id(self, token: str) -> int:
        index = self._tokenizer.token_to_id(token)
        if index is None:
            raise GristmillError(
                f"the tokenizer has no {token}, which marks the turns of a conversation",
                "tokenizer.json",
                "Train the tokenizer with the default special tokens, or start from a model whose tokenizer has them.",
            )
        return int(index)
