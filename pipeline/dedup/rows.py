"""Rows as numpy columns: what the stages pass to each other, and the few verbs they need."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.dedup import shingles as kernels
from pipeline.dedup.shingles import mix

Array = npt.NDArray[Any]
Rows = dict[str, Array]  # columns of equal length


def from_batches(batches: Iterable[pa.RecordBatch], schema: pa.Schema) -> Rows:
    """The rows of record batches, one after the other; their columns hold no nulls and no lists."""
    table = pa.Table.from_batches(list(batches), schema)
    return {name: table[name].to_numpy() for name in schema.names}


def to_batch(rows: Rows, schema: pa.Schema) -> pa.RecordBatch:
    return pa.record_batch([pa.array(rows[field.name], field.type) for field in schema], schema=schema)


def take(rows: Rows, which: Array) -> Rows:
    """The rows that a mask or an index array names."""
    return {name: column[which] for name, column in rows.items()}


def stack(parts: Iterable[Rows]) -> Rows:
    """Rows of the same columns, one part after the other."""
    columns: dict[str, list[Array]] = {}
    for part in parts:
        for name, column in part.items():
            columns.setdefault(name, []).append(column)
    return {name: np.concatenate(pieces) for name, pieces in columns.items()}


def order_by(*keys: Array) -> Array:
    """int64 [n]: the order of rows by the first key, then by the second, and so on."""
    return np.lexsort(keys[::-1])


def changes(*keys: Array) -> Array:
    """bool [n]: where a row of sorted rows differs from the one before it; the first one always does."""
    size = keys[0].size
    first: Array = np.zeros(size, bool)
    first[:1] = True
    for key in keys:
        first[1:] |= key[1:] != key[:-1]
    return first


def repeated(key: Array) -> Array:
    """int64: the rows whose key occurs more than once, in the order of the key."""
    some = np.flatnonzero(may_repeat(key))
    some = some[np.argsort(key[some])]
    shared: Array = some[_in_company(key[some])]
    return shared


def may_repeat(key: Array) -> Array:
    """bool [n]: whether each uint64 occurs more than once; set for one in eight of the others at most."""
    if kernels.native is not None:
        return np.frombuffer(kernels.native.may_repeat(np.ascontiguousarray(key)), bool)
    order = np.argsort(key)
    shared = np.empty(key.size, bool)
    shared[order] = _in_company(key[order])
    return shared


def _in_company(key: Array) -> Array:
    """bool [n]: which of these sorted keys occur more than once."""
    first = changes(key)
    alone: Array = first & np.append(first[1:], True)
    return ~alone


def locate(high: Array, low: Array, in_high: Array, in_low: Array) -> Array:
    """int64 [n]: where each id stands among unique ids sorted by (high, low), -1 where it does not."""
    found = np.full(high.size, -1)
    if in_high.size == 0:
        return found
    here = np.flatnonzero(may_repeat(np.concatenate([high, in_high]))[: high.size])  # the others are not there
    found[here] = _locate(high[here], low[here], in_high, in_low)
    return found


def _locate(high: Array, low: Array, in_high: Array, in_low: Array) -> Array:
    at = np.searchsorted(in_high, high)
    at[at == in_high.size] = 0
    # Two ids may share their upper half, though no pair of a real crawl is likely to: walk on while they do.
    while True:
        onward = (in_high[at] == high) & (in_low[at] != low) & (at + 1 < in_high.size)
        onward[onward] = in_high[at[onward] + 1] == high[onward]
        if not onward.any():
            break
        at[onward] += 1
    found = (in_high[at] == high) & (in_low[at] == low)
    return np.where(found, at, -1)


def id_bucket(high: Array, low: Array, buckets: int) -> Array:
    """uint32 [n]: the bucket of each id; `buckets` is a power of two."""
    return key_bucket(mix(high ^ mix(low)), buckets)


def key_bucket(key: Array, buckets: int) -> Array:
    """uint32 [n]: the bucket of evenly spread 64-bit keys by their top bits; `buckets` is a power of two."""
    bits = buckets.bit_length() - 1
    return (key >> np.uint64(64 - bits) if bits else np.zeros_like(key)).astype(np.uint32)


def power_of_two(at_least: float) -> int:
    """The smallest power of two that is not less."""
    return 1 << max(0, int(np.ceil(np.log2(max(1.0, at_least)))))
