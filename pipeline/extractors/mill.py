"""The learned engine: main text by two looks of boosted trees at the blocks of a page. See `mill_card.md`.

One pass over the HTML, shared with the language gate, gives blocks of text; numbers for each block; a first look that
scores every block, and a second that also sees what the first thought of its surroundings. What stays is the set of
blocks whose expected F1 is best: sure pages are cut at about one half, pages in doubt lower, so that a listing does
not come out empty.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.extractors.blocks import COLUMN, Blocks
from pipeline.extractors.engine import Extracted, Mode, Output
from pipeline.extractors.features import (
    CONTEXT,
    PROSE,
    ancestors,
    context,
    feature_names,
    features_python,
    numbers_kernel,
    page_arrays,
)
from pipeline.extractors.forest import Forest, forest_kernel
from pipeline.extractors.head import Head
from pipeline.extractors.html_tags import TAG_CODES
from pipeline.extractors.names import NameScores
from pipeline.extractors.reading import pages_kernel
from pipeline.extractors.render import as_markdown, as_text
from pipeline.record import Page
from pipeline.steps.html import reading

MODEL = Path(__file__).with_name("mill.npz")
MIN_CHANCE = 0.15  # blocks less likely to be main text never stay
# an article: this share of the main text that is expected is prose of at least this chance
SURE, SURE_SHARE = 0.85, 0.2
HIDDEN_SHARE = 0.5  # what a page hides may be a tab of it, or nothing that a reader ever sees: it counts half
REACH, SHORT_CELLS = 8, 40  # elements looked up for a table or list; units of a cell, on average, of a table of data
_GROUPS = np.zeros(max(TAG_CODES.values()) + 1, np.int8)
_GROUPS[TAG_CODES["table"]] = 1
_GROUPS[[TAG_CODES[tag] for tag in ("ul", "ol", "dl")]] = 2

Chances = npt.NDArray[np.float64]


class Mill:
    """Main text chosen block by block; knows paragraphs, lists, tables, code, and no language."""

    name = "mill"

    def __init__(self, mode: Mode, output: Output = "text") -> None:
        del mode  # the choice weighs precision and recall alike
        self._model = load_model(MODEL)
        self._output = output
        self._write = as_markdown if output == "markdown" else as_text

    @property
    def version(self) -> str:
        return f"{model_version()}/{self._output}"

    def extract(self, page: Page) -> Extracted:
        found = page.from_html(reading)
        blocks, head = found.blocks, found.head
        kept = choose(blocks, self._model.chances(blocks, head)) if blocks.texts else np.zeros(0, np.intp)
        return Extracted(self._write(blocks, kept), head.title, head.author, head.date)


@cache
def model_version() -> str:
    """The first digits of a hash over the model file and the numbers of the rules that choose by it."""
    rules = (MIN_CHANCE, SURE, SURE_SHARE, HIDDEN_SHARE, REACH, SHORT_CELLS, PROSE)
    return sha256(MODEL.read_bytes() + repr(rules).encode()).hexdigest()[:12]


@cache
def load_model(path: Path) -> Model:
    """The model in a file, once per process."""
    return Model.load(path)


@dataclass(frozen=True, slots=True)
class Model:
    """What names tell, and the forests of the first and the second look."""

    names: NameScores
    first: Forest
    second: Forest
    _kept: list[tuple[bytes, bytes]] = field(default_factory=list, repr=False, compare=False)

    def chances(self, blocks: Blocks, head: Head) -> Chances:
        """The chance of each block to be main text; a page without blocks has none."""
        if not blocks.texts:
            return np.zeros(0)
        packed = self._packed()
        if packed is None:
            return self.chances_python(blocks, head)
        page = page_arrays(blocks, head, self.names)
        return np.frombuffer(numbers_kernel().chances(page, *packed, hidden_column(), HIDDEN_SHARE))

    def chances_python(self, blocks: Blocks, head: Head) -> Chances:
        """`chances` without the kernel in C: its oracle, and what runs where there is none."""
        x = features_python(blocks, head, self.names)
        first = self.first.score_python(x)
        second = self.second.score_python(np.concatenate([x, context(blocks, first)], axis=1))
        return np.where(x[:, hidden_column()] > 0, second * HIDDEN_SHARE, second)

    def _packed(self) -> tuple[bytes, bytes] | None:
        """Both forests as the kernel takes them, packed once; None where there is no kernel."""
        if forest_kernel() is not None and not self._kept:
            width = len(feature_names())
            self._kept.append((self.first.packed(width), self.second.packed(width + CONTEXT)))
        return self._kept[0] if self._kept else None

    def save(self, path: Path) -> None:
        names = sorted(self.names.scores)
        arrays: dict[str, Any] = {
            "names": np.array("\n".join(names).encode()),
            "scores": np.array([self.names.scores[name] for name in names], np.int16),
            **self.first.arrays("first_"),
            **self.second.arrays("second_"),
        }
        np.savez_compressed(path, **arrays)

    @classmethod
    def load(cls, path: Path) -> Model:
        with np.load(path, allow_pickle=False) as held:
            names = held["names"].item().decode().split("\n")
            scores = dict(zip(names, held["scores"].tolist(), strict=True))
            return cls(NameScores(scores), Forest.from_arrays(held, "first_"), Forest.from_arrays(held, "second_"))


@cache
def hidden_column() -> int:
    """The number that says whether a block is hidden: by its style or attributes, or those of elements around it."""
    return feature_names().index("hidden")


@cache
def choice_kernel() -> Any:
    """The compiled loops, given the constants of this file; None where they are not built."""
    kernel = pages_kernel()
    if kernel is not None:
        kernel.set_choice(_GROUPS, REACH, PROSE, MIN_CHANCE, SURE, SURE_SHARE, SHORT_CELLS)
    return kernel


def together(blocks: Blocks, chances: Chances) -> Chances:
    """Chances of blocks that stand or fall with others: those of a table of short cells all have its mean, those of
    a list half of it. Half a table is worth less than none.
    """
    chain = ancestors(blocks, REACH)
    kinds = _GROUPS[blocks.tags[chain]]
    near = (kinds > 0).argmax(axis=1)
    rows = np.arange(len(chances))
    kind, group = kinds[rows, near], chain[rows, near]
    units = blocks.counts[:, COLUMN["units"]].astype(np.float64)
    size, held = np.bincount(group, units), np.bincount(group, units * chances)
    short = size / np.maximum(np.bincount(group), 1) < SHORT_CELLS
    weight = np.where(kind == 2, 0.5, np.where((kind == 1) & short[group], 1.0, 0.0))
    moved: Chances = (1 - weight) * chances + weight * (held / np.maximum(size, 1))[group]
    return moved


def choose(blocks: Blocks, chances: Chances) -> npt.NDArray[np.intp]:
    """The blocks that stay, in reading order: those from the likeliest down whose expected F1 is best.

    With p the chance of a block and u its units, keeping a set K has the expected F1 of about
    2 Σ_K p·u / (Σ_K u + Σ p·u): the optimal cut lies at half of the best F1 (Lipton et al. 2014, arXiv 1402.1892).
    Where sure prose makes up a good part of what is expected, the page is an article, and what is doubtful before
    and after it (teasers, comments) is doubtful together: there the cut is at one half.
    """
    kernel = choice_kernel()
    if kernel is None:
        return choose_python(blocks, chances)
    return np.flatnonzero(np.frombuffer(kernel.choose(blocks.counts, blocks.tags, blocks.parents, chances), np.int8))


def choose_python(blocks: Blocks, chances: Chances) -> npt.NDArray[np.intp]:
    """`choose` without the kernel in C: its oracle, and what runs where there is none."""
    units = blocks.counts[:, COLUMN["units"]].astype(np.float64)
    chances = together(blocks, chances)
    order = np.argsort(-chances, kind="stable")
    expected = np.cumsum((units * chances)[order])
    f1 = 2 * expected / (np.cumsum(units[order]) + expected[-1])
    cut = max(float(chances[order[int(f1.argmax())]]), MIN_CHANCE)
    prose = (units > PROSE) & (10 * blocks.counts[:, COLUMN["link_units"]] < 3 * units)
    sure = prose & (chances > SURE)
    if float(np.cumsum(units * chances * sure)[-1]) > SURE_SHARE * expected[-1]:
        first, last = np.flatnonzero(sure)[[0, -1]]
        outside = (np.arange(len(units)) < first) | (np.arange(len(units)) > last)
        return np.flatnonzero(chances >= np.where(outside, max(cut, 0.5), cut))
    return np.flatnonzero(chances >= cut)
