"""record_id as numbers: 32 hex digits are two uint64 halves, high first, so that they sort as their texts do."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.errors import GristmillError

Half = npt.NDArray[np.uint64]


def halves(ids: Sequence[str] | pa.Array | pa.ChunkedArray) -> tuple[Half, Half]:
    """The high and the low halves of record_ids.

    Raises GristmillError where one is not 32 lower-case hex digits.
    """
    column = ids if isinstance(ids, pa.Array | pa.ChunkedArray) else pa.array(ids, pa.string())
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
    try:
        digits = _digits(column)
        pairs = np.frombuffer(bytes.fromhex(digits.tobytes().decode("ascii")), ">u8").astype(np.uint64).reshape(-1, 2)
        if len(pairs) != len(column) or ((digits >= ord("A")) & (digits <= ord("F"))).any():
            raise ValueError
    except ValueError as error:  # pyarrow's is one too
        fits = pc.fill_null(pc.match_substring_regex(column, "^[0-9a-f]{32}$"), False)
        raise GristmillError(
            f"{column.filter(pc.invert(fits))[0].as_py()!r} is no record_id (32 lower-case hex digits)",
            todo="Make ids with pipeline.record.record_id.",
        ) from error
    return np.ascontiguousarray(pairs[:, 0]), np.ascontiguousarray(pairs[:, 1])


def texts(high: Half, low: Half) -> list[str]:
    """The record_ids of these halves."""
    raw = np.stack([high, low], axis=1).astype(">u8").tobytes().hex()
    return [raw[at : at + 32] for at in range(0, len(raw), 32)]


def _digits(column: pa.Array) -> npt.NDArray[np.uint8]:
    """All characters of these strings, which must be 32 bytes each."""
    fixed = column.cast(pa.binary()).cast(pa.binary(32))
    if fixed.null_count:
        raise ValueError
    return np.frombuffer(fixed.buffers()[1] or b"", np.uint8)[fixed.offset * 32 :][: len(fixed) * 32]
