"""A fastText model's file as the C kernel wants it: rows spelled out, the tree of labels built.

`pipeline.speed._lid` predicts what fastText does, bit for bit, in a tenth of its time. It knows one make of model, that
of lid.176.ftz: quantised and pruned input, character n-grams but none of words, hierarchical softmax. Every other model
is fastText's own to ask, and so is this one where the kernel is not built.
"""

from __future__ import annotations

import functools
import os
import struct
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Predict = Callable[[str, int, float, str], list[tuple[float, str]]]

# github.com/facebookresearch/fastText: fasttext.cc, args.cc, dictionary.cc, quantmatrix.cc, productquantizer.cc
_MAGIC, _VERSION = 793712314, 12
_HIERARCHICAL_SOFTMAX, _SUPERVISED = 1, 3
_CENTROIDS = 256
_PROBES = (
    "The mill stands by the river, and in spring the water is high enough to turn both of its stones.\n",
    "Die Mühle steht am Fluss, und im Frühjahr reicht das Wasser, um beide Steine zu drehen.\n",
    "Le moulin est au bord de la rivière;\tau printemps l'eau suffit à faire tourner ses deux meules.\n",
    "Млин стоји поред реке, а у пролеће је вода довољно висока да окреће оба камена.\n",
    "水車小屋は川のそばに立っている。春には水かさが増す。 磨坊在河边。\n",
    "Menu Home Login © 2026 ☰ 12:30 __label__en x</s> </s> not read\n",
    "\n",
)


class Kernel:
    """A model that the C kernel holds; its lines are UTF-8 with a final newline."""

    def __init__(self, model: Any, labels: Sequence[str]) -> None:
        self._model = model  # pipeline.speed._lid.Model
        self._labels = tuple(labels)
        self._numbers = functools.cache(self._numbered)

    def best(self, line: bytes) -> tuple[float, str] | None:
        """The likeliest label with its probability, None where nothing in the line is known."""
        found = self._model.best(line)
        return (found[0], self._labels[found[1]]) if found else None

    def chances(self, line: bytes, labels: frozenset[str]) -> list[float]:
        """The probabilities of these labels in the model's order, 0 for those that fastText leaves out (below 1e-5)."""
        chances: list[float] = self._model.chances(line, self._numbers(labels))
        return chances

    def _numbered(self, labels: frozenset[str]) -> tuple[int, ...]:
        return tuple(number for number, label in enumerate(self._labels) if label in labels)

    def agrees(self, predict: Predict, line: str) -> bool:
        """Whether fastText says the same of the line, to the last bit."""
        expected = {label: score for score, label in predict(line, -1, 0.0, "strict")}
        chances = zip(self._labels, self.chances(line.encode(), frozenset(self._labels)), strict=True)
        best = self.best(line.encode())
        return {label: chance for label, chance in chances if chance} == expected and (
            [best] if best else []
        ) == predict(line, 1, 0.0, "strict")


def load_kernel(path: Path, predict: Predict) -> Kernel | None:
    """The model at `path` for the kernel; None where that is not built or not made for this model.

    `predict` is fastText's own, of the same model. Where they differ on a few lines, fastText was compiled for another
    arithmetic (fused multiply-add, as `-march=native` brings), and is believed.
    """
    if os.environ.get("GRISTMILL_PURE") == "1":
        return None
    try:
        make = import_module("pipeline.speed._lid").Model
    except ImportError:
        return None
    with path.open("rb") as file:
        if struct.unpack("<2i", file.read(8).ljust(8, b"\0")) != (_MAGIC, _VERSION):
            return None
        if not _is_known(file.read(48)):
            return None
        file.seek(0)
        data = file.read()
    try:
        kernel = _read(data, make)
    except (ValueError, struct.error):  # a matrix in parts of unequal width, a file that is cut off
        return None
    return kernel if kernel and all(kernel.agrees(predict, line) for line in _PROBES) else None


def _is_known(arguments: bytes) -> bool:
    named = struct.unpack("<12i", arguments.ljust(48, b"\0"))
    word_ngrams, loss, model = named[5:8]
    return (word_ngrams, loss, model) == (1, _HIERARCHICAL_SOFTMAX, _SUPERVISED)


class _Reader:
    """Little-endian numbers from the front of some bytes."""

    def __init__(self, data: bytes, at: int) -> None:
        self._data, self.at = data, at

    def take(self, layout: str) -> tuple[Any, ...]:
        found = struct.unpack_from("<" + layout, self._data, self.at)
        self.at += struct.calcsize("<" + layout)
        return found

    def array(self, dtype: str, count: int) -> npt.NDArray[Any]:
        found = np.frombuffer(self._data, dtype, count, self.at)
        self.at += found.nbytes
        return found

    def dictionary(self, count: int) -> tuple[list[bytes], list[int]]:
        """The entries' spelling and how often each was seen in training: bytes, 0, int64, a byte of what it is."""
        spelled, counts, at = [], [], self.at
        for _ in range(count):
            end = self._data.index(0, at)
            spelled.append(self._data[at:end])
            counts.append(int.from_bytes(self._data[end + 1 : end + 9], "little"))
            at = end + 10
        self.at = at
        return spelled, counts


def _read(data: bytes, make: Callable[..., Any]) -> Kernel | None:
    reader = _Reader(data, 8)
    dim, *_, bucket, shortest, longest, _, _ = reader.take("12id")
    entries, n_words, n_labels, _, pruned = reader.take("3i2q")
    if pruned <= 0 or n_words + n_labels != entries:
        return None
    spelled, counts = reader.dictionary(entries)
    ngrams = reader.array("<i4", 2 * pruned)
    if not reader.take("?")[0]:  # the input is not quantised
        return None
    rows = _quantised(reader)
    if reader.take("?")[0]:  # the output is
        return None
    height, width = reader.take("2q")
    output = reader.array("<f4", height * width).reshape(height, width)
    model = make(
        dim=dim,
        ngrams=(shortest, longest),
        bucket=bucket,
        words=n_words,
        labels=n_labels,
        spelling=b"".join(word + b"\0" for word in spelled),
        rows_of_ngrams=ngrams.astype(np.int32).tobytes(),
        rows=rows.tobytes(),
        # row i is of the tree's node n_labels + i; the last row is nobody's
        output=output[: n_labels - 1].astype(np.float32).tobytes(),
        children=_tree(counts[n_words:]).tobytes(),
    )
    return Kernel(model, [label.decode() for label in spelled[n_words:]])


def _quantised(reader: _Reader) -> Floats:
    """float32 [rows, dim] of a product-quantised matrix (Jégou et al. 2011), multiplied as fastText does."""
    with_norms, height, _, size = reader.take("?2qi")
    codes = reader.array("u1", size).reshape(height, -1)
    rows = _decoded(reader, codes)
    if with_norms:
        norm_codes = reader.array("u1", height)
        rows *= _decoded(reader, norm_codes[:, None])
    return rows


def _decoded(reader: _Reader, codes: npt.NDArray[np.uint8]) -> Floats:
    dim, parts, part, _ = reader.take("4i")
    books = reader.array("<f4", dim * _CENTROIDS).reshape(parts, _CENTROIDS, part)
    return books[np.arange(parts), codes].reshape(len(codes), dim).astype(np.float32, copy=False)


def _tree(counts: list[int]) -> npt.NDArray[np.int32]:
    """int32 [labels - 1, 2]: the children of each inner node of fastText's Huffman tree; labels are the first nodes.

    `counts` fall from label to label, as the dictionary is sorted.
    """
    n = len(counts)
    weights = [*counts, *([10**15] * (n - 1))]
    children = np.empty((n - 1, 2), np.int32)
    leaf, node = n - 1, n
    for parent in range(n, 2 * n - 1):
        for side in range(2):
            if leaf >= 0 and weights[leaf] < weights[node]:
                children[parent - n, side], leaf = leaf, leaf - 1
            else:
                children[parent - n, side], node = node, node + 1
        weights[parent] = weights[children[parent - n, 0]] + weights[children[parent - n, 1]]
    return children
