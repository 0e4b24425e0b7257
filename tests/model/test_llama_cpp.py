"""llama.cpp itself reads what is exported and goes on as the model does. Skipped where its binding is not installed."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

from model.config import ModelConfig
from model.generate import Engine
from model.gguf import export_gguf
from model.loss import Objective
from model.optim import OptimizerConfig, Optimizers
from model.sampling import Sampling
from model.vocabulary import Vocabulary
from model.weights import Model, build_model, load_model, save_model
from tests.model.tiny import TEXTS, tiny_config, tokenizer_folder

PROMPTS = ["the cat", "an old man sang of\n", "the red house"]
CODE = """
import json, sys
from cyllama import LLM, GenerationConfig
settings = GenerationConfig(max_tokens=12, temperature=0.0, top_k=1, n_ctx=64, repeat_penalty=1.0, add_bos=False)
model = LLM(sys.argv[1], config=settings)
print(json.dumps([str(model(prompt)) for prompt in json.loads(sys.argv[2])]))
"""


@pytest.mark.skipif(find_spec("cyllama") is None, reason="cyllama (llama.cpp) is not installed: uv pip install cyllama")
@pytest.mark.parametrize("family", ["qwen3", "llama"])
def test_llama_cpp_goes_on_as_we_do(tmp_path: Path, family: str) -> None:
    source = tokenizer_folder(tmp_path / "model")
    vocabulary = Vocabulary((source / "tokenizer.json").read_bytes())
    save_model(taught(tiny_config(family=family), vocabulary), source, about={"eos_token_id": 327})
    file = export_gguf(source, tmp_path / "model.gguf", "f32")
    # In a process of its own: its threads and torch's do not share one well.
    asked = [sys.executable, "-c", CODE, str(file), json.dumps(PROMPTS)]
    theirs = json.loads(subprocess.run(asked, capture_output=True, text=True, check=True).stdout.splitlines()[-1])
    sampling = Sampling(max_tokens=12, temperature=0, stop=(327,))
    ours = Engine(load_model(source)).generate([vocabulary.encode(prompt) for prompt in PROMPTS], sampling)
    assert [vocabulary.decode(answer.tokens) for answer in ours] == theirs


def taught(shape: ModelConfig, vocabulary: Vocabulary) -> Model:
    """A model that has seen some text: what a random one prefers hangs on the last bit, and llama.cpp's cache is half."""
    model = build_model(shape)
    model.initialize(0)
    objective, optimizers = Objective(model), Optimizers(model, OptimizerConfig(warmup_steps=1), shape.d_model, False)
    ids = torch.tensor([vocabulary.encode(text * 3)[:97] for text in TEXTS])
    for step in range(40):
        batch = ids[step % 4 :: 4]
        (objective(batch[:, :-1], batch[:, 1:]).nats / batch[:, 1:].numel()).backward()
        optimizers.step(step, 40)
    return model.eval()
