"""Attention, causal and within documents, with or without a cache of keys and values.

Shapes: B rows, T tokens of this call, S tokens that can be attended to, H query heads, G key-value heads, D head_dim.
"""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from model.config import ModelConfig


class KVCache:
    """Keys and values of every layer for up to B rows of up to `max_len` tokens, each row at a length of its own.

    `lengths` (B,) int64 on the CPU says how many tokens of each row count. A forward writes its T tokens behind
    them and adds T; who gave padding on the right, or takes tokens back, then sets `lengths` to what is true:
    what lies beyond is never attended to and will be written over.
    """

    def __init__(
        self,
        config: ModelConfig,
        batch: int,
        max_len: int,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        shape = (config.n_layers, batch, config.n_kv_heads, max_len, config.head_dim)  # (L, B, G, S, D)
        self.keys = torch.zeros(shape, device=device, dtype=dtype)
        self.values = torch.zeros(shape, device=device, dtype=dtype)
        self.lengths = torch.zeros(batch, dtype=torch.int64)

    @property
    def batch(self) -> int:
        return self.keys.shape[1]

    @property
    def max_len(self) -> int:
        return self.keys.shape[3]

    def append(self, layer: int, keys: Tensor, values: Tensor, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Write (B, G, T, D) at `positions` (B, T); the layer's keys and values up to the longest row, (B, G, S, D)."""
        rows = torch.arange(len(positions), device=positions.device)[:, None]
        # The two index tensors stand apart, so indexing moves their (B, T) to the front: (B, T, G, D).
        self.keys[layer][rows, :, positions] = keys.transpose(1, 2).to(self.keys.dtype)
        self.values[layer][rows, :, positions] = values.transpose(1, 2).to(self.values.dtype)
        end = int(self.lengths.max()) + keys.shape[2]
        return self.keys[layer, :, :, :end].to(keys.dtype), self.values[layer, :, :, :end].to(values.dtype)

    def rows(self, index: Tensor | list[int]) -> KVCache:
        """A new cache of the rows `index`, in that order, a row as often as it is named (n samples of one prompt)."""
        chosen = torch.as_tensor(index, dtype=torch.int64)
        other = object.__new__(KVCache)
        on_device = chosen.to(self.keys.device)
        other.keys, other.values = self.keys[:, on_device], self.values[:, on_device]
        other.lengths = self.lengths[chosen]
        return other


class Context(NamedTuple):
    """What every layer of one forward needs to know of its tokens."""

    positions: Tensor  # (T,) or (B, T) int64: for rotary or learned positions
    mask: Any  # None: causal; a bool Tensor (B, 1, T, S); or flex attention's BlockMask
    cache: KVCache | None


def context(tokens: Tensor, doc_ids: Tensor | None, cache: KVCache | None) -> Context:
    """Positions and mask of one forward over `tokens` (B, T).

    Within a row of `doc_ids` (B, T) a token sees its own document only, and positions count from its start.
    """
    length, device = tokens.shape[1], tokens.device
    if cache is not None:
        if doc_ids is not None:
            raise ValueError("a cache holds one document a row; give doc_ids or cache")
        return _cached(tokens, cache)
    index = torch.arange(length, device=device)
    if doc_ids is None:
        return Context(index, None, None)
    starts = torch.ones_like(doc_ids, dtype=torch.bool)
    starts[:, 1:] = doc_ids[:, 1:] != doc_ids[:, :-1]
    positions = index - torch.where(starts, index, 0).cummax(dim=1).values
    # Numbered anew, so that an id used again further on in the row is another document.
    return Context(positions, _document_mask(starts.cumsum(dim=1)), None)


def attention(queries: Tensor, keys: Tensor, values: Tensor, mask: Any) -> Tensor:
    """softmax(QK/sqrt(D)) V for (B, H, T, D) queries and (B, G, S, D) keys and values, masked as Context says."""
    shared = queries.shape[1] != keys.shape[1]
    if mask is None:
        # With a cache a single token may see all that is there; causal means aligned on the left.
        causal = queries.shape[2] > 1
        return F.scaled_dot_product_attention(queries, keys, values, is_causal=causal, enable_gqa=shared)
    if isinstance(mask, Tensor):
        return F.scaled_dot_product_attention(queries, keys, values, attn_mask=mask, enable_gqa=shared)
    from torch.nn.attention.flex_attention import flex_attention

    # Within a compiled layer it is compiled as part of it. Uncompiled it would build the T x T matrix that it is
    # there to avoid, so alone it is compiled by itself.
    run = flex_attention if torch.compiler.is_compiling() else _compiled_flex()
    return run(queries, keys, values, block_mask=mask, enable_gqa=shared)


def _cached(tokens: Tensor, cache: KVCache) -> Context:
    length, device = tokens.shape[1], tokens.device
    shortest, longest = int(cache.lengths.min()), int(cache.lengths.max())
    if longest + length > cache.max_len:
        raise ValueError(f"the cache holds {cache.max_len} tokens a row, {longest + length} are needed")
    positions = cache.lengths.to(device)[:, None] + torch.arange(length, device=device)  # (B, T)
    if longest == 0 or (length == 1 and shortest == longest):
        return Context(positions, None, cache)
    seen = torch.arange(longest + length, device=device) <= positions[..., None]  # (B, T, S)
    return Context(positions, seen[:, None], cache)


def _document_mask(documents: Tensor) -> Any:
    """Causal and within one document: a dense mask on the CPU, blocks for the compiled kernel on a GPU."""
    if documents.device.type == "cuda":
        return block_mask(documents)
    same = documents[:, :, None] == documents[:, None, :]
    return (same & torch.ones_like(same).tril())[:, None]


def block_mask(documents: Tensor) -> Any:
    """Flex attention's mask of (B, T) documents: blocks that hold nothing to be seen are not computed."""
    from torch.nn.attention.flex_attention import create_block_mask

    def sees(b: Tensor, _head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        return (query >= key) & (documents[b, query] == documents[b, key])

    batch, length = documents.shape
    return create_block_mask(sees, batch, None, length, length, device=documents.device)


@cache
def _compiled_flex() -> Any:
    from torch.nn.attention.flex_attention import flex_attention

    return torch.compile(flex_attention, dynamic=False)
