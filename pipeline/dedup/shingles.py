"""A text as the hashes of its word n-grams.

`shingle_hashes` is the one definition of what two documents are compared by; signatures and the verification
of candidates both start from it. The C kernels of `pipeline/speed/native/minhash.c` give the same results.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Callable
from importlib import import_module
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.dedup.datatrove_words import datatrove_words
from pipeline.dedup.fold import ALONE, DIGIT, EXPANDS, IGNORED, SEPARATOR, fold_table
from pipeline.dedup.settings import DedupSettings

native: Any = None  # the C kernels, None where they are not built or GRISTMILL_PURE=1 forbids them
if os.environ.get("GRISTMILL_PURE") != "1":
    with contextlib.suppress(ImportError):
        native = import_module("pipeline.speed._minhash")

Hashes = npt.NDArray[np.uint64]
CodePoints = npt.NDArray[np.uint32]
Places = npt.NDArray[np.int64]

# Odd multipliers of two polynomial hashes modulo 2^64: over the characters of a word, the words of an n-gram.
CHAR_BASE = 0x9E3779B97F4A7C15
WORD_BASE = 0xC2B2AE3D27D4EB4F
_MODULUS = 1 << 64
_DOT, _COMMA = ord("."), ord(",")


def shingle_hashes(text: str, settings: DedupSettings) -> Hashes:
    """uint64 [n_words - ngram + 1]: one hash for each word n-gram in the order of the text, repeats included.

    Empty where the text has fewer than `ngram` words: such a document has no MinHash signature.
    """
    if settings.shingles == "datatrove":
        return _datatrove_shingles(text, settings.ngram, settings.datatrove_hash)
    if native is None:
        return _combine(word_hashes(text), settings.ngram)
    table = fold_table()
    return np.frombuffer(native.shingles(text, table.values, table.expansions, settings.ngram), np.uint64)


def shingle_set(hashes: Hashes) -> CodePoints:
    """uint32, sorted, unique: the upper halves of shingle hashes, the set that true Jaccard is taken over.

    Half the bits suffice: of two texts of n different shingles each, about n^2 / 2^32 meet by chance; two texts
    of 1,000 words have one such shingle in 4,000 pairs, and it moves their similarity by 1/2000.
    """
    if native is not None:
        return np.frombuffer(native.shingle_set(hashes), np.uint32)
    upper = np.sort((hashes >> np.uint64(32)).astype(np.uint32))  # np.unique takes ten times as long
    first = np.ones(upper.size, bool)
    np.not_equal(upper[1:], upper[:-1], out=first[1:])
    return upper[first]


def word_hashes(text: str) -> Hashes:
    """uint64 [n_words]: the hash of each folded word (see `fold.py`).

    A run of digits is one `0`, a full stop or a comma between two digits belongs to their run.
    """
    codes = _fold(np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32))
    if codes.size == 0:
        return np.empty(0, np.uint64)
    letter = codes != SEPARATOR
    alone = codes & ALONE != 0
    breaks = ~letter[:-1] | ~letter[1:] | alone[:-1] | alone[1:]
    first = letter & np.concatenate([[True], breaks])
    last = letter & np.concatenate([breaks, [True]])
    starts, ends = np.flatnonzero(first), np.flatnonzero(last)
    powers, inverses = _powers(codes.size)
    sums = np.cumsum((codes & ~np.uint32(ALONE)).astype(np.uint64) * inverses, dtype=np.uint64)
    before = np.where(starts > 0, sums[starts - 1], np.uint64(0))
    return mix((sums[ends] - before) * powers[ends])


def mix(hashes: Hashes) -> Hashes:
    """MurmurHash3's 64-bit finaliser: every input bit changes every output bit with probability one half."""
    hashes = (hashes ^ (hashes >> np.uint64(33))) * np.uint64(0xFF51AFD7ED558CCD)
    hashes = (hashes ^ (hashes >> np.uint64(33))) * np.uint64(0xC4CEB9FE1A85EC53)
    return hashes ^ (hashes >> np.uint64(33))


def _fold(raw: CodePoints) -> CodePoints:
    """Folded characters and separators, without the ignored ones and with one 0 for a run of digits."""
    table = fold_table()
    values = table.values[raw]
    digit = values == DIGIT
    inside = (raw[1:-1] == _DOT) | (raw[1:-1] == _COMMA)
    values[1:-1][inside & digit[:-2] & digit[2:]] = IGNORED
    if (values >= EXPANDS).any():
        values = _expand(values, table.expansions)
    values = values[values != IGNORED]
    digit = values == DIGIT
    repeated = np.concatenate([[False], digit[1:] & digit[:-1]]) if values.size else digit
    folded: CodePoints = values[~repeated]
    return folded


def _expand(values: CodePoints, expansions: CodePoints) -> CodePoints:
    expands = values >= EXPANDS
    counts = np.where(expands, values >> 24 & 0x7F, 1).astype(np.int64)
    out = np.repeat(values, counts)
    within = np.arange(out.size) - np.repeat(np.cumsum(counts) - counts, counts)
    inserted = np.repeat(expands, counts)
    out[inserted] = expansions[(out[inserted] & 0xFFFFFF) + within[inserted]]
    return out


def _combine(words: Hashes, ngram: int) -> Hashes:
    count = words.size - ngram + 1
    if count <= 0:
        return np.empty(0, np.uint64)
    total = words[:count].copy()
    for offset in range(1, ngram):
        total = total * np.uint64(WORD_BASE) + words[offset : offset + count]
    return mix(total)


_powers_cache: list[tuple[Hashes, Hashes]] = []


def _powers(n: int) -> tuple[Hashes, Hashes]:
    """CHAR_BASE^i and CHAR_BASE^-i modulo 2^64 for i < n."""
    if not _powers_cache or _powers_cache[0][0].size < n:
        size = max(1 << 14, 1 << (n - 1).bit_length())
        inverse = pow(CHAR_BASE, -1, _MODULUS)
        _powers_cache[:] = [(_power_series(CHAR_BASE, size), _power_series(inverse, size))]
    powers, inverses = _powers_cache[0]
    return powers[:n], inverses[:n]


def _power_series(base: int, size: int) -> Hashes:
    factors = np.full(size, base, np.uint64)
    factors[0] = 1
    return np.multiply.accumulate(factors)


def _datatrove_shingles(text: str, ngram: int, hash_name: str) -> Hashes:
    """datatrove 0.10.1's `MinhashDedupSignature.get_shingles` for English, hash by hash."""
    words = datatrove_words(text)
    if native is not None and hash_name == "sha1":
        hashes = native.sha1_shingles(" ".join(words).encode(), ngram)
        return np.frombuffer(hashes, "<u8").astype(np.uint64, copy=False)
    grams = (" ".join(words[at : at + ngram]) for at in range(len(words) - ngram + 1))
    return np.fromiter(map(_gram_hash(hash_name), grams), np.uint64)


def _gram_hash(name: str) -> Callable[[str], int]:
    if name == "sha1":
        return lambda gram: int.from_bytes(hashlib.sha1(gram.encode()).digest()[:8], "little")
    from xxhash import xxh64_intdigest

    return xxh64_intdigest


def overlaps(
    values: CodePoints,
    offsets: Places,
    which: Places,
    others: CodePoints,
    other_offsets: Places,
    theirs: Places,
) -> Places:
    """int64 [n]: how many shingles set `which[i]` of the one collection shares with set `theirs[i]` of the other.

    A collection is its sets one after the other, each sorted and unique, and the offsets of their bounds.
    """
    counts = np.empty(which.size, np.int64)
    if native is not None:
        columns = (values, offsets, which, others, other_offsets, theirs, counts)
        native.overlaps(*map(np.ascontiguousarray, columns))
        return counts
    for place, (one, other) in enumerate(zip(which.tolist(), theirs.tolist(), strict=True)):
        mine = values[offsets[one] : offsets[one + 1]]
        counts[place] = np.intersect1d(
            mine, others[other_offsets[other] : other_offsets[other + 1]], assume_unique=True
        ).size
    return counts
