"""The inner loops: what the filters count on every page.

Each kernel stands twice: in C99 (built by setuptools where there is a compiler, without dependencies) and in
pure Python (`twin.py`), which is the oracle of the tests and the fallback. `ACTIVE` says which one runs;
GRISTMILL_PURE=1 in the environment forces the twin. Both give the same results, so neither the choice nor the
machine shows in a published file.

May be imported from here: `ACTIVE`, `Lexicon`, `Repeats`, `WordTally`, `LineTally`, `LineRepeats`, `C4Lines`,
…
"""

from __future__ import annotations

from typing import Literal

from pipeline.speed.results import C4Lines, C4Rules
from pipeline.speed.twin import (
    Lexicon,
    Reading,
    c4_lines,
    line_repeats,
    line_tally,
    prose_lines,
)

ACTIVE: Literal["native", "python"] = "python"

__all__ = [
    "ACTIVE",
    "C4Lines",
    "C4Rules",
    "Lexicon",
    "Reading",
    "c4_lines",
    "line_repeats",
    "line_tally",
    "prose_lines",
]
