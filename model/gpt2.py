"""GPT2: learned positions, LayerNorm, GELU, biases (Radford et al. 2019), under Hugging Face's parameter names."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from model.attention import Context, KVCache, attention, context
from model.config import ModelConfig
from model.transformer import Hidden


class GPT2(nn.Module):
    """The same interface as Transformer, for reproductions of GPT-2; no dropout, as llm.c's has none."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.transformer = nn.ModuleDict(
            {
                "wte": nn.Embedding(config.vocab_size, config.d_model),
                "wpe": nn.Embedding(config.max_seq_len, config.d_model),
                "h": nn.ModuleList(GPT2Layer(config, index) for index in range(config.n_layers)),
                "ln_f": LayerNorm(config),
            }
        )
        self.activation_dtype: torch.dtype | None = None
        self.recompute = False

    def forward(self, tokens: Tensor, *, doc_ids: Tensor | None = None, cache: KVCache | None = None) -> Tensor:
        """Logits (B, T, V), as Transformer's."""
        return self.logits(self.hidden(tokens, doc_ids=doc_ids, cache=cache).states)

    def hidden(self, tokens: Tensor, *, doc_ids: Tensor | None = None, cache: KVCache | None = None) -> Hidden:
        about = context(tokens, doc_ids, cache)
        states = self.transformer["wte"](tokens) + self.transformer["wpe"](about.positions)
        if self.activation_dtype is not None:
            states = states.to(self.activation_dtype)
        for layer in self.transformer["h"]:
            if self.recompute and self.training:
                states = checkpoint(layer, states, about, use_reentrant=False)
            else:
                states = layer(states, about)
        if cache is not None:
            cache.lengths += tokens.shape[1]
        return Hidden(self.transformer["ln_f"](states), states.new_zeros((), dtype=torch.float32))

    def logits(self, states: Tensor) -> Tensor:
        return F.linear(states, self.output_weight.to(states.dtype))

    @property
    def layers(self) -> nn.ModuleList:
        return self.transformer["h"]

    @property
    def output_weight(self) -> Tensor:
        return self.transformer["wte"].weight

    @torch.no_grad()
    def initialize(self, seed: int) -> None:
        """GPT-2's own: normal of std 0.02, projections into the stream by 1/sqrt(2 layers) less, biases 0, gains 1."""
        generator = torch.Generator().manual_seed(seed)
        for name, parameter in self.named_parameters():
            if name.endswith("bias"):
                parameter.zero_()
            elif ".ln_" in name:
                parameter.fill_(1.0)
            else:
                std = 0.02 / (2 * self.config.n_layers) ** 0.5 if name.endswith("c_proj.weight") else 0.02
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * std)


class GPT2Layer(nn.Module):
    def __init__(self, config: ModelConfig, index: int) -> None:
        super().__init__()
        self.ln_1, self.ln_2 = LayerNorm(config), LayerNorm(config)
        self.attn = GPT2Attention(config, index)
        self.mlp = nn.ModuleDict(
            {"c_fc": Conv1D(config.d_model, config.d_ff), "c_proj": Conv1D(config.d_ff, config.d_model)}
        )

    def forward(self, states: Tensor, about: Context) -> Tensor:
        states = states + self.attn(self.ln_1(states), about)
        wide = F.gelu(self.mlp["c_fc"](self.ln_2(states)), approximate="tanh")
        return states + self.mlp["c_proj"](wide)


class GPT2Attention(nn.Module):
    def __init__(self, config: ModelConfig, index: int) -> None:
        super().__init__()
        self.index, self.n_heads = index, config.n_heads
        self.c_attn = Conv1D(config.d_model, 3 * config.d_model)
        self.c_proj = Conv1D(config.d_model, config.d_model)

    def forward(self, states: Tensor, about: Context) -> Tensor:
        parts = self.c_attn(states).unflatten(-1, (3, self.n_heads, -1))  # (B, T, 3, H, D)
        queries, keys, values = (part.transpose(1, 2) for part in parts.unbind(2))
        if about.cache is not None:
            keys, values = about.cache.append(self.index, keys, values, about.positions)
        return self.c_proj(attention(queries, keys, values, about.mask).transpose(1, 2).flatten(2))


class Conv1D(nn.Module):
    """A linear map whose matrix is stored (inputs, outputs), as GPT-2's checkpoints have it."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(inputs, outputs))
        self.bias = nn.Parameter(torch.zeros(outputs))

    def forward(self, states: Tensor) -> Tensor:
        return states @ self.weight.to(states.dtype) + self.bias.to(states.dtype)


class LayerNorm(nn.Module):
    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(config.d_model))
        self.bias = nn.Parameter(torch.zeros(config.d_model))
        self.eps = config.norm_eps

    def forward(self, states: Tensor) -> Tensor:
        dtype = states.dtype
        return F.layer_norm(states, states.shape[-1:], self.weight.to(dtype), self.bias.to(dtype), self.eps)
