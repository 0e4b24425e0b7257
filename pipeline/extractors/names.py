"""What the classes and ids of elements tell about their text."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import ahocorasick
import numpy as np

from pipeline.extractors.blocks import Ints
from pipeline.extractors.reading import pages_kernel

# What names say in the words that web designers share, matched anywhere in a name.
HINTS = {
    "comment": "comment|komment|disqus|respond|reply|replies|guestbook",
    "review": "review|rating|testimonial|feedback",
    "related": "relat|recommend|similar|also-|more-|most-|popular|trending|latest|recent|teaser|next-|prev",
    "nav": "nav|menu|breadcrumb|crumb|pagination|pager|toolbar|toc",
    "share": "share|social|facebook|twitter|follow|print",
    "aside": "side|aside|widget|rail|column-right|right-col|rightcol|leftcol|left-col",
    "footer": "foot|bottom|copyright|legal|imprint",
    "header": "header|masthead|topbar|top-bar|logo|branding",
    "ad": "advert|sponsor|promo|banner|adsense|-ad-|ads|outbrain|taboola|affiliate",
    "byline": "author|byline|meta|date|time|publish|credit|contributor",
    "tag": "tags|tag-|label|categor|topic|keyword",
    "title": "title|headline|heading|subtitle",
    "content": "content|body|main|text|entry|copy|prose|rich|markdown|wysiwyg|editor",
    "article": "article|story|post|news|blog|page",
    "product": "product|price|cart|buy|shop|sku|variant|spec",
    "consent": "cookie|consent|gdpr|privacy",
    "form": "newsletter|subscri|signup|sign-up|login|log-in|register|search|form|input|filter|sort",
    "thread": "thread|message|forum|topic|question|answer|discussion",
    "figure": "caption|gallery|photo|image|img|figure|media|video|slide|swiper|carousel",
    "fold": "accordion|collaps|tab-|tabs|panel|faq|toggle|expand",
    "popup": "modal|popup|pop-up|overlay|dialog|drawer|tooltip|dropdown|toast|lightbox",
    "hide": "hidden|hide|invisible|sr-only|visually|screen-reader|noprint|skip",
    "item": "item|card|grid|list|tile|cell|row",
    "lead": "intro|lead|summary|abstract|excerpt|description|standfirst|dek",
}
_PART = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")

# the lowest and the highest score of the tokens of a name, in thousandths, and its HINTS as bits
Verdict = tuple[int, int, int]


def name_tokens(name: str) -> list[str]:
    """The words in one class or id: the whole without digits, and its parts (`post-body2`: body, post, post-body)."""
    parts = [part.lower() for part in _PART.findall(name)]
    if not parts or len(parts) > 8:
        return []
    return sorted({part for part in parts if len(part) > 1} | ({"-".join(parts)} if len(parts) > 1 else set()))


def name_hints(name: str) -> int:
    """Which HINTS a name gives, as bits in their order."""
    bits = 0
    for _, bit in _hints().iter(name.lower() if name.isascii() else name.translate(_ASCII_LOWER)):
        bits |= bit
    return bits


_ASCII_LOWER = {ord(upper): upper.lower() for upper in "ABCDEFGHIJKLMNOPQRSTUVWXYZ"}


def hint_words() -> dict[str, int]:
    """Every word of HINTS and the bits that it gives."""
    words: dict[str, int] = {}
    for place, alternatives in enumerate(HINTS.values()):
        for word in alternatives.split("|"):
            words[word] = words.get(word, 0) | 1 << place
    return words


@cache
def _hints() -> Any:
    automaton = ahocorasick.Automaton()
    for word, bits in hint_words().items():
        automaton.add_word(word, bits)
    automaton.make_automaton()
    return automaton


class NameScores:
    """How much more main text stands under a name than elsewhere on its pages, -1000 to 1000, for known tokens."""

    def __init__(self, scores: Mapping[str, int]) -> None:
        self.scores = scores
        self._memo: dict[str, Verdict] = {}
        kernel = names_kernel()
        self._table = kernel and kernel.name_table(list(scores), np.array(list(scores.values()), np.int32))

    def __call__(self, name: str) -> Verdict:
        """The verdict on one class or id."""
        found = self._memo.get(name)
        if found is None:
            known = [self.scores[token] for token in name_tokens(name) if token in self.scores]
            found = (min([*known, 0]), max([*known, 0]), name_hints(name))
            if len(self._memo) > 100_000:
                self._memo.clear()
            self._memo[name] = found
        return found

    def table(self, names: list[str]) -> Ints:
        """[names, 4], as `verdict_table`."""
        if self._table is None:
            return verdict_table(names, self)
        return np.frombuffer(names_kernel().verdicts(names, self._table), np.int32).reshape(-1, 4)


@cache
def names_kernel() -> Any:
    """The compiled loops, given the words of this file; None where they are not built."""
    kernel = pages_kernel()
    if kernel is not None:
        kernel.set_hints(list(hint_words().items()))
    return kernel


def verdict_table(names: list[str], judge: Callable[[str], Verdict]) -> Ints:
    """[names, 4] for `Blocks.names`: lowest and highest score and hints over all that stand in one, and hidden."""
    out: list[tuple[int, int, int, int]] = []
    for own in names:
        low, high, bits = 0, 0, 0
        for name in own.split():
            one = judge(name)
            low, high, bits = min(low, one[0]), max(high, one[1]), bits | one[2]
        out.append((low, high, bits, own.endswith("\th")))
    return np.array(out, np.int32)
