"""spaCy's rule tokenizer without spaCy: the same tokens, from a language's exceptions and affix patterns.

spaCy costs three seconds and 300 MB to import (it loads torch where it finds it), and its `memory_zone`,
which datatrove opens for each text, throws its cache away. The algorithm itself is small: cut off prefixes
and suffixes, look for exceptions at each step, split the rest at infixes, then let exceptions that only
appear now ("and/or" behind a slash) take their tokens back. Written after
https://spacy.io/usage/linguistic-features#how-tokenizer-works and held equal to spaCy 3.8 by tests, chunk by
chunk and text by text.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from functools import cache, lru_cache
from typing import Any, NamedTuple

from pipeline.absent import absent
from pipeline.speed import REACH

Tokens = tuple[str, ...]
_RUNS = re.compile(r"\s+|\S+")


class AffixRules(NamedTuple):
    """What a language gives the algorithm: exceptions (string → its tokens) and the searches for affixes."""

    exceptions: dict[str, Tokens]
    prefix: Callable[[str, int, int], int]  # how many characters to cut off text[start:stop] in front
    suffix: Callable[[str, int, int], int]  # … and behind
    infix: Callable[[str], Iterator[re.Match[str]]]
    token: Callable[[str], object] | None
    url: Callable[[str], object] | None
    # Marks that are cut off behind a word of ASCII letters, and that no pattern takes apart otherwise. A
    # short cut for languages in which it is known to hold; None where every chunk goes through the patterns.
    plain_ends: str | None = None

    def breaks(self, text: str) -> bool:
        """Whether an affix could be cut off the text, or it would part at a space."""
        ends = (self.prefix(text, 0, len(text)), self.suffix(text, 0, len(text)))
        return any(ends) or next(self.infix(text), None) is not None or " " in text


class AffixTokenizer:
    """Tokens of whitespace-delimited chunks and of whole texts, equal to spaCy's `Tokenizer`."""

    def __init__(self, rules: AffixRules) -> None:
        self.rules = rules
        # spaCy's second pass looks for exceptions that the affix rules would take apart, as token sequences.
        self._longest_exception = max(map(len, rules.exceptions), default=0)
        self._sequences = {tuple(self._affixes(text, {})) for text in rules.exceptions if rules.breaks(text)}
        self._firsts = frozenset(sequence[0] for sequence in self._sequences)
        self._longest = max(map(len, self._sequences), default=0)
        assert self._longest <= REACH, "each chunk has a token, so no sequence reaches further"
        # Length of the longest sequence that goes on behind these tokens, begins before them, or does both.
        self._heads: dict[Tokens, int] = {}
        self._tails: dict[Tokens, int] = {}
        self._middles: dict[Tokens, int] = {}
        self._recalled = lru_cache(50_000)(self._first)
        for sequence in self._sequences:
            size = len(sequence)
            for at in range(1, size):
                _keep_max(self._heads, sequence[:at], size)
                _keep_max(self._tails, sequence[at:], size)
                for stop in range(at + 1, size):
                    _keep_max(self._middles, sequence[at:stop], size)

    def chunk(self, chunk: str) -> tuple[Tokens, bool]:
        """Tokens of one run without whitespace, and whether its neighbours may change them.

        They may only where the second pass restores an exception, and a sequence that spans the whitespace
        could overlap it: that takes precedence in spaCy, although it then changes nothing.
        """
        first = self._first(chunk)
        if self._firsts.isdisjoint(first):
            return tuple(first), False
        chosen = self._choose(first)
        if not chosen:
            return tuple(first), False
        second = self._restored(first, chosen, [True] * len(first))
        return tuple(second), second != list(first) and self._contested(tuple(first), chosen)

    def within(self, text: str, start: int, stop: int) -> list[str]:
        """The tokens of `text[start:stop]` as it stands in the text; both lie at the edges of chunks.

        Whitespace that is not one single space is a token too, as in spaCy. What stands more than REACH chunks
        away never matters.
        """
        tokens: list[str] = []
        joined: list[bool] = []  # token i and i + 1 touch
        first, last = 0, None
        for match in _RUNS.finditer(text):
            run = match.group()
            if match.start() == start:
                first = len(tokens)
            if match.start() == stop:
                last = len(tokens)
            if run[0] == " " and tokens:
                joined[-1] = False
                run = run[1:]
            if run:
                found = self._recalled(run)
                tokens += found
                joined += [True] * len(found)
        return self._restored(tokens, self._choose(tokens), joined, first, last)

    def _first(self, chunk: str) -> Sequence[str]:
        """The first pass, by a short cut for the commonest chunks."""
        exceptions, ends = self.rules.exceptions, self.rules.plain_ends
        if chunk in exceptions:
            return exceptions[chunk]
        if ends is not None and chunk.isascii():
            if chunk.isalpha():
                return (chunk,)
            word, end = chunk[:-1], chunk[-1]
            if word.isalpha() and (end in ends or (end == "." and word[-1].islower())):
                return (*exceptions.get(word, (word,)), end)
        return self._affixes(chunk, exceptions)

    def _affixes(self, chunk: str, exceptions: dict[str, Tokens]) -> list[str]:
        """Affixes off the outside, exceptions and infixes inside."""
        prefix, suffix, token = self.rules.prefix, self.rules.suffix, self.rules.token
        longest = self._longest_exception
        before: list[str] = []
        behind: list[str] = []
        start, stop = 0, len(chunk)
        while start < stop:
            size = stop - start
            if (token and token(chunk[start:stop])) or (size <= longest and chunk[start:stop] in exceptions):
                break
            head = prefix(chunk, start, stop)
            if head and size - head <= longest and chunk[start + head : stop] in exceptions:
                before.append(chunk[start : start + head])
                start += head
                break
            tail = suffix(chunk, start + head, stop)
            if tail and size - tail <= longest and chunk[start : stop - tail] in exceptions:
                behind.append(chunk[stop - tail : stop])
                stop -= tail
                break
            if not head and not tail:
                break
            if head:
                before.append(chunk[start : start + head])
            if tail and head + tail <= size:
                behind.append(chunk[stop - tail : stop])
                stop -= tail
            start += head
        return [*before, *self._core(chunk[start:stop], exceptions), *reversed(behind)]

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

    def _choose(self, tokens: Sequence[str]) -> dict[int, int]:
        """The second pass's sequences, start → stop: longest first, and one that loses still bars others."""
        matches = [
            (start, stop)
            for start, token in enumerate(tokens)
            if token in self._firsts
            for stop in range(start + 1, min(start + self._longest, len(tokens)) + 1)
            if tuple(tokens[start:stop]) in self._sequences
        ]
        chosen: dict[int, int] = {}
        seen: set[int] = set()
        for start, stop in sorted(matches, key=lambda match: (match[0] - match[1], match[0])):
            if start not in seen and stop - 1 not in seen:
                chosen[start] = stop
            seen.update(range(start, stop))
        return chosen

    def _restored(
        self,
        tokens: Sequence[str],
        chosen: dict[int, int],
        joined: Sequence[bool],
        first: int = 0,
        last: int | None = None,
    ) -> list[str]:
        """`tokens[first:last]`, exceptions in place of the chosen sequences that no whitespace parts."""
        last = len(tokens) if last is None else last
        restored: list[str] = []
        at = first
        while at < last:
            stop = chosen.get(at, at)
            if stop > at and all(joined[at : stop - 1]):
                restored += self.rules.exceptions["".join(tokens[at:stop])]
                at = stop
            else:
                restored.append(tokens[at])
                at += 1
        return restored

    def _contested(self, tokens: Tokens, chosen: dict[int, int]) -> bool:
        """Whether a sequence that reaches out of these tokens could come before one of the chosen."""
        count, longest = len(tokens), self._longest
        for start, stop in chosen.items():
            size = stop - start
            for at in range(max(0, count - longest), stop):
                other = self._heads.get(tokens[at:], 0)
                if other > size or (other == size and at < start):
                    return True
            for at in range(start + 1, min(count, longest) + 1):
                if self._tails.get(tokens[:at], 0) >= size:
                    return True
        return self._middles.get(tokens, 0) >= min(stop - start for start, stop in chosen.items())


def _keep_max(sizes: dict[Tokens, int], key: Tokens, size: int) -> None:
    sizes[key] = max(size, sizes.get(key, 0))


@cache
def from_spacy(code: str) -> AffixTokenizer | None:
    """The blank tokenizer of spaCy's language `code`; None where it does not work chunk by chunk."""
    with absent("torch"):  # eight seconds of CPU and 300 MB, of which a tokenizer makes nothing
        import spacy
        from spacy.tokenizer import Tokenizer

        tokenizer: Any = spacy.blank(code).tokenizer
    exceptions = exceptions_of(tokenizer)
    if type(tokenizer) is not Tokenizer or any(len(text.split()) > 1 for text in exceptions):
        return None
    searches = (tokenizer.prefix_search, tokenizer.suffix_search, tokenizer.infix_finditer)
    if not all(searches) or not tokenizer.faster_heuristics:
        return None
    prefix, suffix = (_length_of(search) for search in searches[:2])
    return AffixTokenizer(
        AffixRules(exceptions, prefix, suffix, tokenizer.infix_finditer, tokenizer.token_match, tokenizer.url_match)
    )


def _length_of(search: Callable[[str], re.Match[str] | None]) -> Callable[[str, int, int], int]:
    def length(text: str, start: int, stop: int) -> int:
        found = search(text[start:stop])
        return found.end() - found.start() if found else 0

    return length


def exceptions_of(tokenizer: Any) -> dict[str, Tokens]:
    """The special cases of a spaCy tokenizer."""
    from spacy.attrs import ORTH

    return {text: tuple(part[ORTH] for part in parts) for text, parts in getattr(tokenizer, "rules", {}).items()}
