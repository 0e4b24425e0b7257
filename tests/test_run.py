"""A whole run: laws 1, 3, 4 and 5 on the sample crawl."""

from __future__ import annotations

import gzip
import json
import random
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import yaml

from pipeline.errors import GristmillError
from pipeline.ledger import Dataset, explain, verify, what_if
from pipeline.mend import discard
from pipeline.pool import Serial
from pipeline.recipe import load_recipe, parse_recipe
from pipeline.run import Run
from pipeline.sources import plan_inputs
from pipeline.store import Folder
from pipeline.tokens import Encoder
from tests.conftest import SAMPLE, SETTINGS, run_sample, tree
from tests.crawls import article, articles, write_warc


def open_dataset(folder: Path) -> Dataset:
    return Dataset.open(Folder(folder))


def test_every_record_has_one_state_and_every_checksum_fits(published: Path) -> None:
    dataset = open_dataset(published)
    assert verify(dataset) == []
    records = dataset.manifest.about["records"]
    assert records["in"] == records["kept"] + records["dropped"] + records["quarantined"]
    ledger = pq.read_table(published / "ledger")
    assert ledger.num_rows == records["in"]
    assert len(set(ledger["record_id"].to_pylist())) == records["in"]


def test_the_ledger_tiles_every_archive_to_its_last_byte(published: Path) -> None:
    rows = pq.read_table(published / "ledger", columns=["file", "offset", "length"]).to_pylist()
    for path in SAMPLE.glob("*.warc.gz"):
        at = 0
        for row in sorted((r for r in rows if r["file"] == path.name), key=lambda r: r["offset"]):
            assert row["offset"] == at
            at += row["length"]
        assert at == path.stat().st_size


@pytest.mark.parametrize("workers", [1, 3])
def test_any_number_of_workers_publishes_the_same_bytes(published: Path, tmp_path: Path, workers: int) -> None:
    run_sample(tmp_path / "ds", workers=workers)
    assert tree(tmp_path / "ds") == tree(published)


def test_neither_the_place_of_the_input_nor_its_order_reaches_a_published_byte(published: Path, tmp_path: Path) -> None:
    shutil.copytree(SAMPLE, tmp_path / "elsewhere")
    files = sorted((tmp_path / "elsewhere").glob("*.warc.gz"), reverse=True)
    run_sample(tmp_path / "ds", [str(path) for path in files])
    assert tree(tmp_path / "ds") == tree(published)


def test_a_finished_run_is_not_run_again(published: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in published.rglob("*.parquet") if "run" not in path.parts}
    outcome = run_sample(published)
    assert outcome.tasks_done == 0  # type: ignore[attr-defined]
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_a_changed_recipe_redoes_only_what_it_touches(published: Path, tmp_path: Path) -> None:
    shutil.copytree(published, tmp_path / "ds")
    refined = set((tmp_path / "ds/run/work/refine").iterdir())
    run_sample(tmp_path / "ds", settings=["tokenizer.vocab_size=1024"])
    assert set((tmp_path / "ds/run/work/refine").iterdir()) == refined
    assert verify(open_dataset(tmp_path / "ds")) == []
    run_sample(tmp_path / "ds", settings=["gopher_quality.min_words=300"])
    assert set((tmp_path / "ds/run/work/refine").iterdir()) > refined
    run_sample(tmp_path / "ds")
    assert tree(tmp_path / "ds") == tree(published)


def test_a_token_range_leads_back_to_the_document_and_its_bytes(published: Path) -> None:
    dataset = open_dataset(published)
    encoder = Encoder((published / "tokenizer/tokenizer.json").read_bytes())
    for name in dataset.files("text"):
        text = pq.read_table(published / name)
        for row in range(0, text.num_rows, 7):
            document = text.slice(row, 1).to_pylist()[0]
            (story,) = (s for s in explain(dataset, document["id"]))
            place = story["published"]
            assert (place["text"], place["row"]) == (name, row)
            tokens = pq.read_table(published / place["tokens"], columns=["tokens"])["tokens"].combine_chunks()
            first, last = place["token_range"]
            assert encoder.decode(tokens.flatten().to_numpy()[first:last]) == document["text"]
            where = story["where"]
            with open(SAMPLE / where["file"], "rb") as archive:
                archive.seek(where["offset"])
                assert archive.read(where["length"]).startswith(b"\x1f\x8b")


def test_no_site_lies_on_both_sides(published: Path) -> None:
    parts: dict[str, set[str]] = {}
    for part in ("train", "validation"):
        hosts = [pq.read_table(p, columns=["url"])["url"].to_pylist() for p in (published / "text").glob(f"{part}-*")]
        parts[part] = {url.split("/")[2] for urls in hosts for url in urls}
    assert parts["train"]
    assert parts["validation"]
    assert not parts["train"] & parts["validation"]


def test_the_same_crawl_fed_twice_leaves_one_copy_of_each_text(published: Path, tmp_path: Path) -> None:
    twice = tmp_path / "twice"
    shutil.copytree(SAMPLE, twice / "a")
    shutil.copytree(SAMPLE, twice / "b")
    run_sample(tmp_path / "ds", [str(twice)])

    def texts(folder: Path) -> list[str]:
        return sorted(t for p in (folder / "text").iterdir() for t in pq.read_table(p)["text"].to_pylist())

    assert texts(tmp_path / "ds") == texts(published)
    assert verify(open_dataset(tmp_path / "ds")) == []


def test_what_if_foretells_what_a_run_would_do(published: Path, tmp_path: Path) -> None:
    dataset = open_dataset(published)
    answer = what_if(dataset, ["gopher_quality.min_words=700"])
    run_sample(tmp_path / "ds", settings=["gopher_quality.min_words=700"])
    before = pq.read_table(published / "ledger", columns=["record_id", "state"])
    after = pq.read_table(tmp_path / "ds/ledger", columns=["record_id", "state", "step", "rule"])
    kept = set(before.filter(pc.equal(before["state"], "kept"))["record_id"].to_pylist())
    went = after.filter(pc.equal(after["rule"], "too_few_words"))["record_id"].to_pylist()
    assert sum(answer.go.values()) == len(kept & set(went)) > 0
    looser = what_if(dataset, ["gopher_quality.min_words=1", "gopher_quality.min_stop_words=0"])
    assert sum(looser.back.values()) > 0
    assert set(looser.later) >= {"gopher_repetition", "c4_quality", "dedup"}
    for other in ("gopher_quality=off", "steps=[pii]"):
        with pytest.raises(GristmillError, match="other steps than the run had"):
            what_if(dataset, [other])
    with pytest.raises(GristmillError, match="no stored value can answer"):
        what_if(dataset, ["extract.engine=trafilatura"])


def test_what_if_brings_nothing_back_that_another_rule_or_step_would_drop(published: Path, tmp_path: Path) -> None:
    dataset = open_dataset(published)
    back = what_if(dataset, ["record_gate.min_bytes=0"]).back
    assert set(back) == {"record_gate/too_small"}  # of the gate's content types no value is stored
    looser = ["gopher_quality.min_words=1", "gopher_quality.min_stop_words=0"]
    assert what_if(dataset, looser).back
    assert not what_if(dataset, [*looser, "language.min_score=1.0"]).back


def test_what_if_leaves_pages_alone_that_measure_the_early_gate(tmp_path: Path) -> None:
    run_sample(tmp_path / "ds", settings=["early_language.audit_share=1.0", "language.languages=null"])
    dataset = open_dataset(tmp_path / "ds")
    assert dataset.manifest.about["records"]["kept"] > 0
    answer = what_if(dataset, ["early_language.min_probability=0.09"])
    assert not answer.go
    with pytest.raises(GristmillError, match="no stored value can answer"):
        what_if(dataset, ["early_language.min_probability=0.2"])


def test_a_dataset_that_was_tampered_with_does_not_verify(published: Path, tmp_path: Path) -> None:
    shutil.copytree(published, tmp_path / "ds")
    shard = next((tmp_path / "ds/text").iterdir())
    data = bytearray(shard.read_bytes())
    data[len(data) // 2] ^= 1
    shard.unlink()
    shard.write_bytes(data)
    (fault,) = verify(open_dataset(tmp_path / "ds"))
    assert shard.name in fault


def test_a_damaged_file_is_taken_away_and_made_again(published: Path, tmp_path: Path) -> None:
    run_sample(tmp_path / "ds")
    names = ["text/train-00000.parquet", "ledger/part-00000.parquet", "README.md"]
    for name in names:
        with (tmp_path / "ds" / name).open("r+b") as file:
            file.seek(100)
            file.write(b"damage")
    out = Folder(tmp_path / "ds")
    assert discard(out, out.sub("run/work")) == sorted(names)
    run_sample(tmp_path / "ds")
    assert verify(open_dataset(tmp_path / "ds")) == []
    assert tree(tmp_path / "ds") == tree(published)


def test_where_a_list_of_ones_own_lies_reaches_no_published_byte(tmp_path: Path) -> None:
    trees = []
    for place in ("here", "there"):
        (tmp_path / place).mkdir()
        own = tmp_path / place / "own.txt"
        own.write_text("blocked.example\n")
        run_sample(tmp_path / place / "ds", settings=[f"url_filter.domains=[{own}]"])
        trees.append(tree(tmp_path / place / "ds"))
        own.unlink()
        assert "own.txt" in open_dataset(tmp_path / place / "ds").recipe.yaml()
    assert trees[0] == trees[1]


def test_a_folder_of_another_recipe_or_of_strangers_is_refused(published: Path, tmp_path: Path) -> None:
    from pipeline.commands.run import run_command
    from pipeline.recipe import load_recipe
    from pipeline.run import silent

    with pytest.raises(GristmillError, match="holds a run of the recipe default"):
        run_command(load_recipe("multilingual"), [str(SAMPLE)], str(published), "", 1, False, silent)
    (tmp_path / "mine.txt").write_text("precious")
    with pytest.raises(GristmillError, match="files of no run"):
        run_sample(tmp_path)
    assert (tmp_path / "mine.txt").read_text() == "precious"


def test_an_input_that_changed_under_a_run_is_refused_until_it_is_accepted(tmp_path: Path) -> None:
    crawl = tmp_path / "crawl"
    shutil.copytree(SAMPLE, crawl)
    run_sample(tmp_path / "ds", [str(crawl)])
    before = tree(tmp_path / "ds")
    first = min(crawl.glob("*.warc.gz"))
    first.write_bytes(first.read_bytes()[:-100])
    with pytest.raises(GristmillError, match="not what it was"):
        run_sample(tmp_path / "ds", [str(crawl)])
    assert tree(tmp_path / "ds") == before
    run_sample(tmp_path / "ds", [str(crawl)], accept=True)
    assert tree(tmp_path / "ds") != before
    assert verify(open_dataset(tmp_path / "ds")) == []


def test_two_runs_in_one_folder_cannot_harm_each_other(tmp_path: Path) -> None:
    from pipeline.run import _lease

    with _lease(Folder(tmp_path / "ds/run")), pytest.raises(GristmillError, match="another run is at work"):
        run_sample(tmp_path / "ds")


def command(out: Path) -> list[str]:
    settings = [word for setting in SETTINGS for word in ("--set", setting)]
    return [
        sys.executable,
        "-m",
        "pipeline",
        "run",
        "-i",
        str(SAMPLE),
        "-o",
        str(out),
        "--workers",
        "2",
        "--json",
        *settings,
    ]


def killed_runs(out: Path, kills: int, seed: int, longest: float) -> int:
    """Kill `kills` runs, each after a random time, then let one come to its end; returns how many were cut short."""
    chance = random.Random(seed)
    cut = 0
    for _ in range(kills):
        with subprocess.Popen(command(out), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            time.sleep(chance.uniform(0.2, longest))
            process.send_signal(signal.SIGKILL)
            cut += process.wait() == -signal.SIGKILL
    subprocess.run(command(out), check=True, stdout=subprocess.DEVNULL, timeout=600)
    return cut


def test_runs_that_were_killed_publish_the_same_bytes(published: Path, tmp_path: Path) -> None:
    assert killed_runs(tmp_path / "ds", kills=5, seed=1, longest=4.0) > 0
    assert tree(tmp_path / "ds") == tree(published)
    assert not [
        path for path in (tmp_path / "ds").rglob(".*.tmp") if "run" not in path.relative_to(tmp_path / "ds").parts
    ]


def test_a_run_tells_machines_what_came_out(published: Path, tmp_path: Path) -> None:
    shutil.copytree(published, tmp_path / "ds")
    told = json.loads(subprocess.run(command(tmp_path / "ds"), check=True, capture_output=True, timeout=600).stdout)
    shards = [pq.read_table(path) for path in sorted((tmp_path / "ds/tokens").iterdir())]
    assert told["documents"] == told["records"]["kept"] == sum(shard.num_rows for shard in shards)
    assert told["tokens"] == sum(len(tokens) for shard in shards for tokens in shard["tokens"])


def test_what_a_run_left_half_written_when_it_was_killed_is_swept(published: Path, tmp_path: Path) -> None:
    shutil.copytree(published, tmp_path / "ds")
    for name in (".README.md.8sj2.tmp", "text/.train-00000.parquet.link.tmp", "tokenizer/.tokenizer.json.a1.tmp"):
        (tmp_path / "ds" / name).write_text("half")
    run_sample(tmp_path / "ds")
    assert tree(tmp_path / "ds") == tree(published)


def test_the_report_shows_pages_of_every_rule(published: Path) -> None:
    ledger = pq.read_table(published / "ledger", columns=["state", "step", "rule"]).to_pylist()
    report = (published / "run/report.html").read_text()
    rules = {(row["step"], row["rule"]) for row in ledger if row["state"] != "kept"} - {("reader", "record_type")}
    assert {step for step, _ in rules} >= {"reader", "dedup"}
    for step, rule in rules:
        assert f"<summary><b>{step}</b> {rule} " in report
    assert "<script" not in report  # it needs nothing but itself
    assert " src=" not in report


def test_the_manifest_names_neither_time_nor_machine(published: Path) -> None:
    import os
    import socket

    told = (published / "manifest.json").read_text() + (published / "README.md").read_text()
    for secret in (str(SAMPLE.parent), socket.gethostname(), os.path.expanduser("~")):
        if len(secret) > 2:
            assert secret not in told
    assert json.loads((published / "run/metrics.json").read_text())["machine"]["cores"]


@pytest.mark.parametrize("before", [2_600_000, 3_100_000, 3_500_000, 3_900_000])
def test_an_archive_within_an_archive_misleads_no_split(tmp_path: Path, before: int) -> None:
    """A record holds, stored as it is, an archive of its own, and splits begin inside it."""
    inner = articles(tmp_path / "inner.warc.gz", range(300)).read_bytes()
    noise = random.Random(1).randbytes(6_000_000)
    pages = [(f"https://a.example/{n}", article(n).encode(), {}) for n in range(1000, 1006)]
    stored = ("https://z.example/inner.warc.gz", noise[:before] + inner + noise[before:], {"Content-Type": "x/y"})
    write_warc(tmp_path / "crawl/outer.warc.gz", [*pages[:3], stored, *pages[3:]])
    recipe = load_recipe("default").with_settings(["split_mb=1", "tokenizer.vocab_size=400"])
    outcome = Run(recipe, plan_inputs([str(tmp_path / "crawl")], 1 << 20), Folder(tmp_path / "ds"), Serial())()
    assert outcome.manifest.about["records"] == {"in": 7, "kept": 6, "dropped": 1}
    assert verify(open_dataset(tmp_path / "ds")) == []


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.jsonl.gz", "rows.parquet"])
def test_rows_that_are_read_in_splits_are_all_there_and_lie_side_by_side(tmp_path: Path, name: str) -> None:
    noise = random.Random(5)
    rows = [
        {"url": f"https://h{n}.example/", "html": f"{article(n)}<!-- {noise.randbytes(2500).hex()} -->"}
        for n in range(300)
    ]
    if name.endswith(".parquet"):
        pq.write_table(pa.Table.from_pylist(rows), tmp_path / name, row_group_size=40, compression="none")
    else:
        lines = b"".join(json.dumps(row).encode() + b"\n" * (1 + row["url"].endswith("7.example/")) for row in rows)
        (tmp_path / name).write_bytes(gzip.compress(lines) if name.endswith(".gz") else lines)
    splits = plan_inputs([str(tmp_path / name)], 1 << 20)
    assert len(splits) == (1 if name.endswith(".gz") else 2)
    recipe = load_recipe("default").with_settings(["split_mb=1", "tokenizer.vocab_size=400"])
    outcome = Run(recipe, splits, Folder(tmp_path / "ds"), Serial())()
    assert outcome.manifest.about["records"]["in"] == outcome.manifest.about["records"]["kept"] == 300


def test_a_gap_between_splits_is_no_run(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_bytes(b'{"url": "https://a.example/", "text": "one"}\n' * 40_000)
    splits = plan_inputs([str(tmp_path / "rows.jsonl")], 1 << 20)
    moved = [splits[0], replace(splits[1], start=splits[1].start + 100)]
    with pytest.raises(GristmillError, match="positions"):
        Run(load_recipe("default"), moved, Folder(tmp_path / "ds"), Serial())()


def test_pages_in_other_languages_go_into_a_part_of_their_own_if_wanted(tmp_path: Path) -> None:
    recipe = load_recipe("default").plain()
    recipe["steps"] = [step for step in recipe["steps"] if "early_language" not in step]
    recipe = parse_recipe(yaml.safe_dump(recipe), "here").with_settings([*SETTINGS, "language.other=publish"])
    splits = plan_inputs([str(SAMPLE)], 1 << 30)
    outcome = Run(recipe, splits, Folder(tmp_path / "ds"), Serial())()
    assert verify(open_dataset(tmp_path / "ds")) == []
    other = pq.read_table(tmp_path / "ds/text/other-00000.parquet")
    assert {"de", "fr", "ru"} <= set(other["language"].to_pylist())
    assert "en" not in other["language"].to_pylist()
    english = pq.read_table(tmp_path / "ds/text/train-00000.parquet", columns=["language"])["language"].to_pylist()
    assert set(english) == {"en"}
    assert {shard["part"] for shard in outcome.manifest.about["shards"]} >= {"train", "other"}
