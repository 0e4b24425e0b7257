"""What a step is: settings, rules, and a check of one page at a time."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from operator import ge, gt, le, lt
from typing import Any, ClassVar, Literal, NamedTuple, Self

from pydantic import BaseModel, ConfigDict, model_validator

from pipeline.record import Drop, Page

Takes = Literal["record", "html", "text"]
Keep = Literal[">=", ">", "<=", "<"]
_KEEP: dict[str, Callable[[float, float], bool]] = {">=": ge, ">": gt, "<=": le, "<": lt}


class Rule(NamedTuple):
    """Keep a page while `value` `keep` the step's setting named `setting`; a setting of None turns the rule off."""

    name: str  # in the ledger: "too_few_words"
    value: str  # the measured value: "words"
    keep: Keep
    setting: str  # the field that holds the limit: "min_words"


class Step(BaseModel):
    """One idea of curation: its fields are its settings, `check` reads or amends a page.

    A filter lists its `rules` in the order in which they are asked and overrides `measure`. The values that it
    measures stand in the ledger for kept and dropped pages alike, so `gristmill what-if` can ask the same rules
    again under other settings. A step that amends the page (text, language) overrides `check`.

    A step keeps no state between pages and opens no file; models and lists are loaded once per process, on first
    use. Any exception quarantines that one page; `Quarantine` does so under a name of its own.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: ClassVar[str]
    takes: ClassVar[Takes] = "text"  # what must be on the page before
    gives: ClassVar[tuple[str, ...]] = ()  # what it adds: "text", "language", or keys of page.notes
    rules: ClassVar[tuple[Rule, ...]] = ()

    @model_validator(mode="after")
    def _check_limits(self) -> Self:
        """What rules measure are counts, shares and probabilities: a limit below 0, or none that is a number, is a slip."""
        for rule in self.rules:
            limit = getattr(self, rule.setting)
            if limit is not None and not limit >= 0:
                raise ValueError(f"{rule.setting} cannot be {limit}: it must be 0 or more")
        for low in self.rules:
            for high in self.rules:
                if low.value == high.value and low.keep[0] == ">" and high.keep[0] == "<":
                    least, most = getattr(self, low.setting), getattr(self, high.setting)
                    if least is not None and most is not None and least > most:
                        raise ValueError(
                            f"{low.setting} ({least}) is above {high.setting} ({most}): no page could pass"
                        )
        return self

    @property
    def label(self) -> str:
        """How the ledger calls this step; a step that can stand twice in a recipe says which one it is."""
        return self.name

    def conflict(self, earlier: Sequence[Step]) -> str | None:
        """How those work against this step, None where they do not; asked before a run."""
        return None

    def measure(self, page: Page) -> Mapping[str, float | None]:
        """Every value that the rules ask for, None where it cannot be said (its rule then keeps the page)."""
        return {}

    def check(self, page: Page) -> Drop | None:
        """Measure the page and ask the rules; None keeps it."""
        measured = self.measure(page)
        self.note(page, measured)
        return self.judge(measured, page.language)

    def limit(self, rule: Rule, language: str) -> float | None:
        """The rule's limit for a page in this language ("" where it is not known); None where the rule is off."""
        limit: float | None = getattr(self, rule.setting)
        return limit

    def keep(self, rule: Rule) -> Keep:
        """How the rule compares a value with its limit to keep the page."""
        return rule.keep

    def judge(self, measured: Mapping[str, float | None], language: str = "") -> Drop | None:
        """The first rule that does not keep these values, as a Drop."""
        asked = self._asked.get(language)
        if asked is None:
            limits = ((rule, self.limit(rule, language)) for rule in self.rules)
            asked = [(r.name, r.value, _KEEP[self.keep(r)], at) for r, at in limits if at is not None]
            self._asked[language] = asked
        for name, key, keeps, limit in asked:
            value = measured.get(key)
            if value is not None and not keeps(value, limit):
                return Drop(name, float(value), float(limit))
        return None

    @cached_property
    def _asked(self) -> dict[str, list[tuple[str, str, Callable[[float, float], bool], float]]]:
        """The rules that are on, with their limits, by language: looked up once, not for each page."""
        return {}

    def note(self, page: Page, measured: Mapping[str, float | None]) -> None:
        """Put the measured values on the page under the ledger's column names."""
        columns, values = self._columns, page.values
        for key, value in measured.items():
            if value is not None:
                column = columns.get(key)
                if column is None:
                    column = columns[key] = f"{self.label}.{key}"
                values[column] = float(value)

    @cached_property
    def _columns(self) -> dict[str, str]:
        return {}

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """A copy with other settings, without what was looked up under the old ones."""
        copy = super().model_copy(update=update, deep=deep)
        for name in ("_asked", "_columns"):
            copy.__dict__.pop(name, None)
        return copy

    def load(self) -> None:
        """Load models and lists now: a fault in them then stops the run before its first page."""

    @property
    def columns(self) -> list[str]:
        """The ledger's columns for what this step measures."""
        return [f"{self.label}.{value}" for value in dict.fromkeys(rule.value for rule in self.rules)]

    @property
    def version(self) -> str:
        """What besides the settings decides the outcome: a library's version, a list's hash. "" where nothing does."""
        return ""
