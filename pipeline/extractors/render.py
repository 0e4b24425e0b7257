"""Chosen blocks as text: a line for each paragraph, heading, list item, row of a table; code as it stands."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby

from pipeline.extractors.blocks import COLUMN, Blocks
from pipeline.extractors.html_tags import TAG_CODES

_NAMES = {code: tag for tag, code in TAG_CODES.items()}
_KINDS = frozenset("li td th pre h1 h2 h3 h4 h5 h6 blockquote dt dd".split())
_REACH = 8  # elements looked at above a block


def as_text(blocks: Blocks, kept: Iterable[int]) -> str:
    """Plain text: "- " before list items, " | " between the cells of a row."""
    lines = []
    for line in _lines(blocks, kept):
        mark = "- " if line.kind == "li" and line.opens else ""
        lines.append(mark + " | ".join(line.texts))
    return "\n".join(lines)


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
    leaves = blocks.counts[:, COLUMN["leaf"]].tolist()
    tags, parents = blocks.tags.tolist(), blocks.parents.tolist()
    line: _Line | None = None
    last_item = last_cell = -1
    for i in map(int, kept):
        kind, element = _kind(leaves[i], tags, parents)
        if kind in ("td", "th"):
            row = parents[element]
            if line is not None and line.kind == "td" and line.row == row and element != last_cell:
                line.texts.append(blocks.texts[i])
                last_cell = element
                continue
            kind, last_cell = "td", element
        else:
            row = -1
        if line is not None:
            yield line
        line = _Line(kind, element != last_item, row, blocks.texts[i])
        last_item = element if kind == "li" else -1
    if line is not None:
        yield line


def _kind(element: int, tags: list[int], parents: list[int]) -> tuple[str, int]:
    """The nearest telling tag around a block, and its element; ("p", 0) where there is none."""
    for _ in range(_REACH):
        tag = _NAMES.get(tags[element], "")
        if tag in _KINDS:
            return tag, element
        if not element:
            break
        element = parents[element]
    return "p", 0
