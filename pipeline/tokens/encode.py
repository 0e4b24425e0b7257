"""Encoder: text to token ids with the fastest engine that gives the same ids as `tokenizers`."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from hashlib import sha256
from importlib.metadata import version
from typing import Any

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

from pipeline.errors import GristmillError
from pipeline.tokens.contract import token_dtype
from pipeline.tokens.settings import END_OF_TEXT

Encoded = tuple[npt.NDArray[np.uint32], npt.NDArray[np.int64]]
Engine = Callable[[list[str]], Encoded]

# How published tokenizers call the token that ends a document.
_ENDS = (END_OF_TEXT, "<|end_of_text|>", "<|eot|>", "<|endofdocument|>", "</s>", "<eos>", "<|eos|>", "[EOS]")


class Encoder:
    """One tokenizer, ready to encode and decode.

    A special token's name inside a text is encoded as the text it is: a web page cannot forge one. Nothing is
    added (no begin, no end token), nothing is truncated.

    `engine` names what encodes: fastokens where its ids equal those of `tokenizers` on a probe of hard texts
    made anew for each vocabulary, else `tokenizers` itself, with the reason in `note`.
    """

    def __init__(self, tokenizer_json: bytes, end_of_text: str | None = None) -> None:
        self.sha256 = sha256(tokenizer_json).hexdigest()
        self._reference = _reference_tokenizer(tokenizer_json)
        vocab = self._reference.get_vocab(with_added_tokens=True)
        self.vocab_size = max(vocab.values()) + 1
        self.dtype = token_dtype(self.vocab_size)
        self.eot_id = _end_of_text(vocab, end_of_text)
        self._encode, self.engine, self.note = self._fastest(tokenizer_json)

    def encode_batch(self, texts: Sequence[str]) -> tuple[npt.NDArray[Any], npt.NDArray[np.int64]]:
        """All texts' ids in one flat array (uint16 or uint32, see `dtype`) and n + 1 offsets into it.

        Raises ValueError where a text holds a lone surrogate, which no UTF-8 file can.
        """
        ids, offsets = self._encode(list(texts))
        return ids.astype(self.dtype, copy=False), offsets

    def encode(self, text: str) -> npt.NDArray[Any]:
        """The ids of one text."""
        return self.encode_batch([text])[0]

    def decode(self, ids: Sequence[int] | npt.NDArray[Any]) -> str:
        """The text of ids, special tokens spelled out; bytes that are no UTF-8 become U+FFFD."""
        return str(self._reference.decode([int(i) for i in ids], skip_special_tokens=False))

    def _fastest(self, tokenizer_json: bytes) -> tuple[Engine, str, str]:
        reference = _tokenizers_engine(self._reference)
        plain = f"tokenizers {version('tokenizers')}"
        try:
            fast = _fastokens_engine(tokenizer_json)
            probe = probe_texts(self._reference, self.sha256)
            (ids, offsets), (true_ids, true_offsets) = fast(probe), reference(probe)
            if np.array_equal(ids, true_ids) and np.array_equal(offsets, true_offsets):
                return fast, f"fastokens {version('fastokens')}", ""
            return (
                reference,
                plain,
                "fastokens gives other ids on the probe, so tokenizers encodes, more slowly",
            )
        except (ImportError, ValueError, RuntimeError, TypeError, KeyError) as error:
            return (
                reference,
                plain,
                f"fastokens cannot use this tokenizer ({error}), so tokenizers encodes, more slowly",
            )


def probe_texts(tokenizer: Tokenizer, seed: str) -> list[str]:
    """Texts on which two engines are likely to differ, if they do; a function of vocabulary and seed."""
    draw = random.Random(seed)
    specials = [token.content for token in tokenizer.get_added_tokens_decoder().values()]
    size = tokenizer.get_vocab_size()
    planes = [
        (0x20, 0x7F),
        (0x80, 0x250),
        (0x250, 0x2000),
        (0x2000, 0x3100),
        (0x3100, 0xD800),
        (0xE000, 0x20000),
        (0x1F300, 0x1FB00),
    ]
    spaces = [" ", "  ", "\n", "\r\n", "\t", "\u00a0", "\u3000", "\u2028", "\x85", "\x0b", ""]
    texts = [*_HARD, *specials, "".join(specials), " ".join(f"x{token}y" for token in specials)]
    for _ in range(60):
        words = [tokenizer.decode([draw.randrange(size)], skip_special_tokens=False) for _ in range(40)]
        texts.append("".join(word + draw.choice(spaces) for word in words))
        letters = (chr(draw.randrange(*draw.choice(planes))) for _ in range(120))
        texts.append("".join(letter + draw.choice(spaces) * (draw.random() < 0.2) for letter in letters))
        texts.append("".join(draw.choice(spaces) * draw.randrange(4) + draw.choice("aZ9'-.é漢") for _ in range(60)))
    return texts


_HARD = [
    "",
    " ",
    "\x00\x00a\x00",
    "I'm you'll WE'VE it’s 'S 'ſ don't'd",
    "  two  spaces   three    \t\ttabs\r\n\r\n  CRLF \r\r\n\n",
    "def f(x):\n        return {'a': [1, 22, 333, 4444]}  # ok\n\n\n",
    "1234567890 ١٢٣ ½ Ⅻ ४२ ²³",
    "👩‍👩‍👧‍👦🏳️‍🌈👍🏽 🇩🇪🇫🇷 ☺️ \u200b\u200d\ufeff",
    "e\u0301 é ﬁ Å \u1e9b\u0323 a\u0300\u0301\u0302\u0303" + "z" + "\u0300" * 40,
    "これは日本語です。漢字かな交じり文。 한국어 텍스트 ภาษาไทย สวัสดี العربية עברית हिन्दी Ελληνικά Русский",
    "a" * 3000 + " " * 3000 + "=" * 3000 + "\n" * 3000,
    'http://example.com/a?b=c&d=%20e#f user@example.com C:\\dir\\file.txt <div class="x">&nbsp;</div>',
    "\U0010ffff\ue000\ufffd\ufffe\uffff",
]


def _reference_tokenizer(tokenizer_json: bytes) -> Tokenizer:
    try:
        tokenizer = Tokenizer.from_buffer(tokenizer_json)
    except Exception as error:  # tokenizers raises bare Exception
        raise GristmillError(
            f"the tokenizers library cannot read this tokenizer.json ({error})",
            "tokenizer.json",
            "Make it anew.",
        ) from error
    tokenizer.no_truncation()
    tokenizer.no_padding()
    tokenizer.encode_special_tokens = True
    return tokenizer


def _end_of_text(vocab: dict[str, int], name: str | None) -> int:
    for token in (name,) if name else _ENDS:
        if token in vocab:
            return vocab[token]
    raise GristmillError(
        f"the tokenizer has no token {name}" if name else "no token of this tokenizer is known to end a document",
        "tokenizer.end_of_text",
        "Set tokenizer.end_of_text to the token of its vocabulary that ends a document.",
    )


def _tokenizers_engine(tokenizer: Tokenizer) -> Engine:
    def encode(texts: list[str]) -> Encoded:
        try:
            lists = [found.ids for found in tokenizer.encode_batch_fast(texts, add_special_tokens=False)]
        except TypeError as error:
            raise _not_utf8(texts, error) from error
        offsets = np.zeros(len(lists) + 1, np.int64)
        np.cumsum([len(ids) for ids in lists], out=offsets[1:])
        flat = np.fromiter((i for ids in lists for i in ids), np.uint32, int(offsets[-1]))
        return flat, offsets

    return encode


def _fastokens_engine(tokenizer_json: bytes) -> Engine:
    from fastokens import Tokenizer as Fast

    fast = Fast.from_json_str(tokenizer_json.decode())
    fast.no_truncation()
    fast.no_padding()

    def encode(texts: list[str]) -> Encoded:
        try:
            ids, offsets = fast.encode_batch_flat(texts, add_special_tokens=False, split_special_tokens=True)
        except (TypeError, UnicodeEncodeError) as error:
            raise _not_utf8(texts, error) from error
        return np.frombuffer(ids, "<u4"), np.frombuffer(offsets, "<u8").astype(np.int64)

    return encode


def _not_utf8(texts: list[str], error: Exception) -> Exception:
    """A clearer error where a text cannot be UTF-8, else the error itself."""
    for index, text in enumerate(texts):
        try:
            text.encode()
        except UnicodeEncodeError as reason:
            return ValueError(f"text {index} holds a lone surrogate at character {reason.start}")
    return error
