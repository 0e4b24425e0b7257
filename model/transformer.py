"""Transformer: Qwen3's shape (and with no norm on queries and keys Llama's), under Hugging Face's parameter names.

So export is `state_dict()` and a config, with no key to map. Shapes: B rows, T tokens, C d_model, V vocabulary,
H query heads, G key-value heads, D head_dim.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from model.attention import Context, KVCache, attention, context
from model.config import ModelConfig
from model.moe import SparseMLP


class Hidden(NamedTuple):
    """The last layer's normalised states, and the mean load-balancing loss of its routers (0 without experts)."""

    states: Tensor  # (B, T, C)
    router_loss: Tensor  # ()


class Transformer(nn.Module):
    """Tokens to logits. Parallelism, precision and loss are applied from outside (`parallel.py`, `loss.py`).

    `activation_dtype` is what states are computed in, the parameters' own by default; parameters stay as they
    are and are cast where they are used. `recompute` keeps only the layers' inputs for the backward pass.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.model = Decoder(config)
        self.lm_head = None if config.tie_embeddings else Linear(config.d_model, config.vocab_size)
        self.activation_dtype: torch.dtype | None = None
        self.recompute = False

    def forward(self, tokens: Tensor, *, doc_ids: Tensor | None = None, cache: KVCache | None = None) -> Tensor:
        """Logits (B, T, V) for `tokens` (B, T) int64; each sees itself and what stands before it.

        `doc_ids` (B, T): only within its own document. `cache`: behind what the cache holds, which grows by T.
        """
        return self.logits(self.hidden(tokens, doc_ids=doc_ids, cache=cache).states)

    def hidden(self, tokens: Tensor, *, doc_ids: Tensor | None = None, cache: KVCache | None = None) -> Hidden:
        """All but the output matrix: what a chunked loss starts from."""
        about = context(tokens, doc_ids, cache)
        states = self.model.embed_tokens(tokens)
        if self.activation_dtype is not None:
            states = states.to(self.activation_dtype)
        rotation = self.model.rotation(about.positions, states.dtype)
        router_losses = []
        for layer in self.model.layers:
            if self.recompute and self.training:
                states, router_loss = checkpoint(layer, states, rotation, about, use_reentrant=False)
            else:
                states, router_loss = layer(states, rotation, about)
            router_losses.append(router_loss)
        if cache is not None:
            cache.lengths += tokens.shape[1]
        return Hidden(self.model.norm(states), torch.stack(router_losses).mean())

    def logits(self, states: Tensor) -> Tensor:
        """The output matrix applied to (…, C): (…, V)."""
        return F.linear(states, self.output_weight.to(states.dtype))

    @property
    def layers(self) -> nn.ModuleList:
        return self.model.layers

    @property
    def output_weight(self) -> Tensor:
        """(V, C): the head's own matrix, or the embedding where they are tied."""
        return self.model.embed_tokens.weight if self.lm_head is None else self.lm_head.weight

    @torch.no_grad()
    def initialize(self, seed: int) -> None:
        """Draw every parameter anew; the same seed gives the same parameters on any device and sharding.

        | parameter                    | distribution               | why                                        |
        |------------------------------|----------------------------|--------------------------------------------|
        | norms                        | 1                          |                                            |
        | o_proj, down_proj, lm_head   | 0                          | each layer starts as identity, loss as ln V (modded-nanogpt, record 5) |
        | embed_tokens, own head       | normal, std 1              | the layers' inputs are normalised anyway   |
        | embed_tokens, tied           | normal, std 0.02           | it is the head too, and its logits must start small |
        | other matrices               | normal, std (3 fan_in)^-½  | the variance of torch's own Linear         |
        """
        generator = torch.Generator().manual_seed(seed)
        for name, parameter in self.named_parameters():
            if name.endswith("norm.weight"):
                parameter.fill_(1.0)
            elif name.endswith(("o_proj.weight", "down_proj.weight", "lm_head.weight")):
                parameter.zero_()
            elif name.endswith("embed_tokens.weight"):
                std = 0.02 if self.config.tie_embeddings else 1.0
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * std)
            elif name.endswith("proj.weight") or name.endswith("mlp.gate.weight"):
                std = (3 * parameter.shape[1]) ** -0.5
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * std)
            else:
                raise AssertionError(f"no rule initialises {name}")


class Decoder(nn.Module):
    """Embedding, layers, last norm; and the rotary angles, which are no parameters."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.embed_tokens = nn.Embedding(config.vocab_size, config.d_model)
        self.layers = nn.ModuleList(Layer(config, index) for index in range(config.n_layers))
        self.norm = RMSNorm(config.d_model, config.norm_eps)
        self.head_dim, self.rope_theta = config.head_dim, config.rope_theta

    def rotation(self, positions: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """Cosines and sines (1 or B, 1, T, D) of RoPE (Su et al. 2021, arXiv 2104.09864) at `positions`.

        Computed anew for each forward, in float32 (bfloat16 positions repeat beyond 256): T x D values are
        nothing beside a layer, and a model on any device needs no buffer.
        """
        exponent = torch.arange(0, self.head_dim, 2, device=positions.device, dtype=torch.float32) / self.head_dim
        angles = positions.float()[..., None] * self.rope_theta**-exponent  # (…, T, D/2)
        angles = torch.cat([angles, angles], dim=-1).view(-1, 1, positions.shape[-1], self.head_dim)
        return angles.cos().to(dtype), angles.sin().to(dtype)


class Layer(nn.Module):
    """Attention, then a feed-forward block, each on normalised input and added to the stream."""

    def __init__(self, config: ModelConfig, index: int) -> None:
        super().__init__()
        self.input_layernorm = RMSNorm(config.d_model, config.norm_eps)
        self.self_attn = Attention(config, index)
        self.post_attention_layernorm = RMSNorm(config.d_model, config.norm_eps)
        self.mlp = SparseMLP(config, MLP) if config.n_experts else MLP(config.d_model, config.d_ff)

    def forward(self, states: Tensor, rotation: tuple[Tensor, Tensor], about: Context) -> tuple[Tensor, Tensor]:
        states = states + self.self_attn(self.input_layernorm(states), rotation, about)
        output = self.mlp(self.post_attention_layernorm(states))
        if isinstance(output, tuple):
            return states + output[0], output[1]
        return states + output, output.new_zeros((), dtype=torch.float32)


class Attention(nn.Module):
    def __init__(self, config: ModelConfig, index: int) -> None:
        super().__init__()
        self.index, self.head_dim = index, config.head_dim
        self.q_proj = Linear(config.d_model, config.n_heads * config.head_dim)
        self.k_proj = Linear(config.d_model, config.n_kv_heads * config.head_dim)
        self.v_proj = Linear(config.d_model, config.n_kv_heads * config.head_dim)
        self.o_proj = Linear(config.n_heads * config.head_dim, config.d_model)
        self.q_norm = RMSNorm(config.head_dim, config.norm_eps) if config.qk_norm else nn.Identity()
        self.k_norm = RMSNorm(config.head_dim, config.norm_eps) if config.qk_norm else nn.Identity()

    def forward(self, states: Tensor, rotation: tuple[Tensor, Tensor], about: Context) -> Tensor:
        heads = (*states.shape[:2], -1, self.head_dim)  # (B, T, H or G, D)
        queries = rotated(self.q_norm(self.q_proj(states).view(heads)).transpose(1, 2), rotation)  # (B, H, T, D)
        keys = rotated(self.k_norm(self.k_proj(states).view(heads)).transpose(1, 2), rotation)  # (B, G, T, D)
        values = self.v_proj(states).view(heads).transpose(1, 2)
        if about.cache is not None:
            keys, values = about.cache.append(self.index, keys, values, about.positions)
        mixed = attention(queries, keys, values, about.mask)
        return self.o_proj(mixed.transpose(1, 2).flatten(2))


class MLP(nn.Module):
    """SwiGLU (Shazeer 2020, arXiv 2002.05202)."""

    def __init__(self, d_model: int, d_ff: int) -> None:
        super().__init__()
        self.gate_proj = Linear(d_model, d_ff)
        self.up_proj = Linear(d_model, d_ff)
        self.down_proj = Linear(d_ff, d_model)

    def forward(self, states: Tensor) -> Tensor:
        return self.down_proj(F.silu(self.gate_proj(states)) * self.up_proj(states))


class Linear(nn.Linear):
    """A matrix without bias, cast to the dtype of what it is applied to."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs, bias=False)

    def forward(self, input: Tensor) -> Tensor:
        return F.linear(input, self.weight.to(input.dtype))


class RMSNorm(nn.Module):
    """Root mean square normalisation (arXiv 1910.07467), in float32 inside; the gain is applied after the cast back."""

    def __init__(self, size: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.eps = eps

    def forward(self, states: Tensor) -> Tensor:
        wide = states.float()
        wide = wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + self.eps)
        return self.weight.to(states.dtype) * wide.to(states.dtype)


def rotated(heads: Tensor, rotation: tuple[Tensor, Tensor]) -> Tensor:
    """(B, H, T, D) turned by the angles of its positions; first half against second, as Hugging Face has it."""
    cosine, sine = rotation
    first, second = heads.chunk(2, dim=-1)
    return heads * cosine + torch.cat([-second, first], dim=-1) * sine
