"""Models from configs and folders, and weights to folders: `config.json` and `model.safetensors`, Hugging Face's names."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from model.config import ModelConfig
from model.gpt2 import GPT2
from model.transformer import Transformer
from pipeline.errors import GristmillError
from pipeline.store import Folder

Model = Transformer | GPT2


def build_model(config: ModelConfig) -> Model:
    """A model of this shape, its parameters not yet meant: `initialize` or load them."""
    return GPT2(config) if config.family == "gpt2" else Transformer(config)


def save_model(
    model: Model, folder: str | Path, state: Mapping[str, Tensor] | None = None, about: Mapping[str, Any] | None = None
) -> None:
    """Write `config.json` and `model.safetensors`, each all or nothing.

    `state` replaces the model's own parameters (a gathered copy of sharded ones, an average), `about` adds to the
    config (`eos_token_id`). Raises GristmillError where the disk is full.
    """
    target = Folder(folder)
    weights = {
        name: value.detach().to("cpu").contiguous()
        for name, value in (model.state_dict() if state is None else state).items()
    }
    target.write_bytes("model.safetensors", save(weights, metadata={"format": "pt"}))
    target.write_json("config.json", {**model.config.to_hf(), **(about or {})})


def load_model(
    folder: str | Path, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32, max_seq_len: int = 0
) -> Model:
    """The model of a folder with `config.json` and `*.safetensors`, sharded or not, in evaluation mode.

    `max_seq_len` lengthens or shortens the context (rotary positions have no table). Raises GristmillError where
    files are missing or damaged, or their tensors are not those of the config.
    """
    folder = Path(folder)
    config = read_config(folder)
    if max_seq_len and config.family != "gpt2":
        config = ModelConfig(**{**config.to_dict(), "max_seq_len": max_seq_len})
    model = build_model(config).to(dtype)
    load_weights(model, folder)
    return model.to(device).eval()


def load_weights(model: Model, folder: str | Path) -> None:
    """Copy the weights of a folder into a model of the same shape."""
    files = sorted(Path(folder).glob("*.safetensors"))
    if not files:
        raise GristmillError("no weights: no *.safetensors", str(folder), "Give a folder of a saved model.")
    parameters = dict(model.state_dict())
    found: set[str] = set()
    for file in files:
        try:
            with safe_open(file, framework="pt") as tensors:
                for stored in tensors.keys():  # noqa: SIM118  # no mapping: it has keys() only
                    name = _our_name(stored, model)
                    if name in parameters:
                        _copy(parameters[name], tensors.get_tensor(stored), f"{file}: {stored}")
                        found.add(name)
                    elif not _is_redundant(name, model):
                        what = f"the weights hold {stored}, which the config's shape has not"
                        raise GristmillError(what, str(file), "Give the config.json that belongs to the weights.")
        except (SafetensorError, OSError) as error:
            raise GristmillError(f"not whole ({error})", str(file), "Copy the file again.") from error
    if missing := sorted(parameters.keys() - found):
        what = f"{len(missing)} weights are missing, the first is {missing[0]}"
        raise GristmillError(what, str(folder), "Copy the folder again, every shard of it.")


def read_config(folder: str | Path) -> ModelConfig:
    """The shape that a folder's `config.json` describes."""
    path = Path(folder) / "config.json"
    try:
        return ModelConfig.from_hf(json.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        inner = Path(folder) / "model"
        todo = f"Its model is {inner}." if (inner / "config.json").is_file() else "Give a folder of a saved model."
        raise GristmillError("no config.json", str(folder), todo) from error
    except ValueError as error:
        raise GristmillError(f"not JSON ({error})", str(path), "Copy the file again.") from error


def _our_name(stored: str, model: Model) -> str:
    """GPT-2's original checkpoints lack the prefix that transformers adds."""
    if model.config.family == "gpt2" and not stored.startswith(("transformer.", "lm_head.")):
        return f"transformer.{stored}"
    return stored


def _is_redundant(name: str, model: Model) -> bool:
    """Stored beside what it equals (a tied head), or no parameter (masks and angles of older versions)."""
    tied = name == "lm_head.weight" and model.config.tie_embeddings
    return tied or name.endswith((".attn.bias", ".attn.masked_bias", "rotary_emb.inv_freq"))


@torch.no_grad()
def _copy(parameter: Tensor, value: Tensor, where: str) -> None:
    if parameter.shape != value.shape:
        what = f"the shape is {tuple(value.shape)}, the config's is {tuple(parameter.shape)}"
        raise GristmillError(what, where, "Give the config.json that belongs to the weights.")
    parameter.copy_(value)
