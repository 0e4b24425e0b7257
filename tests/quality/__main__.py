"""`make quality`: text, language, PII and duplicates against labelled data, into tests/quality/RESULTS.md."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

PARTS = ("extraction", "language", "pii", "dedup")
RESULTS = Path(__file__).parent / "RESULTS.md"


def main() -> None:
    """Run all and write the tables; a part that cannot run says so in its place."""
    told = ["# Quality, measured\n\nWritten by `make quality` from the labelled sets in `../shared/data`.\n"]
    for part in PARTS:
        script = f"tests/quality/quality_{part}.py"
        print(f"{script} …", file=sys.stderr)
        done = subprocess.run([sys.executable, script], capture_output=True, text=True)
        output = done.stdout.strip() if done.returncode == 0 else f"failed: {done.stderr.strip().splitlines()[-1:]}"
        told.append(f"## {part.capitalize()}\n\n`python {script}`\n\n{output}\n")
    RESULTS.write_text("\n".join(told), encoding="utf-8")
    print(RESULTS)


if __name__ == "__main__":
    main()
