"""A tokenizer and models small enough to train and compare within a test."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import torch

from model.config import ModelConfig
from model.weights import Model, build_model
from pipeline.tokens import TokenizerSettings, tokenizer_files, train

# Models this small compute faster than threads meet, and a busy machine makes them wait for each other.
torch.set_num_threads(1)

WORDS = "the cat sat on a mat and the dog ran to the big red house where an old man sang of rain and sun".split()
TEXTS = [
    " ".join(WORDS[(7 * row + 3 * column) % len(WORDS)] for column in range(40)) + f".\nuser assistant {row}\n\n"
    for row in range(60)
]


@cache
def tokenizer_parts(vocab_size: int = 400) -> dict[str, bytes]:
    """The files of a published tokenizer folder."""
    settings = TokenizerSettings(vocab_size=vocab_size)
    return tokenizer_files(train(TEXTS, settings), settings)


def tokenizer_folder(folder: Path) -> Path:
    """The same, written to `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in tokenizer_parts().items():
        (folder / name).write_bytes(data)
    return folder


def tiny_config(**changes: Any) -> ModelConfig:
    shape: dict[str, Any] = {
        "vocab_size": 448,
        "n_layers": 2,
        "d_model": 64,
        "n_heads": 4,
        "n_kv_heads": 2,
        "head_dim": 16,
        "d_ff": 128,
        "max_seq_len": 128,
    }
    return ModelConfig(**(shape | changes))


def random_model(config: ModelConfig | None = None, seed: int = 0, std: float = 0.15) -> Model:
    """A model whose parameters are all drawn, none zero, so that every one of them matters to the logits."""
    model = build_model(config or tiny_config())
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            is_gain = name.endswith(("norm.weight", "ln_1.weight", "ln_2.weight", "ln_f.weight"))
            parameter.copy_(1 + 0.3 * noise if is_gain else std * noise)
    return model.eval()
