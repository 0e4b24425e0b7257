"""Folder: all-or-nothing files, local or on any fsspec URL."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import io
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, NamedTuple

import fsspec
import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.errors import GristmillError
from pipeline.store.parquet import open_parquet

_CHUNK = 1 << 20


class Entry(NamedTuple):
    """What a manifest says of one file."""

    name: str  # relative to the folder, with forward slashes
    rows: int  # of a Parquet file or JSON lines, else 0
    bytes: int
    sha256: str


class Draft:
    """A file in the making: write to `file`, then `commit`, or `keep` where no manifest is to name it."""

    def __init__(self, name: str, file: IO[bytes], place: Callable[[], None]) -> None:
        self.name, self.file, self._place = name, file, place

    def commit(self, rows: int = 0) -> Entry:
        """Sync the file, put it in place, and say what it is."""
        entry = Entry(self.name, rows, self.file.tell(), _sha256(self.file))
        self.keep()
        return entry

    def keep(self) -> None:
        """Sync the file and put it in place."""
        self.file.flush()
        os.fsync(self.file.fileno())
        self._place()


class Folder:
    """A folder by path or URL (`/data/ds`, `s3://bucket/ds`).

    Writing goes to a local temporary file first. On a local folder that file lies beside the target and is synced
    and renamed; elsewhere it is uploaded whole, which object stores make visible at once or not at all.
    """

    def __init__(self, url: str | os.PathLike[str]) -> None:
        text = str(url)
        self.is_local = "://" not in text or text.startswith("file://")
        if self.is_local:
            self.root = str(Path(text.removeprefix("file://")).absolute())
            self._fs: Any = None
        else:
            # Other processes write here too, so a remembered listing would hide their files.
            self._fs, self.root = fsspec.core.url_to_fs(text, use_listings_cache=False)
        self.url = self.root if self.is_local else text.rstrip("/")

    def __repr__(self) -> str:
        return f"Folder({self.url!r})"

    def sub(self, name: str) -> Folder:
        """The folder `name` inside this one."""
        return Folder(f"{self.url}/{name}")

    def path(self, name: str) -> str:
        """Where `name` lies, as a path of the local machine or of the remote file system."""
        return f"{self.root}/{name}"

    def exists(self, name: str) -> bool:
        if self.is_local:
            return os.path.exists(self.path(name))
        with _reached(self.url):
            return bool(self._fs.exists(self.path(name)))

    def names(self, under: str = "") -> list[str]:
        """Every file below `under`, relative to this folder, sorted; temporary files left out."""
        top = self.path(under) if under else self.root
        if self.is_local:
            found = [os.path.join(d, f) for d, _, files in os.walk(top) for f in files]
        else:
            with _reached(self.url):
                found = [str(p) for p in self._fs.find(top)]
        short = (p[len(self.root) :].lstrip("/") for p in found)
        return sorted(n for n in short if not n.rpartition("/")[2].startswith("."))

    @contextlib.contextmanager
    def open(self, name: str) -> Iterator[IO[bytes]]:
        """The file for reading, seekable."""
        if self.is_local:
            opened = open(self.path(name), "rb")
        else:
            with _reached(self.url, (FileNotFoundError,)):
                opened = self._fs.open(self.path(name), "rb")
        with opened as file:
            yield file

    def read(self, name: str) -> bytes:
        if not self.is_local:
            with _reached(self.url, (FileNotFoundError,)):
                return bytes(self._fs.cat_file(self.path(name)))
        with self.open(name) as file:
            return file.read()

    def read_json(self, name: str) -> Any:
        return orjson.loads(self.read(name))

    def read_table(self, name: str, columns: list[str] | None = None) -> pa.Table:
        """A Parquet file, whole; from afar in one request."""
        source = self.open(name) if self.is_local else io.BytesIO(self.read(name))
        with source as file, open_parquet(file) as table:
            return table.read(columns, use_threads=False)

    @contextlib.contextmanager
    def create(self, name: str) -> Iterator[Draft]:
        """A file that comes into being when its draft is committed, and never if it is not.

        Raises GristmillError where the disk is full or the folder may not be written; the target is then as before.
        """
        target = self.path(name)
        folder = os.path.dirname(target) if self.is_local else None
        try:
            if folder:
                os.makedirs(folder, exist_ok=True)
            handle, temporary = tempfile.mkstemp(prefix=f".{os.path.basename(name)}.", suffix=".tmp", dir=folder)
            os.chmod(temporary, 0o666 & ~_umask())
        except OSError as error:
            raise _write_error(error, target) from error
        try:
            with os.fdopen(handle, "w+b") as file:
                yield Draft(name, file, lambda: self._place(temporary, target))
        except OSError as error:
            # Whoever fills the file may also read; these come from the writing alone.
            if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
                raise _write_error(error, target) from error
            raise
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(temporary)

    def write(self, name: str, fill: Callable[[IO[bytes]], int | None]) -> Entry:
        """Write one file all or nothing; `fill` writes its bytes and may return its number of rows."""
        with self.create(name) as draft:
            return draft.commit(fill(draft.file) or 0)

    def write_bytes(self, name: str, data: bytes, rows: int = 0) -> Entry:
        def fill(file: IO[bytes]) -> int:
            file.write(data)
            return rows

        return self.write(name, fill)

    def write_json(self, name: str, value: Any) -> Entry:
        """Indented JSON with sorted keys and a final newline: the same value gives the same bytes."""
        options = orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS | orjson.OPT_APPEND_NEWLINE
        return self.write_bytes(name, orjson.dumps(value, option=options))

    def write_table(self, name: str, table: pa.Table, **settings: Any) -> Entry:
        """One Parquet file, zstd level 3 unless `settings` (of pyarrow's write_table) say otherwise."""

        def fill(file: IO[bytes]) -> int:
            pq.write_table(table, file, **{"compression": "zstd", "compression_level": 3, **settings})
            return int(table.num_rows)

        return self.write(name, fill)

    def adopt(self, other: Folder, name: str) -> None:
        """Make the other folder's file `name` this folder's too: by a hard link or a copy within the remote system
        where that can be, else a copy."""
        target = self.path(name)
        if self.is_local and other.is_local:
            os.makedirs(os.path.dirname(target), exist_ok=True)
            temporary = f"{os.path.dirname(target)}/.{os.path.basename(target)}.link.tmp"
            with contextlib.suppress(FileNotFoundError):
                os.unlink(temporary)
            with contextlib.suppress(OSError):
                os.link(other.path(name), temporary)
                os.replace(temporary, target)
                with contextlib.suppress(FileNotFoundError):  # replacing a file by its own link leaves the link
                    os.unlink(temporary)
                _sync(os.path.dirname(target))
                return
        if not self.is_local and (other.is_local or other._fs == self._fs):
            with _reached(self.url):
                (self._fs.put_file if other.is_local else self._fs.cp_file)(other.path(name), target)
            return
        with other.open(name) as source:
            self.write(name, lambda file: shutil.copyfileobj(source, file, _CHUNK))

    def remove(self, name: str) -> None:
        """Remove a file or a folder with all in it; nothing happens where there is none."""
        path = self.path(name)
        if not self.is_local:
            with _reached(self.url):
                if self._fs.exists(path):
                    self._fs.rm(path, recursive=True)
        elif os.path.isdir(path):
            shutil.rmtree(path)
        else:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)

    def sweep(self, under: str = "") -> None:
        """Remove the temporary files that killed writers left right in `under`; nobody else may be writing there."""
        top = self.path(under) if under else self.root
        if self.is_local and os.path.isdir(top):
            for name in os.listdir(top):
                if name.startswith(".") and name.endswith(".tmp"):
                    os.unlink(f"{top}/{name}")

    def _place(self, temporary: str, target: str) -> None:
        if not self.is_local:
            with _reached(self.url):
                self._fs.put_file(temporary, target)
            return
        os.replace(temporary, target)
        _sync(os.path.dirname(target))


@contextlib.contextmanager
def _reached(url: str, passing: tuple[type[Exception], ...] = ()) -> Iterator[None]:
    """Errors of a remote file system as the user's, but for those of `passing`: each library has its own, and few of
    them are OSError."""
    try:
        yield
    except Exception as error:
        if isinstance(error, (GristmillError, *passing)):
            raise
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise  # of the temporary file on this machine
        what = " ".join(str(error).split()) or type(error).__name__
        raise GristmillError(
            f"cannot use this folder: {what}",
            url,
            "Check that the bucket is there, its address (AWS_ENDPOINT_URL), and that your credentials may write it.",
        ) from error


def _sync(path: str) -> None:
    """Make the names in a local folder last: a manifest that comes after must not outlive what it names."""
    folder = os.open(path, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _sha256(file: IO[bytes]) -> str:
    file.seek(0)
    digest = hashlib.sha256()
    while chunk := file.read(_CHUNK):
        digest.update(chunk)
    return digest.hexdigest()


def _umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current


def _write_error(error: OSError, where: str) -> GristmillError:
    todo = {
        errno.ENOSPC: "Free some space and run the same command again; it resumes.",
        errno.EDQUOT: "Free some of your quota and run the same command again; it resumes.",
        errno.EACCES: "Choose an output folder that you may write, with --out.",
        errno.EPERM: "Choose an output folder that you may write, with --out.",
        errno.EROFS: "Choose an output folder that you may write, with --out.",
    }.get(error.errno or 0, "Mend that and run the same command again; it resumes.")
    return GristmillError(f"cannot write: {error.strerror or error}", where=where, todo=todo)
