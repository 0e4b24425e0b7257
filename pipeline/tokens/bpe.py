"""Byte-level BPE: train a tokenizer on a sample, or load one that exists.

What goes to and fro is the bytes of a `tokenizer.json`: their SHA-256 is the tokenizer's identity in every
shard.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable
from hashlib import blake2b

import fsspec
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers

from pipeline.errors import GristmillError
from pipeline.tokens.settings import PATTERNS, TokenizerSettings

# Which pattern a tiktoken file of so many ranks was made with.
_PATTERN_OF_RANKS = {
    50_256: "gpt2",  # r50k_base: GPT-2, GPT-3
    50_280: "gpt2",  # p50k_base: Codex
    100_256: "cl100k",  # GPT-4
    128_000: "llama3",  # Llama 3
    151_643: "qwen2",  # Qwen to Qwen 3
    199_998: "o200k",  # GPT-4o
}


def sample_share(total_bytes: int, settings: TokenizerSettings) -> float:
    """The share of documents to train on so that the sample holds about `settings.sample_bytes`."""
    return 1.0 if total_bytes <= settings.sample_bytes else settings.sample_bytes / total_bytes


def in_sample(record_id: str, seed: int, share: float) -> bool:
    """Whether a document is in the training sample: a function of its id, the seed and the share alone."""
    digest = blake2b(f"{seed}\0{record_id}".encode(), digest_size=8, person=b"gristmill.sample").digest()
    return int.from_bytes(digest, "big") < share * 2**64


def train(texts: Iterable[str], settings: TokenizerSettings) -> bytes:
    """The `tokenizer.json` of a byte-level BPE trained on `texts`.

    The bytes depend on the multiset of texts and the settings alone: the trainer counts words first and
    settles ties between pairs by their ids, so neither order nor threads matter. No normalisation: decoding
    gives back the text. Where the texts hold too few pairs the vocabulary is smaller than asked for; see
    `shortfall`.
    """
    tokenizer = _byte_level(models.BPE(), settings.regex)
    splits = tokenizer.pre_tokenizer
    # A longer word (a line of base64, a million spaces) is trained on in pieces: the trainer takes time quadratic in
    # a word's length, and rules of ==== would fill the vocabulary.
    pieces = pre_tokenizers.Split(Regex(rf"(?m:.){{1,{settings.max_token_chars}}}"), "isolated")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([splits[0], pieces, splits[1]])
    trainer = trainers.BpeTrainer(
        vocab_size=settings.vocab_size - len(settings.specials),
        min_frequency=settings.min_frequency,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.pre_tokenizer = splits
    return _finish(tokenizer, settings)


def shortfall(tokenizer_json: bytes, settings: TokenizerSettings) -> str | None:
    """What to tell the user where training gave a smaller vocabulary than asked for, else None."""
    size = Tokenizer.from_buffer(tokenizer_json).get_vocab_size(with_added_tokens=True)
    if settings.path is not None or size >= settings.vocab_size:
        return None
    return (
        f"The vocabulary has {size:,} tokens instead of {settings.vocab_size:,}: the training sample holds "
        f"no further pair that occurs {settings.min_frequency} times. Give more text, or set "
        "tokenizer.vocab_size or tokenizer.path."
    )


def load(settings: TokenizerSettings) -> bytes:
    """The `tokenizer.json` of the existing tokenizer that `settings.path` names.

    A tokenizer.json comes back byte for byte. A tiktoken file (base64 of the token and its rank on each line)
    is turned into one that gives tiktoken's ids, with `settings.specials` after the ranks. Raises
    GristmillError where there is none or it cannot be used.
    """
    path = settings.path or ""
    data = _read(path)
    if not data.lstrip().startswith(b"{"):
        return _from_ranks(_parse_ranks(data, path), settings)
    try:
        Tokenizer.from_buffer(data)
    except Exception as error:  # tokenizers raises bare Exception on whatever it cannot read
        raise GristmillError(
            f"this is no tokenizer.json that the tokenizers library can read ({error})",
            path,
            "Set tokenizer.path to one that `save_pretrained` wrote, or remove it to train one.",
        ) from error
    return data


def _byte_level(model: models.BPE, regex: str) -> Tokenizer:
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(_checked(regex), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def _checked(regex: str) -> Regex:
    try:
        return Regex(regex)
    except Exception as error:  # tokenizers raises bare Exception
        raise GristmillError(
            f"this is no regular expression ({error})",
            f"tokenizer.pattern = {regex}",
            f"Use one of {', '.join(PATTERNS)}, or mend the expression (Oniguruma's syntax).",
        ) from error


def _finish(tokenizer: Tokenizer, settings: TokenizerSettings) -> bytes:
    """Add the special tokens behind the merges and write the tokenizer as JSON."""
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in settings.specials])
    return str(tokenizer.to_str(pretty=True)).encode()


def _read(path: str) -> bytes:
    if not path.endswith((".json", ".tiktoken", ".model", ".txt")) and _holds_tokenizer(path):
        path = f"{path.rstrip('/')}/tokenizer.json"
    try:
        with fsspec.open(path, "rb") as file:
            data: bytes = file.read()
    except Exception as error:  # each remote file system has errors of its own
        raise GristmillError(
            f"cannot read the tokenizer ({error})",
            path,
            "Set tokenizer.path to a tokenizer.json, its folder or a tiktoken file; remove it to train one.",
        ) from error
    return data


def _holds_tokenizer(path: str) -> bool:
    try:
        fs, root = fsspec.core.url_to_fs(path)
        return bool(fs.exists(f"{root.rstrip('/')}/tokenizer.json"))
    except Exception:  # each remote file system has errors of its own
        return False  # reading it then says what is wrong


def _parse_ranks(data: bytes, path: str) -> dict[bytes, int]:
    todo = "Set tokenizer.path to a tokenizer.json or to a tiktoken file of ranks."
    ranks: dict[bytes, int] = {}
    for number, line in enumerate(data.splitlines(), 1):
        if not line.strip():
            continue
        try:
            token, rank = line.split()
            ranks[base64.b64decode(token, validate=True)] = int(rank)
        except (ValueError, binascii.Error) as error:
            raise GristmillError(
                "neither a tokenizer.json nor a tiktoken file: expected a token in base64 and its rank",
                f"{path}, line {number}",
                todo,
            ) from error
    missing = [byte for byte in range(256) if bytes([byte]) not in ranks]
    if missing:
        raise GristmillError(f"the ranks lack {len(missing)} of the 256 single bytes", path, todo)
    if sorted(ranks.values()) != list(range(len(ranks))):
        raise GristmillError("the ranks are not the numbers from 0 on, each once", path, todo)
    return ranks


def _from_ranks(ranks: dict[bytes, int], settings: TokenizerSettings) -> bytes:
    """tiktoken's algorithm in terms of merges: any two neighbours whose join has a rank may merge, lowest
    rank first.

    A word that is itself a token is taken whole before merging (`ignore_merges`).
    """
    regex = settings.regex
    if settings.pattern is None:
        if len(ranks) not in _PATTERN_OF_RANKS:
            raise GristmillError(
                f"a tiktoken file does not say how text is split, and none with {len(ranks)} ranks is known",
                settings.path or "",
                f"Set tokenizer.pattern to one of {', '.join(PATTERNS)} or to its regular expression.",
            )
        regex = PATTERNS[_PATTERN_OF_RANKS[len(ranks)]]
    letters = _byte_letters()
    ordered = sorted(ranks, key=ranks.__getitem__)
    spelled = {token: "".join(letters[byte] for byte in token) for token in ordered}
    merges = [
        (spelled[token[:cut]], spelled[token[cut:]])
        for token in ordered
        for cut in sorted(
            (c for c in range(1, len(token)) if token[:c] in ranks and token[c:] in ranks),
            key=lambda c: (ranks[token[:c]], ranks[token[c:]]),
        )
    ]
    vocab = {spelled[token]: rank for token, rank in ranks.items()}
    return _finish(_byte_level(models.BPE(vocab, merges, ignore_merges=True), regex), settings)


def _byte_letters() -> list[str]:
    """GPT-2's letter for each byte: itself where it can be seen, else the next free one from U+0100 on."""
    visible = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    hidden = [byte for byte in range(256) if byte not in visible]
    return [chr(byte) if byte in visible else chr(0x100 + hidden.index(byte)) for byte in range(256)]
