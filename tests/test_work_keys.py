"""Work is done again where something that decides it changed, be it outside the recipe."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from pipeline.dedup import RefinedSplit, append_to_index
from pipeline.pool import Serial
from pipeline.recipe import load_recipe
from pipeline.refine import refine_key
from pipeline.run import Run
from pipeline.sources import plan_inputs
from pipeline.store import Folder
from pipeline.tokens import TokenizerSettings
from pipeline.vocabulary import make_tokenizer
from tests.crawls import articles

RECIPE = load_recipe("default").with_settings(["tokenizer.vocab_size=400", "split_mb=64"])


def run(out: Path, crawl: Path, *settings: str) -> Run:
    recipe = RECIPE.with_settings(settings)
    done = Run(recipe, plan_inputs([str(crawl)], 64 << 20), Folder(out), Serial())
    done()
    return done


def kept(done: Run) -> int:
    assert done.outcome is not None
    return int(done.outcome.manifest.about["records"].get("kept", 0))


def index(done: Run, folder: Path, label: str) -> None:
    assert done.work is not None
    splits = [RefinedSplit(done.work.sub(f"refine/{refine_key(split, done.recipe)}")) for split in done.splits]
    (verdicts,) = {name.split("/")[1] for name in done.work.names("dedup")}
    serial = Serial()
    append_to_index(
        Folder(folder),
        label,
        splits,
        done.work.sub(f"dedup/{verdicts}"),
        done.recipe.dedup,
        lambda task, items: [result for _, result in serial.run(task, items)],
    )


def test_a_longer_index_of_earlier_crawls_is_asked_again(tmp_path: Path) -> None:
    crawl = articles(tmp_path / "new.warc.gz", range(0, 9))
    index(run(tmp_path / "a", articles(tmp_path / "a.warc.gz", range(0, 3))), tmp_path / "index", "2026-01")
    against = f"dedup.against=[{tmp_path / 'index'}]"
    assert kept(run(tmp_path / "ds", crawl, against)) == 6
    index(run(tmp_path / "b", articles(tmp_path / "b.warc.gz", range(3, 5))), tmp_path / "index", "2026-02")
    assert kept(run(tmp_path / "ds", crawl, against)) == 4


def test_the_crawl_that_a_path_names_is_part_of_the_work(tmp_path: Path) -> None:
    (split,) = plan_inputs([str(articles(tmp_path / "a.warc.gz", range(2)))])
    named = replace(split, file=replace(split.file, dump="CC-MAIN-2026-43"))
    assert refine_key(named, RECIPE) != refine_key(split, RECIPE)


def test_a_named_tokenizer_is_known_by_all_its_files(tmp_path: Path) -> None:
    ready = run(tmp_path / "ds", articles(tmp_path / "a.warc.gz", range(4))).out.path("tokenizer")
    settings = TokenizerSettings(path=ready)

    def key() -> str:
        work = Folder(tmp_path / "work")
        return make_tokenizer(work, [], 0, settings, lambda task, items: [task(item) for item in items])[0]

    first = key()
    assert key() == first
    Path(ready, "tokenizer_config.json").write_text('{"chat_template": "theirs"}')
    second = key()
    assert second != first
    published = tmp_path / f"work/tokenizer/{second}/tokenizer/tokenizer_config.json"
    assert published.read_text() == '{"chat_template": "theirs"}'
