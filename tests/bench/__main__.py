"""`make bench`: every benchmark in turn, into tests/bench/RESULTS.md."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.bench.end_to_end import REFERENCE, ROOT, measure

PARTS = ("reader", "url", "language", "extraction", "filters", "pii", "dedup", "tokens", "scale")
RESULTS = Path(__file__).parent / "RESULTS.md"


def main() -> None:
    """Run all and write the tables; a part that cannot run says so in its place."""
    if not REFERENCE.exists():
        raise SystemExit("datatrove's own environment is missing: make bench sets it up")
    told = [
        "# Speed, measured\n\nWritten by `make bench`. CPU seconds of warm processes that take turns; compare within a table, "
        "not across tables.\n",
        "## Refine phase against datatrove\n\n`python -m tests.bench.end_to_end`\n\n" + measure(200, 3),
    ]
    for part in PARTS:
        script = f"tests/bench/bench_{part}.py"
        print(f"{script} …", file=sys.stderr)
        done = subprocess.run([sys.executable, script], cwd=ROOT, capture_output=True, text=True)
        output = done.stdout.strip() if done.returncode == 0 else f"failed: {done.stderr.strip().splitlines()[-1:]}"
        told.append(f"## {part.capitalize()}\n\n`python {script}`\n\n{output}\n")
    RESULTS.write_text("\n".join(told), encoding="utf-8")
    print(RESULTS)


if __name__ == "__main__":
    main()
