"""Engines that find the main text of a web page, one engine a file behind one interface.

`trafilatura_exact` gives trafilatura's own text (by `trafilatura_twin` and `trafilatura_rules`);
`resiliparse_strict` is fast and has no model; `mill` is learned: `blocks` and `head` read the page, `names` and
`features` turn it into numbers, `forest` scores them, `render` writes what stays; `mill_labels` and `mill_train`
made its model, of which `mill_card.md` tells. `limits` keeps hostile trees away from the parsers.

May be imported from here: `Engine`, `Extracted`, `Mode`, `Output`, `ENGINES`, `WRITE_MARKDOWN`, `load_engine`.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module

from pipeline.extractors.engine import Engine, Extracted, Mode, Output

ENGINES = {
    "trafilatura": "pipeline.extractors.trafilatura_exact:TrafilaturaExact",
    "resiliparse": "pipeline.extractors.resiliparse_strict:ResiliparseStrict",
    "mill": "pipeline.extractors.mill:Mill",
}
WRITE_MARKDOWN = frozenset({"mill"})

__all__ = ["ENGINES", "WRITE_MARKDOWN", "Engine", "Extracted", "Mode", "Output", "load_engine"]


@cache
def load_engine(name: str, mode: Mode, output: Output = "text") -> Engine:
    """The engine of that name, loaded once per process; KeyError where there is none.

    `mode` trades precision for recall in trafilatura, the others ignore it; Markdown is written by `mill` alone.
    """
    module, _, cls = ENGINES[name].partition(":")
    kind = getattr(import_module(module), cls)
    engine: Engine = kind(mode, output) if name in WRITE_MARKDOWN else kind(mode)
    return engine
