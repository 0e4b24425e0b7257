"""Language (on the text) and EarlyLanguage (before extraction, only what is certain), by fastText."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence
from hashlib import blake2b
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, Field, model_validator

from pipeline.errors import GristmillError
from pipeline.record import Drop, Page
from pipeline.settings import OWN_FILES
from pipeline.steps.html import visible_windows
from pipeline.steps.language_codes import LID176, Tongue, tongue
from pipeline.steps.lid import Identifier, identifier, model_hash
from pipeline.steps.step import Rule, Step, Takes


def _canonical(code: str) -> str:
    return str(tongue(code))


Code = Annotated[str, AfterValidator(_canonical)]


class _OfLanguage(Step):
    """What both gates are told: which languages are kept, and by which model they are known."""

    languages: tuple[Code, ...] | None = Field(
        ("en",),
        description="Languages that are kept, as ISO 639 codes (en, eng), with a script where the model "
        "tells scripts apart (srp_Cyrl); empty keeps every language.",
    )
    model: str = Field(
        "",
        description="A fastText model for language identification (lid.176.bin, GlotLID); empty for the "
        "lid.176.ftz that is installed with Gristmill.",
        json_schema_extra=OWN_FILES,
    )

    @model_validator(mode="after")
    def _known_to_lid176(self) -> _OfLanguage:
        if not self.model:
            _check_known(self._named(), LID176, where="lid.176")
        return self

    def _named(self) -> Iterable[str]:
        return self.languages or ()

    def load(self) -> None:
        """Load the model now. GristmillError where it cannot be, or does not know a language that is kept."""
        _known_model(self.model, tuple(self._named()))

    def _identifier(self) -> Identifier:
        return _known_model(self.model, tuple(self._named()))

    @property
    def version(self) -> str:
        return f"fasttext sha256:{model_hash(self.model)}"


class Language(_OfLanguage):
    """Identify the language of the text, and drop pages in other languages or of doubtful language.

    fastText lid.176 on the whole text, as FineWeb does (Penedo et al. 2024, arXiv 2406.17557, section 3:
    English with a score of at least 0.65). The page's language is the likeliest one, its score that one's
    probability.
    """

    name: ClassVar[str] = "language"
    gives: ClassVar[tuple[str, ...]] = ("language",)
    rules: ClassVar[tuple[Rule, ...]] = (Rule("language_score", "score", ">=", "min_score"),)

    min_score: float = Field(0.65, ge=0, le=1, description="Lowest probability of the page's language.")
    min_score_by_language: dict[Code, float] = Field(
        {},
        description="Lowest probability by language, where it differs from min_score (FineWeb2 sets each).",
    )
    strict: bool = Field(False, description="Ask for a probability above the lowest one, not at it, as datatrove does.")
    newline_as: Literal[" ", ""] = Field(
        " ", description="What stands for a newline when the model is asked; FineWeb v1 had nothing."
    )
    max_chars: int | None = Field(
        None,
        ge=100,
        description="Look at so many characters from the beginning; empty looks at the whole text.",
    )

    other: Literal["drop", "publish"] = Field(
        "drop",
        description="What becomes of pages in other languages. publish: they go into a part of their own (other-*), past "
        "the steps that judge by the kept languages' words; no early gate may stand in front then.",
    )

    def _named(self) -> Iterable[str]:
        return [*(self.languages or ()), *self.min_score_by_language]

    def conflict(self, earlier: Sequence[Step]) -> str | None:
        for step in earlier:
            if self.other == "publish" and isinstance(step, EarlyLanguage) and step.drops:
                return f"{step.label} drops what {self.label}.other=publish is to publish (--set {step.label}=off leaves it out)"
        return None

    def check(self, page: Page) -> Drop | None:
        found, score = self._identifier().best(page.text[: self.max_chars], self.newline_as)
        page.language, page.language_score = found.code, score
        if found.script:
            page.notes["script"] = found.script
        self.note(page, {"score": score})
        drop = self._verdict(found, score)
        if drop is not None and drop.rule == "language" and self.other == "publish" and score >= self._limit(found):
            page.notes["part"] = "other"
            return None
        return drop

    def verdict(self, language: str, score: float) -> Drop | None:
        """The decision by the ledger's columns `language` and `language_score` alone, as `what-if` asks it.

        The rule is `language` (not a kept one) or `language_score` (a kept one, not surely enough). A ledger
        says no scripts: a language that is kept in one script only is judged there as if in any.
        """
        return self._verdict(Tongue(language), score)

    def _verdict(self, found: Tongue, score: float) -> Drop | None:
        language, limit = found.code, self._limit(found)
        if self.languages is not None and not any(tongue(kept).covers(found) for kept in self.languages):
            return Drop("language", score, limit, detail=language)
        if score < limit or (self.strict and score == limit):
            return Drop("language_score", score, limit, detail=language)
        return None

    def _limit(self, found: Tongue) -> float:
        by_language = self.min_score_by_language
        return by_language.get(str(found), by_language.get(found.code, self.min_score))


class EarlyLanguage(_OfLanguage):
    """Drop, before extraction, only pages that are certainly in no kept language.

    Asked of what the body shows, menus and all, so its threshold is a low probability of the kept languages,
    never the likeliest label. A page whose beginning seems foreign gets a second look at its middle.
    A seeded sample of what it would drop is let through: what `Language` later says of those is the gate's
    loss, measured in every run (`pipeline.steps.language_loss`).
    """

    name: ClassVar[str] = "early_language"
    takes: ClassVar[Takes] = "html"
    rules: ClassVar[tuple[Rule, ...]] = (Rule("certainly_other_language", "probability", ">=", "min_probability"),)

    min_probability: float = Field(
        0.1, ge=0, le=1, description="Drop pages whose kept languages together are less probable than this."
    )
    max_chars: int = Field(
        2000, ge=200, description="Characters that are looked at, of the visible text's beginning or middle."
    )
    min_chars: int = Field(
        200,
        ge=0,
        description="Pages with less visible text than this, in characters, are never dropped here.",
    )
    audit_share: float = Field(
        0.01,
        ge=0,
        le=1,
        description="Share of the pages to be dropped that is let through, to measure the loss.",
    )

    @property
    def drops(self) -> bool:
        """Whether any page could be dropped."""
        return self.languages is not None and self.min_probability > 0 and self.audit_share < 1

    def measure(self, page: Page) -> Mapping[str, float | None]:
        if self.languages is None:
            return {}
        best: float | None = None
        for window in visible_windows(page, self.max_chars, self.min_chars):
            best = max(self._probability(window), best or 0.0)
            if best >= self.min_probability:
                break
        return {"probability": best}

    def check(self, page: Page) -> Drop | None:
        drop = super().check(page)
        if drop is not None and _sampled(page.record_id, self.audit_share):
            self.note(page, {"audit": 1.0})
            return None
        return drop

    @property
    def columns(self) -> list[str]:
        return [*super().columns, f"{self.label}.audit"]

    def _probability(self, text: str) -> float:
        """The probability that `text` is in one of the kept languages."""
        return self._identifier().probability(text, _kept_labels(self.model, self.languages or ()))


def _sampled(record_id: str, share: float) -> bool:
    """A sample that is the same in every run, drawn by record and for this purpose alone."""
    drawn = int.from_bytes(blake2b(record_id.encode(), digest_size=8, person=b"early_language"[:16]).digest())
    return drawn < share * 2**64


@functools.cache
def _kept_labels(model: str, languages: tuple[str, ...]) -> frozenset[str]:
    kept = [tongue(code) for code in languages]
    tongues = identifier(model).tongues
    return frozenset(label for label, found in tongues.items() if any(k.covers(found) for k in kept))


@functools.cache
def _known_model(model: str, languages: tuple[str, ...]) -> Identifier:
    """The model, once it is sure that it can tell these languages."""
    found = identifier(model)
    try:
        _check_known(languages, {t.code for t in found.tongues.values()}, where=model or "lid.176")
    except ValueError as error:
        raise GristmillError(str(error), where=model, todo="Correct `languages`, or name another `model`.") from error
    return found


def _check_known(codes: Iterable[str], known: Iterable[str], where: str) -> None:
    unknown = [code for code in codes if tongue(code).code not in known]
    if unknown:
        raise ValueError(f"{where} knows no language {unknown[0]!r}; write ISO 639 codes such as en, eng, eng_Latn")
