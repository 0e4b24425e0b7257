"""Blocks as numbers: what a block is, what holds it, where it stands, what stands beside it, what page it is on.

No word lists: nothing here knows a language. Lengths are counted in units, in which an ideograph is worth two
letters, so that Chinese and English paragraphs measure alike. Classes and ids speak through `names`.

Every number comes from whole numbers by one division or a running sum in float64, never a logarithm or an
exponential, so that the kernel in C (`pipeline/speed/native/page_numbers.h`) gives the same to the last bit.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.extractors.blocks import COLUMN, Blocks, Ints
from pipeline.extractors.head import Head
from pipeline.extractors.html_tags import TAG_CODES
from pipeline.extractors.names import HINTS, NameScores, Verdict, verdict_table
from pipeline.extractors.reading import pages_kernel

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float32]
Group = tuple[list[str], Array]  # names, and values [names, n]

CHAIN = 20  # ancestors looked at
LEVELS = (1, 2, 3, 4, 5, 7, 9)  # those whose totals are features
PEERS = (0, 1, 2, 3, 5)  # those whose look-alikes are counted
SHIFTS = (-2, -1, 1, 2)  # neighbours
WIDTHS = (3, 10)  # blocks before and after
PROSE = 60  # units of a block that, without many links, is taken for prose
TOLD_AT_MOST = 300  # characters of a block that can be a title or a description
FAR = 20  # steps up to an element that holds a block, at most
ANCESTORS = "p li td pre article main section aside nav header footer form ul ol table figure a".split()
_HEADINGS = frozenset(TAG_CODES[tag] for tag in ("h1", "h2", "h3", "h4", "h5", "h6"))
# one number for a block's own tag: kin beside kin, so that a split in it means something
_OWN = "h1 h2 h3 h4 h5 h6 p blockquote pre figcaption dd dt li td th div span a label button".split()
_OG_TYPES = {"article": 1, "website": 2, "product": 3, "blog": 4, "profile": 5, "video.other": 6}
_SCHEMA = {
    "article": {"Article", "NewsArticle", "BlogPosting", "TechArticle", "Report"},
    "product": {"Product", "Offer", "AggregateOffer", "SoftwareApplication"},
    "forum": {"DiscussionForumPosting", "QAPage", "Question", "Comment"},
    "list": {"ItemList", "CollectionPage", "SearchResultsPage"},
}
# what a tag tells as an ancestor, as bits: ANCESTORS, then any heading, then h1
HEADING_BIT, H1_BIT = 1 << len(ANCESTORS), 2 << len(ANCESTORS)
TAG_BITS = np.zeros(max(TAG_CODES.values()) + 1, np.int32)
TAG_ORDER = np.zeros(len(TAG_BITS), np.int32)
for _place, _tag in enumerate(ANCESTORS):
    TAG_BITS[TAG_CODES[_tag]] = 1 << _place
for _code in _HEADINGS:
    TAG_BITS[_code] |= HEADING_BIT
TAG_BITS[TAG_CODES["h1"]] |= H1_BIT
for _place, _tag in enumerate(_OWN, start=1):
    TAG_ORDER[TAG_CODES[_tag]] = _place


def features(blocks: Blocks, head: Head, judge: Callable[[str], Verdict]) -> Floats:
    """[n blocks, len(feature_names())] for a page that has any; `judge` gives the verdict on one class or id."""
    kernel = numbers_kernel()
    if kernel is None:
        return features_python(blocks, head, judge)
    numbers = np.frombuffer(kernel.numbers(page_arrays(blocks, head, judge), None), np.float32)
    return numbers.reshape(len(blocks.texts), -1)


def features_python(blocks: Blocks, head: Head, judge: Callable[[str], Verdict]) -> Floats:
    """`features` without the kernel in C: its oracle, and what runs where there is none."""
    return np.concatenate([values for _, values in _groups(blocks, head, judge)], axis=0).T.astype(np.float32)


@cache
def numbers_kernel() -> Any:
    """The compiled loops, given the tables of this file; None where they are not built."""
    kernel = pages_kernel()
    if kernel is not None:
        kernel.set_numbers(TAG_BITS, TAG_ORDER, tuple(TAG_CODES[tag] for tag in ("article", "form", "td")))
    return kernel


def page_arrays(blocks: Blocks, head: Head, judge: Callable[[str], Verdict]) -> tuple[Any, ...]:
    """A page as the kernel takes it."""
    arrays = (blocks.counts, blocks.tags, blocks.parents, blocks.first, blocks.last, blocks.named)
    codes = np.array(page_codes(head), np.int32)
    return blocks.texts, *arrays, _verdicts(blocks.names, judge), head.title, head.description, codes


def feature_names() -> list[str]:
    """A name for every column of `features`."""
    counts = np.ones((1, len(COLUMN)), np.int32)
    counts[0, COLUMN["leaf"]] = 0
    one = np.zeros(1, np.int32)
    tiny = Blocks(["x"], counts, one, one, one, one + 1, one, [""])
    return [name for names, _ in _groups(tiny, Head(), lambda name: (0, 0, 0)) for name in names]


def page_codes(head: Head) -> list[int]:
    """What a head says of the kind of page, as numbers."""
    schema = [int(bool(types & head.schema_types)) for types in _SCHEMA.values()]
    return [_OG_TYPES.get(head.og_type, 0), *schema]


def _verdicts(names: list[str], judge: Callable[[str], Verdict]) -> Ints:
    return judge.table(names) if isinstance(judge, NameScores) else verdict_table(names, judge)


def _groups(blocks: Blocks, head: Head, judge: Callable[[str], Verdict]) -> Iterator[Group]:
    c = {name: blocks.counts[:, i].astype(np.int64) for name, i in COLUMN.items()}
    units, links = c["units"], c["link_units"]
    text = units - links
    prose = np.where((units > PROSE) & (10 * links < 3 * units), text, 0)
    long = (prose > 0).astype(np.int64)
    chain = ancestors(blocks, CHAIN)
    tags = blocks.tags[chain]
    above = np.bitwise_or.reduce(TAG_BITS[tags], axis=1)
    own = TAG_ORDER[tags[:, 0]]
    bits = (above >> np.arange(len(ANCESTORS))[:, None]) & 1

    yield _itself(c)
    yield [f"in_{tag}" for tag in ANCESTORS], bits
    yield ["tag", "parent_tag", "depth"], np.vstack([own, TAG_ORDER[tags[:, 1]], (chain > 0).sum(axis=1)])
    names, named = _named(blocks, chain, judge)
    yield names, named
    yield _look_alike(blocks, chain)
    yield _held(blocks, chain, np.vstack([units, links, c["stops"], c["tags"], long]))
    yield _core(blocks, chain, prose, units)
    yield _placed(blocks, chain, above, units, head)
    beside = {"units": units, "text": text, "links": links / units, "stops": c["stops"], "tag": own}
    yield _beside({**beside, "names": named[1] + named[2], "tags": c["tags"]})
    linked, comments = 10 * links > 9 * units, named[8] + named[9]
    around = {"units": units, "text": text, "stops": c["stops"], "long": long, "short": units < 20}
    yield _around({**around, "digits": c["digits"], "linked": linked, "comments": comments})
    yield ["max_before", "max_after"], np.vstack([np.maximum.accumulate(text), np.maximum.accumulate(text[::-1])[::-1]])
    yield _page(blocks, head, units, links, text, prose, bits, c["stops"])


def ancestors(blocks: Blocks, depth: int) -> Ints:
    """[n, depth]: the element that holds a block, its parent, and so on; the root repeats."""
    chain = np.empty((len(blocks.texts), depth), np.int32)
    chain[:, 0] = blocks.counts[:, COLUMN["leaf"]]
    for k in range(1, depth):
        chain[:, k] = blocks.parents[chain[:, k - 1]]
    return chain


def _itself(c: dict[str, Array]) -> Group:
    units, words = c["units"], np.maximum(c["words"], 1)
    raw = ("units", "words", "links", "images", "tags", "first", "last", "stops", "commas", "signs")
    shares, rates = ("link_units", "letters", "upper"), ("units", "stops", "commas", "signs", "links")
    return (
        [*raw, *(f"{name}_share" for name in shares), *(f"{name}_per_word" for name in rates)],
        np.vstack(
            [c[name] for name in raw] + [c[name] / units for name in shares] + [c[name] / words for name in rates]
        ),
    )


def _named(blocks: Blocks, chain: Ints, judge: Callable[[str], Verdict]) -> Group:
    """What the names of the elements above a block say."""
    low, high, hints, hidden = _verdicts(blocks.names, judge)[blocks.named[chain]].transpose(2, 0, 1)
    both = low + high
    shift = np.arange(len(HINTS))[:, None]
    near, far = np.bitwise_or.reduce(hints[:, :3], axis=1), np.bitwise_or.reduce(hints[:, :10], axis=1)
    sums = ("hidden", "name_low", "name_high", "name_sum_low", "name_sum_high", "name_own", "name_near", "name_mid")
    return (
        [*sums, *(f"says_{hint}" for hint in HINTS)],
        np.vstack(
            [
                *(hidden.max(axis=1), low.min(axis=1), high.max(axis=1), low.sum(axis=1), high.sum(axis=1)),
                *(both[:, 0], both[:, :3].sum(axis=1), both[:, 3:7].sum(axis=1)),
                ((far >> shift) & 1) + ((near >> shift) & 1),
            ]
        ),
    )


def _look_alike(blocks: Blocks, chain: Ints) -> Group:
    """How many siblings look like the elements above a block: cards of a listing, comments, rows."""
    kind = (blocks.parents.astype(np.int64) * len(TAG_BITS) + blocks.tags) * len(blocks.names) + blocks.named
    _, kind_of, count = np.unique(kind, return_inverse=True, return_counts=True)
    peers = count[kind_of][chain]
    return [f"peers{k}" for k in PEERS] + ["peers"], np.vstack([peers[:, PEERS].T, peers[:, :8].max(axis=1)])


def _held(blocks: Blocks, chain: Ints, totals: Array) -> Group:
    """Totals of the elements above a block."""
    sums = np.zeros((len(totals), len(blocks.texts) + 1), np.int64)
    np.cumsum(totals, axis=1, out=sums[:, 1:])
    held = chain[:, LEVELS].T
    a, b = blocks.first[held], blocks.last[held]
    units, links, stops, tags, long = sums[:, b] - sums[:, a]
    units, count = np.maximum(units, 1), np.maximum(b - a, 1)
    kinds = ("share", "links", "blocks", "stops", "long", "mean", "tags")
    page = max(int(sums[0, -1]), 1)
    return (
        [f"up{level}_{kind}" for kind in kinds for level in LEVELS],
        np.vstack([units / page, links / units, count, stops / units, long, units / count, tags / units]),
    )


def _core(blocks: Blocks, chain: Ints, prose: Array, units: Array) -> Group:
    """The element in or right under which most prose stands, as Readability scores, and how far a block is from it."""
    votes = np.bincount(chain[:, 1], 2 * prose, len(blocks.tags)) + np.bincount(chain[:, 2], prose, len(blocks.tags))
    core = int(votes.argmax())
    level = _steps_to(blocks, core)
    index = np.arange(len(level))
    inside = level == 0
    within = int(prose[inside].sum())
    whole = [units[inside].sum() / max(int(units.sum()), 1), within, within / max(int(prose.sum()), 1)]
    before, after = int(blocks.first[core]) - index, index - int(blocks.last[core]) + 1
    return (
        ["core_level", "core_before", "core_after", "core_share", "core_prose", "core_prose_share"],
        np.vstack(
            [level, np.maximum(before, 0), np.maximum(after, 0), *(np.full(len(level), value) for value in whole)]
        ),
    )


def _steps_to(blocks: Blocks, element: int) -> Array:
    """For every block, the steps up from an element to the first ancestor that holds the block too; at most FAR."""
    steps = [element]
    while steps[-1] and len(steps) < FAR:
        steps.append(int(blocks.parents[steps[-1]]))
    level = np.full(len(blocks.texts), FAR, np.int32)
    for step in range(len(steps) - 1, -1, -1):
        level[blocks.first[steps[step]] : blocks.last[steps[step]]] = step
    return level


def _placed(blocks: Blocks, chain: Ints, above: Array, units: Array, head: Head) -> Group:
    n = len(blocks.texts)
    index = np.arange(n)
    before = np.cumsum(units) - units
    heading, h1 = (above & HEADING_BIT) > 0, (above & H1_BIT) > 0
    in_title = _overlaps(blocks.texts, head.title)
    # the page's own title among its blocks: a heading that says what <title> says, and says most of it
    claim = in_title * np.minimum(units, 120) * (1 + heading.astype(np.int64) + h1)
    title = int(claim.argmax())
    titled = claim[title] > 0
    seen: dict[str, int] = {}
    again = np.zeros(n, np.int64)
    for i, text in enumerate(blocks.texts):
        again[i] = seen[text] = seen.get(text, -1) + 1
    names = "place index place_by_units left since_heading until_heading since_h1 until_h1 again repeats in_title"
    return (
        [*names.split(), "in_description", "title_level", "since_title"],
        np.vstack(
            [
                *((index + 1) / n, index, before / max(int(units.sum()), 1), n - index),
                *(_since(heading), _since(heading[::-1])[::-1], _since(h1), _since(h1[::-1])[::-1]),
                *(again, np.array([seen[text] for text in blocks.texts])),
                *(in_title, _overlaps(blocks.texts, head.description)),
                _steps_to(blocks, int(chain[title, 1])) if titled else np.full(n, -1),
                np.clip(index - title, -30, 60) if titled else np.full(n, -99),
            ]
        ),
    )


def _since(mark: npt.NDArray[np.bool_]) -> Array:
    """Blocks since the last marked one, at most 99."""
    index = np.arange(len(mark))
    return np.minimum(index - np.maximum.accumulate(np.where(mark, index, -1000)), 99)


_WORD = re.compile(r"\w+")


def _overlaps(texts: list[str], told: str) -> Array:
    """Share of a block's words that stand in what was told; 0 for long blocks."""
    words = set(_WORD.findall(_lower(told))[:512])
    out = np.zeros(len(texts))
    for i, text in enumerate(texts if words else ()):
        if len(text) < TOLD_AT_MOST and (own := _WORD.findall(_lower(text))):
            out[i] = sum(map(words.__contains__, own)) / len(own)
    return out


def _lower(text: str) -> str:
    """Lower case character by character, as the kernel does it."""
    return text.lower() if text.isascii() else "".join(char.lower()[0] for char in text)


def _beside(values: dict[str, Array]) -> Group:
    stacked = np.vstack(list(values.values()))
    out = np.full((len(SHIFTS), *stacked.shape), -1.0)
    for k, shift in enumerate(SHIFTS):
        if shift < 0:
            out[k, :, -shift:] = stacked[:, :shift]
        else:
            out[k, :, :-shift] = stacked[:, shift:]
    return [f"{name}{shift:+d}" for shift in SHIFTS for name in values], out.reshape(-1, stacked.shape[1])


def _around(values: dict[str, Array]) -> Group:
    stacked = np.vstack(list(values.values()))
    n = stacked.shape[1]
    sums = np.zeros((len(stacked), n + 1), np.int64)
    np.cumsum(stacked, axis=1, out=sums[:, 1:])
    index = np.arange(n)
    found, names = [], []
    for width in WIDTHS:
        found.append(sums[:, index] - sums[:, np.maximum(index - width, 0)])
        found.append(sums[:, np.minimum(index + 1 + width, n)] - sums[:, index + 1])
        names += [f"{name}_{side}{width}" for side in ("before", "after") for name in values]
    return names, np.vstack(found)


def _page(
    blocks: Blocks, head: Head, units: Array, links: Array, text: Array, prose: Array, bits: Array, stops: Array
) -> Group:
    total = max(int(units.sum()), 1)
    count = {tag: int((blocks.tags == TAG_CODES[tag]).sum()) for tag in ("article", "form", "td")}
    og_type, *schema = page_codes(head)
    values = {
        "units": total,
        "blocks": len(units),
        "links": links.sum() / total,
        "stops": stops.sum() / total,
        "prose": (prose > 0).sum(),
        "prose_share": prose.sum() / total,
        "p_share": units[bits[0] > 0].sum() / total,
        "li_share": units[bits[1] > 0].sum() / total,
        "max": text.max(initial=0),
        "elements": len(blocks.tags),
        "articles": count["article"],
        "forms": count["form"],
        "cells": count["td"],
        "og_type": og_type,
        **dict(zip((f"schema_{name}" for name in _SCHEMA), schema, strict=True)),
    }
    column = np.array(list(values.values()), np.float64)[:, None]
    return [f"page_{name}" for name in values], np.repeat(column, len(units), axis=1)


CONTEXT = 53  # numbers of `context`
CONTEXT_SHIFTS = (-3, -2, -1, 1, 2, 3)
CONTEXT_WIDTHS = (2, 5, 12)
CONTEXT_LEVELS = (1, 2, 3, 4, 5, 6, 8, 10)


def context(blocks: Blocks, chance: Array) -> Floats:
    """[n, CONTEXT]: what the first look at all blocks, `chance` of each, tells about a block. The oracle of the kernel."""
    n = len(chance)
    units = blocks.counts[:, COLUMN["units"]].astype(np.float64)
    sums = np.zeros((3, n + 1))
    np.cumsum(np.vstack([units, units * chance, chance]), axis=1, out=sums[:, 1:])
    index = np.arange(n)
    rows: list[Array] = [chance]
    for shift in CONTEXT_SHIFTS:
        row = np.full(n, -1.0)
        if shift < 0:
            row[-shift:] = chance[:shift]
        else:
            row[:-shift] = chance[shift:]
        rows.append(row)
    for width in CONTEXT_WIDTHS:
        a, b = np.maximum(index - width, 0), np.minimum(index + width + 1, n)
        rows.append((sums[2, b] - sums[2, a]) / (b - a))
        for low, high in ((a, b), (a, index), (index + 1, b)):
            held = sums[:, high] - sums[:, low]
            rows.append(held[1] / np.maximum(held[0], 1))
    above = ancestors(blocks, max(CONTEXT_LEVELS) + 1)[:, CONTEXT_LEVELS].T
    a, b = blocks.first[above], blocks.last[above]
    held = sums[:, b] - sums[:, a]
    expected = sums[1, -1]
    rows += list(held[1] / np.maximum(held[0], 1))
    rows += list(held[2] / np.maximum(b - a, 1))
    rows += list(held[1] / max(expected, 1.0))
    # the likeliest long block, and how the others stand to it
    best = int(np.argmax(chance * np.minimum(units, 400)))
    rows.append(_steps_to(blocks, int(blocks.parents[blocks.counts[best, COLUMN["leaf"]]])))
    rows.append(np.clip(index - best, -60, 60))
    sure = float(units[chance > 0.8].sum())
    whole = [expected / max(sums[0, -1], 1.0), expected, chance.max(), sure / max(expected, 1.0)]
    rows += [np.full(n, value) for value in whole]
    rows += [sums[1, :-1], expected - sums[1, 1:]]
    rows += [np.maximum.accumulate(chance), np.maximum.accumulate(chance[::-1])[::-1]]
    return np.vstack(rows).T.astype(np.float32)
