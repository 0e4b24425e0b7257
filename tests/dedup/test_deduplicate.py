"""Deduplication whole: what is found, what stays, and that nothing but the documents decides it."""

from __future__ import annotations

import gzip
import json
import random
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from pipeline.dedup import DedupSettings, Verdict, deduplicate, load_verdicts
from pipeline.dedup.shingles import shingle_hashes, shingle_set
from pipeline.dedup.signatures import fold_whitespace, signature_row
from pipeline.dedup.verdicts import _hosts
from pipeline.errors import GristmillError
from pipeline.store import Folder
from tests.dedup.dedup_corpus import CURATION, Doc, all_verdicts, edited, kept, make_id, prose, run, write_splits

DEFAULTS = DedupSettings()
SMALL = DedupSettings(memory=1 << 20)  # many buckets, many chunks, components by stars


def jaccard(one: str, other: str) -> float:
    a, b = (set(shingle_set(shingle_hashes(text, DEFAULTS)).tolist()) for text in (one, other))
    return len(a & b) / max(1, len(a | b))


def reference(docs: list[Doc], settings: DedupSettings) -> dict[str, Verdict]:
    """The same rules in the plainest way: every pair of documents, dictionaries and one loop."""
    chars = {doc.id: len(fold_whitespace(doc.text)) for doc in docs}
    text = {doc.id: doc.text for doc in docs}
    first: dict[str, str] = {}
    originals = {doc.id: first.setdefault(fold_whitespace(doc.text), doc.id) for doc in sorted(docs)}
    rows = {one: signature_row(text[one], settings) for one in set(originals.values())}
    parent = dict(originals)

    def root(one: str) -> str:
        while parent[one] != one:
            one = parent[one]
        return one

    for a, b in combinations(sorted(rows), 2):
        candidate = rows[a].shingles and any(x == y for x, y in zip(rows[a].bands, rows[b].bands, strict=True))
        if candidate and jaccard(text[a], text[b]) >= settings.min_jaccard:
            low, high = sorted((root(a), root(b)))
            parent[high] = low
    clusters = defaultdict(list)
    for one in parent:
        clusters[root(one)].append(one)
    verdicts = {}
    for cluster, members in clusters.items():
        survivor = min(members, key=lambda one: (-chars[one], one))
        for one in members if len(members) > 1 else ():
            verdicts[one] = Verdict(cluster, len(members))
            if one != survivor:
                kind = "exact" if originals[one] == survivor else "near"
                score = 1.0 if kind == "exact" else jaccard(text[one], text[survivor])
                verdicts[one] = Verdict(cluster, len(members), survivor, kind, score, "")
    return verdicts


def mixed_corpus(seed: int, families: int) -> list[Doc]:
    """Families of a text, its near-duplicates, its exact copies and its distant relatives; chains; short texts."""
    draw = random.Random(seed)
    docs = []
    for family in range(families):
        words = prose(seed * 1000 + family, draw.randint(40, 160))
        versions = [words]
        for _ in range(draw.randint(0, 4)):
            step = edited(draw.choice(versions), draw.randrange(1 << 30), draw.randint(1, 4))
            versions.append(step + prose(draw.randrange(1 << 30), draw.randint(0, 3)))
        for number, version in enumerate(versions):
            for copy in range(draw.choice([1, 1, 1, 2, 3])):
                text = draw.choice([" ", "\n", "  "]).join(version)
                docs.append(Doc(make_id(f"{seed}/{family}/{number}/{copy}"), text, f"http://h{family % 7}/"))
    docs += [Doc(make_id(f"{seed}/short/{n}"), "only four words here" if n % 2 else f"x{n}") for n in range(6)]
    return docs


@pytest.mark.parametrize("settings", [DEFAULTS, SMALL], ids=["in one piece", "out of core"])
def test_agrees_with_the_plain_reference(tmp_path: Path, settings: DedupSettings) -> None:
    docs = mixed_corpus(3, 60)
    assert run(tmp_path, [docs[:50], docs[50:]], settings) == reference(docs, settings)


@hypothesis_settings(max_examples=7, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_split_and_order_and_memory_do_not_matter(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    docs = mixed_corpus(data.draw(st.integers(0, 5)), 12)
    shuffled = data.draw(st.permutations(docs))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(docs)), max_size=5)))
    parts = [shuffled[a:b] for a, b in zip([0, *cuts], [*cuts, len(docs)], strict=True)]
    chosen = data.draw(st.sampled_from([DEFAULTS, SMALL]))
    root = tmp_path_factory.mktemp("run")
    assert run(root, parts, chosen) == reference(docs, DEFAULTS)
    stats = Folder(root / "out").read_json("stats.json")
    run(root / "whole", [docs], DEFAULTS)
    assert stats == Folder(root / "whole/out").read_json("stats.json")


def test_prints_of_a_band_may_lie_in_several_buckets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.dedup.plan.PRINT_ROW", 1 << 25)
    docs = mixed_corpus(4, 30)
    splits = write_splits(tmp_path, [docs[:40], docs[40:]], DEFAULTS)
    work: dict[str, int] = {}

    def run_tasks(task: Callable[[Any], Any], jobs: Sequence[Any]) -> Iterator[Any]:
        work[jobs[0].stage] = len(jobs)
        yield from map(task, jobs)

    deduplicate(splits, DEFAULTS, Folder(tmp_path / "out"), run_tasks)
    assert work["shared"] > DEFAULTS.bands
    found = [load_verdicts(Folder(tmp_path / "out"), split.name) for split in splits]
    assert found[0] | found[1] == reference(docs, DEFAULTS)


def test_hosts_are_found_in_any_url() -> None:
    urls = {
        "https://Example.ORG/a": "example.org",
        "http://a.example:8080?q": "a.example",
        "http://a.example:8080": "a.example",
        "https://user:12@b.example/": "b.example",
        "https://user@b.example:1/": "b.example",
        "http://[::1]:80/x": "::1",
        "https://a.example#@b.example/": "a.example",
        "urn:isbn:1": "",
        "http://": "",
        "/only/a/path": "",
    }
    assert _hosts(pa.array([*urls, None])).to_pylist() == [*urls.values(), ""]


def test_results_do_not_depend_on_the_order_in_which_tasks_run(tmp_path: Path) -> None:
    docs = mixed_corpus(8, 40)
    splits = write_splits(tmp_path, [docs[:30], docs[30:60], docs[60:]], SMALL)
    forward = deduplicate(splits, SMALL, Folder(tmp_path / "a"), map)
    backward = deduplicate(
        splits[::-1], SMALL, Folder(tmp_path / "b"), lambda task, items: map(task, list(items)[::-1])
    )
    assert forward.stats == backward.stats
    assert sorted(forward.entries) == sorted(backward.entries)


def test_every_receipt_is_true(tmp_path: Path) -> None:
    docs = mixed_corpus(11, 80)
    text = {doc.id: doc.text for doc in docs}
    verdicts = run(tmp_path, [docs[::2], docs[1::2]], SMALL)
    staying = kept(docs, verdicts)
    members = defaultdict(set)
    for one, verdict in verdicts.items():
        members[verdict.cluster_id].add(one)
    for one, verdict in verdicts.items():
        assert verdict.cluster_id == min(members[verdict.cluster_id])
        assert verdict.cluster_size == len(members[verdict.cluster_id])
        if verdict.survivor_id is not None:
            assert verdict.survivor_id in staying & members[verdict.cluster_id]
            if verdict.kind == "exact":
                assert text[one].split() == text[verdict.survivor_id].split()
            else:
                assert verdict.similarity == pytest.approx(jaccard(text[one], text[verdict.survivor_id]))
    assert all(len(group & staying) == 1 for group in members.values())


def test_a_chain_is_one_cluster_and_its_receipts_tell_the_true_distance(tmp_path: Path) -> None:
    words, chain = prose(1, 400), []
    for step in range(40):
        chain.append(Doc(make_id(f"link {step}"), " ".join(words)))
        words = [*words[4:], *prose(1000 + step, 4)]
    assert jaccard(chain[0].text, chain[1].text) > 0.9
    assert jaccard(chain[0].text, chain[39].text) < 0.5
    verdicts = run(tmp_path, [chain], DEFAULTS)
    assert {verdict.cluster_size for verdict in verdicts.values()} == {40}
    assert len(kept(chain, verdicts)) == 1
    assert min(v.similarity for v in verdicts.values() if v.similarity is not None) < 0.8


def test_survivor_is_the_longest_then_the_smallest_id(tmp_path: Path) -> None:
    words = prose(5, 200)
    short, long, longer = " ".join(words), " ".join([*words, "tail"]), " ".join([*words, "end of text"])
    docs = [Doc("0" * 32, short), Doc("1" * 32, long), Doc("3" * 32, longer), Doc("2" * 32, longer)]
    verdicts = run(tmp_path, [docs], DEFAULTS)
    assert kept(docs, verdicts) == {"2" * 32}
    assert verdicts["3" * 32].kind == "exact"
    assert verdicts["0" * 32].kind == "near"
    assert {v.cluster_id for v in verdicts.values()} == {"0" * 32}


def test_boilerplate_group_is_split_and_verified_without_comparing_all(tmp_path: Path) -> None:
    """A template of 1,500 pages of 3 families, equal in whole bands: families are found, families stay apart."""
    frames = [prose(900 + family, 300) for family in range(3)]
    docs = []
    for number in range(1500):
        page = edited(frames[number % 3], number, 3)
        docs.append(Doc(make_id(str(number)), " ".join(page), f"https://host{number % 3}/{number}"))
    splits = write_splits(tmp_path, [docs[:700], docs[700:]], DEFAULTS)
    out = Folder(tmp_path / "out")
    result = deduplicate(splits, DEFAULTS, out, map)
    verdicts = all_verdicts(out, splits)
    assert len(kept(docs, verdicts)) == 3
    assert result.stats["largest_group"] > 100
    assert result.stats["candidate_pairs"] < 40 * len(docs)
    assert any("cluster" in alarm for alarm in result.alarms)
    assert any("host1" in alarm for alarm in result.alarms)
    assert result.stats["exhausted_documents"] == 0


def test_accidental_band_matches_do_not_remove(tmp_path: Path) -> None:
    """Pages of one template with bodies of their own: candidates by the template, rejected by what they say."""
    frame = prose(77, 150)
    docs = [Doc(make_id(f"t{n}"), " ".join([*frame, *prose(5000 + n, 110)])) for n in range(60)]
    loose = DedupSettings(bands=40, rows=2)  # lets pairs of similarity 0.4 become candidates
    splits = write_splits(tmp_path, [docs], loose)
    result = deduplicate(splits, loose, Folder(tmp_path / "out"), map)
    assert result.stats["candidate_pairs"] > 500
    assert result.stats["removed"] == {"exact": 0, "near": 0}
    everything = loose.model_copy(update={"min_jaccard": 0.0})
    result = deduplicate(splits, everything, Folder(tmp_path / "all"), map)
    assert result.stats["kept"] == 1


def test_texts_below_the_ngram_are_only_compared_exactly(tmp_path: Path) -> None:
    docs = [Doc(make_id("a"), "one two three four"), Doc(make_id("b"), "one two three  four")]
    docs += [Doc(make_id("c"), "one two three Four"), Doc(make_id("d"), "")]
    verdicts = run(tmp_path, [docs], DEFAULTS)
    assert set(verdicts) == {make_id("a"), make_id("b")}


@pytest.mark.parametrize(("exact", "minhash", "kinds"), [(True, False, {"exact"}), (False, True, {"near"})])
def test_each_half_works_alone(tmp_path: Path, exact: bool, minhash: bool, kinds: set[str]) -> None:
    words = prose(1)
    docs = [Doc(make_id(n), " ".join(words)) for n in "ab"] + [Doc(make_id("c"), " ".join(edited(words, 1, 1)))]
    verdicts = run(tmp_path, [docs], DedupSettings(exact=exact, minhash=minhash))
    assert {v.kind for v in verdicts.values()} - {None} == kinds
    assert len(kept(docs, verdicts)) == (2 if exact else 1)


def test_nothing_at_all(tmp_path: Path) -> None:
    assert run(tmp_path / "none", [], DEFAULTS) == {}
    assert run(tmp_path / "empty", [[], []], DEFAULTS) == {}


def test_resumes_from_receipts_and_repeats_nothing(tmp_path: Path) -> None:
    docs = mixed_corpus(4, 30)
    splits = write_splits(tmp_path, [docs[:20], docs[20:40], docs[40:]], SMALL)
    whole = deduplicate(splits, SMALL, Folder(tmp_path / "whole"), map)
    done: list[str] = []

    class Stop(Exception):
        pass

    def until(limit: int):  # type: ignore[no-untyped-def]
        def run_tasks(task, items):  # type: ignore[no-untyped-def]
            for item in items:
                if len(done) >= limit:
                    raise Stop
                before = item.scratch.exists(f"{item.stage}/{item.number:05d}.json")
                result = task(item)
                if not before:
                    done.append(f"{item.stage}/{item.number}")
                yield result

        return run_tasks

    out = Folder(tmp_path / "killed")
    total = 0
    for limit in range(5, 2000, 5):
        try:
            result = deduplicate(splits, SMALL, out, until(limit))
            break
        except Stop:
            total += 1
    assert total > 5
    assert sorted(result.entries) == sorted(whole.entries)
    work = [name for name in done if not name.startswith("survey")]
    assert len(work) == len(set(work))
    again = deduplicate(splits, SMALL, out, map)
    assert again.stats == whole.stats


def test_changed_signatures_are_not_taken_for_the_old_ones(tmp_path: Path) -> None:
    words = prose(1)
    docs = [Doc(make_id("a"), " ".join(words)), Doc(make_id("b"), " ".join(prose(2)))]
    splits = write_splits(tmp_path, [docs], DEFAULTS)
    out = Folder(tmp_path / "out")
    assert deduplicate(splits, DEFAULTS, out, map).stats["kept"] == 2
    splits = write_splits(tmp_path, [[docs[0], Doc(make_id("b"), " ".join(words))]], DEFAULTS)
    assert deduplicate(splits, DEFAULTS, out, map).stats["kept"] == 1


def test_mistakes_are_told(tmp_path: Path) -> None:
    docs = [Doc(make_id("a"), "some text of five words"), Doc(make_id("b"), "other text")]
    splits = write_splits(tmp_path, [docs, docs], DEFAULTS)
    with pytest.raises(GristmillError, match="occurs twice"):
        deduplicate(splits, DEFAULTS, Folder(tmp_path / "out"), map)
    with pytest.raises(GristmillError, match="no signatures of 20 bands"):
        deduplicate(splits[:1], DedupSettings(bands=20), Folder(tmp_path / "out"), map)
    with pytest.raises(GristmillError, match="same name"):
        deduplicate([splits[0], splits[0]], DEFAULTS, Folder(tmp_path / "out"), map)
    with pytest.raises(GristmillError, match="no record_id"):
        write_splits(tmp_path / "ids", [[Doc("7", "text")]], DEFAULTS)
    splits[0].folder.remove("signatures.parquet")
    with pytest.raises(GristmillError, match="there are no signatures"):
        deduplicate(splits[:1], DEFAULTS, Folder(tmp_path / "out"), map)


ARTICLES = CURATION / "near_duplicates/articles.jsonl.gz"


@pytest.mark.skipif(not ARTICLES.exists(), reason="shared/data/curation is not beside the checkout")
def test_finds_all_pairs_of_the_news_articles_and_nothing_else(tmp_path: Path) -> None:
    names, docs = {}, []
    with gzip.open(ARTICLES, "rt") as lines:
        for article in map(json.loads, lines):
            names[make_id(article["id"])] = article["id"]
            docs.append(Doc(make_id(article["id"]), article["text"]))
    truth = [line.split() for line in ARTICLES.with_name("articles.truth.tsv").read_text().splitlines()[1:]]
    verdicts = run(tmp_path / "once", [docs[:300], docs[300:]], SMALL)
    found = {frozenset((names[one], names[v.survivor_id])) for one, v in verdicts.items() if v.survivor_id}
    assert found == {frozenset(pair) for pair in truth}
    twice = [*docs, *(Doc(make_id(f"again {doc.id}"), doc.text) for doc in docs)]
    verdicts = run(tmp_path / "twice", [twice[:900], twice[900:]], SMALL)
    assert len(kept(twice, verdicts)) == len(docs) - len(truth)
