"""Open an input for reading: the one place where a reader gets its bytes, local, remote or inside a WACZ."""

from __future__ import annotations

import io
from typing import IO, cast

from pipeline.errors import GristmillError
from pipeline.sources.split import InputFile


def open_bytes(file: InputFile, until: int | None = None) -> IO[bytes]:
    """The bytes of `file`, seekable, for the caller to close; of an archive inside a WACZ, that archive's bytes.

    `until` says how far the reader means to go, so that of a remote file no more is fetched than that.
    Raises GristmillError where the file has gone, may not be read, or is no longer what the plan saw.
    """
    if file.format == "wacz":
        from pipeline.sources.wacz import open_inner

        return open_inner(file)
    return open_url(file.url, file.size, file.content, until)


def open_url(url: str, size: int, content: str, until: int | None = None) -> IO[bytes]:
    """The bytes at a path or URL; `size` and `content` are what planning found there, `until` as for `open_bytes`."""
    if "://" in url and not url.startswith("file://"):
        from pipeline.sources.remote import open_remote

        return open_remote(url, size, content, until)
    path = url.removeprefix("file://")
    try:
        # Readers ask for a quarter of a megabyte at a time; a buffer in between would only copy.
        file = cast(IO[bytes], open(path, "rb", buffering=0))  # the caller closes it
    except OSError as error:
        raise unreadable(path, error) from error
    found = file.seek(0, io.SEEK_END)
    file.seek(0)
    if found != size:
        file.close()
        raise GristmillError(
            f"the file changed: it had {size:,} bytes when the run was planned and has {found:,} now",
            where=path,
            todo="Put the file back, or start a new run over the changed input.",
        )
    return file


def unreadable(path: str, error: OSError) -> GristmillError:
    """What to tell the user where a file or folder of the input cannot be opened."""
    if isinstance(error, FileNotFoundError):
        return GristmillError("no such file", where=path, todo="Check the path.")
    if isinstance(error, PermissionError):
        return GristmillError("no permission to read it", where=path, todo="Give yourself read access to it.")
    return GristmillError(f"cannot read it: {error.strerror or error}", where=path)
