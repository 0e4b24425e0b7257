"""The refine phase against datatrove 0.10.1: the same pages, one warm process each, in turn, CPU seconds.

    python -m tests.bench.end_to_end [--pages 590] [--rounds 2]

Pages are the labelled pages of shared/data, which must lie beside the checkout, each once. Rounds of many pages, as a
split has a fixed cost of its own: files that are opened, synced and summed up.
"""

from __future__ import annotations

import argparse
import io
import json
import random
import statistics
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from warcio.statusandheaders import StatusAndHeaders
from warcio.warcwriter import WARCWriter

ROOT = Path(__file__).parents[2]
DATA = ROOT.parent / "shared/data/curation/extraction"
REFERENCE = ROOT / ".bench/datatrove/bin/python"
PAGES, ROUNDS = 590, 2  # with the warm-up 1,770 of the 1,774 distinct pages
SIDES = {
    "datatrove 0.10.1": [str(REFERENCE), "tests/bench/reference.py"],
    "exact (preset datatrove-0.10)": [sys.executable, "-m", "tests.bench.worker", "datatrove-0.10"],
    "exact, early gate": [sys.executable, "-m", "tests.bench.worker", "exact-gate"],
    "fast, same rules": [sys.executable, "-m", "tests.bench.worker", "datatrove-0.10", "extract.engine=resiliparse"],
    "fast (preset default)": [sys.executable, "-m", "tests.bench.worker", "default"],
}


class Side:
    """One warm process that is handed archives."""

    def __init__(self, command: Sequence[str]) -> None:
        self._process = subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )

    def take(self, archive: Path) -> dict[str, Any]:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(f"{archive}\n")
        self._process.stdin.flush()
        for line in self._process.stdout:
            if line.startswith("{"):
                return dict(json.loads(line))
        raise RuntimeError(f"{self._process.args} ended with {self._process.wait()}")

    def close(self) -> None:
        assert self._process.stdin
        self._process.stdin.close()
        self._process.wait()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--pages", type=int, default=PAGES)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    options = parser.parse_args()
    print(measure(options.pages, options.rounds))


def measure(pages: int, rounds: int) -> str:
    """The table, in Markdown. Each side first takes a warm-up archive of other pages that is not counted."""
    chosen = list(real_pages(pages * (rounds + 1)))
    pages = len(chosen) // (rounds + 1)
    with tempfile.TemporaryDirectory() as folder:
        gate = Path(folder) / "exact-gate.yaml"
        gate.write_text(_with_early_gate())
        sides = {
            name: Side([str(gate) if word == "exact-gate" else word for word in command])
            for name, command in SIDES.items()
        }
        answers: dict[str, list[dict[str, Any]]] = {name: [] for name in sides}
        for number in range(rounds + 1):
            archive = write_archive(Path(folder) / f"{number}.warc.gz", chosen[number * pages : (number + 1) * pages])
            for name, side in sides.items():
                answers[name].append(side.take(archive))
        for side in sides.values():
            side.close()
    return table(answers, pages) + "\n" + steps(answers, pages)


def table(answers: dict[str, list[dict[str, Any]]], pages: int) -> str:
    first = next(iter(answers.values()))
    rows = [
        "| engine | CPU ms a page | pages/s a core | x datatrove | start, CPU s | peak MB | kept | kept by both |",
        "| --- | --: | --: | --: | --: | --: | --: | --: |",
    ]
    for name, rounds in answers.items():
        counted = rounds[1:]
        ms = [1000 * one["cpu"] / pages for one in counted]
        ratio = statistics.median(a["cpu"] / b["cpu"] for a, b in zip(first[1:], counted, strict=True))
        kept = sum(len(one["kept"]) for one in counted)
        both = sum(len(set(a["kept"]) & set(b["kept"])) for a, b in zip(first[1:], counted, strict=True))
        peak = max(one["peak_mb"] for one in rounds)
        rows.append(
            f"| {name} | {statistics.median(ms):.2f} ({min(ms):.2f}–{max(ms):.2f}) | {1000 / statistics.median(ms):.0f} "
            f"| {ratio:.1f} | {start(rounds):.1f} | {peak:.0f} | {kept} | {both} |"
        )
    return (
        f"{len(first) - 1} rounds of {pages} pages after a warm-up of as many; median and range. Start: what the process "
        "had used before its first page, and what the warm-up took longer than the median of the rounds (imports, "
        "lists, models).\n\n" + "\n".join(rows) + "\n"
    )


def start(rounds: list[dict[str, Any]]) -> float:
    """CPU seconds that a process spends once, whatever it is then given."""
    warm_up: float = rounds[0]["cpu"] - statistics.median(one["cpu"] for one in rounds[1:])
    return float(rounds[0]["before"]) + max(0.0, warm_up)


def steps(answers: dict[str, list[dict[str, Any]]], pages: int) -> str:
    """CPU ms by step, per page that came into the refine phase."""
    ours = {name: rounds for name, rounds in answers.items() if "steps" in rounds[0]}
    labels = list(dict.fromkeys(step for rounds in ours.values() for step in rounds[0]["steps"]["cpu_seconds"]))
    rows = [f"| step | {' | '.join(ours)} |", f"| --- | {' | '.join('--:' for _ in ours)} |"]
    for label in labels:
        cells = []
        for rounds in ours.values():
            spent = [one["steps"]["cpu_seconds"].get(label) for one in rounds[1:]]
            cells.append("" if None in spent else f"{1000 * statistics.median(spent) / pages:.3f}")
        rows.append(f"| {label} | {' | '.join(cells)} |")
    return "CPU ms by step, per input page:\n\n" + "\n".join(rows) + "\n"


def real_pages(count: int) -> Iterator[tuple[str, bytes]]:
    """(URL, HTML) of real pages in a seeded order; each only once."""
    pages: dict[bytes, tuple[str, bytes]] = {}
    for archive in sorted(DATA.glob("*.pages.tar.xz")):
        with tarfile.open(archive) as tar:
            for member in tar:
                file = tar.extractfile(member)
                if file:
                    html = file.read()[: 1 << 20]
                    pages.setdefault(html, (f"https://host{len(pages)}.example/{archive.name[:6]}/{member.name}", html))
    if not pages:
        raise SystemExit(f"{DATA} is not there: the comparison needs its pages")
    chosen = list(pages.values())
    random.Random(7).shuffle(chosen)
    yield from chosen[:count]


def write_archive(path: Path, pages: Sequence[tuple[str, bytes]]) -> Path:
    """A WARC as Common Crawl builds it: request, response and metadata of each page, a gzip member each."""
    date = {"WARC-Date": "2026-10-17T00:00:00Z"}
    with path.open("wb") as file:
        writer = WARCWriter(file, gzip=True)
        for url, html in pages:
            ask = StatusAndHeaders("GET / HTTP/1.1", [("Host", "x")], is_http_request=True)
            say = StatusAndHeaders("200 OK", [("Content-Type", "text/html")], protocol="HTTP/1.1")
            kind = {**date, "WARC-Identified-Payload-Type": "text/html"}
            writer.write_record(writer.create_warc_record(url, "request", http_headers=ask, warc_headers_dict=date))
            writer.write_record(
                writer.create_warc_record(url, "response", io.BytesIO(html), http_headers=say, warc_headers_dict=kind)
            )
            writer.write_record(
                writer.create_warc_record(url, "metadata", io.BytesIO(b"fetchTimeMs: 1\r\n"), warc_headers_dict=date)
            )
    return path


def _with_early_gate() -> str:
    from pipeline.recipe import PRESETS

    recipe = (PRESETS / "datatrove-0.10.yaml").read_text()
    return recipe.replace("  - extract:", "  - early_language: {languages: [en]}\n  - extract:", 1)


if __name__ == "__main__":
    main()
