"""How cost grows: with processes, and with pages. `python -m tests.bench.bench_scaling [--sizes 1000 10000 100000 1000000]`.

Both over the sample crawl grown to size, preset default. Two processes against one: wall-clock seconds of the refine
phase in warm pools that take turns. Pages: whole runs, from WARC to published tokens, in CPU seconds of all processes;
if cost is linear, each further page costs the same from one size to the next. A million take a quarter of an hour.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from pipeline.pool import Pool  # noqa: E402
from pipeline.recipe import load_recipe  # noqa: E402
from pipeline.refine import RefineTask, refine_key, refine_split  # noqa: E402
from pipeline.sample import grow  # noqa: E402
from pipeline.sources import plan_inputs  # noqa: E402

PAGES_PER_FILE = 2_500


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[1_000, 10_000, 100_000, 1_000_000])
    parser.add_argument("--pages", type=int, default=16_000, help="for two processes against one")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="gristmill-bench-") as folder:
        print(by_size(Path(folder), sorted(options.sizes)))
        print(two_against_one(Path(folder), options.pages, options.rounds))  # last: its fork server stays


def two_against_one(folder: Path, pages: int, rounds: int) -> str:
    crawl = folder / "crawl"
    grow(pages, 7, crawl, files=16)
    recipe, splits = load_recipe("default"), plan_inputs([str(crawl)], 1 << 40)
    seconds: dict[int, list[float]] = {1: [], 2: []}
    with Pool(1) as one, Pool(2) as two:
        for number in range(rounds + 1):  # the first warms the workers up and is not counted
            for workers, pool in ((1, one), (2, two)):
                work = tempfile.mkdtemp(dir=folder)
                tasks = [RefineTask(split, recipe, work, refine_key(split, recipe)) for split in splits]
                begun = time.perf_counter()
                for _ in pool.run(refine_split, tasks):
                    pass
                if number:
                    seconds[workers].append(time.perf_counter() - begun)
                shutil.rmtree(work)
    shutil.rmtree(crawl)
    ratio = statistics.median(a / b for a, b in zip(seconds[1], seconds[2], strict=True))
    rows = "\n".join(
        f"| {workers} | {statistics.median(taken):.2f} | {pages / statistics.median(taken):.0f} |"
        for workers, taken in seconds.items()
    )
    return (
        f"Refine phase of {pages:,} pages in 16 files, {os.cpu_count()} cores, median of {rounds} rounds.\n\n"
        f"| processes | wall-clock s | pages/s |\n| --: | --: | --: |\n{rows}\n\nTwo against one: {ratio:.2f}x.\n"
    )


def by_size(folder: Path, sizes: list[int]) -> str:
    rows = [
        "| pages | WARC MB | CPU s | ms a page | ms each further page | largest process MB | longest phases, s |",
        "| --: | --: | --: | --: | --: | --: | --- |",
    ]
    before: tuple[int, float] | None = None
    for pages in sizes:
        crawl, out = folder / f"crawl-{pages}", folder / f"out-{pages}"
        run("sample", str(crawl), "--pages", str(pages), "--files", str(-(-pages // PAGES_PER_FILE)))
        stored = sum(path.stat().st_size for path in crawl.iterdir())
        cpu, peak = run("run", "--preset", "default", "--input", str(crawl), "--out", str(out))
        phases = json.loads((out / "run/metrics.json").read_text())["seconds"]
        longest = sorted(phases, key=lambda phase: -phases[phase])[:3]
        further = f"{1000 * (cpu - before[1]) / (pages - before[0]):.2f}" if before else ""
        rows.append(
            f"| {pages:,} | {stored / 2**20:.0f} | {cpu:.1f} | {1000 * cpu / pages:.2f} | {further} | {peak:.0f} "
            f"| {', '.join(f'{phase} {phases[phase]:.1f}' for phase in longest)} |"
        )
        before = pages, cpu
        shutil.rmtree(crawl)
        shutil.rmtree(out)
    return "Whole runs (`gristmill run --preset default`), all processes together.\n\n" + "\n".join(rows) + "\n"


def run(*arguments: str) -> tuple[float, float]:
    """CPU seconds of a command of `gristmill` with all its workers, and the largest of its processes in MB."""
    _adopt_orphans()
    command = [sys.executable, "-m", "pipeline", *arguments]
    with tempfile.TemporaryFile() as log:
        told = [(os.POSIX_SPAWN_DUP2, log.fileno(), number) for number in (1, 2)]
        child = os.posix_spawn(sys.executable, command, os.environ, file_actions=told)
        cpu = peak = 0.0
        while True:  # the command, and the server that its workers were forked from
            try:
                pid, status, usage = os.wait4(-1, 0)
            except ChildProcessError:
                return cpu, peak
            cpu += usage.ru_utime + usage.ru_stime
            peak = max(peak, usage.ru_maxrss / 1024)
            if pid == child and status:
                log.seek(0)
                raise SystemExit(f"{' '.join(command)} failed:\n{log.read()[-2000:].decode(errors='replace')}")


def _adopt_orphans() -> None:
    """Make what outlives the command this process's child, whose time it is then told (prctl(2), Linux)."""
    set_child_subreaper = 36
    if ctypes.CDLL(None, use_errno=True).prctl(set_child_subreaper, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl")


if __name__ == "__main__":
    main()
