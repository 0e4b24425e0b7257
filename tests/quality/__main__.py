"""`make quality`: text, language, PII and duplicates against labelled data, into tests/quality/RESULTS.md."""

from pathlib import Path

from tests.results import write_results

PARTS = ("extraction", "language", "pii", "dedup")
OPENING = "# Quality, measured\n\nWritten by `make quality` from the labelled sets in `../shared/data`.\n"

if __name__ == "__main__":
    scripts = [f"tests.quality.quality_{part}" for part in PARTS]
    write_results(Path(__file__).parent / "RESULTS.md", [OPENING], scripts)
