"""LoRA and QLoRA: small trained matrices beside frozen ones, in PEFT's file format.

LoRA: Hu et al. 2021, arXiv 2106.09685. QLoRA keeps the frozen ones as NF4: Dettmers et al. 2023, arXiv 2305.14314.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save
from torch import Tensor, nn

from model.nf4 import NF4Weight
from model.transformer import Transformer
from model.weights import Model
from pipeline.errors import GristmillError
from pipeline.store import Folder

TARGETS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
_PEFT = "base_model.model."  # what PEFT writes before a model's own names
_ROWS = "token_adapter.trainable_tokens_delta"  # its name for trained rows: the rows themselves, no difference


@dataclass(frozen=True, slots=True, kw_only=True)
class LoRAConfig:
    """Rank and scale (alpha / rank) of the adapters; all linear layers by default, as QLoRA found best."""

    rank: int = 16
    alpha: float = 32.0
    dropout: float = 0.0
    targets: tuple[str, ...] = TARGETS
    quantized: bool = False  # QLoRA: the frozen matrices as NF4, 4.5 bits a weight
    tokens: tuple[int, ...] = ()  # ids whose rows are trained whole: a base model never saw the marks of a chat

    def __post_init__(self) -> None:
        if self.rank < 1 or unknown(self.targets):
            what = f"rank {self.rank}" if self.rank < 1 else f"there is no {unknown(self.targets)[0]} to adapt"
            raise GristmillError(what, "LoRA", f"A rank from 1 on; targets of {', '.join(TARGETS)}.")


class LoRALinear(nn.Module):
    """W x + (alpha / rank) B A x with W frozen. B starts at zero, so an adapter begins as nothing."""

    def __init__(self, weight: Tensor, config: LoRAConfig, generator: torch.Generator) -> None:
        super().__init__()
        outputs, inputs = weight.shape
        self.scale, self.dropout = config.alpha / config.rank, config.dropout
        self.base = NF4Weight(weight) if config.quantized else Frozen(weight)
        bound = 1 / math.sqrt(inputs)  # Kaiming uniform with a = sqrt(5), as PEFT draws A
        first = (torch.rand(config.rank, inputs, generator=generator) * 2 - 1) * bound
        self.lora_A = nn.Parameter(first.to(weight.device, weight.dtype))
        self.lora_B = nn.Parameter(weight.new_zeros(outputs, config.rank))

    def forward(self, states: Tensor) -> Tensor:
        dtype = states.dtype
        dropped = F.dropout(states, self.dropout, self.training) if self.dropout else states
        small = F.linear(F.linear(dropped, self.lora_A.to(dtype)), self.lora_B.to(dtype))
        return F.linear(states, self.base().to(dtype)) + self.scale * small

    @torch.no_grad()
    def merged(self) -> Tensor:
        """The one matrix (out, in) that does the same."""
        weight = self.base()
        return weight + (self.scale * (self.lora_B.float() @ self.lora_A.float())).to(weight.dtype)


class Frozen(nn.Module):
    """A matrix that is not trained."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.register_buffer("weight", weight.detach().clone())

    def forward(self) -> Tensor:
        return self.weight


class TrainedRows(nn.Module):
    """An embedding or output matrix (V, C), frozen but for some rows: PEFT's `trainable_token_indices`."""

    def __init__(self, weight: Tensor, ids: tuple[int, ...]) -> None:
        super().__init__()
        self.register_buffer("base", weight.detach().clone())
        self.register_buffer("ids", torch.tensor(ids, device=weight.device))
        self.rows = nn.Parameter(weight.detach()[list(ids)].clone())

    def forward(self, tokens: Tensor) -> Tensor:
        return F.embedding(tokens, self.weight)

    @property
    def weight(self) -> Tensor:
        return self.base.index_copy(0, self.ids, self.rows)


def add_lora(model: Model, config: LoRAConfig, seed: int = 0) -> None:
    """Freeze the model and put adapters beside its target matrices; only they are trained from here on."""
    if not isinstance(model, Transformer) or model.config.n_experts:
        raise GristmillError("LoRA is for dense Qwen3 and Llama shapes", "--lora", "Fine-tune the whole model.")
    generator = torch.Generator().manual_seed(seed)
    model.requires_grad_(False)
    for layer in model.layers:
        for block in (layer.self_attn, layer.mlp):
            for name in TARGETS:
                if name in config.targets and isinstance(linear := getattr(block, name, None), nn.Linear):
                    setattr(block, name, LoRALinear(linear.weight, config, generator))
    if config.tokens:
        model.model.embed_tokens = TrainedRows(model.model.embed_tokens.weight, config.tokens)
        if model.lm_head is not None:
            model.lm_head = TrainedRows(model.lm_head.weight, config.tokens)


def merged_state(model: Model) -> dict[str, Tensor]:
    """The weights of the plain model that does the same, under the plain model's names."""
    changed = {name: adapter.merged() for name, adapter in adapters(model).items()}
    changed |= {name: rows.weight.detach() for name, rows in trained_rows(model).items()}
    state = {name: value for name, value in model.state_dict().items() if not _belongs(name, changed)}
    return state | {f"{name}.weight": weight for name, weight in changed.items()}


def save_adapter(model: Model, config: LoRAConfig, folder: str | Path, base: str) -> None:
    """Write `adapter_config.json` and `adapter_model.safetensors`, which PEFT loads onto the model `base`."""
    weights = {}
    for name, adapter in adapters(model).items():
        for part in ("lora_A", "lora_B"):
            weights[f"{_PEFT}{name}.{part}.weight"] = getattr(adapter, part).detach().cpu().contiguous()
    for name, trained in trained_rows(model).items():
        weights[f"{_PEFT}{name}.{_ROWS}"] = trained.rows.detach().cpu().contiguous()
    tokens = {name.rpartition(".")[2]: list(config.tokens) for name in trained_rows(model)}
    target = Folder(folder)
    target.write_bytes("adapter_model.safetensors", save(weights, metadata={"format": "pt"}))
    target.write_json(
        "adapter_config.json",
        {
            "peft_type": "LORA",
            "task_type": "CAUSAL_LM",
            "base_model_name_or_path": base,
            "r": config.rank,
            "lora_alpha": config.alpha,
            "lora_dropout": config.dropout,
            "target_modules": list(config.targets),
            "bias": "none",
            "fan_in_fan_out": False,
            "inference_mode": True,
            "init_lora_weights": True,
            "use_rslora": False,
            "use_dora": False,
            "trainable_token_indices": tokens or None,
        },
    )


def load_adapter(model: Model, folder: str | Path) -> LoRAConfig:
    """Put a saved adapter, ours or PEFT's, onto the model it belongs to."""
    folder = Path(folder)
    try:
        facts = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
        weights = load_file(folder / "adapter_model.safetensors")
    except (OSError, ValueError) as error:
        raise GristmillError(f"no whole adapter ({error})", str(folder), "Give a folder that PEFT saved.") from error
    if facts.get("use_dora") or facts.get("use_rslora") or facts.get("bias", "none") != "none":
        raise GristmillError("an adapter of another kind than plain LoRA", str(folder), "Merge it with PEFT first.")
    tokens = facts.get("trainable_token_indices") or {}
    listed = set(map(tuple, tokens.values() if isinstance(tokens, dict) else [tokens]))
    if len(listed) > 1:
        raise GristmillError("embedding and head with other trained tokens", str(folder), "Merge it with PEFT first.")
    config = LoRAConfig(
        rank=facts["r"],
        alpha=facts["lora_alpha"],
        targets=tuple(sorted(facts["target_modules"])),
        tokens=next(iter(listed), ()),
    )
    add_lora(model, config)
    _fill(model, weights, str(folder))
    return config


def adapters(model: nn.Module) -> dict[str, LoRALinear]:
    """The adapted layers by the plain model's names."""
    return {name: module for name, module in model.named_modules() if isinstance(module, LoRALinear)}


def trained_rows(model: nn.Module) -> dict[str, TrainedRows]:
    """The matrices of which some rows are trained, by the plain model's names."""
    return {name: module for name, module in model.named_modules() if isinstance(module, TrainedRows)}


def trained_share(model: Model) -> float:
    """Trained parameters as a share of the plain model's."""
    trained = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    return trained / model.config.parameters()["total"]


def unknown(targets: tuple[str, ...]) -> list[str]:
    return [name for name in targets if name not in TARGETS]


def _belongs(name: str, changed: Mapping[str, Tensor]) -> bool:
    return any(name.startswith(f"{module}.") for module in changed)


@torch.no_grad()
def _fill(model: Model, weights: dict[str, Tensor], where: str) -> None:
    wanted = {
        f"{_PEFT}{name}.{part}.weight": getattr(adapter, part)
        for name, adapter in adapters(model).items()
        for part in ("lora_A", "lora_B")
    }
    wanted |= {f"{_PEFT}{name}.{_ROWS}": trained.rows for name, trained in trained_rows(model).items()}
    for name, parameter in wanted.items():
        value = weights.get(name)
        if value is None or value.shape != parameter.shape:
            what = f"the adapter has no fitting {name.removeprefix(_PEFT)}"
            raise GristmillError(what, where, "Give the model that the adapter was trained on.")
        parameter.copy_(value)
