"""What no training is needed for: the bits per byte of a byte bigram, the first mark that a model must pass."""

from __future__ import annotations

from itertools import accumulate

import numpy as np
import numpy.typing as npt

from model.dataset import TokenDataset
from model.vocabulary import Vocabulary

COUNTED_TOKENS = 5_000_000  # some 20 MB: what 66,049 pairs need, in seconds


def bigram_bits_per_byte(train: TokenDataset, validation: TokenDataset, vocabulary: Vocabulary) -> float:
    """Bits per byte of `validation` under byte pairs counted in `train`, each pair counted once more than seen.

    Of each part the first row groups are read, up to `COUNTED_TOKENS` tokens. Documents begin and end with a 257th
    symbol, whose bits count as a model's end-of-text does.
    """
    counts = _pairs(train, vocabulary) + 1.0
    bits = -np.log2(counts / counts.sum(axis=1, keepdims=True))
    seen = _pairs(validation, vocabulary)
    return float((seen * bits).sum() / seen[:, :256].sum())


def _pairs(dataset: TokenDataset, vocabulary: Vocabulary) -> npt.NDArray[np.int64]:
    """(257, 257) counts of each symbol followed by each."""
    counts = np.zeros(257 * 257, np.int64)
    before = accumulate((group.tokens for group in dataset.groups), initial=0)
    for group in (group for group, read in zip(dataset.groups, before, strict=False) if read < COUNTED_TOKENS):
        for document in dataset.read(group).documents():
            text = np.frombuffer(vocabulary.decode([int(token) for token in document]).encode(), np.uint8)
            framed = np.concatenate([[256], text, [256]]).astype(np.int64)
            counts += np.bincount(framed[:-1] * 257 + framed[1:], minlength=len(counts))
    return counts.reshape(257, 257)
