"""One pass over a page's HTML: its blocks, what its head says, and how deep it nests; no tree is built."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cache, cached_property
from html.entities import html5
from importlib import import_module
from typing import Any

import numpy as np

from pipeline.extractors.blocks import CHARACTERS, COLUMNS, Blocks, BlockWriter
from pipeline.extractors.head import Head, head_of
from pipeline.extractors.html_tags import TAG_CODES, TAGS
from pipeline.extractors.html_tree import TOLD, Tree, is_quirky


@dataclass
class Reading:
    """What one pass over a page finds."""

    blocks: Blocks
    depth: int  # most elements around an element
    attributes: int  # most attributes of an element
    title: str | None  # raw, as the two below; None where there is none
    metas: list[tuple[str, str]]  # name or property, in lower case, and content
    scripts: list[str]  # JSON-LD

    @cached_property
    def head(self) -> Head:
        return head_of(self.title, self.metas, self.scripts)


def read_page(html: str) -> Reading:
    """The page as read once; linear in its length, and no recursion."""
    kernel = pages_kernel()
    if kernel is None:
        return read_page_python(html)
    texts, names, *arrays, depth, attributes, title, metas, scripts = kernel.read_page(html, is_quirky(html))
    counts, tags, parents, first, last, named = (np.frombuffer(part, np.int32) for part in arrays)
    blocks = Blocks(texts, counts.reshape(-1, len(COLUMNS)), tags, parents, first, last, named, names)
    return Reading(blocks, depth, attributes, title, metas, scripts)


def read_page_python(html: str) -> Reading:
    """`read_page` without the kernel in C: its oracle, and what runs where there is none."""
    writer = BlockWriter()
    tree = Tree(writer)
    tree.read(html)
    return Reading(writer.blocks(), tree.depth, tree.attributes, tree.title, tree.metas, tree.scripts)


@cache
def pages_kernel() -> Any:
    """The compiled loops (`pipeline/speed/native/pages.c`), given the tables written in Python; None where not built."""
    if os.environ.get("GRISTMILL_PURE") == "1":
        return None
    try:
        kernel: Any = import_module("pipeline.speed._pages")
    except ImportError:
        return None
    kernel.set_tags({tag: (flags, TAG_CODES.get(tag, 0)) for tag, flags in sorted(TAGS.items())})
    kernel.set_characters(*CHARACTERS)
    kernel.set_entities(html5)
    kernel.set_told(TOLD)
    return kernel
