"""The unit of refine work, and the account that reading it leaves behind."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

FileState = Literal["complete", "truncated", "damaged", "not-an-archive"]


@dataclass(frozen=True, slots=True)
class InputFile:
    """One file of the input.

    `name` is published (record_id, `file_path`): from `crawl-data/` on where the path has that, else the base
    name, with as many parent folders in front as it takes to tell it from the run's other inputs. `url` is where
    it lies for this run and is never published. `content` identifies the bytes: "sha256:…" of a local file,
    "etag:…" of a remote one.
    """

    name: str
    url: str
    size: int
    format: Literal["warc", "wacz", "jsonl", "parquet", "html"]  # warc: WARC, WET and ARC in any compression
    content: str
    dump: str = ""  # crawl, e.g. CC-MAIN-2026-43, where the path says it


@dataclass(frozen=True, slots=True)
class Split:
    """The records of `file` that start in [start, end), in bytes as stored; the whole file where it cannot be cut."""

    file: InputFile
    start: int
    end: int

    @property
    def name(self) -> str:
        """How a split is called in logs and run names."""
        whole = self.start == 0 and self.end >= self.file.size
        return self.file.name if whole else f"{self.file.name}@{self.start}-{self.end}"


@dataclass(slots=True)
class Reading:
    """What reading a split came to; filled while its pages are drawn, final when they are exhausted.

    The records and the lost stretches of a split tile [begin, stop) without gap or overlap. `begin` is where the
    first record that starts in the split begins (with a lost stretch in front of it, where that begins), `stop`
    where the last one ends, so one split's `stop` is the next one's `begin`.
    """

    begin: int = 0
    stop: int = 0
    state: FileState = "complete"
    records: dict[str, int] = field(default_factory=dict)  # by record type
    lost: list[tuple[int, int]] = field(default_factory=list)  # byte ranges [from, to)
    reason: str = ""  # why the state is not "complete"
