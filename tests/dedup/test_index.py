"""The index of earlier datasets: keep-first through time."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from pipeline.dedup import DedupSettings, append_to_index, deduplicate
from pipeline.errors import GristmillError
from pipeline.store import Folder
from tests.dedup.dedup_corpus import Doc, all_verdicts, edited, kept, make_id, prose, write_splits
from tests.dedup.test_deduplicate import mixed_corpus, reference

SMALL = DedupSettings(memory=1 << 20)


def keep_first(first: list[Doc], then: list[Doc]) -> set[str]:
    """What stays of `then` when whatever is connected with `first` goes, by the plain reference over both."""
    verdicts = reference(first + then, DedupSettings())
    old = {verdicts[doc.id].cluster_id for doc in first if doc.id in verdicts}
    free = [doc for doc in then if doc.id not in verdicts or verdicts[doc.id].cluster_id not in old]
    return kept(free, verdicts)


@pytest.mark.parametrize("seed", range(4))
def test_one_after_the_other_is_both_at_once_with_the_first_kept(tmp_path: Path, seed: int) -> None:
    docs = mixed_corpus(seed, 40)
    random.Random(seed).shuffle(docs)
    first, then = docs[: len(docs) // 2], docs[len(docs) // 2 :]
    index = tmp_path / "index"

    splits = write_splits(tmp_path / "a", [first[:20], first[20:]], SMALL)
    out = Folder(tmp_path / "a/out")
    deduplicate(splits, SMALL, out, map)
    kept_first = kept(first, all_verdicts(out, splits))
    append_to_index(Folder(index), "CRAWL-1", splits, out, SMALL, map)

    against = SMALL.model_copy(update={"against": (str(index),)})
    splits = write_splits(tmp_path / "b", [then[:30], then[30:]], against)
    out = Folder(tmp_path / "b/out")
    result = deduplicate(splits, against, out, map)
    verdicts = all_verdicts(out, splits)
    assert kept(then, verdicts) == keep_first(first, then)
    assert result.stats["documents"] == len(then)
    seen = [verdict for verdict in verdicts.values() if verdict.seen_in]
    assert seen
    assert {verdict.seen_in for verdict in seen} == {"CRAWL-1"}
    assert {verdict.survivor_id for verdict in seen} <= kept_first
    assert {v.survivor_id for v in verdicts.values() if v.survivor_id and not v.seen_in} <= kept(then, verdicts)


def test_the_oldest_dataset_is_named_and_nothing_comes_twice(tmp_path: Path) -> None:
    words = prose(1, 300)
    index, crawls = Folder(tmp_path / "index"), ["one", "two", "three"]
    for number, crawl in enumerate(crawls):
        against = (index.url,) if number else ()
        settings = SMALL.model_copy(update={"against": against})
        docs = [
            Doc(make_id(f"{crawl} same"), " ".join(words)),
            Doc(make_id(f"{crawl} near"), " ".join([*edited(words, number, 2), "and", "more"])),
            Doc(make_id(f"{crawl} new"), " ".join(prose(50 + number))),
        ]
        splits = write_splits(tmp_path / crawl, [docs], settings)
        out = Folder(tmp_path / crawl / "out")
        deduplicate(splits, settings, out, map)
        verdicts = all_verdicts(out, splits)
        append_to_index(index, crawl, splits, out, settings, map)
        if number:
            assert kept(docs, verdicts) == {make_id(f"{crawl} new")}
            assert {v.seen_in for v in verdicts.values()} == {"one"}
            assert {v.survivor_id for v in verdicts.values()} == {make_id("one near")}
    parts = [manifest for manifest in index.names() if manifest.endswith(".parquet")]
    assert [index.read_table(part).num_rows for part in parts] == [3, 1, 1]


def test_appending_again_changes_nothing_and_a_taken_label_is_refused(tmp_path: Path) -> None:
    index = Folder(tmp_path / "index")
    docs = [Doc(make_id("a"), " ".join(prose(1)))]
    splits = write_splits(tmp_path / "a", [docs], SMALL)
    out = Folder(tmp_path / "a/out")
    with pytest.raises(GristmillError, match="not finished"):
        append_to_index(index, "one", splits, out, SMALL, map)
    deduplicate(splits, SMALL, out, map)
    made = append_to_index(index, "one", splits, out, SMALL, map)
    assert append_to_index(index, "one", splits, out, SMALL, map) == made
    other = write_splits(tmp_path / "b", [[Doc(make_id("b"), " ".join(prose(2)))]], SMALL)
    deduplicate(other, SMALL, Folder(tmp_path / "b/out"), map)
    with pytest.raises(GristmillError, match="another dataset of this name"):
        append_to_index(index, "one", other, Folder(tmp_path / "b/out"), SMALL, map)


def test_mistakes_are_told(tmp_path: Path) -> None:
    splits = write_splits(tmp_path, [[Doc(make_id("a"), " ".join(prose(1)))]], SMALL)
    out = Folder(tmp_path / "out")
    missing = SMALL.model_copy(update={"against": (str(tmp_path / "nowhere"),)})
    with pytest.raises(GristmillError, match="no dedup index"):
        deduplicate(splits, missing, out, map)
    deduplicate(splits, SMALL, out, map)
    append_to_index(Folder(tmp_path / "index"), "one", splits, out, SMALL, map)
    other = SMALL.model_copy(update={"against": (str(tmp_path / "index"),), "seed": 9})
    with pytest.raises(GristmillError, match="other dedup settings"):
        deduplicate(splits, other, out, map)
