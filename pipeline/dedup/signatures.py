"""Signatures: what dedup needs to know of a document without its text.

One row a document: its identity, a 128-bit hash of its exact text, its length, the size of its shingle set, and
one 64-bit key for each LSH band. Two documents with an equal key in one band are a candidate pair.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from functools import lru_cache
from hashlib import blake2b
from typing import IO, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.dedup import shingles as kernels
from pipeline.dedup.identity import halves
from pipeline.dedup.settings import DedupSettings
from pipeline.dedup.shingles import Hashes, mix, shingle_hashes, shingle_set
from pipeline.store import Entry, Folder

# Carter and Wegman's modulus, as in datasketch and datatrove. Both multiply in wrapping uint64 before they take
# it, which is no longer a universal family; kept so that equal shingles give equal signatures here and there.
MERSENNE = (1 << 61) - 1
_BLOCK = 512  # shingles at a time, so that the temporaries stay in cache


class Signature(NamedTuple):
    exact: bytes  # 16 bytes
    chars: int  # of the text with whitespace folded
    shingles: int  # size of the shingle set, 0 where there is no MinHash signature
    bands: tuple[int, ...]  # a uint64 key for each band, zeros where shingles == 0


def signature_row(text: str, settings: DedupSettings) -> Signature:
    """The signature of one text."""
    folded, chars = _folded(text)
    hashes = shingle_hashes(text, settings) if settings.minhash else np.empty(0, np.uint64)
    if hashes.size == 0:
        return Signature(_exact(folded), chars, 0, (0,) * settings.bands)
    keys = band_keys(minima(hashes, settings), settings)
    return Signature(_exact(folded), chars, shingle_set(hashes).size, tuple(keys.tolist()))


class SignatureWriter:
    """Writes the signatures of a split's documents to an open file as Parquet of `signature_schema`.

    A context manager; the file is complete when it ends. Memory is bounded by the batches that `add` is given.
    """

    def __init__(self, file: IO[bytes], settings: DedupSettings) -> None:
        self._settings = settings
        self._writer = pq.ParquetWriter(
            file,
            signature_schema(settings.bands),
            compression="NONE",  # hashes do not compress
            use_dictionary=False,
            write_statistics=False,
        )

    def __enter__(self) -> SignatureWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self._writer.close()

    def add(self, ids: Sequence[str], texts: Iterable[str]) -> None:
        """Sign these documents; GristmillError where an id is not a record_id."""
        rows = [signature_row(text, self._settings) for text in texts]
        self._writer.write_table(signature_table(ids, rows, self._settings))


def write_signatures(
    folder: Folder, name: str, ids: Sequence[str], texts: Iterable[str], settings: DedupSettings
) -> Entry:
    """Write the signatures of a split's documents, in the order given; see `SignatureWriter`."""

    def fill(file: IO[bytes]) -> int:
        with SignatureWriter(file, settings) as writer:
            writer.add(ids, texts)
        return len(ids)

    return folder.write(name, fill)


def signature_table(ids: Sequence[str], rows: Sequence[Signature], settings: DedupSettings) -> pa.Table:
    """Signatures as a table of `signature_schema`."""
    high, low = halves(ids)
    exact = np.frombuffer(b"".join(row.exact for row in rows), ">u8").astype(np.uint64).reshape(-1, 2)
    bands = np.array([row.bands for row in rows], np.uint64).reshape(-1, settings.bands)
    columns = [
        high,
        low,
        exact[:, 0],
        exact[:, 1],
        np.array([row.chars for row in rows], np.uint32),
        np.array([row.shingles for row in rows], np.uint32),
        *bands.T,
    ]
    return pa.table([pa.array(column) for column in columns], schema=signature_schema(settings.bands))


def signature_schema(bands: int) -> pa.Schema:
    """record_id and exact hash as two big-endian halves each, then sizes, then `band_00`, `band_01`, …"""
    return pa.schema(
        [
            ("id_high", pa.uint64()),
            ("id_low", pa.uint64()),
            ("exact_high", pa.uint64()),
            ("exact_low", pa.uint64()),
            ("chars", pa.uint32()),
            ("shingles", pa.uint32()),
            *((f"band_{band:02d}", pa.uint64()) for band in range(bands)),
        ]
    )


def fold_whitespace(text: str) -> str:
    """NFC, and one space for each run of whitespace: texts that agree in this are exact duplicates."""
    return " ".join(unicodedata.normalize("NFC", text).split())


def exact_hash(folded: str) -> bytes:
    """BLAKE2b, 128 bits: nobody can craft a page that takes another page's place."""
    return _exact(folded.encode("utf-8", "surrogatepass"))


def _folded(text: str) -> tuple[bytes, int]:
    """The UTF-8 of `fold_whitespace(text)`, and how many characters that has."""
    if kernels.native is not None and (known := kernels.native.fold_whitespace(text)):
        return known[0], known[1]
    folded = fold_whitespace(text)
    return folded.encode("utf-8", "surrogatepass"), len(folded)


def _exact(folded: bytes) -> bytes:
    return blake2b(folded, digest_size=16).digest()


def minima(shingles: Hashes, settings: DedupSettings) -> Hashes:
    """uint64 [bands * rows]: for each permutation, the least value over the shingles (Broder 1997).

    Equal to datatrove 0.10.1's `get_signature` for equal shingles, seed and shape.
    """
    a, b = permutations(settings.seed, settings.bands * settings.rows)
    least = np.full(a.size, MERSENNE, np.uint64)
    if kernels.native is not None:
        kernels.native.minima(np.ascontiguousarray(shingles), a, b, least)
        return least
    for start in range(0, shingles.size, _BLOCK):
        values = shingles[start : start + _BLOCK, None] * a + b
        values = (values & np.uint64(MERSENNE)) + (values >> np.uint64(61))
        np.subtract(values, np.uint64(MERSENNE), out=values, where=values >= MERSENNE)
        np.minimum(least, values.min(axis=0), out=least)
    return least


def band_keys(signature: Hashes, settings: DedupSettings) -> Hashes:
    """uint64 [bands]: the rows of each band hashed into one key."""
    if kernels.native is not None:
        return np.frombuffer(kernels.native.band_keys(np.ascontiguousarray(signature), settings.rows), np.uint64)
    rows = signature.reshape(settings.bands, settings.rows)
    keys = np.arange(1, settings.bands + 1, dtype=np.uint64)
    for row in range(settings.rows):
        keys = mix(keys ^ rows[:, row]) + np.uint64(row + 1)
    return keys


@lru_cache(8)
def permutations(seed: int, count: int) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint64]]:
    """The multipliers and the addends of `count` permutations, uint64 [count] each."""
    draw = np.random.RandomState(seed)
    a = draw.randint(1, MERSENNE, dtype=np.uint64, size=(1, count))[0]
    b = draw.randint(0, MERSENNE, dtype=np.uint64, size=(1, count))[0]
    return a, b
