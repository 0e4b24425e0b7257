"""How the work is cut: from the sizes of the sources and the memory of a task to units, chunks and buckets.

The cut decides how much lies in memory at once and never what comes out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property, lru_cache
from hashlib import blake2b
from typing import IO, Any

import numpy as np
import orjson

from pipeline.dedup.rows import Array, id_bucket, power_of_two
from pipeline.dedup.settings import DedupSettings
from pipeline.dedup.signatures import signature_schema
from pipeline.dedup.stage import Counts, Job
from pipeline.errors import GristmillError
from pipeline.store import Folder
from pipeline.store.parquet import open_parquet

# Bytes that a row costs at the peak of its stage, columns and what sorting and pairing make of them.
EXACT_ROW, PRINT_ROW, BAND_ROW, NODE_ROW = 160, 64, 400, 400
MEMBER_ROW = 2000  # a document that is compared: its pairs in every band
SHINGLE = 4


@dataclass(frozen=True)
class RefinedSplit:
    """A refined split: its documents (columns `id`, `text`, `url` at least) and their signatures.

    It is called by the last part of its folder's path, which must differ from split to split.
    """

    folder: Folder
    documents: str = "documents.parquet"
    signatures: str = "signatures.parquet"

    @property
    def name(self) -> str:
        return self.folder.url.rpartition("/")[2]


@dataclass(frozen=True)
class Source:
    """Where documents come from: a split of this crawl, or a part of an index (`age` below that of every split)."""

    url: str
    documents: str  # a file with `id` and `text`, or "" where the signatures hold the shingles themselves
    signatures: str
    name: str
    age: int
    label: str = ""  # of the earlier dataset
    rows: int = 0
    shingles: int = 0
    digest: str = ""  # of the signatures

    @property
    def folder(self) -> Folder:
        return Folder(self.url)


@dataclass(frozen=True)
class Plan:
    """The sources, grouped into units (read in one go) and chunks (whose shingles fit in memory together)."""

    settings: DedupSettings
    sources: tuple[Source, ...]
    units: tuple[tuple[int, ...], ...]
    chunk_base: tuple[int, ...]  # of each source: its first chunk
    chunk_parts: tuple[int, ...]  # of each source: a power of two, the chunks that its documents are spread over
    exact_buckets: int
    print_buckets: int  # for each band
    band_buckets: int  # for each band
    id_buckets: int

    @property
    def chunks(self) -> int:
        ends = (base + parts for base, parts in zip(self.chunk_base, self.chunk_parts, strict=True))
        return max(ends, default=1)

    @property
    def newest(self) -> int:
        """The age of this crawl's splits."""
        return max((source.age for source in self.sources), default=0)

    @property
    def documents(self) -> int:
        """Of this crawl."""
        return sum(source.rows for source in self.sources if not source.label)

    @cached_property
    def _arrays(self) -> tuple[Array, Array, Array]:
        ages = np.array([source.age for source in self.sources], np.int32)
        return np.array(self.chunk_base, np.uint32), np.array(self.chunk_parts, np.uint32), ages

    @property
    def read_rows(self) -> int:
        """Signatures to hold at a time while they are spread over buckets."""
        return min(1 << 17, max(1 << 10, self.settings.memory // (160 * (self.settings.bands + 4))))

    def chunk_of(self, source: Array, high: Array, low: Array) -> Array:
        """uint32 [n]: the chunk that each document is read in."""
        base, parts, _ = self._arrays
        chunks: Array = base[source] + id_bucket(low, high, 1 << 16) % parts[source]
        return chunks

    def age_of(self, source: Array) -> Array:
        """int32 [n]: the age of each document's source, smallest for the oldest dataset."""
        ages: Array = self._arrays[2][source]
        return ages

    def chunk_sources(self, chunk: int) -> list[int]:
        """The sources that have documents in a chunk."""
        base, parts, _ = self._arrays
        return np.flatnonzero((base <= chunk) & (chunk < base + parts)).tolist()

    def unit_of(self) -> Array:
        """uint32 [sources]: the unit of each source."""
        units = np.zeros(len(self.sources), np.uint32)
        for number, unit in enumerate(self.units):
            units[list(unit)] = number
        return units

    def save(self, scratch: Folder) -> None:
        scratch.write_json("plan.json", {**asdict(self), "settings": self.settings.model_dump()})


@lru_cache(2)
def _load(url: str, _digest: str) -> Plan:
    raw: dict[str, Any] = Folder(url).read_json("plan.json")
    raw["settings"] = DedupSettings(**raw["settings"])
    raw["sources"] = tuple(Source(**source) for source in raw["sources"])
    raw["units"] = tuple(map(tuple, raw["units"]))
    return Plan(**raw)


def load_plan(scratch: Folder) -> Plan:
    """The plan of this scratch folder, read once in a process."""
    return _load(scratch.url, scratch.url.rpartition("/")[2])


def survey(job: Job) -> Counts:
    """Count the documents and the shingles of some sources (`item`: their plain dicts)."""
    found = []
    for source in job.item["sources"]:
        folder = Folder(source["url"])
        if not folder.exists(source["signatures"]):
            raise GristmillError(
                "there are no signatures", folder.path(source["signatures"]), "Refine this split again."
            )
        with folder.open(source["signatures"]) as file:
            digest = source["digest"] or _digest(file)
            file.seek(0)
            parquet = open_parquet(file)
            _check_schema(parquet.schema_arrow, job.item["bands"], folder.path(source["signatures"]))
            batches = parquet.iter_batches(columns=["shingles"], use_threads=False)
            shingles = sum(int(np.asarray(batch.column(0), np.int64).sum()) for batch in batches)
            found.append({"rows": parquet.metadata.num_rows, "shingles": shingles, "digest": digest})
    return {"found": found}


def _digest(file: IO[bytes]) -> str:
    digest = blake2b(digest_size=32)
    while piece := file.read(1 << 20):
        digest.update(piece)
    return digest.hexdigest()


def _check_schema(schema: Any, bands: int, where: str) -> None:
    wanted = signature_schema(bands)
    if schema.names[: len(wanted)] != wanted.names or f"band_{bands:02d}" in schema.names:
        raise GristmillError(
            f"these are no signatures of {bands} bands",
            where,
            "Sign the documents with the settings of this run.",
        )


def run_key(settings: DedupSettings, sources: Sequence[Source]) -> str:
    """Names the work: the settings and the content of every source."""
    parts = [settings.model_dump(mode="json"), [[s.name, s.digest, s.label, s.age] for s in sources]]
    return blake2b(orjson.dumps(parts, option=orjson.OPT_SORT_KEYS), digest_size=8).hexdigest()


def make_plan(settings: DedupSettings, sources: Sequence[Source]) -> Plan:
    """Cut the work so that a task stays within `settings.memory`."""
    rows = sum(source.rows for source in sources)
    half = settings.memory / 2
    base, parts = _chunks(sources, settings.memory // 4)
    return Plan(
        settings=settings,
        sources=tuple(sources),
        units=_units(sources, settings.memory // (8 * 40 * max(1, settings.bands))),
        chunk_base=base,
        chunk_parts=parts,
        exact_buckets=power_of_two(rows * EXACT_ROW / half),
        print_buckets=power_of_two(rows * PRINT_ROW / half),
        band_buckets=power_of_two(rows * BAND_ROW / half),
        id_buckets=power_of_two(rows * NODE_ROW / half),
    )


def _units(sources: Sequence[Source], rows: int) -> tuple[tuple[int, ...], ...]:
    """Consecutive sources of together at most `rows` documents; a larger source is a unit of its own."""
    units: list[list[int]] = [[]]
    held = 0
    for number, source in enumerate(sources):
        if units[-1] and held + source.rows > rows:
            units.append([])
            held = 0
        units[-1].append(number)
        held += source.rows
    return tuple(map(tuple, units))


def _chunks(sources: Sequence[Source], limit: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Base and parts of each source: consecutive small sources share a chunk, a large one is spread over several."""
    base, parts = [], []
    chunk, held = 0, 0
    for source in sources:
        size = source.rows * MEMBER_ROW + source.shingles * SHINGLE
        if held and held + size > limit:
            chunk, held = chunk + 1, 0
        base.append(chunk)
        parts.append(power_of_two(size / limit))
        if parts[-1] > 1:
            chunk, held = chunk + parts[-1], 0
        else:
            held += size
    return tuple(base), tuple(parts)
