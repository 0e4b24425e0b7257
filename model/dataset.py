"""TokenDataset: the token shards of one part of a published dataset, checked against its manifest."""

from __future__ import annotations

import hashlib
import json
from functools import cached_property
from typing import Literal, NamedTuple

import numpy as np

from pipeline.errors import GristmillError
from pipeline.store import Entry, Folder, Manifest
from pipeline.tokens.contract import RowGroup, ShardHeader, TokenShard

Part = Literal["train", "validation"]


class Group(NamedTuple):
    """A row group: where it lies and what it holds."""

    shard: str
    index: int
    documents: int
    tokens: int


class TokenDataset:
    """A published dataset opened for training.

    Raises GristmillError where it is no published dataset, has no such part, a shard is missing or not the one
    that was published, or shards were made with different tokenizers.
    """

    def __init__(self, path: str, part: Part = "train", checksums: bool = True) -> None:
        self.folder, self.path, self.part = Folder(path), path, part
        manifest = Manifest.read(self.folder)
        if manifest is None:
            what = "no published dataset: it has no manifest.json"
            raise GristmillError(what, path, "Give the --out folder of a finished `gristmill run`.")
        self._manifest = manifest
        names = [name for name in sorted(manifest.entries) if name.startswith(f"tokens/{part}-")]
        if not names:
            todo = "Publish with --set publish.validation_share=0.01." if part == "validation" else ""
            raise GristmillError(f"the dataset has no {part} token shards", path, todo)
        headers = {name: self._header(manifest.entries[name], checksums) for name in names}
        self.header = next(iter(headers.values()))
        for name, header in headers.items():
            if header.tokenizer_sha256 != self.header.tokenizer_sha256:
                what = "made with another tokenizer than the shards before it"
                raise GristmillError(what, f"{path}/{name}", "Publish the dataset again.")
        self.groups = [
            Group(name, index, documents, tokens)
            for name, header in headers.items()
            for index, (documents, tokens) in enumerate(header.row_groups)
            if documents
        ]
        if not sum(group.tokens for group in self.groups):
            raise GristmillError(f"its {part} token shards hold no token", path, "Publish a dataset with documents.")

    @property
    def tokens(self) -> int:
        return sum(group.tokens for group in self.groups)

    @property
    def documents(self) -> int:
        return sum(group.documents for group in self.groups)

    @cached_property
    def sha256(self) -> str:
        """What identifies the tokens: the shards' names and checksums."""
        shards = [[name, entry.sha256] for name, entry in sorted(self._manifest.entries.items()) if self._is_mine(name)]
        return hashlib.sha256(json.dumps(shards).encode()).hexdigest()

    @cached_property
    def tokenizer_json(self) -> bytes:
        """The published tokenizer, its hash checked against the shards'."""
        name = "tokenizer/tokenizer.json"
        if not self.folder.exists(name):
            raise GristmillError("the dataset's tokenizer is missing", f"{self.path}/{name}", "Fetch the file again.")
        data = self.folder.read(name)
        if hashlib.sha256(data).hexdigest() != self.header.tokenizer_sha256:
            what = f"not the tokenizer that made the shards ({self.header.tokenizer_sha256[:12]}…)"
            raise GristmillError(what, f"{self.path}/{name}", "Fetch the file again, or publish the dataset again.")
        return data

    def tokenizer_files(self) -> dict[str, bytes]:
        """Every file of the tokenizer folder, by name without the folder."""
        files = {name.removeprefix("tokenizer/"): self.folder.read(name) for name in self.folder.names("tokenizer")}
        return {**files, "tokenizer.json": self.tokenizer_json}

    def read(self, group: Group) -> RowGroup:
        with self.folder.open(group.shard) as file, TokenShard.open(file, self.header.tokenizer_sha256) as shard:
            found = shard.read(group.index)
            # Both are views of what the closed file decoded; they own their memory through Arrow.
            return RowGroup(found.tokens, found.offsets.astype(np.int64))

    def ids(self, group: Group) -> list[str]:
        """The record_id of each document of a row group."""
        with self.folder.open(group.shard) as file, TokenShard.open(file) as shard:
            return [str(value) for value in shard.columns(group.index, ["id"])["id"].to_pylist()]

    def _is_mine(self, name: str) -> bool:
        return name.startswith(f"tokens/{self.part}-")

    def _header(self, entry: Entry, checksums: bool) -> ShardHeader:
        """The shard's own facts, once it is the file of the manifest: there, of its size, and of its checksum."""
        where = f"{self.path}/{entry.name}"
        todo = "Fetch the file again, or run `gristmill verify` on the dataset and rebuild what it names."
        if not self.folder.exists(entry.name):
            raise GristmillError("the manifest names this token shard, but it is missing", where, todo)
        digest, size = hashlib.sha256(), 0
        with self.folder.open(entry.name) as file:
            if checksums:
                while chunk := file.read(1 << 20):
                    digest.update(chunk)
                    size += len(chunk)
            else:
                size = file.seek(0, 2)
            if size != entry.bytes:
                raise GristmillError(f"the shard has {size} bytes, the manifest says {entry.bytes}", where, todo)
            if checksums and digest.hexdigest() != entry.sha256:
                raise GristmillError("the shard's SHA-256 is not the manifest's: it was changed", where, todo)
            file.seek(0)
            with TokenShard.open(file) as shard:
                return shard.header
