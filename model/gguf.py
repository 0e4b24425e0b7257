"""GGUF: one file of weights, tokenizer and chat template for llama.cpp; written with the model's own tokenizer.

llama.cpp's converter knows tokenizers by a hash and refuses one that was newly trained; here the way text is split
before merging is recognised by its pattern, and its name written into the file.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, Literal

import gguf
import numpy as np
from torch import Tensor

from model.config import ModelConfig
from model.export import end_ids, tokenizer_files
from model.weights import load_model
from pipeline.errors import GristmillError

Precision = Literal["f32", "f16", "bf16", "q8_0"]
_TYPES = {
    "f32": (gguf.GGMLQuantizationType.F32, gguf.LlamaFileType.ALL_F32),
    "f16": (gguf.GGMLQuantizationType.F16, gguf.LlamaFileType.MOSTLY_F16),
    "bf16": (gguf.GGMLQuantizationType.BF16, gguf.LlamaFileType.MOSTLY_BF16),
    "q8_0": (gguf.GGMLQuantizationType.Q8_0, gguf.LlamaFileType.MOSTLY_Q8_0),
}
# How text is split before merging, by llama.cpp's names (src/llama-vocab.cpp).
_CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_REST = r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_UPPER, _LOWER = r"\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}", r"\p{Ll}\p{Lm}\p{Lo}\p{M}"
PRETOKENIZERS = {
    "qwen2": rf"{_CONTRACTIONS}|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}}|{_REST}",
    "llama-bpe": rf"{_CONTRACTIONS}|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}}{{1,3}}|{_REST}",
    "gpt-2": r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",
    "gpt-4o": (
        rf"[^\r\n\p{{L}}\p{{N}}]?[{_UPPER}]*[{_LOWER}]+{_CONTRACTIONS}?"
        rf"|[^\r\n\p{{L}}\p{{N}}]?[{_UPPER}]+[{_LOWER}]*{_CONTRACTIONS}?"
        r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    ),
}
_ARCHITECTURES = {"qwen3": gguf.MODEL_ARCH.QWEN3, "llama": gguf.MODEL_ARCH.LLAMA}


def export_gguf(source: str | Path, out: str | Path, precision: Precision = "f16", name: str = "") -> Path:
    """Write the model of a folder as one GGUF file; `out` is the file.

    Matrices have the precision asked for (a row that Q8_0's blocks of 32 do not divide stays f16), norms float32.
    Raises GristmillError for a shape or a tokenizer that llama.cpp does not know.
    """
    source, out = Path(source), Path(out)
    if precision not in _TYPES:
        raise GristmillError("there is no such precision", f"--precision {precision}", f"Choose {', '.join(_TYPES)}.")
    model = load_model(source)
    config = model.config
    if config.family not in _ARCHITECTURES or config.n_experts:
        what = f"GGUF export writes dense Qwen3 and Llama shapes, not {'experts' if config.n_experts else config.family}"
        raise GristmillError(what, str(source), "Export with --to hf, and convert with llama.cpp's own script.")
    arch = _ARCHITECTURES[config.family]
    out.parent.mkdir(parents=True, exist_ok=True)
    draft = out.with_name(f".{out.name}.tmp")
    try:
        writer = gguf.GGUFWriter(draft, gguf.MODEL_ARCH_NAMES[arch])
        writer.add_name(name or source.resolve().name)
        writer.add_file_type(_TYPES[precision][1])
        _add_shape(writer, config)
        _add_tokenizer(writer, source, config.vocab_size)
        _add_tensors(writer, model.state_dict(), config, precision, arch)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        with draft.open("rb") as file:
            os.fsync(file.fileno())
        os.replace(draft, out)
    except OSError as error:
        what = f"the file cannot be written ({error.strerror})"
        raise GristmillError(what, str(out), "Free some space, or choose another folder.") from error
    finally:
        draft.unlink(missing_ok=True)
    return out


def _add_shape(writer: gguf.GGUFWriter, config: ModelConfig) -> None:
    writer.add_context_length(config.max_seq_len)
    writer.add_embedding_length(config.d_model)
    writer.add_block_count(config.n_layers)
    writer.add_feed_forward_length(config.d_ff)
    writer.add_head_count(config.n_heads)
    writer.add_head_count_kv(config.n_kv_heads)
    writer.add_key_length(config.head_dim)
    writer.add_value_length(config.head_dim)
    writer.add_rope_dimension_count(config.head_dim)
    writer.add_rope_freq_base(config.rope_theta)
    writer.add_layer_norm_rms_eps(config.norm_eps)
    writer.add_vocab_size(config.vocab_size)


def _add_tokenizer(writer: gguf.GGUFWriter, source: Path, vocab_size: int) -> None:
    files = tokenizer_files(source)
    facts = json.loads(files["tokenizer.json"])
    if facts["model"].get("type") != "BPE" or "ByteLevel" not in json.dumps(facts.get("decoder")):
        raise GristmillError("not a byte-level BPE", str(source / "tokenizer.json"), "Export with --to hf.")
    # Rows that only pad the embedding have names too, or llama.cpp counts fewer tokens than logits.
    tokens = [f"[PAD{index}]" for index in range(vocab_size)]
    types = [gguf.TokenType.UNUSED] * vocab_size
    for token, index in facts["model"]["vocab"].items():
        tokens[index], types[index] = token, gguf.TokenType.NORMAL
    for added in facts.get("added_tokens") or []:
        kind = gguf.TokenType.CONTROL if added["special"] else gguf.TokenType.USER_DEFINED
        tokens[added["id"]], types[added["id"]] = added["content"], kind
    merges = [merge if isinstance(merge, str) else " ".join(merge) for merge in facts["model"]["merges"]]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pretokenizer_name(facts))
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    writer.add_token_merges(merges)
    ends = end_ids(source)
    writer.add_eos_token_id(ends[0])
    if len(ends) > 1:
        writer.add_eot_token_id(ends[0])  # a model that chats ends its turn so; the other one ends documents
    writer.add_add_bos_token(False)
    config = json.loads(files.get("tokenizer_config.json", b"{}"))
    special = {token: index for index, token in enumerate(tokens)}
    if config.get("pad_token") in special:
        writer.add_pad_token_id(special[config["pad_token"]])
    template = files["chat_template.jinja"].decode() if "chat_template.jinja" in files else config.get("chat_template")
    if template:
        writer.add_chat_template(template)


def pretokenizer_name(tokenizer: dict[str, Any]) -> str:
    """llama.cpp's name for how a tokenizer.json splits text. Raises GristmillError where it has none."""
    step = tokenizer.get("pre_tokenizer") or {}
    steps = step.get("pretokenizers", [step])
    patterns = [found["pattern"]["Regex"] for found in steps if found.get("type") == "Split" and "Regex" in found["pattern"]]
    if not patterns and any(s.get("type") == "ByteLevel" and s.get("use_regex", True) for s in steps):
        return "smollm" if any(s.get("type") == "Digits" for s in steps) else "gpt-2"
    for name, pattern in PRETOKENIZERS.items():
        if patterns == [pattern]:
            return name
    raise GristmillError(
        "llama.cpp does not know how this tokenizer splits text",
        "tokenizer.json",
        f"Train the tokenizer with one of the patterns {', '.join(PRETOKENIZERS)}.",
    )


def _add_tensors(
    writer: gguf.GGUFWriter, weights: dict[str, Tensor], config: ModelConfig, precision: Precision, arch: gguf.MODEL_ARCH
) -> None:
    names = gguf.get_tensor_name_map(arch, config.n_layers)
    for name, value in weights.items():
        stored = names.get_name(name, try_suffixes=(".weight",))
        assert stored is not None, name
        tensor = value.detach().float()
        if config.family == "llama" and name.endswith(("q_proj.weight", "k_proj.weight")):
            heads = config.n_heads if name.endswith("q_proj.weight") else config.n_kv_heads
            tensor = interleaved(tensor, heads)
        kind = _TYPES[precision][0] if tensor.ndim > 1 else gguf.GGMLQuantizationType.F32
        if kind == gguf.GGMLQuantizationType.Q8_0 and tensor.shape[-1] % 32:
            kind = gguf.GGMLQuantizationType.F16
        data = gguf.quantize(np.ascontiguousarray(tensor.numpy()), kind)
        writer.add_tensor(stored, data, raw_dtype=kind)


def interleaved(weight: Tensor, heads: int) -> Tensor:
    """Rows of a (heads x D, C) projection as llama.cpp's Llama turns them: pairs side by side, not half a head apart."""
    return weight.unflatten(0, (heads, 2, -1)).transpose(1, 2).flatten(0, 2)
