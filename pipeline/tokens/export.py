"""Token shards to the `.bin` files of llm.c and the loaders that followed it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from pipeline.errors import GristmillError
from pipeline.store import Entry, Folder
from pipeline.tokens.contract import ShardHeader, TokenShard
from pipeline.tokens.parts import Part

# llm.c, llmc/dataloader.h: 256 int32 (magic, version, tokens, zeros), then the tokens; GPT-2's ids are
# uint16, Llama 3's uint32.
HEADER_INTS = 256
MAGIC_AND_VERSION = {"uint16": (20240520, 1), "uint32": (20240801, 7)}


def export_bin(dataset: str, out: str, part: Part = "train", file_tokens: int = 100_000_000) -> list[Entry]:
    """Write `out/train_000000.bin`, … (`val_` for validation) from a published dataset's token shards.

    The end-of-text token stands before each document, as llm.c's own data has it; a document may run on in
    the next file. Every file but the last holds exactly `file_tokens` tokens. Raises GristmillError where the
    dataset has no token shards of that part, or they were made with different tokenizers.
    """
    source, target = Folder(dataset), Folder(out)
    names = [
        name for name in source.names("tokens") if name.startswith(f"tokens/{part}-") and name.endswith(".parquet")
    ]
    if not names:
        raise GristmillError(f"no token shards of the {part} part", source.path("tokens"), "Give a published dataset.")
    if not 0 < file_tokens < 1 << 31:
        raise GristmillError(
            "a file's header counts up to 2^31 - 1 tokens", f"{file_tokens} tokens a file", "Ask for fewer."
        )
    header = _common_header(source, names)
    stream = _Stream(_pieces(source, names, header))
    label = "val" if part == "validation" else part
    entries: list[Entry] = []
    while stream.more():
        name = f"{label}_{len(entries):06d}.bin"
        entries.append(target.write(name, lambda file: _write(file, stream, header.dtype, file_tokens)))
    return entries


def _common_header(source: Folder, names: list[str]) -> ShardHeader:
    first: ShardHeader | None = None
    for name in names:
        with (
            source.open(name) as file,
            TokenShard.open(file, first.tokenizer_sha256 if first else None) as shard,
        ):
            first = first or shard.header
    assert first is not None
    return first


def _pieces(source: Folder, names: list[str], header: ShardHeader) -> Iterator[npt.NDArray[Any]]:
    """Flat tokens, a row group at a time, the end-of-text token before each document."""
    for name in names:
        with source.open(name) as file, TokenShard.open(file, header.tokenizer_sha256) as shard:
            for tokens, offsets in shard:
                yield np.insert(tokens, offsets[:-1], header.eot_id)


class _Stream:
    """A stream of arrays from which any number of tokens can be taken."""

    def __init__(self, pieces: Iterator[npt.NDArray[Any]]) -> None:
        self._pieces = pieces
        self._piece: npt.NDArray[Any] = np.empty(0, np.uint16)

    def more(self) -> bool:
        while not len(self._piece):
            piece = next(self._pieces, None)
            if piece is None:
                return False
            self._piece = piece
        return True

    def take(self, count: int) -> npt.NDArray[Any]:
        """The next tokens, at most `count` and at most what is left of the current array."""
        taken, self._piece = self._piece[:count], self._piece[count:]
        return taken


def _write(file: IO[bytes], stream: _Stream, dtype: str, file_tokens: int) -> int:
    header = np.zeros(HEADER_INTS, "<i4")
    file.write(header.tobytes())
    written = 0
    while written < file_tokens and stream.more():
        tokens = stream.take(file_tokens - written)
        file.write(tokens.astype(np.dtype(dtype).newbyteorder("<"), copy=False).tobytes())
        written += len(tokens)
    header[:2] = MAGIC_AND_VERSION[dtype]
    header[2] = written
    file.seek(0)
    file.write(header.tobytes())
    file.seek(0, 2)
    return 0
