"""GGUF files as starting points: weights, shape, tokenizer and chat template to the folder that everything here reads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gguf
import numpy as np
import torch
from torch import Tensor

from model.config import ModelConfig
from model.export import DOCUMENT_ENDS
from model.gguf import PRETOKENIZERS, interleaved
from model.weights import build_model, save_model
from pipeline.errors import GristmillError
from pipeline.store import Folder

_ARCHITECTURES = {"qwen3": gguf.MODEL_ARCH.QWEN3, "llama": gguf.MODEL_ARCH.LLAMA}
_READABLE = "Llama and Qwen3 shapes with a byte-level BPE can be read."


def import_gguf(source: str | Path, out: str | Path) -> None:
    """Write `out` with config.json, model.safetensors and the tokenizer's files, as `--init` and `generate` take it.

    Quantised weights become the float32 values that they stand for. Raises GristmillError where the file is
    damaged, or its shape or tokenizer is not computed here.
    """
    source = Path(source)
    file = _File(source)
    config = _shape(file)
    tokenizer, about = _tokenizer(file)
    weights = _weights(file, config)
    target = Folder(out)
    for name, data in tokenizer.items():
        target.write_json(name, data)
    save_model(build_model(config), out, weights, about)


class _File:
    """A GGUF file's facts by name."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self.reader = gguf.GGUFReader(path)
        except FileNotFoundError as error:
            raise GristmillError("there is no such file", str(path), "Check the path.") from error
        except (OSError, ValueError, KeyError, IndexError) as error:
            what = f"not a whole GGUF file ({str(error).splitlines()[0] if str(error) else type(error).__name__})"
            raise GristmillError(what, str(path), "Fetch the file again.") from error
        self.tensors = {tensor.name: tensor for tensor in self.reader.tensors}
        self.architecture = str(self.get("general.architecture"))

    def get(self, name: str, default: Any = None) -> Any:
        field = self.reader.get_field(name)
        return default if field is None else field.contents()

    def number(self, name: str, default: Any = None) -> Any:
        """A fact of the architecture. Raises GristmillError where it is missing and has no default."""
        value = self.get(f"{self.architecture}.{name}", default)
        if value is None:
            raise self.refused(f"lacks {self.architecture}.{name}")
        return value

    def refused(self, what: str) -> GristmillError:
        return GristmillError(what, str(self.path), _READABLE)


def _shape(file: _File) -> ModelConfig:
    if file.architecture not in _ARCHITECTURES:
        raise file.refused(f"the architecture is {file.architecture!r}, which is not computed here")
    scaling = file.number("rope.scaling.type", "none")
    if scaling != "none" or "rope_freqs.weight" in file.tensors:
        raise file.refused("its rotary positions are scaled, which is not computed here")
    width, heads = file.number("embedding_length"), file.number("attention.head_count")
    head_dim = file.number("attention.key_length", width // heads)
    if file.number("rope.dimension_count", head_dim) != head_dim:
        raise file.refused("its rotary positions turn a part of each head, which is not computed here")
    return ModelConfig(
        family="llama" if file.architecture == "llama" else "qwen3",
        vocab_size=int(file.tensors["token_embd.weight"].shape[1]),
        n_layers=file.number("block_count"),
        d_model=width,
        n_heads=heads,
        n_kv_heads=file.number("attention.head_count_kv", heads),
        head_dim=head_dim,
        d_ff=file.number("feed_forward_length"),
        max_seq_len=file.number("context_length"),
        tie_embeddings="output.weight" not in file.tensors,
        rope_theta=float(file.number("rope.freq_base", 10_000.0)),
        # float32 in the file: 1e-05 comes back as 9.999999747378752e-06
        norm_eps=float(f"{file.number('attention.layer_norm_rms_epsilon'):.6g}"),
    )


def _weights(file: _File, config: ModelConfig) -> dict[str, Tensor]:
    """By Hugging Face's names; every tensor of the file is used, and every parameter found."""
    with torch.device("meta"):
        wanted = build_model(config).state_dict()
    names = gguf.get_tensor_name_map(_ARCHITECTURES[file.architecture], config.n_layers)
    stored = {name: names.get_name(name, try_suffixes=(".weight",)) for name in wanted}
    if unused := sorted(set(file.tensors) - {str(name) for name in stored.values()}):
        raise file.refused(f"holds {unused[0]}, which the shape has not")
    weights = {}
    for name, like in wanted.items():
        tensor = file.tensors.get(str(stored[name]))
        if tensor is None:
            raise file.refused(f"lacks {stored[name]}")
        try:
            value = torch.from_numpy(np.array(gguf.dequantize(tensor.data, tensor.tensor_type), np.float32))
        except NotImplementedError as error:
            raise file.refused(f"{tensor.name} is {tensor.tensor_type.name}, which cannot be read") from error
        value = value.reshape(like.shape) if value.numel() == like.numel() else value
        if value.shape != like.shape:
            raise file.refused(f"{tensor.name} has the shape {tuple(value.shape)}, not {tuple(like.shape)}")
        if config.family == "llama" and name.endswith(("q_proj.weight", "k_proj.weight")):
            heads = config.n_heads if name.endswith("q_proj.weight") else config.n_kv_heads
            value = side_by_side(value, heads)
        weights[name] = value
    return weights


def side_by_side(weight: Tensor, heads: int) -> Tensor:
    """What `interleaved` does, undone: first halves of each head's rows, then second halves."""
    back = weight.unflatten(0, (heads, -1, 2)).transpose(1, 2).flatten(0, 2)
    assert torch.equal(interleaved(back, heads), weight)
    return back


def _tokenizer(file: _File) -> tuple[dict[str, Any], dict[str, Any]]:
    """The tokenizer's files by name, and the ids that the model's config states."""
    if file.get("tokenizer.ggml.model") != "gpt2":
        raise file.refused(f"its tokenizer is {file.get('tokenizer.ggml.model')!r}, not a byte-level BPE")
    tokens, types = file.get("tokenizer.ggml.tokens"), file.get("tokenizer.ggml.token_type")
    kept = {token: i for i, token in enumerate(tokens) if types[i] != gguf.TokenType.UNUSED}
    special = {token: types[i] == gguf.TokenType.CONTROL for token, i in kept.items()}
    added = [
        {
            "id": index, "content": token, "special": special[token],
            "single_word": False, "lstrip": False, "rstrip": False, "normalized": False,
        }
        for token, index in kept.items()
        if types[index] in (gguf.TokenType.CONTROL, gguf.TokenType.USER_DEFINED)
    ]  # fmt: skip
    pre = file.get("tokenizer.ggml.pre", "gpt-2")
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    model = {
        "type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None, "end_of_word_suffix": None,
        "fuse_unk": False, "byte_fallback": False, "ignore_merges": pre == "llama-bpe", "vocab": kept,
        "merges": [_pair(merge) for merge in file.get("tokenizer.ggml.merges")],
    }  # fmt: skip
    facts = {
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": added, "normalizer": None,
        "pre_tokenizer": _splitting(file, pre, byte_level), "post_processor": None, "decoder": byte_level, "model": model,
    }  # fmt: skip
    ids = {name: file.get(f"tokenizer.ggml.{name}_token_id") for name in ("bos", "eos", "eot", "padding")}
    ends = [index for index in (ids["eos"], ids["eot"], *map(kept.get, DOCUMENT_ENDS)) if index is not None]
    if not ends:
        raise file.refused("nothing says which token ends a text")
    named = {"eos_token": ids["eos"], "bos_token": ids["bos"], "pad_token": ids["padding"]}
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "clean_up_tokenization_spaces": False}
    config |= {name: tokens[index] for name, index in named.items() if index is not None}
    if template := file.get("tokenizer.chat_template"):
        config["chat_template"] = template
    about: dict[str, Any] = {"eos_token_id": list(dict.fromkeys(ends))}
    if ids["bos"] is not None:
        about["bos_token_id"] = ids["bos"]
    return {"tokenizer.json": facts, "tokenizer_config.json": config}, about


def _pair(merge: str) -> list[str]:
    """Neither part holds a blank: byte-level letters stand for it."""
    first, _, second = merge.partition(" ")
    return [first, second]


def _splitting(file: _File, pre: str, byte_level: dict[str, Any]) -> dict[str, Any]:
    """How text is cut before merging, from llama.cpp's name of it."""
    if pre in ("gpt-2", "default"):
        return byte_level
    if pre == "smollm":
        return {"type": "Sequence", "pretokenizers": [{"type": "Digits", "individual_digits": True}, byte_level]}
    if pre not in PRETOKENIZERS:
        raise file.refused(f"its tokenizer splits text as {pre!r}, which is not known here")
    split = {"type": "Split", "pattern": {"Regex": PRETOKENIZERS[pre]}, "behavior": "Isolated", "invert": False}
    return {"type": "Sequence", "pretokenizers": [split, {**byte_level, "use_regex": False}]}
