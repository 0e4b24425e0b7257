"""Evaluation items from files: multiple choice, one ending after several contexts, last words, minimal pairs.

Every item becomes the same thing: options to compare by log-likelihood, each a context and a continuation.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from model.conversations import read_rows
from pipeline.errors import GristmillError

_FORMS = "Give query, choices and gold; or ctx, choices, gold; or context and continuation; or good and bad."
Kind = Literal["choice", "pair", "cloze"]


@dataclass(frozen=True, slots=True)
class Item:
    """`options` are (context, continuation); the `gold`-th is right. A cloze has one, which greedy must produce.

    `group` is what results are also told by: a paradigm, a subject.
    """

    options: tuple[tuple[str, str], ...]
    gold: int
    kind: Kind
    group: str = ""

    @property
    def example(self) -> str:
        """The item with its right answer, for few-shot prompts."""
        return "".join(self.options[self.gold])


def read_items(path: str | Path) -> list[Item]:
    """The items of a JSON-lines file (also `.xz`, `.gz`), their form told by their fields:

    {query, choices, gold}; {ctx, choices, gold} (HellaSwag); {context_options, continuation, gold} (Winograd);
    {context, continuation} (LAMBADA); {good, bad} (BLiMP). Raises GristmillError with the line of any other.
    """
    items = []
    for number, row in read_rows(Path(path)):
        try:
            items.append(_item(row))
        except (KeyError, TypeError, IndexError, AttributeError) as error:
            what = f"no evaluation item ({type(error).__name__}: {error})"
            raise GristmillError(what, f"{path}, line {number}", _FORMS) from error
    if not items:
        raise GristmillError("no item in it", str(path), "Give a file of evaluation items.")
    return items


def _item(row: dict[str, Any]) -> Item:
    if "good" in row:
        return Item((("", row["good"]), ("", row["bad"])), 0, "pair", str(row.get("paradigm", "")))
    if "context_options" in row:
        options = tuple((context, _after(context, row["continuation"])) for context in row["context_options"])
        return _choice(options, row)
    if "ctx" in row:
        context = _hellaswag(row["ctx"])
        return _choice(tuple((context, _after(context, _hellaswag(choice))) for choice in row["choices"]), row)
    if "choices" in row:
        lettered = row.get("task") == "mmlu"
        query = _lettered(row) if lettered else _asked(row["query"])
        choices = "ABCDEFGH"[: len(row["choices"])] if lettered else row["choices"]
        return _choice(tuple((query, _after(query, choice)) for choice in choices), row)
    context = row["context"]
    return Item(((context, _after(context, row["continuation"])),), 0, "cloze", str(row.get("task", "")))


def _choice(options: tuple[tuple[str, str], ...], row: dict[str, Any]) -> Item:
    if not 0 <= row["gold"] < len(options):
        raise IndexError(f"gold is {row['gold']} of {len(options)} choices")
    return Item(options, row["gold"], "choice", str(row.get("subject", row.get("kind", ""))))


def _after(context: str, continuation: str) -> str:
    """The blank goes with the continuation: so a byte-level BPE cuts between the two."""
    joined = not context or context[-1].isspace() or continuation[:1].isspace()
    return continuation if joined else f" {continuation}"


def _asked(query: str) -> str:
    """A question without the word that its answer follows gets it (ARC and PIQA, as lm-evaluation-harness asks)."""
    is_bare = query.startswith("Question:") and not query.rstrip().endswith("Answer:")
    return f"{query.rstrip()}\nAnswer:" if is_bare else query


def _lettered(row: dict[str, Any]) -> str:
    """MMLU's own form (Hendrycks et al. 2020, arXiv 2009.03300)."""
    choices = "\n".join(f"{letter}. {choice}" for letter, choice in zip("ABCDEFGH", row["choices"], strict=False))
    return f"{row['query'].strip()}\n{choices}\nAnswer:"


def _hellaswag(text: str) -> str:
    """WikiHow's marks taken out, as lm-evaluation-harness does."""
    return re.sub(r"\[.*?\]", "", text.strip().replace(" [title]", ". ")).replace("  ", " ")
