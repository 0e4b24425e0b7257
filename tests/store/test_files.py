"""All or nothing: what a reader of a folder can ever see."""

import errno
import os
from pathlib import Path

import pyarrow as pa
import pytest

from pipeline.errors import GristmillError
from pipeline.store import Folder, Manifest


@pytest.fixture(params=["local", "memory"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Folder:
    return Folder(tmp_path / "here") if request.param == "local" else Folder(f"memory://{tmp_path.name}/here")


def test_what_was_written_is_read_back_with_its_entry(folder: Folder) -> None:
    table = pa.table({"a": [1, 2, 3]})
    entry = folder.write_table("deep/er/t.parquet", table)
    assert entry.name == "deep/er/t.parquet"
    assert entry.rows == 3
    assert entry.bytes == len(folder.read("deep/er/t.parquet"))
    assert folder.read_table("deep/er/t.parquet").equals(table)
    assert folder.names() == ["deep/er/t.parquet"]
    assert folder.names("deep/er") == ["deep/er/t.parquet"]


def test_a_draft_that_is_not_committed_leaves_nothing(folder: Folder) -> None:
    folder.write_bytes("x", b"old")
    with pytest.raises(RuntimeError), folder.create("x") as draft:
        draft.file.write(b"half of it")
        raise RuntimeError("killed")
    assert folder.read("x") == b"old"
    assert folder.names() == ["x"]


def test_an_error_of_what_is_read_meanwhile_is_not_told_as_one_of_writing(tmp_path: Path) -> None:
    with pytest.raises(ConnectionResetError), Folder(tmp_path).create("x"):
        raise ConnectionResetError(errno.ECONNRESET, "reset by peer")


def test_a_full_disk_is_a_clear_error_and_the_old_file_stands() -> None:
    if not os.path.exists("/dev/full"):
        pytest.skip("no /dev/full on this system")
    folder = Folder("/dev/shm/gristmill-full" if os.path.isdir("/dev/shm") else "/tmp/gristmill-full")
    folder.write_bytes("x", b"old")
    try:
        with (
            pytest.raises(GristmillError, match="No space left"),
            folder.create("x"),
            open("/dev/full", "wb", 0) as full,
        ):
            full.write(b"more")
        assert folder.read("x") == b"old"
    finally:
        folder.remove("")


def test_a_folder_that_may_not_be_written_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(GristmillError, match="cannot write"):
        Folder(tmp_path / "file").write_bytes("x", b"")


def test_adopting_a_file_gives_the_same_bytes_and_can_be_repeated(folder: Folder, tmp_path: Path) -> None:
    work = Folder(tmp_path / "work")
    work.write_bytes("text/a", b"bytes")
    for _ in range(2):
        folder.adopt(work, "text/a")
    assert folder.read("text/a") == b"bytes"
    assert folder.names() == ["text/a"]


def test_a_manifest_tells_every_kind_of_fault(folder: Folder) -> None:
    manifest = Manifest({"about": "it"})
    for name in ("kept", "gone", "longer", "other"):
        manifest.add(folder.write_bytes(name, name.encode()))
    manifest.write(folder)
    read = Manifest.read(folder)
    assert read is not None
    assert read.about == {"about": "it"}
    assert read.faults(folder) == []
    folder.remove("gone")
    folder.write_bytes("longer", b"longer than before")
    folder.write_bytes("other", b"OTHER")
    faults = read.faults(folder)
    assert [fault.partition(":")[0] for fault in faults] == ["gone", "longer", "other"]
    assert "missing" in faults[0]
    assert "SHA-256" in faults[2]


def test_a_file_that_is_no_manifest_says_so(folder: Folder) -> None:
    folder.write_bytes("manifest.json", b"[]")
    with pytest.raises(GristmillError, match="no manifest"):
        Manifest.read(folder)
