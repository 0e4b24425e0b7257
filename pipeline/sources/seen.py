"""Seen: what Common Crawl's servers said of a file, remembered for the next run.

Files below `crawl-data/` never change once a crawl is out, so their size and version are asked for once.
"""

from __future__ import annotations

import contextlib
import os
import re
from hashlib import blake2b

_CRAWL_DATA = re.compile(r"^(.*/crawl-data/(?:CC-MAIN-\d{4}-\d{2}|CC-NEWS/\d{4}/\d{2})/)")


class Seen:
    """Sizes and versions by URL, one small file for each crawl and server in the cache folder.

    A line is appended with one write, and a line that is none is passed over, so processes need no lock. Where the
    folder cannot be used, nothing is remembered.
    """

    def __init__(self) -> None:
        cache = os.environ.get("GRISTMILL_CACHE") or os.path.expanduser("~/.cache/gristmill")
        self._folder = os.path.join(cache, "seen")
        self._known: dict[str, dict[str, tuple[int, str]]] = {}

    def find(self, url: str) -> tuple[int, str] | None:
        """(size, content) where the URL is below a crawl and was seen before."""
        path = self._path(url)
        if path is None:
            return None
        if path not in self._known:
            self._known[path] = _read(path)
        size, content = self._known[path].get(url, (-1, ""))
        return (size, content) if size >= 0 else None

    def note(self, url: str, size: int, content: str) -> None:
        """Remember it, if it identifies the content."""
        path = self._path(url)
        if path is not None and content:
            _append(path, url, size, content)

    def forget(self, url: str) -> None:
        """It is no longer so."""
        path = self._path(url)
        if path is not None and os.path.exists(path):
            _append(path, url, -1, "")

    def _path(self, url: str) -> str | None:
        crawl = _CRAWL_DATA.match(url)
        if crawl is None or "?" in url:
            return None
        return os.path.join(self._folder, f"{blake2b(crawl[1].encode(), digest_size=16).hexdigest()}.tsv")


def _read(path: str) -> dict[str, tuple[int, str]]:
    known: dict[str, tuple[int, str]] = {}
    with contextlib.suppress(OSError), open(path, encoding="utf-8", errors="replace") as file:
        for line in file:
            fields = line.split("\t")
            if len(fields) == 4 and fields[3] == ".\n" and fields[1].lstrip("-").isdigit():
                known[fields[0]] = int(fields[1]), fields[2]
    return known


def _append(path: str, url: str, size: int, content: str) -> None:
    with contextlib.suppress(OSError):
        os.makedirs(os.path.dirname(path), exist_ok=True)
        file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            os.write(file, f"{url}\t{size}\t{content}\t.\n".encode())
        finally:
            os.close(file)
