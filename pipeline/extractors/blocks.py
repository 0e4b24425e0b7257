"""A page as its reader sees it: a list of text blocks, and the elements around them, counted.

A block is a run of text between two block-level boundaries: a paragraph, a heading, a list item, a table cell, a
line of an address. `BlockWriter` makes them of what `html_tree` tells, in one pass.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from pipeline.extractors.html_tags import BLOCK_TAGS, TAG_CODES

Ints = npt.NDArray[np.int32]

# Columns of `Blocks.counts`
COLUMNS = (
    "leaf",  # element that holds the whole block
    "units",  # characters that are no space; ideographs and syllables count twice
    "link_units",
    "bold_units",
    "links",  # links that begin in the block or go on in it
    "words",  # runs between spaces, and each ideograph
    "letters",
    "upper",
    "digits",
    "stops",  # . ! ? and their kin in other scripts
    "commas",  # , ; : and their kin
    "signs",  # | / » > • and other signs of navigation
    "first",  # class of the first and of the last character: CHAR_*
    "last",
    "breaks",  # 1 after <br>, 2 after two or more, else 0
    "images",  # images, inputs, and tags of any kind between the block before and this one
    "inputs",
    "tags",
)
COLUMN = {name: i for i, name in enumerate(COLUMNS)}
CHAR_OTHER, CHAR_UPPER, CHAR_LOWER, CHAR_DIGIT, CHAR_STOP, CHAR_COMMA, CHAR_SIGN = range(7)

_STOPS = frozenset(".!?…。！？．｡؟۔।॥;·") - {";", "·"}
_COMMAS = frozenset(",;:，、；：､،؛·")
_SIGNS = frozenset("|/\\»«›‹>•·–—*+©®™→←▶►▼▲■□●○★☆#@=_~✓✔…")
_QUOTES = "\"'“”„‘’»«()[] \n"
_WIDE = re.compile("[\u1100-\u11ff\u2e80-\u2fff\u3001-\u9fff\uac00-\ud7af\uf900-\ufaff\U00020000-\U0003ffff]")
# controls, soft hyphens and their like; lone surrogates, which are no characters
_DROPPED = "\u00ad\u200b\u2060\ufeff" + "".join(map(chr, (*range(9), *range(14, 28), *range(0xD800, 0xE000))))
_WITHOUT_DROPPED = dict.fromkeys(map(ord, _DROPPED))


# for the kernel in C
CHARACTERS = tuple("".join(sorted(found)) for found in (_STOPS, _COMMAS, _SIGNS, _DROPPED, _QUOTES))


@dataclass(slots=True)
class Blocks:
    """The text blocks of a page in reading order, n of them, among m elements.

    An element's blocks lie side by side: `first[e]:last[e]`. Element 0 is the root, its parent is itself.
    """

    texts: list[str] = field(default_factory=list)  # n, white space collapsed except in <pre>
    counts: Ints = field(default_factory=lambda: np.zeros((0, len(COLUMNS)), np.int32))  # [n, COLUMNS]
    tags: Ints = field(default_factory=lambda: np.zeros(0, np.int32))  # [m], TAG_CODES
    parents: Ints = field(default_factory=lambda: np.zeros(0, np.int32))  # [m]
    first: Ints = field(default_factory=lambda: np.zeros(0, np.int32))  # [m]
    last: Ints = field(default_factory=lambda: np.zeros(0, np.int32))  # [m]
    named: Ints = field(default_factory=lambda: np.zeros(0, np.int32))  # [m], place in `names`
    names: list[str] = field(default_factory=list)  # distinct: class, id, role, itemprop by "\n"; "\th" if hidden


class BlockWriter:
    """Blocks of what a tree builder tells (`html_tree.Writer`): the oracle of the kernel in C."""

    def __init__(self) -> None:
        self.tags, self.parents, self.first, self.last = [0], [0], [0], [0]
        self.names = {"": 0}
        self.named = [0]
        self.texts: list[str] = []
        self.rows: list[list[int]] = []
        self.stack = [0]
        self.open_tags = ["#root"]
        self.links = self.bolds = self.pres = 0
        self.images = self.inputs = self.marks = self.breaks = 0
        self.start_line()

    def start_line(self) -> None:
        self.pieces: list[str] = []
        self.blank = True
        self.depth = 0
        self.leaf = 0
        self.units = self.link_units = self.bold_units = self.link_count = 0
        self.after_link = False

    def blocks(self) -> Blocks:
        """All that was told; the last element must be closed."""
        self.flush()
        self.last[0] = len(self.texts)
        return Blocks(
            self.texts,
            np.array(self.rows, np.int32).reshape(-1, len(COLUMNS)),
            np.array(self.tags, np.int32),
            np.array(self.parents, np.int32),
            np.array(self.first, np.int32),
            np.array(self.last, np.int32),
            np.array(self.named, np.int32),
            list(self.names),
        )

    def skip(self) -> None:
        self.marks += 1

    def void(self, tag: str) -> None:
        self.marks += 1
        if tag in BLOCK_TAGS:
            self.flush()
        if tag == "br":
            self.breaks = min(self.breaks + 1, 2)
        self.images += tag == "img"
        self.inputs += tag == "input"

    def open(self, tag: str, names: str) -> int:
        self.marks += 1
        if tag in BLOCK_TAGS:
            self.flush()
        element = len(self.tags)
        self.tags.append(TAG_CODES.get(tag, 0))
        self.parents.append(self.stack[-1])
        self.first.append(len(self.texts))
        self.last.append(len(self.texts))
        self.named.append(self.place_of(names))
        self.stack.append(element)
        self.open_tags.append(tag)
        if tag == "a":
            self.links += 1
            self.link_count += 1
            if self.after_link:
                self.pieces.append(" ")
        elif tag in ("b", "strong"):
            self.bolds += 1
        elif tag == "pre":
            self.pres += 1
        elif tag == "button":
            self.inputs += 1
        return element

    def close(self, element: int) -> None:
        self.end(len(self.stack) - 1)
        # a block still open when its inline element closes belongs to that element too
        self.last[element] = len(self.texts) + (0 if self.blank else 1)

    def leave(self, element: int, inner: int) -> None:
        place = self.stack.index(element)
        self.end(place)
        self.last[element] = self.first[inner] if inner >= 0 else len(self.texts)
        if self.depth > place:
            self.depth -= 1

    def end(self, place: int) -> None:
        tag = self.open_tags[place]
        self.marks += 1
        if tag in BLOCK_TAGS:
            self.flush()
        if tag == "a":
            self.links -= 1
            self.after_link = True
        elif tag in ("b", "strong"):
            self.bolds -= 1
        elif tag == "pre":
            self.pres -= 1
        del self.open_tags[place], self.stack[place]

    def move(self, element: int, parent: int) -> None:
        self.parents[element] = parent

    def rename(self, element: int, names: str) -> None:
        self.named[element] = self.place_of(names)

    def place_of(self, names: str) -> int:
        return self.names.setdefault(names, len(self.names))

    def text(self, raw: str) -> None:
        raw = raw.translate(_WITHOUT_DROPPED)
        self.pieces.append(raw)
        units = sum(map(len, raw.split()))
        if not units:
            return
        units += len(_WIDE.findall(raw)) if not raw.isascii() else 0
        if self.blank:
            self.blank = False
            self.depth = len(self.stack)
            self.link_count = max(self.link_count, 1 if self.links else 0)
        self.depth = min(self.depth, len(self.stack))
        self.leaf = self.stack[self.depth - 1]
        self.units += units
        self.after_link = False
        if self.links:
            self.link_units += units
        if self.bolds:
            self.bold_units += units

    def flush(self) -> None:
        if self.blank:
            self.start_line()
            return
        text = "".join(self.pieces)
        text = _pre_text(text) if self.pres else " ".join(text.split())
        row = [self.leaf, self.units, self.link_units, self.bold_units, self.link_count, *_characters(text)]
        self.rows.append([*row, self.breaks, self.images, self.inputs, self.marks])
        self.texts.append(text)
        self.images = self.inputs = self.marks = self.breaks = 0
        self.start_line()


def _pre_text(text: str) -> str:
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    return "\n".join(line.rstrip() for line in text.strip("\n").split("\n")).strip("\n")


def _characters(text: str) -> list[int]:
    words = len(text.split())
    if not text.isascii():
        words += len(_WIDE.findall(text))
    letters = upper = digits = stops = commas = signs = 0
    for char in text:
        if char.isalpha():
            letters += 1
            upper += char.isupper()
        elif char.isdigit():
            digits += 1
        elif char in _STOPS:
            stops += 1
        elif char in _COMMAS:
            commas += 1
        elif char in _SIGNS:
            signs += 1
    inner = text.strip(_QUOTES)
    return [words, letters, upper, digits, stops, commas, signs, _class(inner[:1]), _class(inner[-1:])]


def _class(char: str) -> int:
    if not char:
        return CHAR_OTHER
    if char.isalpha():
        return CHAR_UPPER if char.isupper() else CHAR_LOWER
    if char.isdigit():
        return CHAR_DIGIT
    if char in _STOPS:
        return CHAR_STOP
    if char in _COMMAS:
        return CHAR_COMMA
    return CHAR_SIGN if char in _SIGNS else CHAR_OTHER
