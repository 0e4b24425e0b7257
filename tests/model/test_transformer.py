"""The shapes: equal to transformers' own, cached as uncached, documents apart."""

import json

import pytest
import torch

from model.attention import KVCache
from model.config import PRESETS, ModelConfig, padded
from model.gpt2 import GPT2
from model.loss import Objective, cross_entropy
from model.moe import balance_loss
from model.weights import build_model, load_model, save_model
from pipeline.errors import GristmillError
from tests.model.tiny import random_model, tiny_config

GPT2_SHAPE = {"family": "gpt2", "n_kv_heads": 4, "tie_embeddings": True, "norm_eps": 1e-5}
SHAPES = {
    "qwen3": {},
    "tied": {"tie_embeddings": True, "rope_theta": 50_000.0},
    "llama": {"family": "llama"},
    "experts": {"n_experts": 4, "n_experts_per_token": 2, "d_expert": 32},
    "gpt2": GPT2_SHAPE,
}
every_shape = pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)


def tokens(rows: int = 2, length: int = 17) -> torch.Tensor:
    return torch.randint(0, 448, (rows, length), generator=torch.Generator().manual_seed(1))


@every_shape
def test_logits_and_configs_are_those_of_transformers(shape, tmp_path):
    transformers = pytest.importorskip("transformers")
    model = random_model(tiny_config(**shape))
    save_model(model, tmp_path / "ours")
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "ours", dtype=torch.float32).eval()
    with torch.no_grad():
        assert (theirs(tokens()).logits - model(tokens())).abs().max() < 1e-4
    theirs.save_pretrained(tmp_path / "theirs")
    back = load_model(tmp_path / "theirs")
    assert back.config == model.config
    assert all(torch.equal(value, back.state_dict()[name]) for name, value in model.state_dict().items())


@every_shape
@torch.no_grad()
def test_a_cache_changes_no_logit(shape):
    model = random_model(tiny_config(**shape))
    whole = model(tokens())
    cache = KVCache(model.config, 2, 32)
    pieces = [model(tokens()[:, start:end], cache=cache) for start, end in ((0, 5), (5, 6), (6, 17))]
    torch.testing.assert_close(torch.cat(pieces, 1), whole, atol=2e-5, rtol=1e-4)


@torch.no_grad()
def test_rows_of_a_cache_have_lengths_of_their_own_and_take_tokens_back():
    model = random_model()
    cache = KVCache(model.config, 2, 32)
    model(tokens(), cache=cache)
    cache.lengths = torch.tensor([9, 4])  # what was padding, or was not accepted
    after = model(tokens()[:, :3], cache=cache)
    for row, kept in ((0, 9), (1, 4)):
        alone = model(torch.cat([tokens()[row : row + 1, :kept], tokens()[row : row + 1, :3]], 1))
        torch.testing.assert_close(after[row], alone[0, kept:], atol=2e-5, rtol=1e-4)
    assert cache.rows([1, 1, 0]).lengths.tolist() == [7, 7, 12]
    with pytest.raises(ValueError, match="32 tokens a row"):
        model(tokens(length=25), cache=cache)


@every_shape
@torch.no_grad()
def test_masked_documents_are_as_if_alone(shape):
    model = random_model(tiny_config(**shape))
    documents = torch.tensor([[0] * 5 + [1] * 8 + [0] * 4])  # the last is another document under a used id
    masked = model(tokens(1), doc_ids=documents)
    alone = [model(tokens(1)[:, start:end]) for start, end in ((0, 5), (5, 13), (13, 17))]
    torch.testing.assert_close(masked, torch.cat(alone, 1), atol=2e-5, rtol=1e-4)


def test_a_chunked_loss_has_the_loss_and_gradients_of_whole_logits():
    states, weight = torch.randn(13, 8, requires_grad=True), torch.randn(31, 8, requires_grad=True)
    targets = torch.randint(0, 31, (13,))
    targets[[2, 7]] = -100
    loss = cross_entropy(states, weight, targets, chunk=4)
    grads = torch.autograd.grad(loss * 0.5, [states, weight])
    whole = torch.nn.functional.cross_entropy(states @ weight.T, targets, reduction="sum")
    torch.testing.assert_close(loss, whole)
    for ours, theirs in zip(grads, torch.autograd.grad(whole * 0.5, [states, weight]), strict=True):
        torch.testing.assert_close(ours, theirs)
    with torch.no_grad():
        torch.testing.assert_close(cross_entropy(states, weight, targets, chunk=4), whole)


def test_all_masked_is_no_loss_and_no_nan():
    objective = Objective(random_model())
    loss = objective(tokens(), torch.full((2, 17), -100)).nats
    loss.backward()
    assert float(loss.detach()) == 0
    assert all(torch.isfinite(p.grad).all() for p in objective.parameters() if p.grad is not None)


def test_recomputed_activations_give_the_same_gradients():
    grads = []
    for recompute in (False, True):
        model = random_model().train()
        model.recompute = recompute
        Objective(model)(tokens(), tokens()).nats.backward()
        grads.append([p.grad for p in model.parameters()])
    for kept, made_again in zip(*grads, strict=True):
        torch.testing.assert_close(kept, made_again)


def test_a_fresh_model_knows_nothing_and_the_seed_decides_it():
    models = [build_model(tiny_config()) for _ in range(2)]
    for model in models:
        model.initialize(7)
    assert all(torch.equal(*pair) for pair in zip(models[0].parameters(), models[1].parameters(), strict=True))
    loss = Objective(models[0])(tokens(), tokens()).nats / 34
    torch.testing.assert_close(loss, torch.tensor(448.0).log())


def test_a_balanced_router_loses_least():
    balanced = torch.full((8, 4), 0.25)
    spread = torch.arange(8)[:, None] % 4
    torch.testing.assert_close(balance_loss(balanced, spread), torch.tensor(1.0))
    lopsided = torch.tensor([[0.97, 0.01, 0.01, 0.01]]).expand(8, 4)
    assert balance_loss(lopsided, torch.zeros(8, 1, dtype=torch.int64)) > 3.8


def test_counts_of_parameters_are_what_is_built():
    for shape in SHAPES.values():
        config = tiny_config(**shape)
        assert sum(p.numel() for p in build_model(config).parameters()) == config.parameters()["total"]
    sizes = {name: ModelConfig.preset(name, 32768).parameters()["total"] / 1e6 for name in PRESETS}
    assert 27 < sizes["30m"] < 33
    assert 118 < sizes["124m"] < 130
    assert 335 < sizes["350m"] < 365
    assert 1000 < sizes["1b"] < 1150
    gpt2 = ModelConfig.preset("gpt2", 50257)
    assert gpt2.vocab_size == padded(50257) == 50304
    assert isinstance(build_model(tiny_config(**GPT2_SHAPE)), GPT2)


@pytest.mark.parametrize("depth", range(1, 33))
def test_the_dial_gives_a_shape_at_every_depth(depth):
    config = ModelConfig.preset(f"d{depth}", 1000)
    assert (config.n_layers, config.d_model) == (depth, 64 * depth)
    assert config.n_heads * config.head_dim <= config.d_model


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"model_type": "mamba"}, "mamba"),
        ({"attention_bias": True}, "attention_bias"),
        ({"rope_parameters": {"rope_type": "llama3", "factor": 8}}, "llama3"),
        ({"hidden_act": "gelu"}, "gelu"),
        ({"hidden_size": None}, "hidden_size"),
    ],
)
def test_what_is_not_computed_is_refused(change, told):
    config = {key: value for key, value in (tiny_config().to_hf() | change).items() if value is not None}
    with pytest.raises(GristmillError, match=told):
        ModelConfig.from_hf(config)


def test_wrong_folders_are_told(tmp_path):
    with pytest.raises(GristmillError, match=r"no config\.json"):
        load_model(tmp_path)
    save_model(random_model(), tmp_path)
    other = tiny_config(d_model=32).to_hf()
    (tmp_path / "config.json").write_text(json.dumps(other))
    with pytest.raises(GristmillError, match="the shape is"):
        load_model(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"not tensors")
    with pytest.raises(GristmillError, match="not whole"):
        load_model(tmp_path)


@pytest.mark.parametrize("sharing", [1, 2])
def test_the_blocks_for_gpus_see_what_the_dense_mask_sees_and_compile_whole(sharing):
    """Of what runs on a GPU all but the kernel: the layer is traced in one graph, and with new documents not anew."""
    from model.attention import Context, _document_mask, block_mask

    model = random_model(tiny_config(n_kv_heads=4 // sharing))
    layer, runs = model.layers[0], 0

    def counted(graph, _inputs):
        nonlocal runs
        runs += 1
        return graph.forward

    compiled = torch.compile(layer, backend=counted, fullgraph=True, dynamic=False)
    for seed in range(3):
        draw = torch.Generator().manual_seed(seed)
        states = torch.randn(2, 64, 64, generator=draw)
        documents = (torch.rand(2, 64, generator=draw) < 0.1).cumsum(dim=1)
        positions = torch.arange(64)
        rotation = model.model.rotation(positions, states.dtype)
        with torch.no_grad():
            dense, _ = layer(states, rotation, Context(positions, _document_mask(documents), None))
            blocks, _ = compiled(states, rotation, Context(positions, block_mask(documents), None))
        assert torch.allclose(dense, blocks, atol=1e-5)
    assert runs == 1
