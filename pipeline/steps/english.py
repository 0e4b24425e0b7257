"""spaCy's blank English tokenizer: its data, and short cuts past its patterns where they cannot match.

`english_tokenizer.json` holds spaCy's English exceptions and patterns (MIT licence, ExplosionAI GmbH);
`python -m pipeline.steps.english` prints it anew from the spaCy that is installed.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from functools import cache
from importlib.metadata import version
from importlib.resources import files
from typing import Any

from pipeline.steps.affixes import AffixRules, AffixTokenizer, exceptions_of

# Affixes are shorter, but for runs of dots; so is what they look at beside them.
_WINDOW = 16
# A suffix that ends with a letter has one of these before or in it: a unit ("3km"), a genitive ("dog's").
_UNIT_OR_GENITIVE = re.compile("[0-9'’]")
_HYPHEN = re.compile("(?<=[A-Za-z])-{1,3}(?=[A-Za-z])")


@cache
def spacy_data() -> dict[str, Any]:
    """spaCy's English exceptions and patterns, and the characters that end a sentence in any language."""
    path = files("pipeline.steps").joinpath("english_tokenizer.json")
    data: dict[str, Any] = json.loads(path.read_text("utf-8"))
    return data


@cache
def english() -> AffixTokenizer:
    """spaCy's blank English tokenizer, faster."""
    data = spacy_data()
    return AffixTokenizer(
        AffixRules(
            exceptions={text: tuple(tokens) for text, tokens in data["exceptions"].items()},
            prefix=_Prefix(data["prefix"]).length,
            suffix=_Suffix(data["suffix"]).length,
            infix=_Infix(data["infix"]).find,
            token=None,
            url=_Url(data["url"]).match,
            plain_ends=',;:!?)"',
        )
    )


class _Prefix:
    def __init__(self, pattern: str) -> None:
        # Each alternative is anchored at the start: match() does what search() would.
        self._match = re.compile(pattern).match
        self._single = _single_characters(pattern, r"\^\\?(.)")

    def length(self, text: str, start: int, stop: int) -> int:
        first = text[start]
        if first in self._single:
            return 1
        if first.isascii() and first.isalnum() and first not in "UCA":  # US$, C$, A$
            return 0
        if first == ".":
            end = start
            while end < stop and text[end] == ".":
                end += 1
            return end - start if end - start > 1 else 0
        found = self._match(text[start : min(stop, start + _WINDOW)])
        return found.end() if found else 0


class _Suffix:
    def __init__(self, pattern: str) -> None:
        self._search = re.compile(pattern).search
        self._single = _single_characters(pattern, r"\\?(.)\$")

    def length(self, text: str, start: int, stop: int) -> int:
        if start == stop:
            return 0
        end = text[stop - 1]
        if end in self._single:
            return 1
        before = text[stop - 2] if stop - 2 >= start else ""
        window = text[max(start, stop - _WINDOW) : stop]
        if end == "." and before.isascii():
            if before == ".":
                first = stop - 2
                while first > start and text[first - 1] == ".":
                    first -= 1
                return stop - first
            if before.islower() or before.isdigit():
                return 1
        elif end.isascii() and end.isalnum() and (end.isdigit() or not _UNIT_OR_GENITIVE.search(window)):
            return 0
        found = self._search(window)
        return found.end() - found.start() if found else 0


class _Infix:
    def __init__(self, pattern: str) -> None:
        self._find = re.compile(pattern).finditer

    def find(self, core: str) -> Iterator[re.Match[str]]:
        if core.isascii():
            if core.isalnum():  # each infix takes a mark
                return iter(())
            if core.replace("-", "").isalpha():
                return _HYPHEN.finditer(core)
        return self._find(core)


class _Url:
    def __init__(self, pattern: str) -> None:
        user = r"(?:\S+(?::\S*)?@)?"
        assert user in pattern, "the part that may be left out where there is no @"
        self._match = re.compile(pattern).match
        self._match_without_user = re.compile(pattern.replace(user, "")).match

    def match(self, core: str) -> re.Match[str] | None:
        if "." not in core:  # each host has a dot
            return None
        return self._match(core) if "@" in core else self._match_without_user(core)


def _single_characters(pattern: str, alone: str) -> frozenset[str]:
    """Characters that are an alternative of their own, but for those of which several may be one affix."""
    found = (re.fullmatch(alone, alternative) for alternative in pattern.split("|"))
    return frozenset(match[1] for match in found if match) - {"…", "."}


def _describe() -> dict[str, Any]:
    """The data as the installed spaCy has it."""
    import spacy
    from spacy.pipeline.sentencizer import Sentencizer

    tokenizer: Any = spacy.blank("en").tokenizer
    searches = {
        "prefix": tokenizer.prefix_search,
        "suffix": tokenizer.suffix_search,
        "infix": tokenizer.infix_finditer,
        "url": tokenizer.url_match,
    }
    return {
        "spacy": version("spacy"),
        "sentence_ends": "".join(Sentencizer.default_punct_chars),
        **{name: search.__self__.pattern for name, search in searches.items()},
        "exceptions": dict(sorted(exceptions_of(tokenizer).items())),
    }


if __name__ == "__main__":
    json.dump(_describe(), sys.stdout, indent=0, ensure_ascii=True)
