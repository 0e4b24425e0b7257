"""A page as its reader sees it: a list of text blocks, and the elements around them, counted.

A block is a run of text between two block-level boundaries: a paragraph, a heading, a list item, a table cell, a
line of an address. `read_blocks` takes the serialised WHATWG tree, in which every tag is closed and every
attribute quoted, so that one pass with a stack is enough.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from typing import Any

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int32]

# Tags whose boundaries end a block. The rest is inline: its text runs on.
BLOCK_TAGS = frozenset(
    "address article aside blockquote body caption center dd details dialog dir div dl dt fieldset figcaption"
    " figure footer form frameset h1 h2 h3 h4 h5 h6 header hgroup hr html legend li main menu nav ol optgroup p"
    " pre search section summary table tbody td tfoot th thead tr ul br button".split()
)
# What no reader sees, or sees as no text.
SKIPPED_TAGS = frozenset(
    "script style template svg math iframe object embed canvas audio video select textarea datalist map"
    " head noframes xmp plaintext noembed".split()
)
_RAW_TAGS = frozenset("script style iframe xmp noembed noframes plaintext".split())
_VOID_TAGS = frozenset(
    "area base basefont bgsound br col embed frame hr img input keygen link meta param source track wbr".split()
)
# The tags that the model tells apart; the place in this list is the code. 0 is any other.
TAG_CODES = {
    tag: code
    for code, tag in enumerate(
        "p li h1 h2 h3 h4 h5 h6 td th dt dd div span a blockquote pre article main section aside nav header footer"
        " form ul ol dl table tr figure figcaption button label summary details caption noscript address code strong"
        " b em i time font center body".split(),
        start=1,
    )
}

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
_WIDE = re.compile("[\u1100-\u11ff\u2e80-\u2fff\u3001-\u9fff\uac00-\ud7af\uf900-\ufaff\U00020000-\U0003ffff]")
_DROPPED = "\u00ad\u200b\u2060\ufeff" + "".join(map(chr, (*range(9), *range(14, 28))))
_WITHOUT_DROPPED = dict.fromkeys(map(ord, _DROPPED))

_TOKEN = re.compile(r"<(/?)([a-zA-Z][^ \t\n\r\f/>]*)([^>]*)>|<!--.*?-->|<[!?][^>]*>|([^<]+)", re.S)
_ATTRIBUTE = re.compile(r' (class|id|role|itemprop)="([^"]*)"')
_HIDDEN = re.compile(r' hidden=""| aria-hidden="true"| style="[^"]*display: ?none')
_ENTITY = re.compile("&(amp|lt|gt|nbsp);")
_CHARACTER = {"amp": "&", "lt": "<", "gt": ">", "nbsp": "\xa0"}


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


def read_blocks(html: str) -> Blocks:
    """The blocks of a serialised tree; linear in its length, and no recursion."""
    kernel = pages_kernel()
    if kernel is None:
        return read_blocks_python(html)
    texts, names, counts, *rest = kernel.read_blocks(html)
    tags, parents, first, last, named = (np.frombuffer(part, np.int32) for part in rest)
    return Blocks(
        texts, np.frombuffer(counts, np.int32).reshape(-1, len(COLUMNS)), tags, parents, first, last, named, names
    )


def read_blocks_python(html: str) -> Blocks:
    """`read_blocks` without the kernel in C: its oracle, and what runs where there is none."""
    return _Reader().read(html)


@cache
def pages_kernel() -> Any:
    """The compiled loops (`pipeline/speed/native/pages.c`), given the tables of this file; None where not built."""
    if os.environ.get("GRISTMILL_PURE") == "1":
        return None
    try:
        kernel: Any = import_module("pipeline.speed._pages")
    except ImportError:
        return None
    known = BLOCK_TAGS | SKIPPED_TAGS | _RAW_TAGS | _VOID_TAGS | TAG_CODES.keys()
    kernel.set_tags(
        {
            tag: (
                (tag in BLOCK_TAGS) | (tag in SKIPPED_TAGS) << 1 | (tag in _RAW_TAGS) << 2 | (tag in _VOID_TAGS) << 3,
                TAG_CODES.get(tag, 0),
            )
            for tag in sorted(known)
        }
    )
    kernel.set_characters("".join(_STOPS), "".join(_COMMAS), "".join(_SIGNS), _DROPPED)
    return kernel


class _Reader:
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

    def read(self, html: str) -> Blocks:
        position, end = 0, len(html)
        match = _TOKEN.match
        while position < end:
            token = match(html, position)
            if token is None:  # a "<" that the serialiser left in a plaintext element
                position += 1
                continue
            position = token.end()
            closing, tag, attributes, text = token.groups()
            if text is not None:
                self.text(text)
            elif tag is None:
                continue
            elif closing:
                self.close(tag)
            elif tag in SKIPPED_TAGS:
                self.marks += 1
                position = _after(html, position, tag)
            else:
                self.open(tag, attributes)
        self.flush()
        while len(self.stack) > 1:
            self.last[self.stack.pop()] = len(self.texts)
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

    def open(self, tag: str, attributes: str) -> None:
        self.marks += 1
        if tag in BLOCK_TAGS:
            self.flush()
        if tag == "br":
            self.breaks = min(self.breaks + 1, 2)
        if tag in _VOID_TAGS:
            self.images += tag == "img"
            self.inputs += tag == "input"
            return
        element = len(self.tags)
        self.tags.append(TAG_CODES.get(tag, 0))
        self.parents.append(self.stack[-1])
        self.first.append(len(self.texts))
        self.last.append(len(self.texts))
        self.named.append(self.names.setdefault(_names(attributes) if attributes else "", len(self.names)))
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

    def close(self, tag: str) -> None:
        if self.open_tags[-1] != tag:  # the serialiser closes what it opened; a raw text may hold anything
            return
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
        self.open_tags.pop()
        element = self.stack.pop()
        # a block still open when its inline element closes belongs to that element too
        self.last[element] = len(self.texts) + (0 if self.blank else 1)

    def text(self, raw: str) -> None:
        if "&" in raw:
            raw = _ENTITY.sub(lambda m: _CHARACTER[m[1]], raw)
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


def _after(html: str, position: int, tag: str) -> int:
    """Where the element `tag`, opened just before `position`, has closed."""
    if tag in _VOID_TAGS:
        return position
    if tag in _RAW_TAGS:
        end = html.find(f"</{tag}>", position)
        return len(html) if end < 0 else end + len(tag) + 3
    depth = 1
    search = _nested(tag).search
    while token := search(html, position):
        position = token.end()
        if token[2] is None:  # a comment
            continue
        if token[2] != tag:
            if not token[1]:
                position = _after(html, position, token[2])
            continue
        depth += -1 if token[1] else 1
        if not depth:
            return position
    return len(html)


@cache
def _nested(tag: str) -> re.Pattern[str]:
    return re.compile(rf"<!--.*?-->|<(/?)({'|'.join(sorted(_RAW_TAGS | {tag}))})[ >]", re.S)


def _names(attributes: str) -> str:
    found = dict(_ATTRIBUTE.findall(attributes))
    names = "\n".join(found[key] for key in ("class", "id", "role", "itemprop") if key in found)
    return names + "\th" if _HIDDEN.search(attributes) else names


def _pre_text(text: str) -> str:
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
    inner = text.strip("\"'“”„‘’»«()[] \n")
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
