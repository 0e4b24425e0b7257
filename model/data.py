"""Loader: global batches of rows from published datasets, the same on any number of ranks, resumed to the row.

The order of rows is a pure function of (shards, seed, sequence length, packing, weights). Every rank walks the same
stream and packs it the same; it fills only its own rows. So a run may go on with another number of ranks, and any
batch can be made again from its state.
"""

from __future__ import annotations

import hashlib
import json
import queue
import threading
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from model.dataset import Group, Part, TokenDataset
from model.packing import Packing, Window
from pipeline.errors import GristmillError

# Best-fit needs some thousand documents to choose from: 0.05 % padding at 4,000 of about 1,000 tokens.
WINDOW_TOKENS = 1 << 22
STATE_VERSION = 1


class Source(NamedTuple):
    """A published dataset and its share of the tokens trained on, relative to the other sources' weights."""

    path: str
    weight: float = 1.0

    @classmethod
    def parse(cls, text: str) -> Source:
        """`path` or `path=weight`."""
        path, equals, weight = text.rpartition("=")
        if not equals:
            return cls(text)
        try:
            value = float(weight)
        except ValueError:
            return cls(text)  # the = belongs to the path
        if not value > 0:
            raise GristmillError(f"the weight {weight} is not positive", f"--data {text}", "Leave the dataset out.")
        return cls(path, value)


@dataclass
class Position:
    """Where a stream over one dataset stands, and what was taken from it."""

    epoch: int = 0
    window: int = 0
    row: int = 0
    tokens: int = 0  # targets handed out so far


class Origin(NamedTuple):
    """Where a row of a batch came from: `Loader.documents` tells its documents."""

    source: int
    epoch: int
    window: int
    row: int


@dataclass(frozen=True)
class Batch:
    """This rank's rows of one global batch. `targets` is -100 where there is nothing to predict."""

    inputs: Tensor  # (rows, T) int64
    targets: Tensor  # (rows, T) int64
    doc_ids: Tensor  # (rows, T) int64
    origins: list[Origin]
    tokens: int  # targets in the global batch, over all ranks


class RowStream:
    """The endless rows of one dataset: epochs of shuffled row groups, windows of packed and shuffled rows."""

    def __init__(self, dataset: TokenDataset, seq_len: int, seed: int, packing: Packing = "bestfit") -> None:
        self.dataset, self.seq_len, self.seed, self.packing = dataset, seq_len, seed, packing
        self.position = Position()
        self._plans: dict[int, list[list[Group]]] = {}
        self._window: tuple[tuple[int, int], Window] | None = None

    def take(self) -> tuple[Window, int]:
        """The next row: its window, and its index there."""
        at = self.position
        while at.row >= len(window := self.window(at.epoch, at.window)):
            at.row, at.window = 0, at.window + 1
            if at.window >= len(self.plan(at.epoch)):
                at.window, at.epoch = 0, at.epoch + 1
        at.row += 1
        at.tokens += window.slots(at.row - 1)
        return window, at.row - 1

    def plan(self, epoch: int) -> list[list[Group]]:
        """The epoch's windows: row groups in an order drawn by (seed, epoch), joined until a window is full."""
        if epoch not in self._plans:
            windows: list[list[Group]] = [[]]
            size = 0
            for index in permutation(len(self.dataset.groups), self.seed, epoch):
                group = self.dataset.groups[index]
                if size >= WINDOW_TOKENS:
                    windows.append([])
                    size = 0
                windows[-1].append(group)
                size += group.tokens
            self._plans = {epoch: windows}
        return self._plans[epoch]

    def window(self, epoch: int, index: int) -> Window:
        if self._window is None or self._window[0] != (epoch, index):
            groups = [self.dataset.read(group) for group in self.plan(epoch)[index]]
            tokens = np.concatenate([group.tokens for group in groups])
            lengths = np.concatenate([np.diff(group.offsets) for group in groups])
            offsets = np.concatenate([[0], np.cumsum(lengths)])
            window = Window(
                tokens,
                offsets,
                self.dataset.header.eot_id,
                self.seq_len,
                self.packing,
                lambda rows: permutation(rows, self.seed, epoch, index + 1),
            )
            self._window = (epoch, index), window
        return self._window[1]

    def documents(self, origin: Origin) -> list[str]:
        """The record_id of every document in a row."""
        ids = [name for group in self.plan(origin.epoch)[origin.window] for name in self.dataset.ids(group)]
        pieces = self.window(origin.epoch, origin.window).rows[origin.row]
        return [ids[piece.document] for piece in pieces]


@dataclass
class Loader:
    """An endless iterator of batches over weighted sources.

    `batch_rows` is the global batch; rank r of `world` gets its rows r, r + world, …. Weights count tokens: each row
    comes from the source that is furthest behind its share. `state_dict` is what to save after a step.

    Raises GristmillError where a dataset is not fit to be read (see TokenDataset), sources differ in tokenizer, or
    the batch cannot be shared evenly.
    """

    sources: list[Source]
    seq_len: int
    batch_rows: int
    seed: int = 0
    packing: Packing = "bestfit"
    part: Part = "train"
    rank: int = 0
    world: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    prefetch: int = 4  # batches made ahead by a thread
    checksums: bool = True

    def __post_init__(self) -> None:
        if self.batch_rows % self.world:
            what = f"a batch of {self.batch_rows} rows cannot be shared evenly by {self.world} processes"
            raise GristmillError(what, "batch", "Choose a batch that the number of processes divides.")
        # Whoever shares the storage need not all read every byte of it.
        datasets = [TokenDataset(source.path, self.part, self.checksums and self.rank == 0) for source in self.sources]
        self.header = datasets[0].header
        for source, dataset in zip(self.sources, datasets, strict=True):
            if dataset.header.tokenizer_sha256 != self.header.tokenizer_sha256:
                what = f"made with another tokenizer than {self.sources[0].path}"
                raise GristmillError(what, source.path, "Tokenize the datasets of a mixture with one tokenizer.")
        self.datasets = datasets
        self.streams = [
            RowStream(dataset, self.seq_len, self.seed + number, self.packing)
            for number, dataset in enumerate(datasets)
        ]
        total = sum(source.weight for source in self.sources)
        self._shares = [source.weight / total for source in self.sources]
        self._state = self._snapshot()

    @property
    def tokens(self) -> int:
        """Tokens in one epoch of every source."""
        return sum(dataset.tokens for dataset in self.datasets)

    def require(self, vocab_size: int, max_seq_len: int, tokenizer_sha256: str = "") -> None:
        """Refuse a model that these tokens do not fit: too small a vocabulary, too short a context, another tokenizer."""
        where = self.sources[0].path
        if self.header.vocab_size > vocab_size:
            what = f"the tokens' vocabulary of {self.header.vocab_size} is larger than the model's of {vocab_size}"
            raise GristmillError(what, where, "Give a dataset made with the model's tokenizer.")
        if self.seq_len > max_seq_len:
            what = f"rows of {self.seq_len} tokens are longer than the model's context of {max_seq_len}"
            raise GristmillError(what, where, "Choose a smaller --seq-len or a model with a longer context.")
        if tokenizer_sha256 and tokenizer_sha256 != self.header.tokenizer_sha256:
            what = (
                f"made with the tokenizer {self.header.tokenizer_sha256[:12]}…, the model's is {tokenizer_sha256[:12]}…"
            )
            raise GristmillError(what, where, "Give a dataset made with the model's tokenizer.")

    def __iter__(self) -> Iterator[Batch]:
        """Batches on `device`, made ahead by a thread; `state_dict` follows the batches handed out."""
        made: queue.Queue[tuple[Batch, dict[str, Any]] | BaseException] = queue.Queue(maxsize=self.prefetch)
        stop = threading.Event()
        thread = threading.Thread(target=self._produce, args=(made, stop), name="loader", daemon=True)
        thread.start()
        try:
            while True:
                item = made.get()
                if isinstance(item, BaseException):
                    raise item
                batch, self._state = item
                yield batch
        finally:
            stop.set()
            while thread.is_alive():
                _drain(made)
                thread.join(0.01)
            self._restore(self._state)  # what was made ahead was never handed out

    def _produce(self, made: queue.Queue[Any], stop: threading.Event) -> None:
        try:
            while not stop.is_set():
                batch = self._next()
                made.put((batch, self._snapshot()))
        except BaseException as error:  # told to who asks for the next batch
            made.put(error)

    def _next(self) -> Batch:
        rows = self.batch_rows // self.world
        block = torch.empty((3, rows, self.seq_len), dtype=torch.int32, pin_memory=self.device.type == "cuda")
        array = block.numpy()
        origins: list[Origin] = []
        tokens = 0
        for index in range(self.batch_rows):
            number = self._most_behind()
            stream = self.streams[number]
            window, row = stream.take()
            tokens += window.slots(row)
            if index % self.world == self.rank:
                window.fill(row, *array[:, len(origins)])
                origins.append(Origin(number, stream.position.epoch, stream.position.window, row))
        inputs, targets, doc_ids = block.to(self.device, non_blocking=True).long()
        return Batch(inputs, targets, doc_ids, origins, tokens)

    def _most_behind(self) -> int:
        taken = [stream.position.tokens for stream in self.streams]
        total = sum(taken) + self.seq_len
        return max(range(len(taken)), key=lambda index: (self._shares[index] * total - taken[index], -index))

    def shares(self) -> dict[str, float]:
        """Each source's share of the tokens handed out so far, by path."""
        taken = [position["tokens"] for position in self._state["positions"]]
        return {source.path: count / max(sum(taken), 1) for source, count in zip(self.sources, taken, strict=True)}

    def epochs(self) -> dict[str, float]:
        """How often each source was gone through, by path."""
        taken = [position["tokens"] for position in self._state["positions"]]
        return {
            source.path: count / (dataset.tokens + dataset.documents)
            for source, dataset, count in zip(self.sources, self.datasets, taken, strict=True)
        }

    def documents(self, batch: Batch) -> list[list[str]]:
        """The record_id of every document in each row of a batch. Reads the shards again."""
        fresh = [RowStream(stream.dataset, self.seq_len, stream.seed, self.packing) for stream in self.streams]
        return [fresh[origin.source].documents(origin) for origin in batch.origins]

    def fingerprint(self) -> dict[str, Any]:
        """All that decides the order of rows, by name; the ranks are not among it."""
        return {
            "version": STATE_VERSION,
            "shards": [dataset.sha256 for dataset in self.datasets],
            "weights": [round(share, 12) for share in self._shares],
            "seq_len": self.seq_len,
            "seed": self.seed,
            "packing": self.packing,
            "part": self.part,
            "window_tokens": WINDOW_TOKENS,
        }

    def state_dict(self) -> dict[str, Any]:
        """Where the stream stands behind the last batch handed out. JSON."""
        return json.loads(json.dumps(self._state))

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where `state` was taken, on any number of ranks.

        Raises GristmillError where the order of rows is another than it was, and says what changed.
        """
        mine, theirs = self.fingerprint(), state["fingerprint"]
        changed = [name for name in mine if mine[name] != theirs.get(name)]
        if changed:
            told = "; ".join(f"{name}: {theirs.get(name)} then, {mine[name]} now" for name in changed)
            todo = "Resume with the same data and settings, or start a new run from the weights (--init)."
            raise GristmillError(f"the data is not what this run was trained on so far ({told})", "checkpoint", todo)
        self._restore(state)

    def _snapshot(self) -> dict[str, Any]:
        return {"fingerprint": self.fingerprint(), "positions": [asdict(stream.position) for stream in self.streams]}

    def _restore(self, state: dict[str, Any]) -> None:
        self._state = state
        for stream, position in zip(self.streams, state["positions"], strict=True):
            stream.position = Position(**position)


def all_rows(dataset: TokenDataset, seq_len: int, limit: int = 0) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Every row of a dataset once (or the first `limit`), as (T,) int64 inputs, targets, doc_ids: for validation."""
    stream = RowStream(dataset, seq_len, seed=0)
    taken = 0
    for index in range(len(stream.plan(0))):
        window = stream.window(0, index)
        for row in range(len(window)):
            if limit and taken == limit:
                return
            block = np.empty((3, seq_len), np.int64)
            window.fill(row, *block)
            inputs, targets, doc_ids = torch.from_numpy(block)
            yield inputs, targets, doc_ids
            taken += 1


def permutation(size: int, *key: int) -> list[int]:
    """0 to `size` - 1 in an order drawn by `key`; from raw bits, whose stream numpy promises to keep."""
    bits = np.random.PCG64(np.random.SeedSequence(key)).random_raw(size)
    return [int(index) for index in np.argsort(bits, kind="stable")]


def batch_sha256(batch: Batch) -> str:
    """What identifies a batch's content."""
    return hashlib.sha256(torch.stack([batch.inputs, batch.targets]).cpu().numpy().tobytes()).hexdigest()


def _drain(items: queue.Queue[Any]) -> None:
    try:
        while True:
            items.get_nowait()
    except queue.Empty:
        return
