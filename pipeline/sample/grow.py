"""A synthetic crawl of any size for benchmarks: distinct pages in the mixture of the web, duplicates at known rates.

Page n of a seed is a function of (seed, n) alone, so a crawl streams out in bounded memory, and the first thousand
pages of a long one are those of a short one. The sentences are those of the sample's texts with words exchanged for
others of the same ending: English (or German, or Russian) to a language identifier, prose to a quality filter, and
different enough from page to page that only the planted duplicates are duplicates.
"""

from __future__ import annotations

import os
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from functools import cache, lru_cache
from html import escape
from pathlib import Path
from random import Random
from typing import NamedTuple

from pipeline.errors import GristmillError
from pipeline.pool import Executor, Serial
from pipeline.sample.oddities import pdf
from pipeline.sample.pages import Source, read_sources
from pipeline.sample.themes import render
from pipeline.sample.writer import capture, member, warcinfo

# Shares of all pages. Duplicates copy an article with a smaller number; `near` exchanges one
# short sentence in twenty (at least one), which leaves a Jaccard similarity of word 5-grams above 0.8.
MIXTURE = {
    "article": 0.55,
    "foreign": 0.14,
    "thin": 0.10,
    "listing": 0.06,
    "spam": 0.03,
    "near": 0.05,
    "exact": 0.03,
    "error": 0.02,
    "pdf": 0.02,
}
PAGES_PER_SITE = 25
_LEVEL = 6  # of gzip; what Common Crawl's files come to
_POOL = 20_000  # sentences of English; a tenth of that of every other language
_THEMES = ("magazine", "blog", "news", "wiki", "recipe", "docs")
_WORD = re.compile(r"[^\W\d_]+")
_START = datetime(2026, 10, 17, 10, 15, 0)
_SERIAL = Serial()


def grow(pages: int, seed: int, out: Path, files: int = 1, executor: Executor = _SERIAL) -> list[Path]:
    """Write `files` WARCs that hold `pages` captures between them below `out`, and return their paths.

    The same pages and seed give the same records for ever. Raises GristmillError where a number makes no sense.
    """
    if not 1 <= files <= max(pages, 1) or pages < 0:
        raise GristmillError(
            f"{pages} pages do not go into {files} files", "gristmill sample", "Ask for at least one page a file."
        )
    out.mkdir(parents=True, exist_ok=True)
    bounds = [number * pages // files for number in range(files + 1)]
    tasks = [
        _File(out / f"GRISTMILL-GROWN-{seed}-{number:05d}.warc.gz", seed, range(*bounds[number : number + 2]))
        for number in range(files)
    ]
    for _ in executor.run(_write, tasks):
        pass
    return [task.path for task in tasks]


class _File(NamedTuple):
    path: Path
    seed: int
    numbers: range


def _write(task: _File) -> None:
    draft = task.path.with_name(task.path.name + ".part")
    with draft.open("wb") as file:
        for stored in _records(task.path.name, task.seed, task.numbers):
            file.write(stored)
    os.replace(draft, task.path)


def mixture(pages: int, seed: int) -> Counter[str]:
    """How many pages of each kind a crawl holds, without growing it."""
    return Counter(_kind(seed, number) for number in range(pages))


def _records(name: str, seed: int, numbers: range) -> Iterator[bytes]:
    """The stored records of one file."""
    fields = {"isPartOf": f"GRISTMILL-GROWN-{seed}", "software": "gristmill sample", "format": "WARC File Format 1.1"}
    yield member(warcinfo(name, f"{_START:%Y-%m-%dT%H:%M:%SZ}", fields))
    for number in numbers:
        url, status, mime, body = page(seed, number)
        triplet = capture(
            file=name,
            url=url,
            date=f"{_START + timedelta(seconds=number):%Y-%m-%dT%H:%M:%SZ}",
            status_line=f"HTTP/1.1 {status}",
            headers={"Server": "nginx", "Content-Type": mime, "Content-Length": str(len(body))},
            body=body,
            ip=f"203.0.113.{number // PAGES_PER_SITE % 254 + 1}",
            identified=mime.partition(";")[0],
            metadata={"fetchTimeMs": str(40 + number % 900)},
        )
        for _, raw in triplet:
            yield member(raw, _LEVEL)


def page(seed: int, number: int) -> tuple[str, str, str, bytes]:
    """Capture `number` of a seed: (URL, status, content type, body)."""
    rng, kind = _rng(seed, number), _kind(seed, number)
    html = "text/html; charset=utf-8"
    if kind == "pdf":
        return f"https://{_host(number)}/files/{number}.pdf", "200 OK", "application/pdf", pdf(f"Report {number}") * 40
    if kind == "error":
        return f"https://{_host(number)}/gone/{number}", "404 Not Found", html, b"<html><h1>Not found</h1></html>"
    url = f"https://{_host(number)}/{kind}/{number}.html"
    if kind in ("near", "exact"):
        original = _original(seed, number)
        title, paragraphs = _article(seed, original)
        if kind == "exact":  # another address, the same payload
            return url, "200 OK", html, _lay_out(original, title, paragraphs)
        for _ in range(max(1, sum(map(len, paragraphs)) // 20)):
            sentences = paragraphs[_below(rng, len(paragraphs))]
            sentences.remove(min(sentences, key=len))
            sentences.append(_sentence(rng, "en")[:80])
        return url, "200 OK", html, _lay_out(number, title, paragraphs)
    if kind == "article":
        return url, "200 OK", html, _lay_out(number, *_article(seed, number))
    return url, "200 OK", html, _OTHERS[kind](rng, number)


def _article(seed: int, number: int) -> tuple[str, list[list[str]]]:
    """Title and paragraphs, as lists of sentences: 15 to 130 of them, most pages short and a few long."""
    rng = _rng(seed, number, "text")
    paragraphs: list[list[str]] = []
    for _ in range(5 + int(18 * rng.random() ** 2)):
        paragraphs.append([_sentence(rng, "en") for _ in range(3 + _below(rng, 4))])
    return _title(rng, "en"), paragraphs


def _foreign(rng: Random, number: int) -> bytes:
    languages = sorted(set(_pools()) - {"en"})
    language = languages[_below(rng, len(languages))]
    paragraphs = [[_sentence(rng, language) for _ in range(3 + _below(rng, 4))] for _ in range(3 + _below(rng, 8))]
    return _lay_out(number, _title(rng, language), paragraphs)


def _thin(rng: Random, number: int) -> bytes:
    return _lay_out(number, _title(rng, "en"), [[_sentence(rng, "en")]])


def _listing(rng: Random, number: int) -> bytes:
    rows = "".join(
        f'<li><a href="/item/{_below(rng, 1 << 20)}">{escape(_title(rng, "en"))}</a> <b>£{_below(rng, 90)}.50</b></li>'
        for _ in range(60 + _below(rng, 120))
    )
    return _page_of(number, f"All items, page {number % 40}", f"<ul>{rows}</ul>")


def _spam(rng: Random, number: int) -> bytes:
    phrase = f"buy the best {_title(rng, 'en').lower()} online at the best price"
    lines = [f"If you want to {phrase} then this is the place to {phrase}." for _ in range(12 + _below(rng, 20))]
    return _page_of(number, phrase, "".join(f"<p>{escape(line)}</p>" for line in lines))


_OTHERS: dict[str, Callable[[Random, int], bytes]] = {
    "foreign": _foreign,
    "thin": _thin,
    "listing": _listing,
    "spam": _spam,
}


def _lay_out(number: int, title: str, paragraphs: list[list[str]]) -> bytes:
    return _page_of(number, title, "".join(f"<p>{escape(' '.join(p), quote=False)}</p>\n" for p in paragraphs))


def _page_of(number: int, title: str, body: str) -> bytes:
    before, after = _chrome(number // PAGES_PER_SITE)
    return (before.replace("%TITLE%", escape(title)) + body + after).encode()


@lru_cache(maxsize=64)
def _chrome(site: int) -> tuple[str, str]:
    """What stands before and after the text on every page of a site: 10 to 70 KB of markup, styles and scripts."""
    rng = Random(f"site {site}")
    theme = _THEMES[_below(rng, len(_THEMES))]
    neighbours = [source for source in _sources() if source.lang == "en"]
    start = _below(rng, len(neighbours))
    shell = Source(url=f"https://{_host(site * PAGES_PER_SITE)}/", theme=theme, title="%TITLE%", body="%BODY%")
    html = render(shell, neighbours[start : start + 6])
    rules = "".join(
        f".{_name(rng)}-{_below(rng, 99)}{{margin:{_below(rng, 40)}px;color:#{_below(rng, 1 << 24):06x};order:{_below(rng, 9)}}}"
        for _ in range(150 + int(900 * rng.random() ** 2))
    )
    head, _, rest = html.partition("</head>")
    before, _, after = f"{head}<style>{rules}</style></head>{rest}".partition("<p>%BODY%</p>")
    return before, after


def _original(seed: int, number: int) -> int:
    """The article that a duplicate copies: one of the last 20,000 pages before it, or, at the start, page 0."""
    first = number - 1 - _below(_rng(seed, number, "original"), min(number, 20_000) or 1)
    return next((n for n in range(first, -1, -1) if _kind(seed, n) == "article"), 0)


def _kind(seed: int, number: int) -> str:
    if number == 0:
        return "article"
    at = _rng(seed, number, "kind").random()
    for kind, share in MIXTURE.items():
        at -= share
        if at < 0:
            return kind
    return "article"


def _host(number: int) -> str:
    rng = Random(f"host {number // PAGES_PER_SITE}")
    return f"www.{_name(rng)}-{_name(rng)}-{number // PAGES_PER_SITE}.example"


def _sentence(rng: Random, language: str) -> str:
    pool = _pools()[language]
    return pool[_below(rng, len(pool))]


def _title(rng: Random, language: str) -> str:
    """The first words of two sentences."""
    words = (_sentence(rng, language).split() + _sentence(rng, language).split()[:3])[:7]
    return " ".join(words).rstrip(".,;:!?")


@cache
def _sources() -> list[Source]:
    return read_sources()


@cache
def _pools() -> dict[str, list[str]]:
    """Sentences by language, the same in every process: those of the sample, with words exchanged."""
    texts = defaultdict(list)
    for source in _sources():
        if source.theme != "bare" and not source.copy and not source.drop:
            posts = "\n\n".join(post.body for post in source.posts)
            texts[source.lang].append(f"{source.body}\n\n{posts}")
    return {language: _vary("\n\n".join(texts[language]), language) for language in sorted(texts)}


def _vary(text: str, language: str) -> list[str]:
    """A pool of sentences made from the text's own, in which a third of the longer words are exchanged."""
    prose = [line for line in text.split("\n") if len(line) > 60 and line[0] not in "-|#>`=@ "]
    sentences = [s for line in prose for s in re.split(r"(?<=[.!?。؟])\s*(?=\S)", line.replace("*", "")) if len(s) > 12]
    if language in ("zh", "ja"):  # no spaces between words: nothing to exchange
        return sentences
    alike = defaultdict(list)
    for word in dict.fromkeys(_WORD.findall(" ".join(sentences))):
        if len(word) > 4 and word.islower():
            alike[word[-2:]].append(word)
    rng = Random(f"pool {language}")

    def exchange(match: re.Match[str]) -> str:
        others = alike.get(match[0][-2:]) if len(match[0]) > 4 and match[0].islower() else None
        return others[_below(rng, len(others))] if others and rng.random() < 0.35 else match[0]

    size = _POOL if language == "en" else _POOL // 10
    return [_WORD.sub(exchange, sentences[_below(rng, len(sentences))]) for _ in range(size)]


_SYLLABLES = "ba dor el fen gar hol im jar kel lor mer nor ol pen quil ras sel tor ul ver wen yar zel".split()


def _name(rng: Random) -> str:
    return "".join(_SYLLABLES[_below(rng, len(_SYLLABLES))] for _ in range(2 + _below(rng, 2)))


def _rng(seed: int, number: int, what: str = "") -> Random:
    return Random(f"{seed} {number} {what}")


def _below(rng: Random, n: int) -> int:
    """An integer in [0, n). From `random()` alone, whose values no Python version changes."""
    return int(rng.random() * n)
