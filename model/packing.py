"""Documents to rows of T slots, each slot an input and the target that follows it in its document.

A document of n tokens takes n + 1 slots: the end-of-text token predicts its first token, its last predicts
end-of-text. A piece cut at a row's end goes on in another row with the next input, so every token is a target
once and no slot asks what follows across two documents.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Packing = Literal["bestfit", "concat", "bestfit_crop"]

IGNORED = -100  # the target of a padding slot, as torch's cross_entropy knows it


class Piece(NamedTuple):
    """Slots `start` to `start + length` of a window's documents, which belong to its document number `document`."""

    document: int
    start: int
    length: int


class Window:
    """Some documents and the rows that they are packed into.

    `tokens` and `offsets` as a token shard's RowGroup has them; `order` permutes the finished rows.
    """

    def __init__(
        self, tokens: npt.NDArray[Any], offsets: Ints, eot: int, seq_len: int, packing: Packing, order: _Order
    ) -> None:
        self.inputs = np.insert(tokens, offsets[:-1], eot)
        self.targets = np.insert(tokens, offsets[1:], eot)
        self.eot, self.seq_len = eot, seq_len
        ends = offsets + np.arange(len(offsets))  # in slots: one more a document
        rows = PACKERS[packing](ends, seq_len)
        self.rows: list[list[Piece]] = [rows[index] for index in order(len(rows))]

    def __len__(self) -> int:
        return len(self.rows)

    def slots(self, row: int) -> int:
        """How many of the row's T slots hold a target."""
        return sum(piece.length for piece in self.rows[row])

    def fill(self, row: int, inputs: npt.NDArray[Any], targets: npt.NDArray[Any], documents: npt.NDArray[Any]) -> None:
        """Write row `row` into three arrays (T,); documents are numbered from 0 within the row, padding is the last."""
        at = 0
        for number, (_, start, length) in enumerate(self.rows[row]):
            inputs[at : at + length] = self.inputs[start : start + length]
            targets[at : at + length] = self.targets[start : start + length]
            documents[at : at + length] = number
            at += length
        inputs[at:], targets[at:], documents[at:] = self.eot, IGNORED, len(self.rows[row])


def best_fit(ends: Ints, seq_len: int) -> list[list[Piece]]:
    """Best-fit decreasing: each piece, longest first, into the row with the least space that holds it.

    Longer documents are cut into whole rows and a rest; nothing is lost (Ding et al. 2024, arXiv 2404.10830,
    whose segment tree two sorted containers replace).
    """
    rows: list[list[Piece]] = []
    open_rows: dict[int, list[int]] = {}  # space left -> rows
    spaces: list[int] = []  # the keys of open_rows, ascending
    for piece in sorted(_pieces(ends, seq_len), key=lambda piece: -piece.length):
        at = bisect_left(spaces, piece.length)
        if at < len(spaces):
            space = spaces[at]
            row = open_rows[space].pop()
            if not open_rows[space]:
                del open_rows[space], spaces[at]
        else:
            space, row = seq_len, len(rows)
            rows.append([])
        rows[row].append(piece)
        if left := space - piece.length:
            if left not in open_rows:
                insort(spaces, left)
                open_rows[left] = []
            open_rows[left].append(row)
    return rows


def concatenate(ends: Ints, seq_len: int) -> list[list[Piece]]:
    """One document after the other, cut every T slots: nanoGPT's rows, but for the true targets at their ends."""
    rows: list[list[Piece]] = []
    space = 0
    for document, (start, end) in enumerate(zip(ends[:-1].tolist(), ends[1:].tolist(), strict=True)):
        while start < end:
            if not space:
                rows.append([])
                space = seq_len
            length = min(space, end - start)
            rows[-1].append(Piece(document, start, length))
            start, space = start + length, space - length
    return rows


def best_fit_crop(ends: Ints, seq_len: int) -> list[list[Piece]]:
    """Rows that start with a document and hold no padding, as nanochat packs: largest that fits, else crop the shortest.

    Loses 24 to 40 % of the tokens; for reproductions. The window's last row may be padded.
    """
    lengths = np.diff(ends)
    pool = sorted(zip(lengths.tolist(), range(len(lengths)), strict=True))
    rows: list[list[Piece]] = []
    while pool:
        row: list[Piece] = []
        space = seq_len
        while space and pool:
            at = bisect_left(pool, (space + 1, -1)) - 1
            length, document = pool.pop(max(at, 0))
            row.append(Piece(document, int(ends[document]), min(length, space)))
            space -= row[-1].length
        rows.append(row)
    return rows


def _pieces(ends: Ints, seq_len: int) -> list[Piece]:
    return [
        Piece(document, at, min(seq_len, end - at))
        for document, (start, end) in enumerate(zip(ends[:-1].tolist(), ends[1:].tolist(), strict=True))
        for at in range(start, end, seq_len)
    ]


_Order = Callable[[int], Sequence[int]]
PACKERS: dict[str, Callable[[Ints, int], list[list[Piece]]]] = {
    "bestfit": best_fit,
    "concat": concatenate,
    "bestfit_crop": best_fit_crop,
}
