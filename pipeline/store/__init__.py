"""Files that are there whole or not at all.

A file is written under a temporary name, synced and renamed; then its manifest entry (rows, bytes, SHA-256) is
written. What has no entry does not exist.

- `files.py`     Folder: the same few verbs on a local folder and on any fsspec URL
- `parquet.py`   open_parquet: Parquet, read by the calling thread alone
- `manifest.py`  Manifest: what a folder holds, and the check of every checksum

May be imported from here: `Folder`, `Entry`, `Manifest`.
"""

from pipeline.store.files import Entry, Folder
from pipeline.store.manifest import Manifest

__all__ = ["Entry", "Folder", "Manifest"]
