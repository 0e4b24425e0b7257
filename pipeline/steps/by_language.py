"""Filters whose limits differ by the page's language, as FineWeb2's do (Penedo et al. 2025, arXiv 2506.20920)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any, ClassVar, Literal

from pydantic import Field

from pipeline.steps.language_codes import tongue
from pipeline.steps.step import Rule, Step
from pipeline.steps.words import tokenizer_version


class ByLanguage(Step):
    """A filter of words that may take some of its settings from a table, for the languages that stand in it."""

    name: ClassVar[str]

    by_language: Literal["fineweb2"] | None = Field(
        None,
        description="Take limits and stop words of FineWeb2 for the 172 languages it has; the others have those here.",
    )

    def own(self, language: str) -> Mapping[str, Any]:
        """The settings that differ for this language."""
        return _own(self.name, language) if self.by_language else {}

    def limit(self, rule: Rule, language: str) -> float | None:
        found: float | None = self.own(language).get(rule.setting, getattr(self, rule.setting))
        return found

    @property
    def version(self) -> str:
        """Whose words, and whose limits: the tokenizers and, where it is asked, the table's hash."""
        return f"{tokenizer_version()} fineweb2 {_table()[1]}" if self.by_language else tokenizer_version()


@cache
def _table() -> tuple[dict[str, Any], str]:
    """By lid.176's codes: huggingface/fineweb-2, configs/*.yml at d0defb2 (Apache-2.0).

    Where FineWeb2 has a language in several scripts, that of its most pages. English, which it leaves out, has
    Gopher's and FineWeb's limits.
    """
    text = files("pipeline.steps").joinpath("fineweb2.json").read_bytes()
    return json.loads(text), hashlib.sha256(text).hexdigest()[:16]


@cache
def _own(step: str, language: str) -> Mapping[str, Any]:
    table = _table()[0]
    found = table.get(language) or table.get(tongue(language).code if language else "") or {}
    own: Mapping[str, Any] = found.get(step, {})
    return own
