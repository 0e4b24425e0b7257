"""Inspect: what a file holds and in which state it is, without running anything over it."""

from __future__ import annotations

import os
from typing import Any

from pipeline.errors import GristmillError
from pipeline.record import LOST
from pipeline.sources.inputs import files_at, stat
from pipeline.sources.read import open_split
from pipeline.sources.split import FileState, InputFile, Reading, Split

_WORST: tuple[FileState, ...] = ("complete", "truncated", "damaged", "not-an-archive")


def inspect(path: str | os.PathLike[str]) -> dict[str, Any]:
    """{"file", "state", "records": {type: n}, "lost": [[from, to], …], "reason"} of one file or URL.

    `lost` are byte ranges of the file; of an archive inside a WACZ, of that archive; of Parquet, of rows. Raises
    GristmillError only where there is no such file or it may not be read: whatever it holds is an answer.
    """
    place = os.fspath(path)
    size, content = stat(place, hashed=False)
    try:
        if size == 0:
            raise GristmillError("the file is empty")
        readings = [_read(file) for file, _ in files_at(place, os.path.basename(place), size, content)]
    except GristmillError as error:
        return _answer(place, [Reading(state="not-an-archive", reason=error.what)])
    return _answer(place, readings)


def _read(file: InputFile) -> Reading:
    reading = Reading()
    for _ in open_split(Split(file, 0, file.size), reading):
        pass
    return reading


def _answer(place: str, readings: list[Reading]) -> dict[str, Any]:
    records: dict[str, int] = {}
    for reading in readings:
        for kind, count in reading.records.items():
            if kind != LOST:
                records[kind] = records.get(kind, 0) + count
    return {
        "file": place,
        "state": max((reading.state for reading in readings), key=_WORST.index),
        "records": dict(sorted(records.items())),
        "lost": [list(stretch) for reading in readings for stretch in reading.lost],
        "reason": "; ".join(reading.reason for reading in readings if reading.reason),
    }
