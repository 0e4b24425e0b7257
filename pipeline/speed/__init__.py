"""The inner loops: what the filters count on every page.

Each kernel stands twice: in C (`native/`, built by setuptools where there is a compiler, without dependencies)
and in pure Python (`twin.py`), which is the oracle of the tests and the fallback. `ACTIVE` says which one runs;
GRISTMILL_PURE=1 in the environment forces the twin. Both give the same results, so neither the choice nor the
machine shows in a published file.

May be imported from here: everything below.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Literal

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

ACTIVE: Literal["native", "python"]

if TYPE_CHECKING or os.environ.get("GRISTMILL_PURE") == "1":
    from pipeline.speed.twin import Lexicon, Reading, c4_lines, character_marks, line_repeats, line_tally, prose_lines

    ACTIVE = "python"
else:
    try:
        from pipeline.speed._filters import (
            Lexicon,
            Reading,
            c4_lines,
            character_marks,
            line_repeats,
            line_tally,
            prose_lines,
        )

        ACTIVE = "native"
    except ImportError:
        from pipeline.speed.twin import (
            Lexicon,
            Reading,
            c4_lines,
            character_marks,
            line_repeats,
            line_tally,
            prose_lines,
        )

        ACTIVE = "python"

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
