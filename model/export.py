"""A trained model for other tools: a Hugging Face folder, or one GGUF file for llama.cpp and what is built on it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

import torch

from model.chat import IM_END
from model.weights import load_model, save_model
from pipeline.errors import GristmillError
from pipeline.store import Folder

Dtype = Literal["float32", "float16", "bfloat16"]
TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "chat_template.jinja",
    "vocab.json",
    "merges.txt",
)
# How published tokenizers call the token that ends a document.
DOCUMENT_ENDS = ("<|endoftext|>", "<|end_of_text|>", "</s>", "<eos>", "<|eos|>")


def export_hf(source: str | Path, out: str | Path, dtype: Dtype = "float32") -> None:
    """Write `out` so that `AutoModelForCausalLM` and `AutoTokenizer` load it: weights, configs, tokenizer, template.

    `source` is a folder of config.json, safetensors and tokenizer, such as a run's `model/`. Raises
    GristmillError where it lacks its tokenizer: weights without it are of no use to anyone.
    """
    source = Path(source)
    model = load_model(source, dtype=_dtype(dtype))
    tokenizer = tokenizer_files(source)
    ends = end_ids(source)
    target = Folder(out)
    for name, data in tokenizer.items():
        target.write_bytes(name, data)
    ids = {"eos_token_id": ends[0] if len(ends) == 1 else list(ends), "bos_token_id": _stated(source, "bos_token_id")}
    about = {name: value for name, value in ids.items() if value is not None}
    save_model(model, out, about={**about, "dtype": dtype, "torch_dtype": dtype})
    target.write_json("generation_config.json", {**about, "do_sample": True})


def tokenizer_files(folder: Path) -> dict[str, bytes]:
    """The tokenizer's files beside a model, by name."""
    found = {name: (folder / name).read_bytes() for name in TOKENIZER_FILES if (folder / name).is_file()}
    if "tokenizer.json" not in found:
        what = "no tokenizer.json beside the weights"
        raise GristmillError(what, str(folder), "Copy the tokenizer/ folder of the dataset it was trained on there.")
    return found


def end_ids(folder: Path) -> tuple[int, ...]:
    """The ids that end the model's output: what its config states, and `<|im_end|>` where it was taught to chat."""
    stated = _stated(folder, "eos_token_id")
    ids = stated if isinstance(stated, list) else [] if stated is None else [stated]
    if not ids:
        added = json.loads(tokenizer_files(folder)["tokenizer.json"]).get("added_tokens") or []
        named = {token["content"]: token["id"] for token in added}
        ids = [named[name] for name in DOCUMENT_ENDS if name in named][:1]
    if not ids:
        what = "nothing says which token ends a text: eos_token_id is missing"
        raise GristmillError(what, str(folder / "config.json"), "Add eos_token_id.")
    return tuple(int(index) for index in ids)


def chat_config(tokenizer: dict[str, bytes]) -> dict[str, bytes]:
    """The tokenizer's files of a model that chats: its end of sequence is `<|im_end|>`, as servers expect."""
    changed = dict(tokenizer)
    for name in ("tokenizer_config.json", "special_tokens_map.json"):
        if name in changed:
            facts: dict[str, Any] = json.loads(changed[name]) | {"eos_token": IM_END}
            others = facts.get("additional_special_tokens")
            if others:
                facts["additional_special_tokens"] = [token for token in others if token != IM_END]
            changed[name] = (json.dumps(facts, indent=2, ensure_ascii=False, sort_keys=True) + "\n").encode()
    return changed


def _stated(folder: Path, name: str) -> Any:
    """A value of generation_config.json, else of config.json."""
    for file in ("generation_config.json", "config.json"):
        if (folder / file).is_file():
            value = json.loads((folder / file).read_text(encoding="utf-8")).get(name)
            if value is not None:
                return value
    return None


def _dtype(name: str) -> torch.dtype:
    if name not in ("float32", "float16", "bfloat16"):
        raise GristmillError("there is no such dtype", f"--dtype {name}", "Choose float32, float16 or bfloat16.")
    return getattr(torch, name)
