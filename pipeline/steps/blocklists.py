"""Block lists as sorted 64-bit hashes in a memory-mapped file, built once and shared by every worker.

datatrove's 4.56 million domains take 36 MB, once for all processes, where a Python set takes 665 MB in each.
A look-up hashes the name (8-byte BLAKE2b) and searches by halves. A name that is in no list is taken for a
listed one with a probability of 4.56e6 / 2**64 = 2.5e-13: over 3 billion pages with three look-ups each, the
chance that even one page is dropped for it is 0.2 %.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import gzip
import hashlib
import importlib.util
import os
import re
import tarfile
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO, Literal

import numpy as np

from pipeline.errors import GristmillError
from pipeline.steps.address import Address, host_name
from pipeline.store import Folder, Manifest

Kind = Literal["domains", "urls"]
Words = Literal["banned_words", "soft_banned_words", "banned_subwords"]

_FORMAT = 1  # of what is built: another hash or another spelling of the entries counts it up
_ARCHIVE = "url_filterblacklistsv0_3_0.tar.gz"


class HashedSet:
    """A set of strings, kept as sorted hashes; `in` errs with probability len / 2**64, towards True alone."""

    def __init__(self, path: str) -> None:
        self._hashes = memoryview(np.load(path, mmap_mode="r"))

    def __len__(self) -> int:
        return len(self._hashes)

    def __contains__(self, text: str) -> bool:
        wanted = int.from_bytes(_hash(text.encode("utf-8", "surrogatepass")), "little")
        at = bisect_left(self._hashes, wanted)
        return at < len(self._hashes) and self._hashes[at] == wanted


@functools.cache
def datatrove_list(kind: Kind) -> HashedSet:
    """datatrove's domains or URLs (gathered from UT1, Université Toulouse Capitole), out of its package."""

    def lines() -> Iterator[bytes]:
        with tarfile.open(_datatrove_asset(_ARCHIVE)) as archive:
            yield from archive.extractfile(kind) or ()

    return _mapped(kind, file_hash(_datatrove_asset(_ARCHIVE)), lines)


@functools.cache
def own_list(path: str, kind: Kind) -> HashedSet:
    """A list of the user's: a domain or URL a line (or a hosts file), `#` comments, plain or gzip."""

    def lines() -> Iterator[bytes]:
        with _opened(path) as file:
            yield from file

    return _mapped(kind, file_hash(path), lines)


@functools.cache
def datatrove_words(which: Words) -> frozenset[str]:
    """One of datatrove's word lists, out of its package."""
    return own_words(_datatrove_asset(f"{which}.txt"))


@functools.cache
def own_words(path: str) -> frozenset[str]:
    """A list of words, one a line, `#` comments: in lower case, ASCII letters and digits alone."""
    with _opened(path) as file:
        lines = [line.decode("utf-8", "replace") for line in file if not line.startswith(b"#")]
    return frozenset(filter(None, map(squeezed, lines)))


def squeezed(text: str) -> str:
    """The ASCII letters and digits of a text, in lower case."""
    return NOT_ALPHANUMERIC.sub("", text).lower()


NOT_ALPHANUMERIC = re.compile("[^a-zA-Z0-9]+")


def datatrove_hash() -> str:
    """SHA-256 over the hashes of datatrove's lists."""
    names = (_ARCHIVE, "banned_words.txt", "soft_banned_words.txt", "banned_subwords.txt")
    return hashlib.sha256("".join(file_hash(_datatrove_asset(name)) for name in names).encode()).hexdigest()


@functools.cache
def file_hash(path: str) -> str:
    """SHA-256 of a file as it lies there. GristmillError where it cannot be read."""
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise GristmillError(
            f"cannot read this list: {error.strerror or error}", path, "Correct the path in the URL filter."
        ) from error


@contextlib.contextmanager
def _opened(path: str) -> Iterator[Iterable[bytes]]:
    with gzip.open(path) if path.endswith(".gz") else open(path, "rb") as file:
        yield file


def _datatrove_asset(name: str) -> str:
    package = importlib.util.find_spec("datatrove")  # found, not imported: only its data is wanted
    path = Path(package.origin).parent / "assets" / name if package and package.origin else None
    if path is None or not path.is_file():
        raise GristmillError(
            f"datatrove's list {name} is not installed",
            todo="Install datatrove 0.10, or set `datatrove_lists: false` and name lists of your own.",
        )
    return str(path)


def _mapped(kind: Kind, source: str, lines: Callable[[], Iterable[bytes]]) -> HashedSet:
    """The list built from the source with this hash, out of the cache, or built into it by the first to ask.

    A built file counts once its manifest lies beside it, and only while its checksum is the manifest's.
    """
    cache = Folder(os.path.join(_cache(), "blocklists"))
    name = f"{kind}-{source[:32]}-v{_FORMAT}.npy"
    if not _stands(cache, name):
        with _alone(cache):
            if not _stands(cache, name):
                _build(cache, name, kind, lines())
    return HashedSet(cache.path(name))


def _stands(cache: Folder, name: str) -> bool:
    try:
        manifest = Manifest.read(cache, f"{name}.json")
    except GristmillError:
        return False  # a manifest that is damaged proves nothing: build anew
    return manifest is not None and not manifest.faults(cache)


def _build(cache: Folder, name: str, kind: Kind, lines: Iterable[bytes]) -> None:
    packed = bytearray()
    for digest in _hashes(kind, lines):
        packed += digest
    hashes = np.frombuffer(packed, dtype="<u8")
    hashes.sort()
    hashes = hashes[np.insert(hashes[1:] != hashes[:-1], 0, True)] if len(hashes) else hashes

    def fill(file: IO[bytes]) -> int:
        np.save(file, hashes)
        return len(hashes)

    manifest = Manifest()
    manifest.add(cache.write(name, fill))
    manifest.write(cache, f"{name}.json")


def _hashes(kind: Kind, lines: Iterable[bytes]) -> Iterator[bytes]:
    """The hash of each entry as it stands, and in its one spelling where that differs."""
    plain = re.compile(rb"[a-z0-9._-]*[a-z]") if kind == "domains" else re.compile(rb"(?!)")
    for line in lines:
        entry = line.strip()
        if plain.fullmatch(entry):
            yield _hash(entry)
        elif entry and not entry.startswith(b"#"):
            yield _hash(entry)
            spelled = _spelled(kind, entry.decode("utf-8", "replace"))
            yield _hash(spelled.encode("utf-8", "surrogatepass"))


def _spelled(kind: Kind, entry: str) -> str:
    if kind == "urls":
        return Address.of(entry).key
    fields = entry.partition("#")[0].split() or [""]
    return host_name(fields[-1].removeprefix("*."))  # hosts files say `0.0.0.0 name`


def _hash(entry: bytes) -> bytes:
    return hashlib.blake2b(entry, digest_size=8).digest()


def _cache() -> str:
    return os.environ.get("GRISTMILL_CACHE") or os.path.expanduser("~/.cache/gristmill")


@contextlib.contextmanager
def _alone(cache: Folder) -> Iterator[None]:
    """Hold the cache's lock, so that of many workers one builds and the others wait for it.

    Where the file system has no locks all build, and each puts the same bytes in place whole.
    """
    try:
        os.makedirs(cache.root, exist_ok=True)
        lock = open(cache.path(".lock"), "wb")  # closed below, which also gives the lock back
    except OSError as error:
        raise GristmillError(
            f"cannot keep the block lists here: {error.strerror or error}",
            cache.root,
            "Let GRISTMILL_CACHE name a folder that you may write.",
        ) from error
    with lock:
        with contextlib.suppress(OSError):
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
