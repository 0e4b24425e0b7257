"""ModelConfig: the shape of a model, chosen by preset, by one dial, or read from a Hugging Face config."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any, Literal

from pipeline.errors import GristmillError

Family = Literal["qwen3", "llama", "gpt2"]

_ARCHITECTURES = {"qwen3": "Qwen3ForCausalLM", "llama": "LlamaForCausalLM", "gpt2": "GPT2LMHeadModel"}
_READABLE = "Qwen3, Qwen3-MoE, Llama and GPT-2 configs can be read."


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelConfig:
    """A decoder's shape. Sizes are counts of scalars; `vocab_size` is the embedding's rows, padding included.

    Raises GristmillError where the numbers do not fit together.
    """

    vocab_size: int
    n_layers: int
    d_model: int
    n_heads: int
    n_kv_heads: int
    head_dim: int
    d_ff: int
    max_seq_len: int
    family: Family = "qwen3"  # qwen3 has a norm on each query and key head, llama none
    tie_embeddings: bool = False
    rope_theta: float = 10_000.0
    norm_eps: float = 1e-6
    n_experts: int = 0  # 0: dense
    n_experts_per_token: int = 0
    d_expert: int = 0
    normalize_expert_weights: bool = True
    router_loss_weight: float = 0.001  # Qwen3-MoE's router_aux_loss_coef

    def __post_init__(self) -> None:
        wrong = next((what for what, holds in self._rules() if not holds), None)
        if wrong:
            raise GristmillError(wrong, "model config", "Change the numbers, or start from a preset.")

    def _rules(self) -> list[tuple[str, bool]]:
        sizes = (self.vocab_size, self.n_layers, self.d_model, self.n_heads, self.n_kv_heads, self.head_dim)
        rules = [
            ("a size is not positive", min(*sizes, self.d_ff, self.max_seq_len) > 0),
            (f"family is {self.family!r}, not one of {', '.join(_ARCHITECTURES)}", self.family in _ARCHITECTURES),
        ]
        if all(holds for _, holds in rules):
            rules += [
                (
                    f"{self.n_heads} query heads cannot share {self.n_kv_heads} key-value heads evenly",
                    self.n_heads % self.n_kv_heads == 0,
                ),
                (f"head_dim is {self.head_dim}; rotary positions need an even one", self.head_dim % 2 == 0),
                (
                    f"n_experts_per_token is {self.n_experts_per_token} of {self.n_experts} experts",
                    not self.n_experts or (0 < self.n_experts_per_token <= self.n_experts and self.d_expert > 0),
                ),
                ("experts are Qwen3's shape only", not self.n_experts or self.family == "qwen3"),
                (
                    "GPT-2 has one key-value head a query head, heads that fill d_model, and tied embeddings",
                    self.family != "gpt2"
                    or (
                        self.n_kv_heads == self.n_heads
                        and self.n_heads * self.head_dim == self.d_model
                        and self.tie_embeddings
                    ),
                ),
            ]
        return rules

    @property
    def qk_norm(self) -> bool:
        """Whether queries and keys are normalised per head (Dehghani et al. 2023, arXiv 2302.05442)."""
        return self.family == "qwen3"

    @classmethod
    def preset(cls, name: str, vocab_size: int, **changes: Any) -> ModelConfig:
        """A preset by name (`PRESETS`, or `d12` for depth 12) with a vocabulary padded to a multiple of 64."""
        if name in PRESETS:
            shape = cls(vocab_size=padded(vocab_size), **PRESETS[name])
        elif name[:1] == "d" and name[1:].isdigit() and int(name[1:]) > 0:
            shape = cls.from_depth(int(name[1:]), vocab_size)
        else:
            raise GristmillError(
                "there is no such preset", f"--model {name}", f"Presets are {', '.join(PRESETS)}; d12 sizes by depth."
            )
        return replace(shape, **changes)

    @classmethod
    def from_depth(cls, depth: int, vocab_size: int, max_seq_len: int = 2048) -> ModelConfig:
        """The one dial: depth layers of width 64 x depth (nanochat's aspect ratio), SwiGLU of 8/3 the width.

        Heads of 64 below width 512, else of 128; two to three query heads a key-value head where they divide
        (SmolLM3: as good as one); tied embeddings below width 512, where the vocabulary is most of the model.
        """
        d_model = 64 * depth
        head_dim = 64 if d_model < 512 else 128
        n_heads = max(1, d_model // head_dim)
        sharing = next((share for share in (2, 3) if n_heads % share == 0), 1)
        return cls(
            vocab_size=padded(vocab_size),
            n_layers=depth,
            d_model=d_model,
            n_heads=n_heads,
            n_kv_heads=n_heads // sharing,
            head_dim=head_dim,
            d_ff=padded(round(8 * d_model / 3)),
            max_seq_len=max_seq_len,
            tie_embeddings=d_model < 512,
        )

    def parameters(self) -> dict[str, int]:
        """Parameter counts: `embedding`, `head` (0 where tied), `hidden` (matrices in the layers), `vectors`, `total`.

        `active_hidden` is what one token multiplies with: `hidden` less the experts it is not sent to.
        """
        d, q, kv = self.d_model, self.n_heads * self.head_dim, self.n_kv_heads * self.head_dim
        attention = d * (2 * q + 2 * kv)
        embedding = self.vocab_size * d
        if self.family == "gpt2":
            embedding += self.max_seq_len * d
            mlp = active = 2 * d * self.d_ff
            vectors = self.n_layers * (q + 2 * kv + d + self.d_ff + d + 4 * d) + 2 * d
        elif self.n_experts:
            expert = 3 * d * self.d_expert
            router = d * self.n_experts
            mlp, active = self.n_experts * expert + router, self.n_experts_per_token * expert + router
            vectors = self.n_layers * (2 * d + 2 * self.head_dim) + d
        else:
            mlp = active = 3 * d * self.d_ff
            vectors = self.n_layers * (2 * d + (2 * self.head_dim if self.qk_norm else 0)) + d
        head = 0 if self.tie_embeddings else self.vocab_size * d
        hidden = self.n_layers * (attention + mlp)
        return {
            "embedding": embedding,
            "head": head,
            "hidden": hidden,
            "active_hidden": self.n_layers * (attention + active),
            "vectors": vectors,
            "total": embedding + head + hidden + vectors,
        }

    def flops_per_token(self, seq_len: int) -> int:
        """Training FLOPs a token: 6 a matrix weight it meets, 12 x layers x heads x head_dim x seq_len of attention.

        The count of PaLM's appendix B (arXiv 2204.02311): causal attention is not discounted, the head is a
        matrix also where it is tied, the embedding's look-up is free.
        """
        weights = self.parameters()["active_hidden"] + self.vocab_size * self.d_model
        return 6 * weights + 12 * self.n_layers * self.n_heads * self.head_dim * seq_len

    def kv_bytes_per_token(self, bytes_per_value: int = 2) -> int:
        """Bytes that one token takes in the key-value cache."""
        return 2 * self.n_layers * self.n_kv_heads * self.head_dim * bytes_per_value

    def to_dict(self) -> dict[str, Any]:
        """Every field by name, as `ModelConfig(**…)` takes it."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def to_hf(self) -> dict[str, Any]:
        """`config.json` for `transformers`, vLLM and llama.cpp. Token ids (`eos_token_id`) are the exporter's to add."""
        if self.family == "gpt2":
            return _gpt2_to_hf(self)
        kind = "qwen3_moe" if self.n_experts else self.family
        architecture = "Qwen3MoeForCausalLM" if self.n_experts else _ARCHITECTURES[self.family]
        config: dict[str, Any] = {
            "architectures": [architecture],
            "model_type": kind,
            "vocab_size": self.vocab_size,
            "num_hidden_layers": self.n_layers,
            "hidden_size": self.d_model,
            "num_attention_heads": self.n_heads,
            "num_key_value_heads": self.n_kv_heads,
            "head_dim": self.head_dim,
            "intermediate_size": self.d_ff,
            "max_position_embeddings": self.max_seq_len,
            "tie_word_embeddings": self.tie_embeddings,
            # transformers 5 reads rope_parameters, everything older rope_theta
            "rope_theta": self.rope_theta,
            "rope_parameters": {"rope_type": "default", "rope_theta": self.rope_theta},
            "rms_norm_eps": self.norm_eps,
            "hidden_act": "silu",
            "attention_bias": False,
            "attention_dropout": 0.0,
            "use_cache": True,
            "torch_dtype": "float32",
        }
        if self.family == "llama":
            config["mlp_bias"] = False
        if self.n_experts:
            config |= {
                "num_experts": self.n_experts,
                "num_experts_per_tok": self.n_experts_per_token,
                "moe_intermediate_size": self.d_expert,
                "norm_topk_prob": self.normalize_expert_weights,
                "router_aux_loss_coef": self.router_loss_weight,
                "decoder_sparse_step": 1,
                "mlp_only_layers": [],
            }
        return config

    @classmethod
    def from_hf(cls, config: dict[str, Any]) -> ModelConfig:
        """The shape that a `config.json` describes.

        Raises GristmillError where it describes what this module does not compute: another family, biases,
        scaled or partial rotary positions, a sliding window, another activation.
        """
        kind = config.get("model_type")
        if kind == "gpt2":
            return _gpt2_from_hf(config)
        if kind not in ("qwen3", "qwen3_moe", "llama"):
            raise GristmillError(f"model_type is {kind!r}", "config.json", _READABLE)
        _refuse_what_is_not_computed(config)
        try:
            heads, width = config["num_attention_heads"], config["hidden_size"]
            experts: dict[str, Any] = {}
            if kind == "qwen3_moe":
                experts = {
                    # transformers 5 writes num_local_experts where it wrote num_experts before
                    "n_experts": config["num_experts" if "num_experts" in config else "num_local_experts"],
                    "n_experts_per_token": config["num_experts_per_tok"],
                    "d_expert": config["moe_intermediate_size"],
                    "normalize_expert_weights": config.get("norm_topk_prob", False),
                    "router_loss_weight": config.get("router_aux_loss_coef", 0.001),
                }
            return cls(
                family="llama" if kind == "llama" else "qwen3",
                vocab_size=config["vocab_size"],
                n_layers=config["num_hidden_layers"],
                d_model=width,
                n_heads=heads,
                n_kv_heads=config.get("num_key_value_heads") or heads,
                head_dim=config.get("head_dim") or (width // heads if kind == "llama" else 128),
                d_ff=config["intermediate_size"],
                max_seq_len=config.get("max_position_embeddings", 2048 if kind == "llama" else 32768),
                tie_embeddings=config.get("tie_word_embeddings", False),
                rope_theta=float(_rope(config).get("rope_theta", config.get("rope_theta", 10_000.0))),
                norm_eps=config.get("rms_norm_eps", 1e-6),
                **experts,
            )
        except KeyError as error:
            raise GristmillError(f"lacks {error.args[0]}", "config.json", _READABLE) from error


# Parameters in all at a vocabulary of 32,768: tiny 5.0 M, 30m 28.8 M, 124m 128 M, 350m 344 M, 1b 1.11 B, gpt2 with its
# own vocabulary 124 M. The widths are the dial's where the dial meets the size.
PRESETS: dict[str, dict[str, Any]] = {
    "tiny": {
        "n_layers": 4,
        "d_model": 128,
        "n_heads": 4,
        "n_kv_heads": 2,
        "head_dim": 32,
        "d_ff": 384,
        "max_seq_len": 512,
        "tie_embeddings": True,
    },
    "30m": {
        "n_layers": 10,
        "d_model": 384,
        "n_heads": 6,
        "n_kv_heads": 3,
        "head_dim": 64,
        "d_ff": 1024,
        "max_seq_len": 2048,
        "tie_embeddings": True,
    },
    "124m": {
        "n_layers": 12,
        "d_model": 768,
        "n_heads": 6,
        "n_kv_heads": 3,
        "head_dim": 128,
        "d_ff": 2048,
        "max_seq_len": 2048,
    },
    "350m": {
        "n_layers": 24,
        "d_model": 1024,
        "n_heads": 8,
        "n_kv_heads": 4,
        "head_dim": 128,
        "d_ff": 2752,
        "max_seq_len": 2048,
    },
    "1b": {
        "n_layers": 28,
        "d_model": 1792,
        "n_heads": 14,
        "n_kv_heads": 7,
        "head_dim": 128,
        "d_ff": 4800,
        "max_seq_len": 2048,
    },
    "gpt2": {
        "family": "gpt2",
        "n_layers": 12,
        "d_model": 768,
        "n_heads": 12,
        "n_kv_heads": 12,
        "head_dim": 64,
        "d_ff": 3072,
        "max_seq_len": 1024,
        "tie_embeddings": True,
        "norm_eps": 1e-5,
    },
}


def padded(size: int, multiple: int = 64) -> int:
    """`size` rounded up, so that matrix kernels meet whole tiles."""
    return -(-size // multiple) * multiple


def _rope(config: dict[str, Any]) -> dict[str, Any]:
    return config.get("rope_parameters") or config.get("rope_scaling") or {}


def _refuse_what_is_not_computed(config: dict[str, Any]) -> None:
    rope = _rope(config)
    wrong = {
        "attention_bias": bool(config.get("attention_bias")),
        "mlp_bias": bool(config.get("mlp_bias")),
        "hidden_act": config.get("hidden_act", "silu") not in ("silu", "swish"),
        "rope_scaling": rope.get("rope_type", rope.get("type", "default")) != "default",
        "partial_rotary_factor": rope.get("partial_rotary_factor", config.get("partial_rotary_factor", 1.0)) != 1.0,
        "use_sliding_window": bool(config.get("use_sliding_window")),
        "mlp_only_layers": bool(config.get("mlp_only_layers")) or config.get("decoder_sparse_step", 1) != 1,
    }
    for name, is_wrong in wrong.items():
        if is_wrong:
            value = config.get(name, rope)
            raise GristmillError(f"{name} is {value!r}, which is not computed here", "config.json", _READABLE)


def _gpt2_to_hf(config: ModelConfig) -> dict[str, Any]:
    return {
        "architectures": [_ARCHITECTURES["gpt2"]],
        "model_type": "gpt2",
        "vocab_size": config.vocab_size,
        "n_layer": config.n_layers,
        "n_embd": config.d_model,
        "n_head": config.n_heads,
        "n_inner": config.d_ff,
        "n_positions": config.max_seq_len,
        "layer_norm_epsilon": config.norm_eps,
        "activation_function": "gelu_new",
        "attn_pdrop": 0.0,
        "embd_pdrop": 0.0,
        "resid_pdrop": 0.0,
        "tie_word_embeddings": True,
        "torch_dtype": "float32",
    }


def _gpt2_from_hf(config: dict[str, Any]) -> ModelConfig:
    if config.get("activation_function", "gelu_new") != "gelu_new":
        what = f"activation_function is {config['activation_function']!r}, which is not computed here"
        raise GristmillError(what, "config.json", _READABLE)
    try:
        width, heads = config["n_embd"], config["n_head"]
        return ModelConfig(
            family="gpt2",
            vocab_size=config["vocab_size"],
            n_layers=config["n_layer"],
            d_model=width,
            n_heads=heads,
            n_kv_heads=heads,
            head_dim=width // heads,
            d_ff=config.get("n_inner") or 4 * width,
            max_seq_len=config["n_positions"],
            tie_embeddings=True,
            norm_eps=config.get("layer_norm_epsilon", 1e-5),
        )
    except KeyError as error:
        raise GristmillError(f"lacks {error.args[0]}", "config.json", _READABLE) from error
