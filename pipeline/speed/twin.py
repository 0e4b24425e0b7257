"""The kernels in pure Python: what they compute, said plainly. The C extension must agree with every line.

Trap by trap after datatrove 0.10.1 (`pipeline/filters/`): paragraphs are split off the stripped text, lines
off the unstripped one; Gopher quality and C4 split lines at every Unicode line break, the others at newlines
only.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Sequence, Set
from operator import itemgetter

from datatrove.utils.text import PUNCTUATION_SET

from pipeline.speed.results import (
    BESIDE,
    ODD,
    REACH,
    C4Lines,
    C4Rules,
    LineRepeats,
    LineTally,
    ProseLines,
    Repeats,
    WordTally,
)

Tokens = tuple[str, ...]
_RUNS = re.compile(r"\s+|\S+")
_PARAGRAPH_BREAK = re.compile(r"\n{2,}")
_LINE_BREAK = re.compile(r"\n+")
_CITATION = re.compile(r"\[\d*]|\[edit]|\[citation needed]")
_BEYOND_ASCII = re.compile(r"[^\x00-\x7f]{2,}")
_LONGEST_KEPT = 100  # characters of a chunk in the memo
_TERMINAL = (".", "?", "!", '"', "'")
_POLICY = (
    "terms of use",
    "privacy policy",
    "cookie policy",
    "uses cookies",
    "use of cookies",
    "use cookies",
)


class Lexicon:
    """Words of texts through a memo of whitespace-delimited chunks, for one language.

    `chunk(chunk)` gives a chunk's tokens, and whether its neighbours may change them; None where a language
    has no chunks. `within(text, start, stop)` gives the tokens of `text[start:stop]` as it stands in the
    text: it is asked for a chunk that depends on its neighbours, with REACH chunks on either side, and for
    all of a text where there are no chunks. `sentence_ends` are spaCy's sentencizer's characters. The memo
    forgets everything at `max_chunks`.

    `guarded` is a short cut of the C extension past `chunk`, for English; None switches it off. It holds the
    language's exceptions. Words with hyphens or a genitive, and numbers, are then parted from the quotes,
    brackets and marks around them without asking, unless an exception could be among the parts.
    """

    def __init__(
        self,
        chunk: Callable[[str], tuple[Tokens, bool]] | None,
        within: Callable[[str, int, int], Sequence[str]],
        sentence_ends: str,
        max_chunks: int = 200_000,
        guarded: Set[str] | None = None,
    ) -> None:
        self._chunk, self._within, self._max_chunks = chunk, within, max_chunks
        self._ends = frozenset(sentence_ends)
        self._memo: dict[str, Tokens | None] = {}

    def read(self, text: str) -> Reading:
        """The words of a text, ready for counting."""
        return Reading(self._words(text))

    def sentences(self, line: str) -> int:
        """Sentences by the rule of spaCy's sentencizer: one ends at end marks, the next begins at the first
        token behind them that is no punctuation. A text without tokens is one sentence, as in datatrove."""
        count, ended = 1, False
        for token in self._tokens(line):
            if token in self._ends:
                ended = True
            elif ended and not _is_punctuation(token):
                count += 1
                ended = False
        return count

    def _words(self, text: str) -> list[str]:
        if self._chunk is None:
            return [word for token in self._within(text, 0, len(text)) if (word := token.strip())]
        words: list[str] = []
        for chunk in text.split():
            tokens = self._recall(chunk)
            if tokens is None:
                break
            words += tokens
        else:
            return words
        return [token for token in self._tokens(text) if not token.isspace()]

    def _tokens(self, text: str) -> Iterable[str]:
        """All tokens, those of whitespace too."""
        if self._chunk is None:
            return self._within(text, 0, len(text))
        tokens: list[str] = []
        runs = [match.span() for match in _RUNS.finditer(text)]
        for at, (start, stop) in enumerate(runs):
            run = text[start:stop]
            if run[0].isspace():
                # One single space between tokens is no token; of a longer run the first space is none.
                rest = run[1:] if tokens and run[0] == " " else run
                tokens += [rest] if rest else ()
                continue
            known = self._recall(run)
            if known is None:
                near = runs[max(0, at - 2 * REACH) : at + 2 * REACH + 1]  # every other run is whitespace
                base = near[0][0]
                known = tuple(self._within(text[base : near[-1][1]], start - base, stop - base))
            tokens += known
        return tokens

    def _recall(self, chunk: str) -> Tokens | None:
        """The chunk's tokens, None where they depend on its neighbours."""
        if chunk in self._memo:
            return self._memo[chunk]
        assert self._chunk is not None
        tokens, depends = self._chunk(chunk)
        known = None if depends else tokens
        if len(self._memo) >= self._max_chunks:
            self._memo.clear()
        if len(chunk) <= _LONGEST_KEPT:
            self._memo[chunk] = known
        return known


class Reading:
    """One text's words, and what the Gopher filters count on them."""

    def __init__(self, words: list[str]) -> None:
        self.words = words

    def repeats(self) -> Repeats:
        words = self.words
        return Repeats(
            top_2=_top_ngram(words, 2),
            top_3=_top_ngram(words, 3),
            top_4=_top_ngram(words, 4),
            dup_5=_duplicated_ngrams(words, 5),
            dup_6=_duplicated_ngrams(words, 6),
            dup_7=_duplicated_ngrams(words, 7),
            dup_8=_duplicated_ngrams(words, 8),
            dup_9=_duplicated_ngrams(words, 9),
            dup_10=_duplicated_ngrams(words, 10),
        )

    def tally(self, stop_words: frozenset[str]) -> WordTally:
        shapes = [_shape(word) for word in self.words]
        plain = [len(word) for word, (is_plain, _) in zip(self.words, shapes, strict=True) if is_plain]
        hits = [word for word in self.words if word in stop_words]
        alphabetic = sum(is_alphabetic for _, is_alphabetic in shapes)
        return WordTally(len(self.words), len(plain), sum(plain), alphabetic, len(set(hits)), len(hits))


def line_repeats(text: str, every_line_break: bool) -> LineRepeats:
    """Repeated paragraphs and lines; lines end at runs of newlines, or at every line break that Unicode
    knows.
    """
    paragraphs = _PARAGRAPH_BREAK.split(text.strip())
    lines = text.splitlines() if every_line_break else _LINE_BREAK.split(text)
    return LineRepeats(len(paragraphs), *_duplicates(paragraphs), len(lines), *_duplicates(lines))


def line_tally(text: str) -> LineTally:
    """Bullets and ellipses of Gopher quality; lines end at every line break that Unicode knows."""
    lines = text.splitlines()
    return LineTally(
        len(lines),
        sum(line.lstrip().startswith(("•", "-")) for line in lines),
        sum(line.rstrip().endswith(("...", "…")) for line in lines),
        text.count("#"),
        text.count("...") + text.count("…"),
    )


def prose_lines(text: str, end_chars: frozenset[str], short: int, count_blank: bool) -> ProseLines:
    """FineWeb's line statistics; lines end at newlines only, `short` is the greatest length of a short
    line.
    """
    lines = text.split("\n")
    written = [line for line in lines if line.strip()]
    counted = lines if count_blank else written
    newlines = len(lines) - 1
    return ProseLines(
        len(counted),
        sum(line[-1:] in end_chars for line in counted),
        sum(len(line) <= short for line in counted),
        _duplicates(written)[1],
        newlines,
        len(text) - newlines,
    )


def c4_lines(text: str, rules: C4Rules, sentences: Callable[[str], int]) -> C4Lines:
    """C4's line rules, in datatrove's order. `sentences` counts those of a line.

    Words are counted before citations go, so a line of citations can stay; a line that an earlier rule took
    condemns no page.
    """
    kept: list[str] = []
    taken = Counter[str]()
    lines = text.splitlines()
    first = ""
    for line in lines:
        line, faults = _c4_line(line, rules)
        taken.update(faults)
        condemned = [fault for fault in faults if fault in ("lorem_ipsum", "curly_bracket")]
        first = first or next(iter(condemned), "")
        if faults == condemned:
            kept.append(line)
    return C4Lines(
        "\n".join(kept).strip(),
        len(lines),
        taken["long_word"],
        taken["no_terminal_punctuation"],
        taken["few_words"],
        taken["javascript"],
        taken["policy"],
        taken["lorem_ipsum"],
        taken["curly_bracket"],
        first == "curly_bracket",
        sum(map(sentences, kept)),
    )


def character_marks(text: str, table: bytes) -> int:
    """What classes of characters are in a text: all that `table`, a byte for each code point from 0 on, says of them.

    With BESIDE where a character of class ODD stands next to another one and both are beyond ASCII.
    """
    marks = 0
    for char in set(text):
        if ord(char) < len(table):
            marks |= table[ord(char)]
    if marks & ODD:
        for run in _BEYOND_ASCII.findall(text):
            if any(ord(char) < len(table) and table[ord(char)] & ODD for char in run):
                marks |= BESIDE
    return marks


def _c4_line(line: str, rules: C4Rules) -> tuple[str, list[str]]:
    """The line as it would stay, and its faults: those that condemn the page, then the one that takes the
    line.
    """
    line = line.strip()
    words = line.split()
    if rules.max_word_length is not None and any(len(word) > rules.max_word_length for word in words):
        return line, ["long_word"]
    if rules.remove_citations:
        line = _CITATION.sub("", line)
    if rules.terminal_punctuation and (not line.endswith(_TERMINAL) or line.endswith("...")):
        return line, ["no_terminal_punctuation"]
    if rules.min_words is not None and len(words) < rules.min_words:
        return line, ["few_words"]
    lower = line.lower()
    faults = ["lorem_ipsum"] if "lorem ipsum" in lower else []
    if rules.javascript and "javascript" in lower:
        return line, [*faults, "javascript"]
    if "{" in line:
        faults.append("curly_bracket")
    if rules.policy and any(phrase in lower for phrase in _POLICY):
        faults.append("policy")
    return line, faults


def _top_ngram(words: Sequence[str], n: int) -> int | None:
    counts = Counter(" ".join(words[i : i + n]) for i in range(len(words) - n + 1))
    if not counts:
        return None
    ngram, count = max(counts.items(), key=itemgetter(1))  # the first of the most frequent
    return len(ngram) * count


def _duplicated_ngrams(words: Sequence[str], n: int) -> int:
    joined = "".join(words)
    ends = [0]
    for word in words:
        ends.append(ends[-1] + len(word))
    seen: set[str] = set()
    chars = at = 0
    while at <= len(words) - n:
        ngram = joined[ends[at] : ends[at + n]]
        if ngram in seen:
            chars += len(ngram)
            at += n
        else:
            seen.add(ngram)
            at += 1
    return chars


def _duplicates(parts: Iterable[str]) -> tuple[int, int]:
    """How many parts were seen before, and their characters."""
    seen: set[str] = set()
    count = chars = 0
    for part in parts:
        if part in seen:
            count += 1
            chars += len(part)
        else:
            seen.add(part)
    return count, chars


def _shape(word: str) -> tuple[bool, bool]:
    """Whether a character of the word is no punctuation, and whether one is alphabetic."""
    plain = not PUNCTUATION_SET.issuperset(word)
    return plain, word.isalpha() or any(map(str.isalpha, word))


def token_flags(token: str, sentence_ends: frozenset[str]) -> int:
    """For the C extension: what it keeps of a token that is more than ASCII letters and digits
    (`filters.h`).
    """
    plain, alphabetic = _shape(token)
    return plain | alphabetic << 1 | (token in sentence_ends) << 2 | _is_punctuation(token) << 3


def _is_punctuation(token: str) -> bool:
    return all(unicodedata.category(char)[0] == "P" for char in token)
