"""spaCy's rule tokenizer without spaCy: the same tokens, from a language's exceptions and affix patterns.

spaCy costs three seconds and 300 MB to import (it loads torch where it finds it), and its `memory_zone`,
which datatrove opens for each text, throws its cache away. The algorithm itself is small: cut off prefixes
and suffixes, look for exceptions at each step, split the rest at infixes, then let exceptions that only
appear now ("and/or" behind a slash) take their tokens back. Written after
https://spacy.io/usage/linguistic-features#how-tokenizer-works and held equal to spaCy 3.8 by tests, chunk by
chunk and text by text.

`english_tokenizer.json` holds spaCy's English data (MIT licence, ExplosionAI GmbH); `python -m
pipeline.steps.affixes en` prints it anew.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from importlib.metadata import version
from importlib.resources import files
from typing import Any, NamedTuple

Tokens = tuple[str, ...]
_RUNS = re.compile(r"\s+|\S+")


class AffixRules(NamedTuple):
    """What a language gives the algorithm: exceptions (string → its tokens) and the searches for affixes."""

    exceptions: dict[str, Tokens]
    prefix: Callable[[str], re.Match[str] | None]
    suffix: Callable[[str], re.Match[str] | None]
    infix: Callable[[str], Iterator[re.Match[str]]]
    token: Callable[[str], object] | None
    url: Callable[[str], object] | None


class AffixTokenizer:
    """Tokens of whitespace-delimited chunks and of whole texts, equal to spaCy's `Tokenizer`."""

    def __init__(self, rules: AffixRules) -> None:
        self.rules = rules
        # spaCy's second pass looks for exceptions that the affix rules would take apart, as token sequences.
        sequences = {
            tuple(self._affixes(text, {}))
            for text in rules.exceptions
            if rules.prefix(text) or any(True for _ in rules.infix(text)) or rules.suffix(text) or " " in text
        }
        self._sequences = sequences
        self._firsts = frozenset(sequence[0] for sequence in sequences)
        self._longest = max(map(len, sequences), default=0)

    def chunk(self, chunk: str) -> tuple[Tokens, bool]:
        """Tokens of one run without whitespace, and whether its neighbours may change them.

        They may only where the second pass restored an exception: a longer sequence that spans the whitespace
        (": )" beside ":)") takes precedence in spaCy, although it then changes nothing.
        """
        exceptions = self.rules.exceptions
        if chunk in exceptions:
            first = list(exceptions[chunk])
        elif chunk.isascii() and chunk.isalpha():  # no affix pattern touches a plain word
            return (chunk,), False
        else:
            first = self._affixes(chunk, exceptions)
        if self._firsts.isdisjoint(first):
            return tuple(first), False
        second = self._restore(first, [True] * len(first))
        return tuple(second), second != first

    def text(self, text: str) -> list[str]:
        """All tokens of a text; whitespace that is not one single space is a token too, as in spaCy."""
        tokens: list[str] = []
        joined: list[bool] = []  # token i and i + 1 touch
        for run in _RUNS.findall(text):
            if run[0].isspace():
                if tokens and run[0] == " ":
                    joined[-1] = False
                    run = run[1:]
                if not run:
                    continue
            found = self.rules.exceptions.get(run) or self._affixes(run, self.rules.exceptions)
            tokens += found
            joined += [True] * len(found)
        return self._restore(tokens, joined)

    def _affixes(self, chunk: str, exceptions: dict[str, Tokens]) -> list[str]:
        """The first pass: affixes off the outside, exceptions and infixes inside."""
        _, prefix, suffix, _, token, _ = self.rules
        before: list[str] = []
        behind: list[str] = []
        last = -1
        while chunk and len(chunk) != last:
            if (token and token(chunk)) or chunk in exceptions:
                break
            last = len(chunk)
            found = prefix(chunk)
            head = found.end() - found.start() if found else 0
            if head and chunk[head:] in exceptions:
                before.append(chunk[:head])
                chunk = chunk[head:]
                break
            found = suffix(chunk[head:])
            tail = found.end() - found.start() if found else 0
            if tail and chunk[:-tail] in exceptions:
                behind.append(chunk[-tail:])
                chunk = chunk[:-tail]
                break
            if head:
                before.append(chunk[:head])
            if tail and head + tail <= len(chunk):
                behind.append(chunk[-tail:])
                chunk = chunk[head:-tail]
            else:
                chunk = chunk[head:]
        return [*before, *self._core(chunk, exceptions), *reversed(behind)]

    def _core(self, core: str, exceptions: dict[str, Tokens]) -> Sequence[str]:
        if not core:
            return ()
        if core in exceptions:
            return exceptions[core]
        if (self.rules.token and self.rules.token(core)) or (self.rules.url and self.rules.url(core)):
            return (core,)
        tokens = []
        start = 0
        for infix in self.rules.infix(core):
            if infix.start() == 0:
                continue
            if infix.start() != start:
                tokens.append(core[start : infix.start()])
            if infix.end() != infix.start():
                tokens.append(infix.group())
            start = infix.end()
        if start < len(core):
            tokens.append(core[start:])
        return tokens

    def _restore(self, tokens: list[str], joined: list[bool]) -> list[str]:
        """The second pass: longest sequences first, a sequence that loses still bars those that it
        overlaps.
        """
        matches = [
            (start, stop)
            for start, token in enumerate(tokens)
            if token in self._firsts
            for stop in range(start + 1, min(start + self._longest, len(tokens)) + 1)
            if tuple(tokens[start:stop]) in self._sequences
        ]
        if not matches:
            return tokens
        chosen: dict[int, int] = {}
        seen: set[int] = set()
        for start, stop in sorted(matches, key=lambda match: (match[0] - match[1], match[0])):
            if start not in seen and stop - 1 not in seen:
                chosen[start] = stop
            seen.update(range(start, stop))
        restored: list[str] = []
        at = 0
        while at < len(tokens):
            stop = chosen.get(at, at + 1)
            touching = at in chosen and all(joined[at : stop - 1])
            restored += self.rules.exceptions["".join(tokens[at:stop])] if touching else tokens[at:stop]
            at = stop
        return restored


@cache
def spacy_data() -> dict[str, Any]:
    """spaCy's English exceptions and patterns, and the characters that end a sentence in any language."""
    data: dict[str, Any] = json.loads(
        files("pipeline.steps").joinpath("english_tokenizer.json").read_text("utf-8")
    )
    return data


@cache
def english() -> AffixTokenizer:
    """spaCy's blank English tokenizer."""
    data = spacy_data()
    return AffixTokenizer(
        AffixRules(
            exceptions={text: tuple(tokens) for text, tokens in data["exceptions"].items()},
            prefix=re.compile(data["prefix"]).search,
            suffix=re.compile(data["suffix"]).search,
            infix=re.compile(data["infix"]).finditer,
            token=None,
            url=re.compile(data["url"]).match,
        )
    )


@cache
def from_spacy(code: str) -> AffixTokenizer | None:
    """The blank tokenizer of spaCy's language `code`; None where it does not work chunk by chunk."""
    import spacy
    from spacy.tokenizer import Tokenizer

    tokenizer: Any = spacy.blank(code).tokenizer
    exceptions = _exceptions(tokenizer)
    if type(tokenizer) is not Tokenizer or any(len(text.split()) > 1 for text in exceptions):
        return None
    searches = (tokenizer.prefix_search, tokenizer.suffix_search, tokenizer.infix_finditer)
    if not all(searches) or not tokenizer.faster_heuristics:
        return None
    return AffixTokenizer(AffixRules(exceptions, *searches, tokenizer.token_match, tokenizer.url_match))


def _exceptions(tokenizer: Any) -> dict[str, Tokens]:
    from spacy.attrs import ORTH

    return {
        text: tuple(part[ORTH] for part in parts) for text, parts in getattr(tokenizer, "rules", {}).items()
    }


def _describe(code: str) -> dict[str, Any]:
    """spaCy's data of a language whose searches are plain `re` patterns, as JSON can hold it."""
    import spacy

    tokenizer: Any = spacy.blank(code).tokenizer
    searches = {
        "prefix": tokenizer.prefix_search,
        "suffix": tokenizer.suffix_search,
        "infix": tokenizer.infix_finditer,
        "url": tokenizer.url_match,
    }
    patterns = {name: search.__self__.pattern for name, search in searches.items()}
    from spacy.pipeline.sentencizer import Sentencizer

    return {
        "spacy": version("spacy"),
        "sentence_ends": "".join(Sentencizer.default_punct_chars),
        **patterns,
        "exceptions": dict(sorted(_exceptions(tokenizer).items())),
    }


if __name__ == "__main__":
    json.dump(_describe(sys.argv[1]), sys.stdout, indent=0, ensure_ascii=True)
