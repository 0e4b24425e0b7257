"""Blocks as numbers: what a block is, what holds it, where it stands, what stands beside it, what page it is on.

No word lists: nothing here knows a language. Lengths are counted in units, in which an ideograph is worth two
letters, so that Chinese and English paragraphs measure alike. Classes and ids speak through `names`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.extractors.blocks import COLUMN, TAG_CODES, Blocks, Ints, pages_kernel
from pipeline.extractors.head import Head
from pipeline.extractors.names import HINTS, Verdict, verdicts

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float32]

CHAIN = 20  # ancestors looked at
LEVELS = (1, 2, 3, 4, 5, 7, 9)  # those whose totals are features
WIDTHS = (3, 10)  # blocks before and after
PROSE = 60  # units of a block that, without links, is taken for prose
ANCESTORS = (
    "p li td pre article main section aside nav header footer form ul ol dl table figure a h1 h2 h3 h4 h5 h6 blockquote"
).split()
_HEADINGS = sum(1 << ANCESTORS.index(tag) for tag in ("h1", "h2", "h3", "h4", "h5", "h6"))
# one number for a block's own tag: kin beside kin, so that a split in it means something
_OWN = "h1 h2 h3 h4 h5 h6 p blockquote pre figcaption dd dt li td th div span a label button".split()
_OG_TYPES = {"article": 1, "website": 2, "product": 3, "blog": 4, "profile": 5, "video.other": 6}
_SCHEMA = {
    "article": {"Article", "NewsArticle", "BlogPosting", "TechArticle", "Report"},
    "product": {"Product", "Offer", "AggregateOffer", "SoftwareApplication"},
    "forum": {"DiscussionForumPosting", "QAPage", "Question", "Comment"},
    "list": {"ItemList", "CollectionPage", "SearchResultsPage"},
}
_BITS = np.zeros(max(TAG_CODES.values()) + 1, np.int64)
_ORDER = np.zeros(len(_BITS), np.int32)
for _place, _tag in enumerate(ANCESTORS):
    _BITS[TAG_CODES[_tag]] = 1 << _place
for _place, _tag in enumerate(_OWN, start=1):
    _ORDER[TAG_CODES[_tag]] = _place


def features(blocks: Blocks, head: Head, judge: Callable[[str], Verdict]) -> Floats:
    """[n blocks, len(FEATURES)]; `judge` gives the verdict on one class or id."""
    return np.concatenate([values for _, values in _groups(blocks, head, judge)], axis=0).T.astype(np.float32)


def feature_names() -> list[str]:
    """A name for every column of `features`."""
    counts = np.ones((1, len(COLUMN)), np.int32)
    counts[0, COLUMN["leaf"]] = 0
    one = np.zeros(1, np.int32)
    tiny = Blocks(["x"], counts, one, one, one, one + 1, one, [""])
    return [name for names, _ in _groups(tiny, Head(), lambda name: (0.0, 0.0, 0)) for name in names]


def ancestors(blocks: Blocks, depth: int) -> Ints:
    """[n, depth]: the element that holds a block, its parent, and so on; the root repeats."""
    chain = np.empty((len(blocks.texts), depth), np.int32)
    chain[:, 0] = blocks.counts[:, COLUMN["leaf"]]
    for k in range(1, depth):
        chain[:, k] = blocks.parents[chain[:, k - 1]]
    return chain


Group = tuple[list[str], Array]  # names, and values [names, n]


def _groups(blocks: Blocks, head: Head, judge: Callable[[str], Verdict]) -> Iterable[Group]:
    n = len(blocks.texts)
    c = {name: blocks.counts[:, i].astype(np.float32) for name, i in COLUMN.items()}
    units, words = c["units"], np.maximum(c["words"], 1)
    links = c["link_units"] / units
    text = units - c["link_units"]
    prose = np.where((units > PROSE) & (links < 0.3), text, 0)
    chain = ancestors(blocks, CHAIN)
    tags = blocks.tags[chain]
    above = np.bitwise_or.reduce(_BITS[tags], axis=1)
    own = _ORDER[tags[:, 0]].astype(np.float32)
    long = (prose > 0).astype(np.float32)

    yield _itself(c, units, words, links)
    yield (
        [f"in_{tag}" for tag in ANCESTORS] + ["tag", "parent_tag", "depth"],
        np.vstack(
            [(above >> np.arange(len(ANCESTORS))[:, None]) & 1, own, _ORDER[tags[:, 1]], (chain > 0).sum(axis=1)]
        ),
    )
    names, values = _named(blocks, chain, judge)
    yield names, values
    yield _look_alike(blocks, chain)
    yield _held(blocks, chain, [units, c["link_units"], c["stops"], c["tags"], long])
    yield _core(blocks, chain, prose, units)
    yield _placed(blocks, chain, above, units, head)
    said = values[-len(HINTS) :]
    beside = np.vstack([np.log1p(units), np.log1p(text), links, c["stops"], own, values[1] + values[2], c["tags"]])
    yield _beside(["units", "text", "links", "stops", "tag", "names", "tags"], beside)
    around = [units, text, c["stops"], long, units < 20, c["digits"], links > 0.9, said[0] + said[1]]
    yield _around(["units", "text", "stops", "long", "short", "digits", "linked", "comments"], np.vstack(around))
    yield _page(blocks, head, units, links, text, prose, above, c["stops"])
    del n


def _itself(c: dict[str, Floats], units: Floats, words: Floats, links: Floats) -> Group:
    raw = ("links", "images", "tags", "first", "last", "stops", "commas", "signs")
    shares = ("letters", "upper", "digits", "bold_units")
    rates = ("stops", "commas", "signs", "links")
    return (
        ["log_units", "log_words", "link_density", *raw]
        + [f"{name}_share" for name in shares]
        + [f"{name}_per_word" for name in rates]
        + ["word_length"],
        np.vstack(
            [np.log1p(units), np.log1p(words), links, *(c[name] for name in raw)]
            + [c[name] / units for name in shares]
            + [c[name] / words for name in rates]
            + [units / words]
        ),
    )


def _named(blocks: Blocks, chain: Ints, judge: Callable[[str], Verdict]) -> Group:
    """What the names of the elements above a block say."""
    low, high, hinted = (np.array(column) for column in zip(*verdicts(blocks.names, judge), strict=True))
    hidden = np.array([name.endswith("\th") for name in blocks.names])
    chain = blocks.named[chain]
    lows, highs, hints = low[chain], high[chain], hinted[chain].astype(np.int64)
    both = lows + highs
    shift = np.arange(len(HINTS))[:, None]
    near, far = np.bitwise_or.reduce(hints[:, :3], axis=1), np.bitwise_or.reduce(hints[:, :10], axis=1)
    return (
        ["hidden", "name_low", "name_high", "name_sum_low", "name_sum_high", "name_own", "name_near", "name_mid"]
        + [f"says_{hint}" for hint in HINTS],
        np.vstack(
            [
                hidden[chain].any(axis=1),
                lows.min(axis=1),
                highs.max(axis=1),
                lows.sum(axis=1),
                highs.sum(axis=1),
                both[:, 0],
                both[:, :3].sum(axis=1),
                both[:, 3:7].sum(axis=1),
                (far >> shift & 1) + (near >> shift & 1),
            ]
        ),
    )


def _look_alike(blocks: Blocks, chain: Ints) -> Group:
    """How many siblings look like the elements above a block: cards of a listing, comments, rows."""
    kind = (blocks.parents.astype(np.int64) * len(_BITS) + blocks.tags) * len(blocks.names) + blocks.named
    _, kind_of, count = np.unique(kind, return_inverse=True, return_counts=True)
    peers = np.log1p(count)[kind_of][chain]
    levels = (0, 1, 2, 3, 5)
    return [f"peers{k}" for k in levels] + ["peers"], np.vstack([peers[:, levels].T, peers[:, :8].max(axis=1)])


def _held(blocks: Blocks, chain: Ints, totals: list[Floats]) -> Group:
    """Totals of the elements above a block."""
    sums = np.zeros((len(totals), len(blocks.texts) + 1))
    np.cumsum(np.vstack(totals), axis=1, out=sums[:, 1:])
    held = chain[:, LEVELS].T
    a, b = blocks.first[held], blocks.last[held]
    units, links, stops, tags, long = sums[:, b] - sums[:, a]
    units = np.maximum(units, 1)
    count = np.maximum(b - a, 1)
    kinds = ("share", "links", "blocks", "stops", "long", "mean", "tags")
    return (
        [f"up{level}_{kind}" for kind in kinds for level in LEVELS],
        np.vstack(
            [
                units / max(sums[0, -1], 1.0),
                links / units,
                np.log1p(count),
                stops / units,
                np.log1p(long),
                units / count,
                tags / units,
            ]
        ),
    )


def _core(blocks: Blocks, chain: Ints, prose: Floats, units: Floats) -> Group:
    """The element in or right under which most prose stands (as Readability scores), and how far a block is from it."""
    votes = np.bincount(chain[:, 1], prose, len(blocks.tags))
    votes += np.bincount(chain[:, 2], prose / 2, len(blocks.tags))
    core = int(votes.argmax())
    level = _steps_to(blocks, core)
    inside = level == 0
    index = np.arange(len(level))
    within, all_prose = float(prose[inside].sum()), float(prose.sum())
    shares = [float(units[inside].sum()) / max(float(units.sum()), 1.0), np.log1p(within), within / max(all_prose, 1.0)]
    return (
        ["core_level", "core_before", "core_after", "core_share", "core_prose", "core_prose_share"],
        np.vstack(
            [level]
            + [np.log1p(np.maximum(int(blocks.first[core]) - index, 0))]
            + [np.log1p(np.maximum(index - int(blocks.last[core]) + 1, 0))]
            + [np.full(len(level), share) for share in shares]
        ),
    )


def _steps_to(blocks: Blocks, element: int) -> Array:
    """For every block, the steps up from an element to the first ancestor that holds the block too; at most 20."""
    steps = [element]
    while steps[-1] and len(steps) < 20:
        steps.append(int(blocks.parents[steps[-1]]))
    level = np.full(len(blocks.texts), 20, np.int32)
    for step in range(len(steps) - 1, -1, -1):
        level[blocks.first[steps[step]] : blocks.last[steps[step]]] = step
    return level


def _placed(blocks: Blocks, chain: Ints, above: Array, units: Floats, head: Head) -> Group:
    n = len(blocks.texts)
    index = np.arange(n)
    before = np.concatenate([[0.0], np.cumsum(units, dtype=np.float64)])
    heading, h1 = (above & _HEADINGS) > 0, (above & (1 << ANCESTORS.index("h1"))) > 0
    in_title = _overlap(blocks.texts, head.title)
    # the page's own title among its blocks: a heading that says what <title> says, and says most of it
    claim = in_title * np.minimum(units, 120) * (1 + heading + h1)
    title = int(claim.argmax())
    titled = float(claim[title]) > 0
    from_title = _steps_to(blocks, int(chain[title, 1])) if titled else np.full(n, -1)
    seen: dict[str, int] = {}
    again = np.zeros(n)
    for i, text in enumerate(blocks.texts):
        again[i] = seen[text] = seen.get(text, -1) + 1
    repeats = np.array([seen[text] for text in blocks.texts])
    return (
        [
            "place",
            "index",
            "place_by_units",
            "left",
            "since_heading",
            "until_heading",
            "since_h1",
            "until_h1",
            "again",
            "repeats",
            "in_title",
            "in_description",
            "title_level",
            "since_title",
        ],
        np.vstack(
            [
                (index + 1) / n,
                np.log1p(index),
                before[:-1] / max(before[-1], 1.0),
                np.log1p(n - index),
                _since(heading),
                _since(heading[::-1])[::-1],
                _since(h1),
                _since(h1[::-1])[::-1],
                again,
                repeats,
                in_title,
                _overlap(blocks.texts, head.description),
                from_title,
                np.clip(index - title, -30, 60) if titled else np.full(n, -99),
            ]
        ),
    )


def _since(mark: npt.NDArray[np.bool_]) -> Array:
    """Blocks since the last marked one, at most 99."""
    index = np.arange(len(mark))
    return np.minimum(index - np.maximum.accumulate(np.where(mark, index, -1000)), 99)


_TOLD_AT_MOST = 300  # characters of a block that can be a title or a description


def _overlap(texts: list[str], told: str) -> Array:
    """Share of a block's words that stand in what was told; 0 for long blocks."""
    kernel = pages_kernel()
    if kernel is None:
        return overlap_python(texts, told)
    return np.frombuffer(kernel.overlaps(texts, told, _TOLD_AT_MOST))


_WORD = re.compile(r"\w+")


def overlap_python(texts: list[str], told: str) -> Array:
    """`_overlap` without the kernel in C."""
    words = set(_WORD.findall(_lower(told))[:512])
    out = np.zeros(len(texts))
    for i, text in enumerate(texts if words else ()):
        if len(text) < _TOLD_AT_MOST and (own := _WORD.findall(_lower(text))):
            out[i] = sum(map(words.__contains__, own)) / len(own)
    return out


def _lower(text: str) -> str:
    """Lower case character by character, as the kernel does it."""
    return text.lower() if text.isascii() else "".join(char.lower()[0] for char in text)


def _beside(names: list[str], values: Floats) -> Group:
    shifts = (-2, -1, 1, 2)
    out = np.full((len(shifts), *values.shape), -1.0, np.float32)
    for k, shift in enumerate(shifts):
        if shift < 0:
            out[k, :, -shift:] = values[:, :shift]
        else:
            out[k, :, :-shift] = values[:, shift:]
    return [f"{name}{shift:+d}" for shift in shifts for name in names], out.reshape(-1, values.shape[1])


def _around(names: list[str], values: Array) -> Group:
    n = values.shape[1]
    sums = np.zeros((len(values), n + 1))
    np.cumsum(values, axis=1, out=sums[:, 1:])
    index = np.arange(n)
    found, titles = [], []
    for width in WIDTHS:
        found.append(sums[:, index] - sums[:, np.maximum(index - width, 0)])
        found.append(sums[:, np.minimum(index + 1 + width, n)] - sums[:, index + 1])
        titles += [f"{name}_before{width}" for name in names] + [f"{name}_after{width}" for name in names]
    longest = np.maximum.accumulate(values[1])
    last = np.maximum.accumulate(values[1][::-1])[::-1]
    return [*titles, "max_before", "max_after"], np.log1p(np.vstack([*found, longest, last]))


def _page(
    blocks: Blocks, head: Head, units: Floats, links: Floats, text: Floats, prose: Floats, above: Array, stops: Floats
) -> Group:
    total = max(float(units.sum()), 1.0)
    count = {tag: int((blocks.tags == TAG_CODES[tag]).sum()) for tag in ("article", "main", "form", "td")}
    values = {
        "units": np.log1p(total),
        "blocks": np.log1p(len(units)),
        "links": 1 - float(text.sum()) / total,
        "stops": float(stops.sum()) / total,
        "prose": np.log1p(float((prose > 0).sum())),
        "prose_share": float(prose.sum()) / total,
        "p_share": float(units[(above & 1) > 0].sum()) / total,
        "li_share": float(units[(above & 2) > 0].sum()) / total,
        "max": np.log1p(float(text.max(initial=0))),
        "elements": np.log1p(len(blocks.tags)),
        "articles": np.log1p(count["article"]),
        "mains": min(count["main"], 2),
        "forms": np.log1p(count["form"]),
        "cells": np.log1p(count["td"]),
        "og_type": _OG_TYPES.get(head.og_type, 0),
        **{f"schema_{name}": float(bool(types & head.schema_types)) for name, types in _SCHEMA.items()},
    }
    column = np.array(list(values.values()), np.float64)[:, None]
    return [f"page_{name}" for name in values], np.repeat(column, len(units), axis=1)


def context(blocks: Blocks, chance: Array) -> Floats:
    """[n, CONTEXT]: what the first look at all blocks, `chance` of each, tells about a block: the second look."""
    n = len(chance)
    units = blocks.counts[:, COLUMN["units"]].astype(np.float64)
    sums = np.zeros((3, n + 1))
    np.cumsum(np.vstack([units, units * chance, chance]), axis=1, out=sums[:, 1:])
    index = np.arange(n)
    rows: list[Array] = [chance]
    for shift in (-3, -2, -1, 1, 2, 3):
        row = np.full(n, -1.0)
        if shift < 0:
            row[-shift:] = chance[:shift]
        else:
            row[:-shift] = chance[shift:]
        rows.append(row)
    for width in (2, 5, 12):
        a, b = np.maximum(index - width, 0), np.minimum(index + width + 1, n)
        rows.append((sums[2, b] - sums[2, a]) / (b - a))
        for low, high in ((a, b), (a, index), (index + 1, b)):
            held = sums[:, high] - sums[:, low]
            rows.append(held[1] / np.maximum(held[0], 1))
    above = ancestors(blocks, 11)[:, (1, 2, 3, 4, 5, 6, 8, 10)].T
    a, b = blocks.first[above], blocks.last[above]
    held = sums[:, b] - sums[:, a]
    expected = sums[1, -1]
    rows += list(held[1] / np.maximum(held[0], 1)) + list(held[2] / np.maximum(b - a, 1))
    rows += list(held[1] / max(expected, 1.0))
    # the sure core of the page, and how the block stands to it
    best = int(np.argmax(chance * np.minimum(units, 400)))
    rows.append(_steps_to(blocks, int(blocks.parents[blocks.counts[best, COLUMN["leaf"]]])))
    rows.append(np.clip(index - best, -60, 60))
    sure = np.where(chance > 0.8, units, 0)
    whole = [expected / max(sums[0, -1], 1.0), np.log1p(expected), chance.max(), sure.sum() / max(expected, 1.0)]
    rows += [np.full(n, value) for value in whole]
    rows += [np.log1p(sums[1, :-1]), np.log1p(expected - sums[1, 1:])]
    rows += [np.maximum.accumulate(chance), np.maximum.accumulate(chance[::-1])[::-1]]
    return np.vstack(rows).T.astype(np.float32)
