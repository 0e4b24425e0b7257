"""Pretraining: published datasets to a base model."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from model.baseline import bigram_bits_per_byte
from model.checkpoint import held
from model.config import ModelConfig
from model.data import Loader, Source, all_rows
from model.dataset import TokenDataset
from model.packing import Packing
from model.parallel import Processes, processes
from model.plan import CHINCHILLA_RATIO, batch_size
from model.train import LoopSettings, Outcome, Trainer
from model.vocabulary import Vocabulary
from model.weights import build_model, load_weights, read_config
from pipeline.errors import GristmillError
from pipeline.store import Folder


@dataclass(frozen=True, kw_only=True)
class PretrainConfig:
    """A pretraining run. Give `steps` or `tokens`, or neither for 20 tokens a parameter."""

    data: tuple[Source, ...]
    out: str
    model: str = "124m"  # a preset, or d12 for depth 12
    init: str = ""  # a folder of weights to start from, whose shape replaces `model`
    seq_len: int = 0  # 0: the model's context
    batch_tokens: int = 0  # of a step over all processes; 0: what the plan gives for the tokens trained on
    steps: int = 0
    tokens: int = 0
    seed: int = 0
    packing: Packing = "bestfit"
    validation_tokens: int = 1 << 20  # of each dataset's validation part, at most
    device: str = "auto"
    checksums: bool = True
    loop: LoopSettings = field(default_factory=lambda: LoopSettings(steps=0))


def pretrain(config: PretrainConfig) -> Outcome:
    """Train to the end, from the folder's last checkpoint if it has one. Under `torchrun`, one of its processes.

    Raises GristmillError where data and model do not fit, the folder is in use, and as Loader and Trainer do.
    """
    with processes(config.device) as group, held(Path(config.out), group):
        shape = model_config(config)
        seq_len = config.seq_len or shape.max_seq_len
        loader = Loader(
            list(config.data),
            seq_len,
            batch_rows=max(1, tokens_a_step(config, shape) // seq_len),
            seed=config.seed,
            packing=config.packing,
            rank=group.rank,
            world=group.world,
            device=group.device,
            checksums=config.checksums,
        )
        loader.require(shape.vocab_size, shape.max_seq_len, _tokenizer_of(config.init))
        return _trainer(config, shape, loader, group).run()


def model_config(config: PretrainConfig) -> ModelConfig:
    """The model's shape: of the weights to start from, or the preset with the data's vocabulary and the row's length."""
    if config.init:
        return read_config(config.init)
    vocabulary = TokenDataset(config.data[0].path, checksums=False).header.vocab_size
    shape = ModelConfig.preset(config.model, vocabulary)
    return replace(shape, max_seq_len=config.seq_len) if config.seq_len else shape


def horizon(config: PretrainConfig, shape: ModelConfig) -> int:
    """Steps: as given, or of the tokens given, or of 20 tokens a parameter."""
    return config.steps or max(1, round(_tokens(config, shape) / tokens_a_step(config, shape)))


def tokens_a_step(config: PretrainConfig, shape: ModelConfig) -> int:
    """The batch in tokens: as given, else by the plan's rule."""
    return config.batch_tokens or batch_size(_tokens(config, shape))


def _tokens(config: PretrainConfig, shape: ModelConfig) -> float:
    return config.tokens or CHINCHILLA_RATIO * shape.parameters()["total"]


def _trainer(config: PretrainConfig, shape: ModelConfig, loader: Loader, group: Processes) -> Trainer:
    model = build_model(shape)
    if config.init:
        load_weights(model, config.init)
    else:
        model.initialize(config.seed)
    train = loader.datasets[0]
    vocabulary = Vocabulary(train.tokenizer_json)
    held_out = _held_out(config)
    baselines: dict[str, float] = {}
    if group.is_first:
        facts: dict[str, Any] = {
            "config": asdict(config),
            "steps": horizon(config, shape),
            "model": shape.to_dict(),
            "data": loader.fingerprint(),
        }
        if held_out:
            facts["bigram_bits_per_byte"] = bigram_bits_per_byte(train, held_out[0], vocabulary)
            baselines["byte bigram"] = facts["bigram_bits_per_byte"]
        Folder(config.out).write_bytes("run.json", (json.dumps(facts, indent=2, sort_keys=True) + "\n").encode())
    limit = max(1, config.validation_tokens // loader.seq_len)

    def validation() -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        for dataset in held_out:
            yield from all_rows(dataset, loader.seq_len, limit)

    return Trainer(
        model,
        loader,
        config.out,
        replace(config.loop, steps=horizon(config, shape)),
        group,
        vocabulary,
        validation if held_out else None,
        train.tokenizer_files(),
        {"eos_token_id": loader.header.eot_id, "bos_token_id": loader.header.eot_id},
        baselines,
    )


def _held_out(config: PretrainConfig) -> list[TokenDataset]:
    """The validation parts of the datasets that were published with one."""
    return [
        TokenDataset(source.path, "validation", checksums=False)
        for source in config.data
        if any(name.startswith("tokens/validation-") for name in Folder(source.path).names("tokens"))
    ]


def _tokenizer_of(init: str) -> str:
    """SHA-256 of the tokenizer beside the weights to start from; empty where there is none to compare."""
    if not init:
        return ""
    path = Path(init) / "tokenizer.json"
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest() if path.exists() else ""
    except OSError as error:
        raise GristmillError(f"cannot be read ({error.strerror})", str(path), "Mind the file's permissions.") from error
