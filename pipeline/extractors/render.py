"""Chosen blocks as text: a line for each paragraph, heading, list item, row of a table; code as it stands."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cache
from itertools import groupby
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.extractors.blocks import COLUMN, Blocks, Ints
from pipeline.extractors.html_tags import TAG_CODES
from pipeline.extractors.reading import pages_kernel

# tags that tell what a block is, a header cell being one too
_KINDS = "p li td pre h1 h2 h3 h4 h5 h6 blockquote dt dd".split()
_TELLING = np.zeros(max(TAG_CODES.values()) + 1, np.int8)
for _place, _kind in enumerate(_KINDS[1:], start=1):
    _TELLING[TAG_CODES[_kind]] = _place
_TELLING[TAG_CODES["th"]] = _KINDS.index("td")
_REACH = 8  # elements looked at above a block


def as_text(blocks: Blocks, kept: Iterable[int]) -> str:
    """Plain text: "- " before list items, " | " between the cells of a row."""
    kernel = lines_kernel()
    if kernel is None:
        return as_text_python(blocks, kept)
    places = np.fromiter(kept, np.int64)
    text: str = kernel.write_text(blocks.texts, places, blocks.counts, blocks.tags, blocks.parents)
    return text


def as_text_python(blocks: Blocks, kept: Iterable[int]) -> str:
    """`as_text` without the kernel in C: its oracle, and what runs where there is none."""
    lines = []
    for line in _lines(blocks, kept):
        mark = "- " if line.kind == "li" and line.opens else ""
        lines.append(mark + " | ".join(line.texts))
    return "\n".join(lines)


@cache
def lines_kernel() -> Any:
    """The compiled loops, given the constants of this file; None where they are not built."""
    kernel = pages_kernel()
    if kernel is not None:
        kernel.set_telling(_TELLING, _KINDS.index("li"), _KINDS.index("td"), _REACH)
    return kernel


def as_markdown(blocks: Blocks, kept: Iterable[int]) -> str:
    """Markdown: headings, lists, tables, quotes and fenced code; blocks apart by an empty line."""
    parts = []
    for kind, group in groupby(_lines(blocks, kept), key=lambda line: line.kind if line.kind in _RUNS else line):
        lines = list(group)
        if kind == "td":
            rows = ["| " + " | ".join(text.replace("|", "\\|") for text in line.texts) + " |" for line in lines]
            rows.insert(1, "|" + " --- |" * len(lines[0].texts))
            parts.append("\n".join(rows))
        elif kind == "li":
            parts.append("\n".join(("- " if line.opens else "  ") + line.texts[0] for line in lines))
        else:
            text = lines[0].texts[0]
            own = lines[0].kind
            if own[:1] == "h" and own[1:].isdigit():
                text = "#" * int(own[1:]) + " " + text
            elif own == "pre":
                fence = "```" if "```" not in text else "````"
                text = f"{fence}\n{text}\n{fence}"
            elif own == "blockquote":
                text = "> " + text
            parts.append(text)
    return "\n\n".join(parts)


_RUNS = frozenset({"td", "li"})


class _Line:
    __slots__ = ("kind", "opens", "row", "texts")

    def __init__(self, kind: str, opens: bool, row: int, text: str) -> None:
        self.kind, self.opens, self.row, self.texts = kind, opens, row, [text]


def _lines(blocks: Blocks, kept: Iterable[int]) -> Iterator[_Line]:
    """Kept blocks as lines; simple cells of one row make one line."""
    places = np.fromiter(kept, np.intp)
    kinds, elements = _kinds(blocks, places)
    line: _Line | None = None
    last_item = last_cell = -1
    rows = blocks.parents[elements].tolist()
    for i, kind, element, row in zip(places.tolist(), kinds, elements.tolist(), rows, strict=True):
        if kind == "td":
            if line is not None and line.kind == "td" and line.row == row and element != last_cell:
                line.texts.append(blocks.texts[i])
                last_cell = element
                continue
            last_cell = element
        if line is not None:
            yield line
        line = _Line(kind, element != last_item, row, blocks.texts[i])
        last_item = element if kind == "li" else -1
    if line is not None:
        yield line


def _kinds(blocks: Blocks, places: npt.NDArray[np.intp]) -> tuple[list[str], Ints]:
    """The nearest telling tag around each block, and its element; "p" and any element where there is none."""
    chain = np.empty((_REACH, len(places)), np.int32)
    chain[0] = blocks.counts[places, COLUMN["leaf"]]
    for k in range(1, _REACH):
        chain[k] = blocks.parents[chain[k - 1]]
    codes = _TELLING[blocks.tags[chain]]
    near = (codes > 0).argmax(axis=0)
    columns = np.arange(len(places))
    return [_KINDS[code] for code in codes[near, columns].tolist()], chain[near, columns]
