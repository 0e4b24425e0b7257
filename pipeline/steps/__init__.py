"""The steps that a recipe can name, one idea a file.

`step_class(name)` imports a step when it is first asked for, so that a run loads only what its recipe uses.
May be imported from here: `STEPS`, `step_class`, `Step`, `Rule`.
"""

from __future__ import annotations

from importlib import import_module

from pipeline.steps.step import Rule, Step

STEPS = {
    "record_gate": "pipeline.steps.gate:RecordGate",
    "url_filter": "pipeline.steps.url:UrlFilter",
    "early_language": "pipeline.steps.language:EarlyLanguage",
    "extract": "pipeline.steps.extract:Extract",
    "language": "pipeline.steps.language:Language",
    "gopher_repetition": "pipeline.steps.gopher:GopherRepetition",
    "gopher_quality": "pipeline.steps.gopher:GopherQuality",
    "c4_quality": "pipeline.steps.c4:C4Quality",
    "fineweb_quality": "pipeline.steps.fineweb:FinewebQuality",
    "fix_text": "pipeline.steps.fix_text:FixText",
    "pii": "pipeline.steps.pii:RemovePii",
    "datatrove": "pipeline.interop.datatrove:DatatroveStep",
}

__all__ = ["STEPS", "Rule", "Step", "step_class"]


def step_class(name: str) -> type[Step]:
    """The class behind a recipe's step name; KeyError where there is none."""
    module, _, cls = STEPS[name].partition(":")
    found: type[Step] = getattr(import_module(module), cls)
    return found
