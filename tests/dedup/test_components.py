"""Connected components: in memory, by stars, and by stars over buckets."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.dedup import DedupSettings
from pipeline.dedup.components import components, large_star, small_star
from pipeline.dedup.rows import locate
from tests.dedup.dedup_corpus import Doc, edited, kept, make_id, prose, run

edge_lists = st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), max_size=60)


def plain(edges: list[tuple[int, int]], nodes: int) -> list[int]:
    root = list(range(nodes))
    for _ in edges:
        for one, other in edges:
            root[one] = root[other] = min(root[one], root[other])
    return root


@given(edge_lists)
def test_components_have_their_smallest_node(edges: list[tuple[int, int]]) -> None:
    one, other = (np.array([edge[side] for edge in edges], np.int64) for side in (0, 1))
    assert components(one, other, 31).tolist() == plain(edges, 31)


@given(edge_lists)
def test_stars_come_to_the_same(edges: list[tuple[int, int]]) -> None:
    links = {edge for edge in edges if edge[0] != edge[1]}
    for _ in range(64):
        before = links
        for star in (large_star, small_star):
            both = sorted(links | {(b, a) for a, b in links})
            one, other = (np.array([link[side] for link in both], np.int64) for side in (0, 1))
            links = set(zip(*(ends.tolist() for ends in star(one, other)), strict=True))
        if links == before:
            break
    root = list(range(31))
    for node, least in links:
        root[node] = least
    assert root == plain(edges, 31)


def test_a_long_chain_is_solved_in_few_steps() -> None:
    draw = np.random.default_rng(0)
    order = draw.permutation(200_000)
    assert components(order[:-1], order[1:], order.size).max() == 0


def test_chains_and_stars_out_of_core(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.dedup.components.IN_MEMORY_ROW", 1 << 40)  # everything is too large for memory
    docs = []
    for family in range(6):
        words = prose(family, 200)
        for step in range(25):
            docs.append(Doc(make_id(f"{family}/{step}"), " ".join(words)))
            words = edited(words, step, 2) if family % 2 else [*words[2:], *prose(family * 100 + step, 2)]
    monkeypatch.setattr("pipeline.dedup.plan.NODE_ROW", 40_000)  # a dozen buckets
    verdicts = run(tmp_path, [docs[:60], docs[60:]], DedupSettings(memory=1 << 20))
    assert len(kept(docs, verdicts)) == 6
    assert {verdict.cluster_size for verdict in verdicts.values()} == {25}


def test_ids_that_share_their_upper_half_are_told_apart() -> None:
    high = np.array([5, 5, 5, 9, 9], np.uint64)
    low = np.array([1, 4, 7, 2, 3], np.uint64)
    asked_high = np.array([5, 5, 5, 9, 5, 8], np.uint64)
    asked_low = np.array([7, 4, 5, 3, 1, 0], np.uint64)
    assert locate(asked_high, asked_low, high, low).tolist() == [2, 1, -1, 4, 0, -1]
