"""What Prefect costs a run: the same 200 splits by the engine alone, as one task run, and as 200 task runs.

    python -m tests.flows.overhead [--splits 200]

The splits hold next to nothing, so what is left is the fixed cost. From it follows the share that Prefect takes of a
run whose splits are a minute of work each.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from pipeline.commands.run import run_command
from pipeline.recipe import load_recipe
from pipeline.run import silent
from tests.conftest import tree
from tests.crawls import articles
from tests.flows.services import postgres
from tests.flows.up import DEPLOYMENTS, LIGHT, Server, running

CORES = 2


def main(splits: int) -> None:
    with tempfile.TemporaryDirectory(prefix="gristmill-overhead-") as folder:
        home = Path(folder)
        recipe = home / "light.yaml"
        recipe.write_text(LIGHT.replace("vocab_size: 1024", "vocab_size: 300"))
        for number in range(splits):
            articles(home / f"crawl/{number:04}.warc.gz", range(2 * number, 2 * number + 2))
        crawl = str(home / "crawl")

        def bare() -> None:
            run_command(load_recipe(recipe), [crawl], str(home / "bare"), "", CORES, False, silent)

        wall = timed(bare)
        print(f"{'engine alone':24} {wall:7.1f} s", flush=True)
        costs = {}
        with postgres() as database, running(home, recipe, database.url if database else "", DEPLOYMENTS) as server:
            flow(server, crawl, "warm-up", 1e6)  # the first run compiles and caches what the others find
            for name, chunk_minutes in (("one task run", 1e6), (f"{splits} task runs", 1e-9)):
                wall_flow = timed(
                    lambda name=name, minutes=chunk_minutes: flow(server, crawl, name.replace(" ", "-"), minutes)
                )
                assert tree(home / name.replace(" ", "-")) == tree(home / "bare")
                costs[name] = wall_flow - wall
                print(f"{name:24} {wall_flow:7.1f} s", flush=True)
    flow_wall, tasks_wall = costs.values()
    print(f"a flow run costs {flow_wall:.1f} s, its process's start included")
    print(f"a task run costs {(tasks_wall - flow_wall) * 1000 / max(splits - 1, 1):.0f} ms")
    share = tasks_wall / (splits * 60 / CORES)
    print(f"{splits} splits of a minute on {CORES} cores, a task run each: {100 * share:.2f} % over the engine alone")


def flow(server: Server, crawl: str, out: str, chunk_minutes: float) -> None:
    parameters = server.parameters(out)
    parameters |= {"source": {"files": [crawl]}, "machines": {"processes": CORES, "chunk_minutes": chunk_minutes}}
    server.ends(server.start("curate/files", parameters), "Completed", seconds=900)


def timed(work: Callable[[], None]) -> float:
    begun = time.monotonic()
    work()
    return time.monotonic() - begun


if __name__ == "__main__":
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--splits", type=int, default=200)
    main(parser.parse_args().splits)
