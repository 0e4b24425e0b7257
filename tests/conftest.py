"""What many tests stand on: the sample crawl, and one finished run over it."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

SAMPLE = Path(__file__).parents[1] / "pipeline/sample/crawl"
# Half the sample is enough text for a vocabulary of this size, and training it costs a second.
SETTINGS = ("tokenizer.vocab_size=2048", "split_mb=1", "publish.validation_share=0.2")


def tree(folder: Path) -> dict[str, str]:
    """SHA-256 of every published file, by name; the run's own folder left out."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and "run" not in path.relative_to(folder).parts[:1]
    }


def run_sample(
    out: Path, inputs: Sequence[str] = (str(SAMPLE),), settings: Sequence[str] = (), workers: int = 2, **options: object
) -> object:
    """Run the default recipe over the sample crawl in a pool of this process."""
    from pipeline.commands.run import run_command
    from pipeline.recipe import load_recipe
    from pipeline.run import silent

    recipe = load_recipe("default").with_settings([*SETTINGS, *settings])
    return run_command(recipe, list(inputs), str(out), "", workers, bool(options.get("accept")), silent)


@pytest.fixture(scope="session")
def published(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The dataset of an uninterrupted run over the sample crawl. Not to be written to."""
    out = tmp_path_factory.mktemp("published") / "ds"
    run_sample(out)
    yield out
    shutil.rmtree(out, ignore_errors=True)


@pytest.fixture(autouse=True)
def _no_network_by_accident(monkeypatch: pytest.MonkeyPatch) -> None:
    """Libraries that would look for something on the net are told that there is none."""
    for name in ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "TRANSFORMERS_OFFLINE"):
        monkeypatch.setenv(name, "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
