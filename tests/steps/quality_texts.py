"""Real texts, and made ones at the edges, on which the filters are held against datatrove."""

from __future__ import annotations

import gzip
import json
import random
import tarfile
from collections import Counter
from collections.abc import Iterable
from functools import cache
from pathlib import Path

import pytest
from datatrove.data import Document
from datatrove.pipeline.filters.base_filter import BaseFilter
from hypothesis import strategies as st

from pipeline.record import Page
from pipeline.steps.step import Step

DATA = Path(__file__).parents[2] / "../shared/data/curation"
needs_data = pytest.mark.skipif(not DATA.exists(), reason="labelled data is not beside the checkout")


def _jsonl(name: str) -> list[dict[str, object]]:
    with gzip.open(DATA / name, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


@cache
def articles(limit: int = 300) -> list[str]:
    return [str(row["text"]) for row in _jsonl("near_duplicates/articles.jsonl.gz")[:limit]]


@cache
def judged_pages() -> list[str]:
    return [str(row["text"]) for row in _jsonl("quality/dclm_human_judgements.jsonl.gz")]


@cache
def extracted_pages(limit: int = 150) -> list[str]:
    """Main text of real pages, menus left in for half of them, as fast extraction gives it."""
    from resiliparse.extract.html2text import extract_plain_text

    texts = []
    with tarfile.open(DATA / "extraction/wcxb_dev.pages.tar.xz") as pages:
        for number, member in enumerate(pages):
            if len(texts) >= limit:
                break
            if (file := pages.extractfile(member)) is not None:
                html = file.read().decode("utf-8", "replace")
                texts.append(extract_plain_text(html, main_content=number % 2 == 0))
    return texts


@cache
def real_texts() -> list[str]:
    """A mix of all three, short enough for datatrove's pace."""
    return [*articles(300)[:40], *judged_pages()[:50], *extracted_pages(50)]


def page_of(text: str, language: str = "en") -> Page:
    page = Page("0" * 32, "a.warc.gz", 0, 1, "response", language=language)
    page.text = text
    return page


def assert_same(theirs: BaseFilter, ours: Step, reasons: dict[str, str], texts: Iterable[str]) -> Counter[str]:
    """Same decision, reason and text as datatrove's filter on each text; how often which reason came."""
    seen = Counter[str]()
    for text in texts:
        document = Document(text=text, id="0")
        verdict = theirs.filter(document)
        reason = "" if verdict is True else verdict[1]
        page = page_of(text)
        drop = ours.check(page)
        rule = drop.rule if drop else ""
        assert reasons.get(rule, rule) == reason, (text, page.values)
        assert page.text == document.text
        seen[reason] += 1
    return seen


_VOCABULARY = """\
the|be|to|of|and|that|have|with|The|a|is|in|I|you|world|word|this|page|can't|don't|Mr.|U.S.|e.g.|cannot|Id.|id.
and/or|well-known|3.5km|10am|:)|...|…|--|—|•|-|#|##|[1]|[edit]|[citation needed]|{|}|lorem|ipsum|lorem ipsum
javascript|JavaScript|cookies|uses|use|use of cookies|terms of use|privacy policy|citation|[2]|[]|[٣]|here):|feet''
日本語|テスト|été|Straße|😀|👨‍👩‍👧|x1|$5|50%|http://example.com/a?b=c|me@example.org|İstanbul|coo\u212aies|use coo\u212aies
ﬁ|א|שלום|नमस्ते।|。|！|á|\u200b|privacy pol\u0130cy|``quoted''|dog's|dogs’|word."|("word)|2019-20|1,000|C++|:'(|)-:"""
_WORDS = [
    *(word for line in _VOCABULARY.splitlines() for word in line.split("|")),
    "a" * 1001,
    "x" * 1000,
    "\x00",
]
_ENDS = [
    ".",
    "!",
    "?",
    '"',
    "'",
    "...",
    "…",
    "。",
    ")",
    ".[1]",
    ".  [2]",
    "",
    "",
    ",",
    ":",
    "։",
    '."',
    "‽",
    "؟",
]
_BREAKS = [
    "\n",
    "\n",
    "\n",
    "\n\n",
    "\n\n\n",
    "\r\n",
    "\x0b",
    "\x0c",
    "\x1c",
    "\x85",
    "\u2028",
    "\u2029",
    "\r",
]
_SPACES = [" ", " ", " ", " ", " ", "  ", "\t", "\u00a0", "\u3000", "\u2009"]


@st.composite
def documents(draw: st.DrawFn) -> str:
    """Texts of lines, some of them repeated, with every kind of break, space, mark and trap in them."""
    rng = random.Random(draw(st.integers(0, 2**48)))
    vocabulary = rng.choices(_WORDS, k=rng.choice([3, 8, 30, 60])) + draw(
        st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8), max_size=4)
    )
    lines: list[str] = []
    for _ in range(rng.choice([0, 1, 3, 8, 25])):
        if lines and rng.random() < rng.choice([0, 0.2, 0.6]):
            lines.append(rng.choice(lines))
            continue
        start = rng.choice(["", "", "", "- ", "• ", "  ", "[3] "])
        words = rng.choices(vocabulary, k=rng.choice([0, 1, 2, 5, 12, 40]))
        lines.append(start + "".join(w + rng.choice(_SPACES) for w in words).rstrip(" ") + rng.choice(_ENDS))
    text = "".join(line + rng.choice(_BREAKS if rng.random() < 0.3 else "\n") for line in lines)
    return rng.choice(["", "", "\n", " "]) + text + rng.choice(["", "\n", "tail", " "])
