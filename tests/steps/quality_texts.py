"""Real texts, and made ones at the edges, on which the filters are held against datatrove."""

from __future__ import annotations

import gzip
import json
import random
import tarfile
from functools import cache
from pathlib import Path

import pytest
from hypothesis import strategies as st

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


_WORDS = [
    *[
        "the",
        "be",
        "to",
        "of",
        "and",
        "that",
        "have",
        "with",
        "The",
        "a",
        "is",
        "in",
        "I",
        "you",
        "world",
        "word",
        "this",
        "page",
        "can't",
        "don't",
        "Mr.",
        "U.S.",
        "e.g.",
        "cannot",
    ],
    *[
        "and/or",
        "well-known",
        "3.5km",
        "10am",
        ":)",
        "...",
        "…",
        "--",
        "—",
        "•",
        "-",
        "#",
        "##",
        "[1]",
        "[edit]",
        "[citation",
        "needed]",
        "{",
        "}",
        "lorem",
        "ipsum",
    ],
    *[
        "javascript",
        "JavaScript",
        "cookies",
        "uses",
        "use",
        "of",
        "terms",
        "privacy",
        "policy",
        "日本語",
        "テスト",
        "été",
        "Straße",
        "😀",
        "👨\u200d👩\u200d👧",
        "x1",
        "$5",
        "50%",
    ],
    *[
        "http://example.com/a?b=c",
        "me@example.org",
        "İstanbul",
        "cooKies",
        "ﬁ",
        "א",
        "שלום",
        "नमस्ते।",
        "。",
        "！",
        "á",
        "\u200b",
    ],
    *[
        "terms of use",
        "privacy policy",
        "lorem ipsum",
        "uses cookies",
        "citation",
        "[2]",
        "[citation needed]",
        "[]",
    ],
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
