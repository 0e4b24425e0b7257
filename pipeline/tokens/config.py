"""The files that make a tokenizer's folder load in `transformers`, chat template included."""

from __future__ import annotations

import json
from typing import Any

import fsspec
from tokenizers import Tokenizer

from pipeline.tokens.encode import Encoder
from pipeline.tokens.settings import IM_END, IM_START, PAD, TokenizerSettings

# ChatML (OpenAI, 2023): each message between <|im_start|>role and <|im_end|>, one line break after each.
CHATML = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
_COMPANIONS = ("tokenizer_config.json", "special_tokens_map.json", "chat_template.jinja")


def tokenizer_files(tokenizer_json: bytes, settings: TokenizerSettings) -> dict[str, bytes]:
    """Every file of the published `tokenizer/` folder by name.

    An existing tokenizer keeps the files that lie beside it; else they are made here, with the ChatML
    template where the vocabulary holds its tokens.
    """
    files = {"tokenizer.json": tokenizer_json, **_beside(settings.path)}
    if "tokenizer_config.json" not in files:
        config, special = _config(tokenizer_json, settings)
        files["tokenizer_config.json"] = _json(config)
        files["special_tokens_map.json"] = _json(special)
    return files


def _config(tokenizer_json: bytes, settings: TokenizerSettings) -> tuple[dict[str, Any], dict[str, Any]]:
    tokenizer = Tokenizer.from_buffer(tokenizer_json)
    added = tokenizer.get_added_tokens_decoder()
    specials = [token.content for _, token in sorted(added.items()) if token.special]
    end = tokenizer.id_to_token(Encoder(tokenizer_json, settings.end_of_text).eot_id)
    special: dict[str, Any] = {"eos_token": end, "pad_token": PAD if PAD in specials else end}
    others = [token for token in specials if token not in special.values()]
    if others:
        special["additional_special_tokens"] = others
    config: dict[str, Any] = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "clean_up_tokenization_spaces": False,
        "model_max_length": settings.model_max_length,
        **special,
    }
    if {IM_START, IM_END} <= set(specials):
        config["chat_template"] = CHATML
    return config, special


def _beside(path: str | None) -> dict[str, bytes]:
    """The companions of an existing tokenizer.json, by name."""
    if path is None or path.endswith((".tiktoken", ".model", ".txt")):
        return {}
    fs, root = fsspec.core.url_to_fs(path)
    folder = root.rstrip("/").rpartition("/")[0] if root.endswith(".json") else root.rstrip("/")
    return {name: fs.cat_file(f"{folder}/{name}") for name in _COMPANIONS if fs.exists(f"{folder}/{name}")}


def _json(value: dict[str, Any]) -> bytes:
    return (json.dumps(value, indent=2, ensure_ascii=False, sort_keys=True) + "\n").encode()
