"""Inputs: from what the user names (paths, globs, folders, URLs) to the splits that a run works on."""

from __future__ import annotations

import glob
import itertools
import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from hashlib import sha256
from urllib.parse import unquote, urlsplit

from pipeline.errors import GristmillError
from pipeline.sources.formats import Facts, crawl_of, examine, is_cuttable
from pipeline.sources.open import open_bytes, open_url, unreadable
from pipeline.sources.split import InputFile, Split
from pipeline.sources.stored import Stored

SPLIT_BYTES = 64 << 20
_CHUNK = 1 << 20
_KNOWN = re.compile(
    r"\.(?:(?:warc|arc)(?:\.(?:wet|wat))?(?:\.(?:gz|zst|lz4))?|wacz|(?:jsonl|ndjson)(?:\.(?:gz|zst|xz))?|parquet|x?html?)$",
    re.I,
)
# Not CC-MAIN-20140820021334, which is a file's time.
_CRAWL = re.compile(r"CC-MAIN-\d{4}-\d{2}(?!\d)")


def plan_inputs(patterns: Sequence[str], split_bytes: int = SPLIT_BYTES) -> list[Split]:
    """The splits of all inputs, ordered by published name and position.

    A pattern is a file, a folder (every file of a known ending below it), a glob (`crawl/**/*.warc.gz`), or an
    `https://` or `s3://` URL of one file. Local files are hashed whole, so their content identifies them. Raises
    GristmillError for what is missing, empty, unreadable or of no known format.
    """
    places = list(dict.fromkeys(place for pattern in patterns for place in _resolve(pattern)))
    splits: list[Split] = []
    for place, name, (size, content) in zip(places, published_names(places), _stat_each(places), strict=True):
        if size == 0:
            raise GristmillError("the file is empty", place, "Leave it out, or fetch it again.")
        for file, cuttable in files_at(place, name, size, content):
            splits += _cut(file, split_bytes if cuttable else file.size)
    return sorted(splits, key=lambda split: (split.file.name, split.start))


def published_names(places: Sequence[str]) -> list[str]:
    """A name for each path or URL: from `crawl-data/` on, else the base name; where two inputs would share it, with
    as many parent folders in front as it takes to tell them apart."""
    parts = [_parts(place) for place in places]
    taken = [len(p) - p.index("crawl-data") if "crawl-data" in p else 1 for p in parts]
    while True:
        names = ["/".join(p[-n:]) for p, n in zip(parts, taken, strict=True)]
        counts = Counter(names)
        shared = [i for i, name in enumerate(names) if counts[name] > 1 and taken[i] < len(parts[i])]
        if not shared:
            return names
        for i in shared:
            taken[i] += 1


def _parts(place: str) -> list[str]:
    if _is_remote(place):
        try:
            url = urlsplit(place)
        except ValueError as error:
            raise GristmillError(f"this is no URL: {error}", place, "Check the address.") from error
        return [url.scheme, url.netloc, *unquote(url.path).strip("/").split("/")]
    return place.strip("/").split("/")


def _is_remote(place: str) -> bool:
    return "://" in place and not place.startswith("file://")


def _resolve(pattern: str) -> Iterator[str]:
    """Absolute paths and URLs of files, in a stable order."""
    if _is_remote(pattern):
        yield pattern
        return
    path = os.path.expanduser(pattern.removeprefix("file://"))
    if os.path.isdir(path):
        found = [os.path.join(folder, f) for folder, f in _walk(path) if _KNOWN.search(f)]
        if not found:
            raise GristmillError(
                "no file of a known ending in this folder",
                where=path,
                todo="Known are .warc, .arc (with .gz, .zst, .lz4), .wacz, .jsonl, .parquet and .html.",
            )
    elif not os.path.lexists(path) and glob.has_magic(path):
        found = [f for f in glob.glob(path, recursive=True) if not os.path.isdir(f)]
        if not found:
            raise GristmillError("no file matches", where=pattern, todo="Quote the pattern, and check its folders.")
    else:
        found = [path]
    yield from sorted(os.path.realpath(f) for f in found)


def _walk(top: str) -> Iterator[tuple[str, str]]:
    def refuse(error: OSError) -> None:
        raise unreadable(error.filename or top, error) from error

    for folder, _, files in os.walk(top, onerror=refuse):
        for file in files:
            yield folder, file


def _stat_each(places: Sequence[str]) -> Iterator[tuple[int, str]]:
    """`stat` of each; remote ones several at a time, since a crawl may have 90,000."""
    remote: Iterator[tuple[int, str]] = iter(())
    if urls := [place for place in places if _is_remote(place)]:
        from pipeline.sources.remote import stat_all

        remote = stat_all(urls)
    for place in places:
        yield next(remote) if _is_remote(place) else stat(place)


def stat(place: str, hashed: bool = True) -> tuple[int, str]:
    """Size in bytes and what identifies the content of a path or URL; of a local file "" unless `hashed`."""
    if _is_remote(place):
        from pipeline.sources.remote import stat_remote

        return stat_remote(place)
    try:
        size = os.stat(place).st_size
    except OSError as error:
        raise unreadable(place, error) from error
    digest = sha256()
    with open_url(place, size, "") as file:
        while hashed and (chunk := file.read(_CHUNK)):
            digest.update(chunk)
    return size, f"sha256:{digest.hexdigest()}" if hashed else ""


def files_at(place: str, name: str, size: int, content: str) -> Iterator[tuple[InputFile, bool]]:
    """What lies at a path or URL, and whether it can be cut; a WACZ holds several archives."""
    crawl = _CRAWL.search(place)
    dump = crawl[0] if crawl else ""
    # An archive of Common Crawl is known by its path; looking into each of 90,000 would cost a request each.
    known = _is_remote(place) and dump and re.search(r"\.(?:warc|arc)(?:\.wet|\.wat)?\.gz$", place)
    facts = Facts("warc", True) if known else examine(place, size, content)
    if facts.format != "wacz":
        yield InputFile(name, place, size, facts.format, content, dump or facts.dump), facts.cuttable
        return
    for inner in facts.inner:
        file = InputFile(f"{name}/{inner.name}", inner.url(place, size), inner.size, "wacz", content, dump)
        with open_bytes(file) as source:
            stored = Stored(source, file.size)
            file = replace(file, dump=dump or crawl_of(stored))
            yield file, inner.cuttable and is_cuttable(stored)


def _cut(file: InputFile, split_bytes: int) -> list[Split]:
    """Splits of nearly the same length, none longer than `split_bytes`."""
    count = max(1, -(-file.size // max(1, split_bytes)))
    edges = [file.size * i // count for i in range(count + 1)]
    return [Split(file, start, end) for start, end in itertools.pairwise(edges)]
