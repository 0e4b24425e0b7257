"""A forest of boosted trees as flat arrays, and its score: the same number on every machine."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.extractors.reading import pages_kernel

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
        kernel = forest_kernel()
        if kernel is None:
            return self.score_python(x)
        x = np.ascontiguousarray(x, np.float32)
        return np.frombuffer(kernel.score(x, x.shape[1], self.packed(x.shape[1])))

    def packed(self, width: int) -> bytes:
        """The forest over rows of this width as the kernel takes it, in trees of up to 32 leaves each."""
        parts = (self.feature, self.threshold, self.left, self.right, self.leaves, self.roots)
        packed: bytes = forest_kernel().pack_forest(width, *parts)
        return packed

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
        return logistic(total)

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


# exp() may differ in its last bit between machines, and so a later comparison: a table, rounded, does not
LOGISTIC_REACH, LOGISTIC_STEPS = 12, 32  # from -12 to 12, so many steps in one
LOGISTIC = np.array(
    [
        round(1 / (1 + math.exp(-step / LOGISTIC_STEPS)), 9)
        for step in range(-LOGISTIC_REACH * LOGISTIC_STEPS, LOGISTIC_REACH * LOGISTIC_STEPS + 2)
    ]
)


def logistic(total: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """1 / (1 + e^-x) by straight lines between 1/32ths."""
    place = (np.clip(total, -LOGISTIC_REACH, LOGISTIC_REACH) + LOGISTIC_REACH) * LOGISTIC_STEPS
    step = place.astype(np.int64)
    out: npt.NDArray[np.float64] = LOGISTIC[step] + (LOGISTIC[step + 1] - LOGISTIC[step]) * (place - step)
    return out


@cache
def forest_kernel() -> Any:
    """The compiled loops, given the table of this file; None where they are not built."""
    kernel = pages_kernel()
    if kernel is not None:
        kernel.set_logistic(LOGISTIC, LOGISTIC_REACH, LOGISTIC_STEPS)
    return kernel


def _rounded_down(threshold: npt.NDArray[np.float64]) -> Floats:
    """The largest float32 not above: features are float32, so every comparison comes out as it did."""
    near = threshold.astype(np.float32)
    down: Floats = np.where(near > threshold, np.nextafter(near, np.float32(-np.inf)), near).astype(np.float32)
    return down
