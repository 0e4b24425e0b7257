"""Take what was damaged on disk out of a dataset, so that the next run makes it again, byte for byte."""

from __future__ import annotations

from pipeline.store import Entry, Folder, Manifest

_UNITS = ("shards", "ledgers", "tokenizer")  # of the work folder: each holds units whose files are published


def discard(out: Folder, work: Folder) -> list[str]:
    """Remove each published file that is not what the manifest says, and the unit of work that made it.

    A published file may be one with its file in the work folder (a hard link), so that a damage shows in both. Returns
    the names of the files, sorted. Files that a run writes anew each time (README.md, recipe.yaml) need no unit.
    """
    manifest = Manifest.read(out)
    if manifest is None:
        return []
    damaged = [entry for entry in manifest.entries.values() if Manifest(entries={entry.name: entry}).faults(out)]
    for entry in damaged:
        for unit in _makers(work, entry):
            work.remove(unit)
        out.remove(entry.name)
    return sorted(entry.name for entry in damaged)


def _makers(work: Folder, entry: Entry) -> list[str]:
    """The units of work that hold this very file."""
    units = [name.removesuffix("/manifest.json") for kind in _UNITS for name in work.names(kind) if _is_unit(name)]
    found = []
    for unit in units:
        manifest = Manifest.read(work.sub(unit))
        if manifest is not None and manifest.entries.get(entry.name) == entry:
            found.append(unit)
    return found


def _is_unit(name: str) -> bool:
    return name.endswith("/manifest.json") and name.count("/") == 2
