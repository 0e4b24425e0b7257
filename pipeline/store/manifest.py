"""Manifest: what a folder holds. What has no entry here does not exist."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Any

from pipeline.errors import GristmillError
from pipeline.store.files import Entry, Folder

NAME = "manifest.json"


@dataclass
class Manifest:
    """The entries of a folder and whatever else is said of it (`about`)."""

    about: dict[str, Any] = field(default_factory=dict)
    entries: dict[str, Entry] = field(default_factory=dict)

    def add(self, entry: Entry) -> None:
        self.entries[entry.name] = entry

    def write(self, folder: Folder, name: str = NAME) -> Entry:
        """Write the manifest, last of all: with it the folder's files come into being."""
        files = [entry._asdict() for _, entry in sorted(self.entries.items())]
        return folder.write_json(name, {**self.about, "files": files})

    @classmethod
    def read(cls, folder: Folder, name: str = NAME) -> Manifest | None:
        """The folder's manifest, None where there is none.

        Raises GristmillError where the file is there but is no manifest.
        """
        if not folder.exists(name):
            return None
        try:
            about = folder.read_json(name)
            entries = {file["name"]: Entry(**file) for file in about.pop("files")}
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise GristmillError(
                f"this is no manifest ({error})", where=folder.path(name), todo="Restore the file or remove the folder."
            ) from error
        return cls(about, entries)

    def faults(self, folder: Folder) -> list[str]:
        """What does not agree with this manifest: files that are missing, of another size or another checksum."""
        return [fault for entry in self.entries.values() if (fault := _fault(folder, entry))]


def _fault(folder: Folder, entry: Entry) -> str | None:
    if not folder.exists(entry.name):
        return f"{entry.name}: missing"
    digest, size = hashlib.sha256(), 0
    with folder.open(entry.name) as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
            size += len(chunk)
    if size != entry.bytes:
        return f"{entry.name}: {size} bytes, the manifest says {entry.bytes}"
    if digest.hexdigest() != entry.sha256:
        return f"{entry.name}: its SHA-256 is not the manifest's"
    return None
