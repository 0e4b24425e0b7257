"""One real server for all tests of the flows: `gristmill up` on loopback, with Postgres where one is installed."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.commands.run import run_command
from pipeline.recipe import load_recipe
from pipeline.run import silent
from tests.conftest import SAMPLE, tree
from tests.flows.services import free_port, postgres, wait_for
from tests.flows.up import LIGHT, Server, running, with_a_schedule
from tests.sources.servers import Server as Mirror
from tests.sources.servers import serving

__all__ = ["Server", "free_port", "wait_for"]


@pytest.fixture(scope="session")
def light(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, dict[str, str]]]:
    """A light recipe's file, and the bytes that it publishes of the sample crawl when nothing disturbs it."""
    folder = tmp_path_factory.mktemp("light")
    path = folder / "light.yaml"
    path.write_text(LIGHT)
    run_command(load_recipe(path), [str(SAMPLE)], str(folder / "ds"), "", 2, False, silent)
    yield path, tree(folder / "ds")
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def mirror() -> Iterator[Mirror]:
    """A mirror of Common Crawl, still empty, that the server's workers take for the original."""
    with serving(Mirror({})) as mirror:
        yield mirror


@pytest.fixture(scope="session")
def server(
    light: tuple[Path, dict[str, str]], mirror: Mirror, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    home = tmp_path_factory.mktemp("up")
    settings = {"GRISTMILL_COMMONCRAWL": mirror.url, "GRISTMILL_CACHE": str(home / "cache"), "NO_PROXY": "*"}
    file = with_a_schedule(home, light[0])
    with postgres() as database, running(home, light[0], database.url if database else "", file, **settings) as up:
        yield up
