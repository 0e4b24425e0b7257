"""What the kernels return, native and twin alike."""

from __future__ import annotations

from typing import NamedTuple

# Chunks on either side of one that can bear on its tokens, at most.
REACH = 16
ODD, BESIDE = 64, 128  # classes of characters, see `twin.character_marks`


class Repeats(NamedTuple):
    """Characters in repeated n-grams of words (Gopher; Rae et al. 2021, table A1).

    `top_n`: length of the most frequent n-gram (its words joined by one space; ties go to the first seen)
    times its count, None where there are fewer than n words. `dup_n`: characters of n-grams (joined by
    nothing) that were seen before, scanned from the left, going on behind each repeat.
    """

    top_2: int | None
    top_3: int | None
    top_4: int | None
    dup_5: int
    dup_6: int
    dup_7: int
    dup_8: int
    dup_9: int
    dup_10: int


class WordTally(NamedTuple):
    words: int
    plain: int  # words with a character that is no punctuation
    plain_chars: int
    alphabetic: int  # words with an alphabetic character
    stop_words: int  # distinct
    stop_word_hits: int  # occurrences


class LineRepeats(NamedTuple):
    """Paragraphs (two or more newlines between, of the stripped text) and lines, and those seen before."""

    paragraphs: int
    dup_paragraphs: int
    dup_paragraph_chars: int
    lines: int
    dup_lines: int
    dup_line_chars: int


class LineTally(NamedTuple):
    lines: int
    bullets: int  # lines that start with • or -
    ellipses: int  # lines that end with ... or …
    hashes: int  # "#" in the text
    dots: int  # "..." and "…" in the text


class ProseLines(NamedTuple):
    lines: int
    ended: int  # lines that end with terminal punctuation
    short: int
    dup_chars: int  # characters in lines seen before
    newlines: int
    chars: int  # without newlines


class C4Rules(NamedTuple):
    """The per-line settings of C4; None switches a rule off."""

    max_word_length: int | None
    remove_citations: bool
    terminal_punctuation: bool
    min_words: int | None
    javascript: bool
    policy: bool


class C4Lines(NamedTuple):
    """Lines of a page by the C4 rule that took them, and the page as the rules leave it."""

    text: str
    lines: int
    long_word: int
    no_terminal_punctuation: int
    few_words: int
    javascript: int
    policy: int
    lorem_ipsum: int  # lines that condemn the page
    curly_bracket: int  # lines that condemn the page
    curly_bracket_first: bool  # of the lines that condemn the page, the first has a curly bracket
    sentences: int  # in the lines that stay
