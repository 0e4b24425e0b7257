"""datatrove blocks in a recipe, Gristmill steps in a datatrove pipeline, refining under datatrove's executors."""

from __future__ import annotations

from pathlib import Path

import pytest
from datatrove.data import Document
from datatrove.executor import LocalPipelineExecutor
from datatrove.pipeline.filters import GopherQualityFilter

from pipeline.errors import GristmillError
from pipeline.interop.datatrove import GristmillFilter, RefineSplits
from pipeline.pool import Serial
from pipeline.recipe import load_recipe, parse_recipe
from pipeline.record import Page
from pipeline.refine import judge
from pipeline.run import Run
from pipeline.sources import plan_inputs
from pipeline.steps.gopher import GopherQuality
from pipeline.store import Folder
from tests.crawls import articles

RECIPE = """\
name: mixed
steps:
  - extract: {engine: resiliparse}
  - datatrove: GopherQualityFilter
  - datatrove: {block: datatrove.pipeline.filters.LambdaFilter}
"""


def page(text: str) -> Page:
    return Page("0" * 32, "f", 0, 0, "document", url="https://a.example/", given_text=text, language="en")


def test_a_datatrove_filter_in_a_recipe_drops_with_its_own_reason() -> None:
    recipe = parse_recipe(RECIPE.rsplit("\n", 2)[0], "mixed.yaml")
    step = recipe.steps[1]
    assert step.label == "datatrove.GopherQualityFilter"
    short = page("Too short a text.")
    judge(short, (step,))
    assert short.fate is not None
    assert short.fate.drop is not None
    reason = GopherQualityFilter().filter(Document(text=short.text, id="x"))
    assert (False, short.fate.drop.rule) == reason
    assert parse_recipe(recipe.yaml(), "again") == recipe


def test_a_formatter_changes_the_text() -> None:
    recipe = parse_recipe(
        "name: f\nsteps:\n  - datatrove: {block: SymbolLinesFormatter, args: {replace_char: '|'}}\n", "f"
    )
    changed = page("one\n|||\ntwo")
    judge(changed, recipe.steps)
    assert changed.fate is not None
    assert changed.fate.state == "kept"
    assert changed.text != "one\n|||\ntwo"


def test_a_block_that_datatrove_does_not_have_is_a_clear_error() -> None:
    with pytest.raises(GristmillError, match="no such filter"):
        parse_recipe("name: x\nsteps:\n  - datatrove: NoSuchFilter\n", "x")


def test_a_step_in_a_datatrove_pipeline_decides_as_in_ours() -> None:
    block = GristmillFilter(GopherQuality(min_words=3))
    for text in ("one two", "the cat and the dog have been to the sea with that boat", ""):
        ours = page(text)
        judge(ours, (GopherQuality(min_words=3),))
        document = Document(text=text, id="x", metadata={"language": "en"})
        kept = block.filter(document)
        assert (kept is True) == (ours.fate is not None and ours.fate.state == "kept")
        assert document.metadata.get("gopher_quality.words") == ours.values.get("gopher_quality.words")


def test_refining_under_datatroves_executor_is_found_done_by_a_run(tmp_path: Path) -> None:
    recipe = load_recipe("default").with_settings(["tokenizer.vocab_size=400", "split_mb=1"])
    for number in range(3):
        articles(tmp_path / f"crawl/{number}.warc.gz", range(10 * number, 10 * number + 10))
    work = tmp_path / "work"
    LocalPipelineExecutor(
        [RefineSplits(recipe, [str(tmp_path / "crawl")], str(work))],
        tasks=2,
        workers=1,
        logging_dir=str(tmp_path / "logs"),
    ).run()
    splits = plan_inputs([str(tmp_path / "crawl")], recipe.split_mb << 20)
    assert len(list((work / "refine").iterdir())) == len(splits) == 3
    stamps = {path: path.stat().st_mtime_ns for path in work.rglob("ledger.parquet")}
    outcome = Run(recipe, splits, Folder(tmp_path / "ds"), Serial(), work=Folder(work))()
    assert outcome.manifest.about["records"]["kept"] == 30
    assert {path: path.stat().st_mtime_ns for path in stamps} == stamps
