"""Engines that find the main text of a web page, one engine a file behind one interface.

`trafilatura_exact` gives trafilatura's own text, `resiliparse_strict` is fast and has no model. `limits`
keeps hostile trees away from the parsers. May be imported from here: `Engine`, `Extracted`, `Mode`,
`ENGINES`, `load_engine`.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module

from pipeline.extractors.engine import Engine, Extracted, Mode

ENGINES = {
    "trafilatura": "pipeline.extractors.trafilatura_exact:TrafilaturaExact",
    "resiliparse": "pipeline.extractors.resiliparse_strict:ResiliparseStrict",
}

__all__ = ["ENGINES", "Engine", "Extracted", "Mode", "load_engine"]


@cache
def load_engine(name: str, mode: Mode) -> Engine:
    """The engine of that name, loaded once per process; KeyError where there is none.

    `mode` trades precision for recall in engines that know such a setting; the others ignore it.
    """
    module, _, cls = ENGINES[name].partition(":")
    engine: Engine = getattr(import_module(module), cls)(mode)
    return engine
