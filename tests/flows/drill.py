"""Fault drill: SIGKILL at random moments of a run, to one part after another; each run must publish the same bytes.

    python -m tests.flows.drill --kills 30 --seed 0

A kill is one of

    process     the flow run's process and all below it
    worker      the Prefect worker alone
    machine     worker and flow run at once, as when a machine is lost: nobody is left to tell
    server      the Prefect server
    database    Postgres, which is started again after some seconds

Prints a line a kill: what was killed, after how many seconds, in which phase the run was, how many tries it took and
how long until the dataset stood. Ends with 1 where bytes differ or a run does not end.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from pipeline.commands.run import run_command
from pipeline.recipe import load_recipe
from pipeline.run import silent
from tests.conftest import SAMPLE, tree
from tests.flows.services import Service, postgres, wait_for
from tests.flows.up import DEPLOYMENTS, LIGHT, Server, running

KILLS = ("process", "worker", "machine", "server", "database")
AWAY_SECONDS = 5.0  # how long a killed database is away
LONGEST = 11.0  # seconds into the run's process at which it may be hit: start-up and work of the light recipe
END_SECONDS = 420.0


@dataclass(frozen=True)
class Hit:
    """What became of a run that was hit."""

    seconds: float  # from the kill until the dataset stood and a run was Completed
    phase: str  # what the work folder held when it was hit
    tries: int  # flow runs of the chain
    published: dict[str, str]  # SHA-256 by file


def strike(server: Server, database: Service | None, kind: str, after: float, name: str) -> Hit:
    """Start a run, kill `kind` when its process is `after` seconds old, and wait until a run of its chain is done."""
    out = server.home / name
    run = server.start("curate/files", server.parameters(name), tags=[name])
    server.pid(run)
    time.sleep(after)
    phase = _phase(out)
    begun = time.monotonic()
    _kill(server, database, kind, run)

    def done() -> list[dict[str, Any]] | None:
        chain = server.runs(tags={"all_": [name]})
        stuck = [one for one in chain if one["state"]["type"] in ("FAILED", "CANCELLED")]
        assert not stuck, stuck[0]["state"]
        return chain if any(one["state"]["type"] == "COMPLETED" for one in chain) else None

    chain = wait_for(done, f"{name} to be done after its {kind} was killed", END_SECONDS, pause=1.0)
    return Hit(time.monotonic() - begun, phase, len(chain), tree(out))


def _kill(server: Server, database: Service | None, kind: str, run: str) -> None:
    process = server.process_of(run)
    family = [process, *process.children(recursive=True)] if process else []
    workers = server.processes("prefect worker start")
    if kind == "database":
        assert database is not None, "this kill needs Postgres: apt-get install postgresql"
        database.kill()
        time.sleep(AWAY_SECONDS)
        database.start()
        return
    doomed = {
        "process": family,
        "worker": workers,
        "machine": [*workers, *family],
        "server": server.processes("prefect server start"),
    }[kind]
    for one in doomed:
        try:
            os.kill(one.pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    psutil.wait_procs(doomed, timeout=10)


def _phase(out: Path) -> str:
    """How far the run is, by what stands in its folder."""
    if (out / "manifest.json").exists():
        return "published"
    work = out / "run/work"
    standing = [name for name in ("refine", "dedup", "tokenizer", "shards", "ledger") if any(work.glob(f"{name}/*/"))]
    return standing[-1] if standing else "start"


def main(kills: int, seed: int) -> int:
    chance, wrong = random.Random(seed), 0
    home = Path(tempfile.mkdtemp(prefix="gristmill-drill-"))
    recipe = home / "light.yaml"
    recipe.write_text(LIGHT)
    run_command(load_recipe(recipe), [str(SAMPLE)], str(home / "ds"), "", 2, False, silent)
    undisturbed = tree(home / "ds")
    with postgres() as database, running(home, recipe, database.url if database else "", DEPLOYMENTS) as server:
        kinds = [kind for kind in KILLS if database or kind != "database"]
        for number in range(kills):
            kind, after = kinds[number % len(kinds)], chance.uniform(0.0, LONGEST)
            told = f"{number + 1:3} {kind:9} after {after:4.1f} s"
            try:
                hit = strike(server, database, kind, after, f"hit-{number}")
            except AssertionError as error:
                wrong += 1
                print(f"{told}  {error}", flush=True)
                continue
            same = hit.published == undisturbed
            wrong += not same
            verdict = "same bytes" if same else "OTHER BYTES"
            print(f"{told} in {hit.phase:9}  {hit.tries} runs, {hit.seconds:5.0f} s  {verdict}", flush=True)
            shutil.rmtree(server.home / f"hit-{number}", ignore_errors=True)
    print(f"{kills} kills, {kills - wrong} ended with the bytes of an undisturbed run")
    if not wrong:
        shutil.rmtree(home, ignore_errors=True)
    else:
        print(f"see {home}/up.log")
    return min(wrong, 1)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    sys.exit(main(given.kills, given.seed))
