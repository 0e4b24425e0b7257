"""Training gives the same bytes always; what is loaded gives its maker's ids; what cannot be loaded is explained."""

from __future__ import annotations

import base64
import json
import os
import random
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
import tiktoken
from pydantic import ValidationError
from tokenizers import Tokenizer

from pipeline.errors import GristmillError
from pipeline.tokens import Encoder, TokenizerSettings, in_sample, load, sample_share, shortfall, train
from pipeline.tokens.bpe import _byte_letters
from pipeline.tokens.settings import PATTERNS, SPECIALS
from tests.tokens.token_texts import corpus

_IN_SUBPROCESS = """
import random, sys
from hashlib import sha256
from tests.tokens.token_texts import corpus
from pipeline.tokens import TokenizerSettings, train
texts = corpus(300)
random.Random(sys.argv[1]).shuffle(texts)
print(sha256(train(iter(texts), TokenizerSettings(vocab_size=800))).hexdigest())
"""


@pytest.mark.parametrize(("threads", "shuffle"), [("1", "a"), ("2", "b"), ("4", "c")])
def test_training_does_not_depend_on_threads_order_or_run(tokenizer_json: bytes, threads: str, shuffle: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _IN_SUBPROCESS, shuffle],
        cwd=Path(__file__).parents[2],
        env={**os.environ, "RAYON_NUM_THREADS": threads, "TOKENIZERS_PARALLELISM": "true", "PYTHONHASHSEED": threads},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == sha256(tokenizer_json).hexdigest()


def test_ties_between_pairs_are_settled_the_same_way_each_time() -> None:
    """Thousands of pairs occur equally often here, so every merge is a tie."""
    letters = [chr(c) for c in range(0x61, 0x7B)]
    words = [a + b for a in letters for b in letters] * 3
    settings = TokenizerSettings(vocab_size=256 + len(SPECIALS) + 200)
    made = {train(random.Random(seed).sample(words, len(words)), settings) for seed in range(8)}
    assert len(made) == 1


def test_special_tokens_come_last_in_the_order_given(tokenizer_json: bytes, settings: TokenizerSettings) -> None:
    tokenizer = Tokenizer.from_buffer(tokenizer_json)
    assert tokenizer.get_vocab_size(with_added_tokens=True) == settings.vocab_size == 800
    assert [tokenizer.token_to_id(token) for token in SPECIALS] == list(range(800 - len(SPECIALS), 800))
    assert len(SPECIALS) == 16


def test_vocabulary_learns_its_corpus(encoder: Encoder) -> None:
    texts = corpus(50, seed=9)
    ids, _ = encoder.encode_batch(texts)
    assert sum(len(text.encode()) for text in texts) / len(ids) > 3


def test_a_corpus_too_small_gives_a_smaller_vocabulary_and_says_so() -> None:
    settings = TokenizerSettings(vocab_size=5000)
    small = train(["abab abab abab"], settings)
    size = Tokenizer.from_buffer(small).get_vocab_size(with_added_tokens=True)
    assert 256 + len(SPECIALS) < size < 300
    note = shortfall(small, settings)
    assert note is not None
    assert f"{size}" in note
    assert "5,000" in note
    assert Encoder(small).decode(Encoder(small).encode("anything: Ω")) == "anything: Ω"


def test_no_text_at_all_gives_the_bytes() -> None:
    empty = train([], TokenizerSettings())
    assert len(Encoder(empty).encode("Grüße")) == len("Grüße".encode())


def test_reaching_the_vocabulary_leaves_no_note(tokenizer_json: bytes, settings: TokenizerSettings) -> None:
    assert shortfall(tokenizer_json, settings) is None


def test_tokens_are_no_longer_than_the_limit() -> None:
    settings = TokenizerSettings(vocab_size=500, max_token_chars=8)
    trained = train(["=" * 64, "=" * 64, "abcdefghijklmnop " * 50, "Ωλμνξοπρστυφ " * 50], settings)
    encoder = Encoder(trained)
    lengths = {len(encoder.decode([i])) for i in range(encoder.eot_id)}
    assert max(lengths) == 8
    assert encoder.decode(encoder.encode("=" * 20)[:1]) == "=" * 8


def test_a_page_of_one_endless_word_costs_little() -> None:
    """Without cutting, the trainer needs hours for this one."""
    endless = ["a" * 1_000_000, " " * 1_000_000, "".join(random.Random(1).choices("abcdefgh", k=300_000))]
    trained = train(endless, TokenizerSettings(vocab_size=600))
    assert Tokenizer.from_buffer(trained).get_vocab_size() == 600


def test_the_sample_is_a_function_of_ids() -> None:
    ids = [f"{n:032x}" for n in range(20_000)]
    chosen = {i for i in ids if in_sample(i, 0, 0.1)}
    assert 1800 < len(chosen) < 2200
    assert chosen <= {i for i in ids if in_sample(i, 0, 0.2)}, "a larger share only adds"
    assert chosen != {i for i in ids if in_sample(i, 1, 0.1)}
    assert all(in_sample(i, 0, 1.0) for i in ids)
    assert not any(in_sample(i, 0, 0.0) for i in ids)
    settings = TokenizerSettings(sample_bytes=1000)
    assert sample_share(100_000, settings) == 0.01
    assert sample_share(10, settings) == 1.0


def _write_ranks(tokenizer_json: bytes, path: Path) -> dict[bytes, int]:
    """The vocabulary as a tiktoken file."""
    of_letter = {letter: byte for byte, letter in enumerate(_byte_letters())}
    vocab = json.loads(tokenizer_json)["model"]["vocab"]
    ranks = {bytes(of_letter[letter] for letter in token): rank for token, rank in vocab.items()}
    path.write_bytes(b"".join(base64.b64encode(t) + b" %d\n" % r for t, r in sorted(ranks.items(), key=lambda i: i[1])))
    return ranks


@pytest.mark.parametrize("pattern", sorted(PATTERNS))
def test_a_tiktoken_file_gives_tiktokens_ids(tokenizer_json: bytes, tmp_path: Path, pattern: str) -> None:
    ranks = _write_ranks(tokenizer_json, tmp_path / "ours.tiktoken")
    expected = tiktoken.Encoding("ours", pat_str=PATTERNS[pattern], mergeable_ranks=ranks, special_tokens={})
    encoder = Encoder(load(TokenizerSettings(path=str(tmp_path / "ours.tiktoken"), pattern=pattern)))
    for text in [*corpus(40, seed=3), "I'M 12345 ÉTÉ l'Été\r\n\r\n  x\n", "ꙮ" * 50]:
        assert encoder.encode(text).tolist() == expected.encode_ordinary(text)
    assert encoder.eot_id == len(ranks), "special tokens follow the ranks"
    assert encoder.engine.startswith("fastokens")


def test_a_tiktoken_file_of_unknown_split_asks_for_the_pattern(tokenizer_json: bytes, tmp_path: Path) -> None:
    _write_ranks(tokenizer_json, tmp_path / "ours.tiktoken")
    with pytest.raises(GristmillError, match="how text is split") as found:
        load(TokenizerSettings(path=str(tmp_path / "ours.tiktoken")))
    assert "tokenizer.pattern" in found.value.todo


def test_an_existing_tokenizer_comes_back_byte_for_byte(tokenizer_json: bytes, tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_bytes(tokenizer_json + b"\n\n")
    for path in (tmp_path / "tokenizer.json", tmp_path):
        assert load(TokenizerSettings(path=str(path))) == tokenizer_json + b"\n\n"


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (None, "cannot read"),
        (b"{}", "no tokenizer.json"),
        (b'{"model": {"type": "BPE"', "no tokenizer.json"),
        (b"not ranks\n", "tiktoken"),
        (b"YQ== 0\nYg== x\n", "line 2"),
        (b"YQ== 0\nYg== 1\n", "254 of the 256"),
        (b"", "256 of the 256"),
    ],
)
def test_what_cannot_be_loaded_is_explained(tmp_path: Path, content: bytes | None, what: str) -> None:
    path = tmp_path / "tokenizer.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(GristmillError) as found:
        load(TokenizerSettings(path=str(path)))
    assert what in str(found.value)
    assert str(path) in found.value.where
    assert found.value.todo


def test_ranks_with_a_hole_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "holes.tiktoken"
    path.write_bytes(b"".join(base64.b64encode(bytes([b])) + b" %d\n" % (b * 2) for b in range(256)))
    with pytest.raises(GristmillError, match="from 0 on"):
        load(TokenizerSettings(path=str(path), pattern="qwen2"))


def test_impossible_settings_are_refused() -> None:
    for wrong in (
        {"vocab_size": 260},
        {"specials": ("<|a|>", "<|a|>")},
        {"end_of_text": "<|nowhere|>"},
        {"sample_bytes": 0},
        {"vocabulary": 5},
    ):
        with pytest.raises(ValidationError):
            TokenizerSettings(**wrong)
    with pytest.raises(GristmillError, match="no regular expression"):
        train(["x"], TokenizerSettings(pattern="(unclosed"))


def test_ids_do_not_change_when_the_vocabulary_grows_wide(tmp_path: Path) -> None:
    """65,792 tokens need 32 bits: every byte and every pair of bytes."""
    tokens = [bytes([a]) for a in range(256)] + [bytes([a, b]) for a in range(256) for b in range(256)]
    path = tmp_path / "pairs.tiktoken"
    path.write_bytes(b"".join(base64.b64encode(token) + b" %d\n" % rank for rank, token in enumerate(tokens)))
    encoder = Encoder(load(TokenizerSettings(path=str(path), pattern="qwen2")))
    ids = encoder.encode("zzzz zz!")
    assert encoder.dtype == "uint32"
    assert ids.dtype == np.uint32
    assert encoder.decode(ids) == "zzzz zz!"
    assert ids.max() > 1 << 14
