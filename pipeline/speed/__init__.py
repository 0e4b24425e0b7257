"""The inner loops: what the filters count on every page.

Each kernel stands twice: in C (`native/`, built by setuptools where there is a compiler, without dependencies)
and in pure Python (`twin.py`), which is the oracle of the tests and the fallback. `ACTIVE` says which one runs;
GRISTMILL_PURE=1 in the environment forces the twin. Both give the same results, so neither the choice nor the
machine shows in a published file.

May be imported from here: everything below.
"""

from __future__ import annotations

import contextlib
import os
from typing import Literal

from pipeline.speed.results import (
    BESIDE,
    ODD,
    REACH,
    C4Lines,
    C4Rules,
    LineRepeats,
    LineTally,
    ProseLines,
    Repeats,
    WordTally,
)
from pipeline.speed.twin import Lexicon, Reading, c4_lines, character_marks, line_repeats, line_tally, prose_lines

ACTIVE: Literal["native", "python"] = "python"

if os.environ.get("GRISTMILL_PURE") != "1":
    with contextlib.suppress(ImportError):  # not built: there was no compiler; the checker sees the twins alone
        from pipeline.speed._filters import (  # type: ignore[import-not-found,no-redef]
            Lexicon,
            Reading,
            c4_lines,
            character_marks,
            line_repeats,
            line_tally,
            prose_lines,
        )

        ACTIVE = "native"

__all__ = [
    "ACTIVE",
    "BESIDE",
    "ODD",
    "REACH",
    "C4Lines",
    "C4Rules",
    "Lexicon",
    "LineRepeats",
    "LineTally",
    "ProseLines",
    "Reading",
    "Repeats",
    "WordTally",
    "c4_lines",
    "character_marks",
    "line_repeats",
    "line_tally",
    "prose_lines",
]
