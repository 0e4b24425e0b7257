"""A forest of boosted trees as flat arrays, and its score: the same number on every machine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.extractors.blocks import pages_kernel

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Forest:
    """Node i goes to `left[i]` where feature `feature[i]` ≤ `threshold[i]`, else to `right[i]`; ~k is leaf k."""

    feature: npt.NDArray[np.int32]
    threshold: Floats
    left: npt.NDArray[np.int32]
    right: npt.NDArray[np.int32]
    leaves: Floats
    roots: npt.NDArray[np.int32]

    def score(self, x: Floats) -> npt.NDArray[np.float64]:
        """[n]: the chance that a row of `x` [n, features] is main text; leaves are added in the order of the trees."""
        kernel = pages_kernel()
        if kernel is None:
            return self.score_python(x)
        x = np.ascontiguousarray(x, np.float32)
        nodes = (self.feature, self.threshold, self.left, self.right, self.leaves, self.roots)
        return _logistic(np.frombuffer(kernel.score(x, x.shape[1], *nodes)))

    def score_python(self, x: Floats) -> npt.NDArray[np.float64]:
        """`score` without the kernel in C: its oracle, and what runs where there is none."""
        total = np.zeros(len(x))
        rows = np.arange(len(x))
        for root in self.roots.tolist():
            at = np.full(len(x), root, np.int32)
            while len(going := np.flatnonzero(at >= 0)):
                node = at[going]
                low = x[rows[going], self.feature[node]] <= self.threshold[node]
                at[going] = np.where(low, self.left[node], self.right[node])
            total += self.leaves[~at]
        return _logistic(total)

    def arrays(self, prefix: str) -> dict[str, npt.NDArray[Any]]:
        """For `numpy.savez`; `from_arrays` reads them back."""
        return {prefix + name: getattr(self, name) for name in self.__slots__}

    @classmethod
    def from_arrays(cls, held: Mapping[str, npt.NDArray[Any]], prefix: str) -> Forest:
        return cls(**{name: held[prefix + name] for name in cls.__slots__})

    @classmethod
    def from_lightgbm(cls, booster: Any) -> Forest:
        """The trees of a `lightgbm.Booster` for a binary objective, without missing values or categories."""
        feature: list[int] = []
        threshold: list[float] = []
        left: list[int] = []
        right: list[int] = []
        leaves: list[float] = []
        roots: list[int] = []

        def add(node: dict[str, Any]) -> int:
            if "leaf_value" in node:
                leaves.append(node["leaf_value"])
                return ~(len(leaves) - 1)
            at = len(feature)
            feature.append(node["split_feature"])
            threshold.append(node["threshold"])
            left.append(0)
            right.append(0)
            left[at], right[at] = add(node["left_child"]), add(node["right_child"])
            return at

        for tree in booster.dump_model()["tree_info"]:
            roots.append(add(tree["tree_structure"]))
        return cls(
            np.array(feature, np.int32),
            _rounded_down(np.array(threshold)),
            np.array(left, np.int32),
            np.array(right, np.int32),
            np.array(leaves, np.float32),
            np.array(roots, np.int32),
        )


def _logistic(total: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    out: npt.NDArray[np.float64] = 1 / (1 + np.exp(-total))
    return out


def _rounded_down(threshold: npt.NDArray[np.float64]) -> Floats:
    """The largest float32 not above: features are float32, so every comparison comes out as it did."""
    near = threshold.astype(np.float32)
    down: Floats = np.where(near > threshold, np.nextafter(near, np.float32(-np.inf)), near).astype(np.float32)
    return down
