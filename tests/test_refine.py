"""One split through the steps: limits, hostile pages, and what is left of those that fail."""

from __future__ import annotations

import gzip
import time
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from pipeline.errors import Quarantine
from pipeline.pool import NO_RECORD, Crash, Pool
from pipeline.recipe import Recipe, load_recipe
from pipeline.record import Drop, Page
from pipeline.refine import RefineTask, judge, refine_key, refine_split
from pipeline.sources import plan_inputs
from pipeline.steps import Step
from pipeline.store import Folder
from tests.crawls import article, articles, write_warc

SMALL = load_recipe("default").with_settings(["limits.page_cpu_seconds=3", "split_mb=64"])


def refine(path: Path, work: Path, recipe: Recipe = SMALL, **more: Any) -> dict[str, dict[str, Any]]:
    """Refine an archive in a pool of one worker; the ledger's rows by URL."""
    (split,) = plan_inputs([str(path)], recipe.split_mb << 20)
    task = RefineTask(split, recipe, str(work), refine_key(split, recipe), **more)
    with Pool(1, record_cpu_seconds=60, memory_bytes=4 << 30) as pool:
        list(pool.run(refine_split, [task], RefineTask.after))
    rows = pq.read_table(work / f"refine/{task.key}/ledger.parquet").to_pylist()
    return {row["url"]: row for row in rows if row["record_type"] == "response"}


class Explode(Step):
    name = "explode"

    def check(self, page: Page) -> Drop | None:
        if "quarantine" in page.text:
            raise Quarantine("chosen_rule", f"at {page!r:.40}")
        raise ValueError("first line\nsecond line at 0x7f0123456789")


def test_an_exception_in_a_step_costs_that_page_and_leaves_its_last_line() -> None:
    page = Page("0" * 32, "f", 0, 0, "document", given_text="anything")
    judge(page, (Explode(),))
    assert page.fate is not None
    assert page.fate.drop is not None
    assert (page.fate.state, page.fate.step, page.fate.drop.rule) == ("quarantined", "explode", "exception")
    assert page.fate.drop.detail == "ValueError: first line second line at 0x…"
    page = Page("0" * 32, "f", 0, 0, "document", given_text="quarantine")
    judge(page, (Explode(),))
    assert page.fate is not None
    assert page.fate.drop is not None
    assert page.fate.drop.rule == "chosen_rule"
    assert "0x7" not in page.fate.drop.detail


@pytest.mark.parametrize("engine", ["trafilatura", "resiliparse"])
def test_hostile_pages_cost_themselves_alone(tmp_path: Path, engine: str) -> None:
    bomb = gzip.compress(gzip.compress(b"<p>boom" * 30_000_000, 9), 9)
    hostile = {
        "https://h.example/deep": (b"<div>" * 200_000, {}),
        "https://h.example/open": (b"<" * 50_000_000, {}),
        "https://h.example/bomb": (bomb, {"Content-Encoding": "gzip, gzip"}),
        "https://h.example/attributes": (b"<p " + b"a=1 " * 500_000 + b">x</p>", {}),
        "https://h.example/nul": (b"\0" * 1_000_000, {}),
        "https://h.example/regex": (b"<p>" + b"a.a" * 300_000 + b"@" + b".a" * 300_000 + b"</p>", {}),
        "https://h.example/word": (b"<p>" + b"x" * 3_000_000 + b"</p>", {}),
    }
    good = [(f"https://g.example/{n}", article(n).encode(), {}) for n in range(6)]
    pages = [*good[:3], *((url, body, headers) for url, (body, headers) in hostile.items()), *good[3:]]
    recipe = SMALL.with_settings([f"extract.engine={engine}"])
    begun = time.monotonic()
    rows = refine(write_warc(tmp_path / "hostile.warc.gz", pages), tmp_path / "work", recipe)
    assert len(rows) == len(pages)
    assert [rows[url]["state"] for url, _, _ in good] == ["kept"] * 6
    assert {rows[url]["state"] for url in hostile} <= {"dropped", "quarantined"}
    assert rows["https://h.example/bomb"]["rule"] == "payload_too_large"
    assert rows["https://h.example/deep"]["state"] == "quarantined"
    assert time.monotonic() - begun < 150


def test_a_page_over_its_cpu_time_is_set_aside_after_a_second_try(tmp_path: Path) -> None:
    from pipeline.pool import Serial

    recipe = SMALL.with_settings(["limits.page_cpu_seconds=0.02"])
    words = " ".join(f"word{n} the and of to" for n in range(150_000)).encode()
    path = write_warc(
        tmp_path / "slow.warc.gz",
        [
            ("https://s.example/long", b"<article><p>" + words + b"</p></article>", {}),
            ("https://s.example/0", b"<p>hi</p>", {}),
        ],
    )
    (split,) = plan_inputs([str(path)], 1 << 30)
    task = RefineTask(split, recipe, str(tmp_path / "work"), refine_key(split, recipe))
    list(Serial().run(refine_split, [task]))
    rows = {r["url"]: r for r in pq.read_table(tmp_path / f"work/refine/{task.key}/ledger.parquet").to_pylist()}
    assert rows["https://s.example/long"]["rule"] == "page_cpu_seconds"
    assert rows["https://s.example/long"]["state"] == "quarantined"
    assert rows["https://s.example/0"]["state"] == "dropped"


def test_a_second_try_begins_with_what_the_reader_made_of_the_page() -> None:
    page = Page("id", "a.warc.gz", 0, 1, "response", payload=b"<p>text</p>")
    page.text, page.language = "text", "en"
    page.again()
    assert (page.has_text, page.text, page.language) == (False, "", "")


def test_a_record_that_killed_a_worker_twice_is_set_aside_by_its_offset(tmp_path: Path) -> None:
    path = articles(tmp_path / "a.warc.gz", range(3))
    (split,) = plan_inputs([str(path)], 1 << 30)
    task = RefineTask(split, SMALL, str(tmp_path / "work"), "key")
    offset = 0
    with pytest.raises(Exception, match="died twice"):
        task.after(Crash(NO_RECORD, "x")).after(Crash(NO_RECORD, "x"))
    poisoned = task.after(Crash(offset, "killed by SIGSEGV"))
    assert poisoned.poison == ()
    poisoned = poisoned.after(Crash(offset, "killed by SIGSEGV"))
    rows = refine(path, tmp_path / "other", poison=poisoned.poison)
    first = rows["https://site0.example/entry/0"]
    assert (first["state"], first["rule"], first["detail"]) == ("quarantined", "killed_worker", "killed by SIGSEGV")
    assert [row["state"] for url, row in rows.items() if "site0" not in url] == ["kept", "kept"]


def test_a_split_that_stands_is_not_refined_again(tmp_path: Path) -> None:
    path = articles(tmp_path / "a.warc.gz", range(4))
    (split,) = plan_inputs([str(path)], 1 << 30)
    task = RefineTask(split, SMALL, str(tmp_path / "work"), refine_key(split, SMALL))
    first = refine_split(task)
    stamp = (tmp_path / f"work/refine/{task.key}/ledger.parquet").stat().st_mtime_ns
    assert refine_split(task) == first
    assert (tmp_path / f"work/refine/{task.key}/ledger.parquet").stat().st_mtime_ns == stamp
    assert first["states"] == {"kept": 4}


def test_the_key_of_a_split_follows_what_can_change_it(tmp_path: Path) -> None:
    path = articles(tmp_path / "a.warc.gz", range(2))
    (split,) = plan_inputs([str(path)], 1 << 30)
    key = refine_key(split, SMALL)
    assert refine_key(split, SMALL.with_settings(["tokenizer.vocab_size=1000", "dedup.min_jaccard=0.5"])) == key
    assert refine_key(split, SMALL.with_settings(["gopher_quality.min_words=51"])) != key
    assert refine_key(split, SMALL.with_settings(["dedup.bands=7"])) != key
    articles(path, range(1, 3))
    (changed,) = plan_inputs([str(path)], 1 << 30)
    assert refine_key(changed, SMALL) != key


def test_samples_hold_no_personal_data_and_depend_on_identity_alone(tmp_path: Path) -> None:
    html = article(1).replace("Entry 1 of", "Write to ann@harbour-office.com, of entry 1 of").encode()
    path = write_warc(tmp_path / "p.warc.gz", [("https://p.example/1", html, {})])
    refine(path, tmp_path / "work", SMALL.with_settings(["gopher_quality.min_words=100000"]))
    (samples,) = (tmp_path / "work").rglob("samples.parquet")
    (row,) = pq.read_table(samples).to_pylist()
    assert row["rule"] == "too_few_words"
    assert "almanac" in row["excerpt"]
    assert "ann@" not in row["excerpt"]
    assert Folder(tmp_path / "work").exists(str(samples.relative_to(tmp_path / "work")))
