"""record_id as numbers: 32 hex digits are two uint64 halves, high first, so that they sort as their texts do."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from pipeline.errors import GristmillError

Half = npt.NDArray[np.uint64]


def halves(ids: Sequence[str]) -> tuple[Half, Half]:
    """The high and the low halves of record_ids.

    Raises GristmillError where one is not 32 lower-case hex digits.
    """
    try:
        raw = bytes.fromhex("".join(ids))
        if len(raw) != 16 * len(ids) or any(len(one) != 32 for one in ids):
            raise ValueError
    except ValueError as error:
        wrong = next((one for one in ids if not _is_id(one)), "")
        raise GristmillError(
            f"{wrong!r} is no record_id (32 lower-case hex digits)",
            todo="Make ids with pipeline.record.record_id.",
        ) from error
    pairs = np.frombuffer(raw, ">u8").astype(np.uint64).reshape(-1, 2)
    return np.ascontiguousarray(pairs[:, 0]), np.ascontiguousarray(pairs[:, 1])


def texts(high: Half, low: Half) -> list[str]:
    """The record_ids of these halves."""
    raw = np.stack([high, low], axis=1).astype(">u8").tobytes().hex()
    return [raw[at : at + 32] for at in range(0, len(raw), 32)]


def _is_id(text: str) -> bool:
    return len(text) == 32 and set(text) <= set("0123456789abcdef")
