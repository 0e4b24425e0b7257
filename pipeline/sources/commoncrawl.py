"""Common Crawl: which crawls there are, and which files one consists of.

Every crawl lists its files in `crawl-data/<crawl>/<kind>.paths.gz`, one path a line; `collinfo.json` lists the crawls.
GRISTMILL_COMMONCRAWL names another place that holds the same tree: a mirror, or `s3://commoncrawl/` from within AWS.
"""

from __future__ import annotations

import difflib
import gzip
import os
import re
import zlib
from hashlib import blake2b
from typing import Literal, NamedTuple

import orjson

from pipeline.errors import GristmillError
from pipeline.sources.ranges import Ranges, Refused
from pipeline.sources.remote import open_remote
from pipeline.sources.transport import COMMON_CRAWL, shown

Kind = Literal["warc", "wet", "wat", "non200responses", "robotstxt"]
_COLLINFO = "https://index.commoncrawl.org/collinfo.json"
_NAME = re.compile(r"CC-MAIN-\d{4}-\d{2}|CC-NEWS/\d{4}/\d{2}")


class Crawl(NamedTuple):
    """One release."""

    id: str  # CC-MAIN-2026-43
    name: str  # "October 2026 Index"
    begun: str  # first fetch, ISO 8601, "" where the list does not say
    ended: str


def crawl_files(crawl: str, files: int, seed: int, kind: Kind = "warc") -> list[str]:
    """URLs of `files` files of a crawl, chosen by `seed`; of all of them, in the crawl's order, where `files` is 0.

    The choice is stable: four files are the first four of eight under the same seed, on any machine and whatever
    else the crawl holds. Raises GristmillError where there is no such crawl, naming those nearest to it.
    """
    base = _base()
    if not _NAME.fullmatch(crawl):
        raise _unknown(crawl)
    listing = f"{base}crawl-data/{crawl}/{kind}.paths.gz"
    try:
        paths = _lines(_download(listing), listing)
    except Refused as error:
        if error.status in (403, 404):  # a bucket that may not be listed says 403 of what it does not hold
            raise _unknown(crawl) from error
        raise
    if files:
        paths = sorted(paths, key=lambda path: blake2b(f"{seed}\0{path}".encode(), digest_size=16).digest())[:files]
    return [base + path for path in paths]


def latest_crawls() -> list[Crawl]:
    """Every crawl there is, the newest first."""
    place = f"{_base()}collinfo.json" if os.environ.get("GRISTMILL_COMMONCRAWL") else _COLLINFO
    try:
        listed = orjson.loads(_download(place))
        crawls = [Crawl(one["id"], one.get("name", ""), one.get("from", ""), one.get("to", "")) for one in listed]
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise GristmillError("this is no list of crawls", shown(place), "Check GRISTMILL_COMMONCRAWL.") from error
    return sorted((crawl for crawl in crawls if _NAME.fullmatch(crawl.id)), key=lambda crawl: crawl.id, reverse=True)


def _base() -> str:
    base = os.environ.get("GRISTMILL_COMMONCRAWL") or COMMON_CRAWL
    if "://" not in base:
        raise GristmillError(f"{base!r} is no URL", "GRISTMILL_COMMONCRAWL", f"For example {COMMON_CRAWL}.")
    return base.rstrip("/") + "/"


def _download(url: str) -> bytes:
    size, content = Ranges(url).stat()
    with open_remote(url, size, content) as file:
        return file.read()


def _lines(data: bytes, where: str) -> list[str]:
    try:
        text = gzip.decompress(data).decode("ascii")
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise GristmillError(f"this is no list of files: {error}", shown(where), "Try again later.") from error
    return [line.strip() for line in text.splitlines() if line.strip()]


def _unknown(crawl: str) -> GristmillError:
    try:
        names = [known.id for known in latest_crawls()]
    except GristmillError:
        return GristmillError("there is no such crawl", crawl, "Crawls are named like CC-MAIN-2026-43.")
    near = difflib.get_close_matches(crawl.upper(), names, n=3, cutoff=0.6)
    newest = f"The newest is {names[0]}." if names else "The list of crawls is empty."
    return GristmillError("there is no such crawl", crawl, f"Near it: {', '.join(near)}. {newest}" if near else newest)
