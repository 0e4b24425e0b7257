"""Train the model of the `mill` engine on labelled pages, and measure it on pages of domains it has not seen.

    python -m pipeline.extractors.mill_train --data FOLDER --out pipeline/extractors/mill.npz \\
        --folds tests/quality/mill_folds

Needs `lightgbm`, which only training needs. Two looks at a page: the first forest scores every block by itself and
its surroundings; the second sees what the first thought of the neighbours and of the elements around. Domains are
split into five folds by hash. The second look learns from scores that the first gave to pages of unseen domains,
and fold f's models, written to `--folds`, have seen no label of fold f: neither forest, nor the scores of names.
"""

from __future__ import annotations

import argparse
import functools
import hashlib
import sys
from collections import defaultdict
from collections.abc import Callable, Sequence
from importlib import import_module
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.extractors.blocks import COLUMN, Blocks
from pipeline.extractors.features import Floats, context, features
from pipeline.extractors.forest import Forest
from pipeline.extractors.mill import Model
from pipeline.extractors.mill_labels import TRAINING_SETS, Labelled, label_pages
from pipeline.extractors.names import NameScores, Verdict, name_hints, name_tokens

FOLDS = 5
ROUNDS = (110, 60)
PARAMETERS: dict[str, Any] = {
    "objective": "binary",
    "learning_rate": 0.08,
    "num_leaves": 24,
    "min_data_in_leaf": 60,
    "feature_fraction": 0.4,
    "bagging_fraction": 0.8,
    "bagging_freq": 1,
    "lambda_l2": 5,
    "path_smooth": 1,
    "max_bin": 127,
    "seed": 7,
    "deterministic": True,
    "force_row_wise": True,
    "num_threads": 1,
    "verbosity": -1,
}
# a token's score is shrunk as if it had been seen, neutral, on so many more domains; under MIN_DOMAINS it has none
SHRINK, MIN_DOMAINS, MIN_SCORE = 4.0, 5, 40

_tokens = functools.cache(name_tokens)
_hints = functools.cache(name_hints)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--data", type=Path, required=True, help="folder of the labelled sets")
    arguments.add_argument("--out", type=Path, help="write the model here, trained on every page")
    arguments.add_argument("--folds", type=Path, help="write the models of the folds here, each blind to its fold")
    given = arguments.parse_args()
    pages = [page for name in TRAINING_SETS for page in label_pages(given.data, name) if page.blocks.texts]
    pages += [short for page in pages if (short := shortened(page)) is not None]
    print(f"{len(pages)} pages, {sum(len(page.labels) for page in pages)} blocks", file=sys.stderr)
    models = train(pages, folds=given.folds is not None)
    if given.out:
        models[-1].save(given.out)
    if given.folds:
        given.folds.mkdir(parents=True, exist_ok=True)
        for fold in range(FOLDS):
            models[fold].save(given.folds / f"{fold}.npz")


def fold_of(domain: str) -> int:
    """The fold of a registrable domain: pages of one site stand in one fold, in whatever set."""
    return hashlib.sha256(domain.encode()).digest()[0] % FOLDS


def train(pages: Sequence[Labelled], *, folds: bool) -> dict[int, Model]:
    """The model of all pages under -1 and, if `folds`, those blind to one fold under its number."""
    fold = [fold_of(page.domain) for page in pages]
    blind: dict[frozenset[int], tuple[NameScores, Forest]] = {}
    holdouts = [frozenset({f}) for f in range(FOLDS)] + [frozenset()]
    if folds:
        holdouts += [frozenset(pair) for pair in combinations(range(FOLDS), 2)]
    for held_out in holdouts:
        blind[held_out] = _first_look([p for p, f in zip(pages, fold, strict=True) if f not in held_out])
        print(f"first look without {sorted(held_out)}", file=sys.stderr)
    models = {}
    for out in (*(range(FOLDS) if folds else ()), -1):
        rows: list[Floats] = []
        kept = [(page, f) for page, f in zip(pages, fold, strict=True) if f != out]
        for page, f in kept:
            names, forest = blind[frozenset({f, out} - {-1})]
            x = features(page.blocks, page.head, names)
            rows.append(np.concatenate([x, context(page.blocks, forest.score(x))], axis=1))
        second = _fit(rows, [page for page, _ in kept], ROUNDS[1])
        names, first = blind[frozenset({out} - {-1})]
        models[out] = Model(names, first, second)
        print(f"second look without {out}", file=sys.stderr)
    return models


def _first_look(pages: Sequence[Labelled]) -> tuple[NameScores, Forest]:
    table = NameTable(pages)
    rows = [features(page.blocks, page.head, table.without(page.domain)) for page in pages]
    return NameScores(table.scores()), _fit(rows, pages, ROUNDS[0])


def _fit(rows: Sequence[Floats], pages: Sequence[Labelled], rounds: int) -> Forest:
    lightgbm = import_module("lightgbm")
    data = lightgbm.Dataset(
        np.concatenate(rows),
        np.concatenate([page.labels for page in pages]),
        weight=np.concatenate([page.weights for page in pages]),
    )
    return Forest.from_lightgbm(lightgbm.train(PARAMETERS, data, rounds))


class NameTable:
    """For each token in classes and ids and each domain: main text's share under it less the page's, on average."""

    def __init__(self, pages: Sequence[Labelled]) -> None:
        shares: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
        for page in pages:
            for token, share in _shares(page.blocks, page.labels).items():
                shares[token][page.domain].append(share)
        self._of = {
            token: {domain: sum(found) / len(found) for domain, found in by_domain.items()}
            for token, by_domain in shares.items()
            if len(by_domain) >= MIN_DOMAINS
        }
        self._total = {token: sum(by_domain.values()) for token, by_domain in self._of.items()}

    def scores(self) -> dict[str, int]:
        found = {token: self._score(token, "") for token in sorted(self._of)}
        return {token: score for token, score in found.items() if score}

    def without(self, domain: str) -> Callable[[str], Verdict]:
        """Verdicts that a page of this domain had no part in: else training would see its own answers."""

        @functools.cache
        def judge(name: str) -> Verdict:
            known = [self._score(token, domain) for token in _tokens(name) if token in self._of]
            return min([*known, 0]), max([*known, 0]), _hints(name)

        return judge

    def _score(self, token: str, without: str) -> int:
        by_domain = self._of[token]
        total, domains = self._total[token], len(by_domain)
        if without in by_domain:
            total, domains = total - by_domain[without], domains - 1
        score = round(1000 * total / (domains + SHRINK))
        return score if domains >= MIN_DOMAINS and abs(score) > MIN_SCORE else 0


def _shares(blocks: Blocks, labels: npt.NDArray[np.float32]) -> dict[str, float]:
    units = blocks.counts[:, COLUMN["units"]].astype(np.float64)
    everything = np.concatenate([[0.0], np.cumsum(units)])
    main = np.concatenate([[0.0], np.cumsum(units * labels)])
    under: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])
    tokens = [{token for name in names.split() for token in _tokens(name)} for names in blocks.names]
    for element, place in enumerate(blocks.named.tolist()):
        a, b = blocks.first[element], blocks.last[element]
        if b > a:
            for token in tokens[place]:
                under[token][0] += main[b] - main[a]
                under[token][1] += everything[b] - everything[a]
    base = main[-1] / everything[-1]
    return {token: part / whole - base for token, (part, whole) in under.items()}


def shortened(page: Labelled) -> Labelled | None:
    """The page as if its article had only a few paragraphs: the rest of it stays as large as on short news.

    Labelled articles are long; without these, a short article among long teaser lists is lost. Every other
    article-like page gives one; which paragraphs stay is decided by hash.
    """
    seed = hashlib.sha256(f"{page.set}/{page.id}".encode()).digest()
    units = page.blocks.counts[:, COLUMN["units"]]
    prose = np.flatnonzero((page.labels > 0) & (units > 60))
    if page.kind not in ("", "article") or seed[0] % 2 or len(prose) < 6:
        return None
    kept = 1 + seed[1] % 4
    end = prose[kept]
    gone = (page.labels > 0) & (np.arange(len(units)) >= end)
    stays = np.flatnonzero(~gone)
    before = np.concatenate([[0], np.cumsum(~gone)]).astype(np.int32)
    blocks = Blocks(
        [page.blocks.texts[i] for i in stays],
        page.blocks.counts[stays],
        page.blocks.tags,
        page.blocks.parents,
        before[page.blocks.first],
        before[page.blocks.last],
        page.blocks.named,
        page.blocks.names,
    )
    weights = page.weights[stays] * (20 / max(float(page.weights[stays].sum()), 1e-9))
    return Labelled(
        page.set, page.id, page.domain, page.kind, page.html, page.truth, blocks, page.head, page.labels[stays], weights
    )


if __name__ == "__main__":
    main()
