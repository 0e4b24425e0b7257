"""The published folder loads in transformers, gives the same ids and renders a chat."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pipeline.tokens import Encoder, TokenizerSettings, load, tokenizer_files
from pipeline.tokens.settings import SPECIALS
from tests.tokens.token_texts import corpus


@pytest.fixture
def folder(tmp_path: Path, tokenizer_json: bytes, settings: TokenizerSettings) -> Path:
    for name, data in tokenizer_files(tokenizer_json, settings).items():
        (tmp_path / name).write_bytes(data)
    return tmp_path


def test_transformers_loads_it_with_equal_ids(folder: Path, encoder: Encoder) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    for text in corpus(40, seed=5):
        ids = encoder.encode(text).tolist()
        assert tokenizer(text)["input_ids"] == ids
        assert tokenizer.decode(ids, clean_up_tokenization_spaces=False) == text
    assert len(tokenizer) == encoder.vocab_size
    assert tokenizer.eos_token_id == encoder.eot_id
    assert tokenizer.pad_token == "<|pad|>"
    assert tokenizer.model_max_length == 131_072
    assert set(tokenizer.all_special_tokens) == set(SPECIALS)


def test_chat_template_is_chatml(folder: Path) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    chat = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Hello."},
    ]
    expected = (
        "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n"
        "<|im_start|>assistant\nHello.<|im_end|>\n"
    )
    assert tokenizer.apply_chat_template(chat, tokenize=False) == expected
    asked = tokenizer.apply_chat_template(chat[:2], tokenize=False, add_generation_prompt=True)
    assert asked == expected[: -len("Hello.<|im_end|>\n")]
    ids = tokenizer.apply_chat_template(chat, return_dict=True)["input_ids"]
    assert ids == tokenizer(expected)["input_ids"]
    assert ids.count(tokenizer.convert_tokens_to_ids("<|im_start|>")) == 3
    assert ids.count(tokenizer.convert_tokens_to_ids("<|im_end|>")) == 3


def test_files_are_the_same_each_time(tokenizer_json: bytes, settings: TokenizerSettings) -> None:
    first, second = (tokenizer_files(tokenizer_json, settings) for _ in range(2))
    assert first == second
    assert list(first) == ["tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"]


def test_an_existing_tokenizer_keeps_its_own_files(folder: Path, tokenizer_json: bytes) -> None:
    (folder / "tokenizer_config.json").write_text('{"chat_template": "theirs"}')
    for path in (folder, folder / "tokenizer.json"):
        settings = TokenizerSettings(path=str(path))
        files = tokenizer_files(load(settings), settings)
        assert files["tokenizer.json"] == tokenizer_json
        assert json.loads(files["tokenizer_config.json"]) == {"chat_template": "theirs"}


def test_without_chat_tokens_there_is_no_chat_template(tokenizer_json: bytes) -> None:
    tokenizer = json.loads(tokenizer_json)
    tokenizer["added_tokens"] = tokenizer["added_tokens"][:1]
    files = tokenizer_files(json.dumps(tokenizer).encode(), TokenizerSettings())
    config = json.loads(files["tokenizer_config.json"])
    assert "chat_template" not in config
    assert config["eos_token"] == config["pad_token"] == "<|endoftext|>"
