"""Run measuring scripts one after the other and keep what they print."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path


def write_results(path: Path, opening: Sequence[str], scripts: Sequence[str]) -> None:
    """Write `opening`, then a section for each script (module and arguments) with its command and output.

    A failure is told in its place.
    """
    told = list(opening)
    for script in scripts:
        print(f"{script} …", file=sys.stderr)
        done = subprocess.run([sys.executable, "-m", *script.split()], capture_output=True, text=True)
        output = done.stdout.strip() if done.returncode == 0 else f"failed: {done.stderr.strip().splitlines()[-1:]}"
        title = script.rpartition(".")[2].rpartition("_")[2].capitalize()
        told.append(f"## {title}\n\n`python -m {script}`\n\n{output}\n")
    path.write_text("\n".join(told), encoding="utf-8")
    print(path)
