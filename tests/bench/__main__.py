"""`make bench`: every benchmark in turn, into tests/bench/RESULTS.md."""

from pathlib import Path

from tests.bench.end_to_end import PAGES, REFERENCE, ROUNDS, measure
from tests.results import write_results

PARTS = (
    "reader",
    "url",
    "language",
    "extraction",
    "pareto",
    "filters",
    "pii",
    "dedup signatures",
    "dedup join 10000000 --memory 2048",
    "tokens",
    "loader",
    "scaling",
)
OPENING = (
    "# Speed, measured\n\nWritten by `make bench`. CPU seconds of warm processes that take turns: compare within a table, "
    "not across tables.\n"
)

if __name__ == "__main__":
    if not REFERENCE.exists():
        raise SystemExit("datatrove's own environment is missing: `make bench` sets it up")
    whole = "## Refine phase against datatrove\n\n`python -m tests.bench.end_to_end`\n\n" + measure(PAGES, ROUNDS)
    scripts = [*(f"tests.bench.bench_{part}" for part in PARTS), "tests.flows.overhead"]
    write_results(Path(__file__).parent / "RESULTS.md", [OPENING, whole], scripts)
