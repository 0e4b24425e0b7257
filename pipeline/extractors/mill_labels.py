"""Labelled pages for training and measuring: which blocks of a page are its main text.

The sets lie in a folder as `<set>.pages.tar.xz` and `<set>.truth.jsonl.gz`. What each calls main text:

- `wcxb_dev` (CC BY 4.0): `text`, written by its authors for seven types of page;
- `readability` (Apache-2.0): `expected_html`, what Mozilla's Readability should find;
- `trafilatura` (Apache-2.0): a few snippets that must be found and that must not. Between them stand weak labels:
  what trafilatura itself finds, with half the weight;
- `waddle` (GPL-3.0): `paragraphs` of news articles. For measuring, never for training.
"""

from __future__ import annotations

import gzip
import json
import re
import tarfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.extractors.blocks import COLUMN, Blocks
from pipeline.extractors.head import Head
from pipeline.extractors.reading import read_page

TRAINING_SETS = ("wcxb_dev", "readability", "trafilatura")
MEASURING_SETS = (*TRAINING_SETS, "waddle")
_WORDS = re.compile(r"[぀-ヿ一-鿿]|\w+")


@dataclass(slots=True)
class Labelled:
    """A page of a labelled set, its blocks, and for each block whether it is main text and how much that counts."""

    set: str
    id: str
    domain: str
    kind: str  # page type, or language
    html: str
    truth: dict[str, Any]
    blocks: Blocks
    head: Head
    labels: npt.NDArray[np.float32]
    weights: npt.NDArray[np.float64]


def words_of(text: str) -> list[str]:
    """Lower-case words, ideographs and syllables one by one: the unit of every word score here."""
    return _WORDS.findall(text.lower())


def pages_of(folder: Path, name: str) -> Iterator[tuple[dict[str, Any], str]]:
    """(ground truth, decoded HTML) of a set, in the order of its archive."""
    with gzip.open(folder / f"{name}.truth.jsonl.gz", "rt", encoding="utf-8") as lines:
        truth = {row["id"]: row for row in map(json.loads, lines)}
    with tarfile.open(folder / f"{name}.pages.tar.xz") as archive:
        for member in archive:
            file = archive.extractfile(member)
            if file is not None:
                yield truth[Path(member.name).stem], _decoded(file.read())


def main_text(name: str, truth: dict[str, Any]) -> str:
    """The whole main text, where a set tells it."""
    if name == "wcxb_dev":
        return str(truth["text"])
    if name == "waddle":
        return "\n".join(truth["paragraphs"])
    return "\n".join(blocks_of(truth["expected_html"])[0].texts)


def blocks_of(html: str) -> tuple[Blocks, Head]:
    """Blocks and head of a page."""
    found = read_page(html)
    return found.blocks, found.head


def label_pages(folder: Path, name: str) -> Iterator[Labelled]:
    """Every page of a set, labelled."""
    for truth, html in pages_of(folder, name):
        blocks, head = blocks_of(html)
        kind = str(truth.get("page_type") or truth.get("lang") or "")
        if name == "trafilatura":
            labels, weights = _by_snippets(blocks, truth, html)
        else:
            labels = _by_text(blocks.texts, main_text(name, truth))
            weights = _block_weights(blocks)
        yield Labelled(name, truth["id"], truth["domain"], kind, html, truth, blocks, head, labels, weights)


def _block_weights(blocks: Blocks) -> npt.NDArray[np.float64]:
    """All pages weigh the same; within a page long blocks weigh more, less than in proportion."""
    size = blocks.counts[:, COLUMN["units"]].astype(np.float64) ** 0.7
    return 40 * size / max(float(size.sum()), 1.0)


def _by_snippets(
    blocks: Blocks, truth: dict[str, Any], html: str
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float64]]:
    import trafilatura

    labels = _by_text(blocks.texts, trafilatura.extract(html, include_comments=False) or "")
    weights = _block_weights(blocks) / 2
    for i, text in enumerate(blocks.texts):
        wanted = any(_plain(snippet) in text for snippet in truth["with"] if snippet.strip())
        unwanted = any(_plain(snippet) in text for snippet in truth["without"] if snippet.strip())
        if wanted or unwanted:
            labels[i] = wanted
            weights[i] = max(2 * weights[i], 1.0)
    return labels, weights


def _plain(text: str) -> str:
    return " ".join(text.split())


def _by_text(texts: list[str], truth: str) -> npt.NDArray[np.float32]:
    """1 for blocks whose words stand in the truth in the same order, and for no more copies of a block than it has.

    Half of a block's runs of four words must stand there. Of blocks of up to three words, which stand in the truth
    by chance, those count that are a line of it, or whose neighbours mostly are main text.
    """
    told = words_of(truth)
    runs = {k: set(zip(*(told[i:] for i in range(k)), strict=False)) for k in (1, 2, 3, 4)}
    lines = {tuple(words_of(line)) for line in truth.split("\n")}
    labels: list[int | None] = []
    for text in texts:
        words = words_of(text)
        k = min(4, len(words))
        if not k:
            labels.append(0)
            continue
        own = list(zip(*(words[i:] for i in range(k)), strict=False))
        share = sum(run in runs[k] for run in own) / len(own)
        if len(words) >= 4:
            labels.append(int(share >= 0.5))
        elif tuple(words) in lines:
            labels.append(1)
        else:
            labels.append(None if share == 1 else 0)
    joined = f" {' '.join(told)} "
    seen: Counter[str] = Counter()
    for i, text in enumerate(texts):
        if labels[i]:
            words_joined = " ".join(words_of(text))
            seen[words_joined] += 1
            if seen[words_joined] > max(1, joined.count(f" {words_joined} ")):
                labels[i] = 0
    out = np.zeros(len(texts), np.float32)
    for i, label in enumerate(labels):
        if label is None:
            near = [value for value in labels[max(0, i - 3) : i + 4] if value is not None]
            label = int(sum(near) * 2 > len(near)) if near else 0
        out[i] = label
    return out


_CHARSET = re.compile(rb"charset=[\"']?([\w-]+)")


def _decoded(raw: bytes) -> str:
    declared = _CHARSET.search(raw[:4096])
    for name in ("utf-8", declared[1].decode() if declared else "", "cp1252"):
        try:
            return raw.decode(name)
        except (LookupError, UnicodeDecodeError):
            continue
    return raw.decode(declared[1].decode() if declared else "utf-8", "replace")
