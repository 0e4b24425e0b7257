"""Folders on an S3 server: the same verbs, the same promises, and whole runs into it."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest

from pipeline.commands.run import run_command
from pipeline.errors import GristmillError
from pipeline.ledger import Dataset, verify
from pipeline.pool import Serial
from pipeline.recipe import load_recipe
from pipeline.run import Run, silent
from pipeline.sources import plan_inputs
from pipeline.sources.transport import _has_credentials
from pipeline.store import Folder, Manifest
from tests.conftest import SAMPLE, SETTINGS, tree
from tests.sources.servers import s3_server


@pytest.fixture(scope="module")
def moto() -> Iterator[str]:
    with s3_server() as address:
        yield address


@pytest.fixture
def bucket(moto: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[str]:
    """s3:// address of a bucket of this test's own."""
    import s3fs

    for name, value in {
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": f"http://{moto}",
        "NO_PROXY": "*",
        "GRISTMILL_RETRY_SECONDS": "0.01",
    }.items():
        monkeypatch.setenv(name, value)
    s3fs.S3FileSystem.clear_instance_cache()
    _has_credentials.cache_clear()
    name = f"b-{hashlib.md5(str(tmp_path).encode()).hexdigest()}"
    s3fs.S3FileSystem().mkdir(name)
    yield f"s3://{name}"
    s3fs.S3FileSystem.clear_instance_cache()
    _has_credentials.cache_clear()


def test_what_was_written_is_read_back_with_its_entry(bucket: str) -> None:
    folder, table = Folder(f"{bucket}/ds/"), pa.table({"a": [1, 2, 3], "b": ["x", "y", "z"]})
    entry = folder.write_table("deep/er/t.parquet", table)
    assert entry.rows == 3
    assert entry.bytes == len(folder.read("deep/er/t.parquet"))
    assert entry.sha256 == hashlib.sha256(folder.read("deep/er/t.parquet")).hexdigest()
    assert folder.read_table("deep/er/t.parquet").equals(table)
    assert folder.read_table("deep/er/t.parquet", ["b"]).column_names == ["b"]
    assert folder.names() == ["deep/er/t.parquet"]
    assert folder.sub("deep").names("er") == ["er/t.parquet"]
    assert folder.exists("deep/er/t.parquet")
    assert not folder.exists("deep/er/u.parquet")


def test_an_empty_place_has_no_names_and_nothing_to_remove(bucket: str) -> None:
    folder = Folder(f"{bucket}/nothing/yet")
    assert folder.names() == []
    assert not folder.exists("x")
    assert Manifest.read(folder) is None
    folder.remove("x")
    folder.remove("")


def test_a_draft_that_is_not_committed_leaves_nothing(bucket: str) -> None:
    folder = Folder(f"{bucket}/ds")
    folder.write_bytes("x", b"old")
    with pytest.raises(RuntimeError), folder.create("x") as draft:
        draft.file.write(b"half of it")
        raise RuntimeError("killed")
    assert folder.read("x") == b"old"
    assert folder.names() == ["x"]


def test_what_another_process_writes_is_seen_at_once(bucket: str) -> None:
    import s3fs

    folder = Folder(f"{bucket}/ds")
    folder.write_bytes("a/1", b"1")
    assert folder.names("a") == ["a/1"]
    assert not folder.exists("a/2")
    other = s3fs.S3FileSystem(skip_instance_cache=True)
    other.pipe(folder.path("a/2"), b"2")
    assert folder.exists("a/2")
    assert folder.read("a/2") == b"2"
    other.rm(folder.path("a/1"))
    assert not folder.exists("a/1")
    assert folder.names("a") == ["a/2"]
    other.pipe(folder.path("a/2"), b"another")
    with folder.open("a/2") as file:
        assert file.read() == b"another"


def test_files_are_adopted_from_disk_and_from_the_same_store(bucket: str, tmp_path: Path) -> None:
    local, work, out = Folder(tmp_path), Folder(f"{bucket}/work"), Folder(f"{bucket}/ds")
    local.write_bytes("text/a", b"from disk")
    work.write_bytes("text/b", b"from the store")
    for _ in range(2):
        out.adopt(local, "text/a")
        out.adopt(work, "text/b")
        local.adopt(work, "text/b")
    assert out.read("text/a") == b"from disk"
    assert out.read("text/b") == b"from the store"
    assert local.read("text/b") == b"from the store"
    assert out.names() == ["text/a", "text/b"]


def test_removing_takes_a_file_or_a_folder_and_nothing_beside_it(bucket: str) -> None:
    folder = Folder(f"{bucket}/ds")
    for name in ("text/a", "text/b", "text-old/a", "textual"):
        folder.write_bytes(name, b"x")
    folder.remove("text/a")
    assert folder.names() == ["text-old/a", "text/b", "textual"]
    folder.remove("text")
    assert folder.names() == ["text-old/a", "textual"]


def test_a_bucket_that_is_not_there_and_a_server_that_is_away_are_told(
    bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import s3fs

    with pytest.raises(GristmillError, match="cannot use this folder") as error:
        Folder("s3://no-such-bucket-here/ds").write_bytes("x", b"x")
    assert error.value.where == "s3://no-such-bucket-here/ds"
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    monkeypatch.setattr(s3fs.S3FileSystem, "retries", 1)
    s3fs.S3FileSystem.clear_instance_cache()
    away = Folder(f"{bucket}/ds")
    for verb in (lambda: away.exists("x"), away.names, lambda: away.read("x"), lambda: away.write_bytes("x", b"")):
        with pytest.raises(GristmillError, match="cannot use this folder"):
            verb()


def test_a_manifest_tells_every_kind_of_fault(bucket: str) -> None:
    folder, manifest = Folder(f"{bucket}/ds"), Manifest({"about": "it"})
    for name in ("gone", "kept", "other"):
        manifest.add(folder.write_bytes(name, name.encode()))
    manifest.write(folder)
    read = Manifest.read(folder)
    assert read is not None
    assert read.faults(folder) == []
    folder.remove("gone")
    folder.write_bytes("other", b"OTHER")
    assert [fault.partition(":")[0] for fault in read.faults(folder)] == ["gone", "other"]


def fetched(folder: Folder, to: Path) -> dict[str, str]:
    """SHA-256 of every published file, by name."""
    for name in folder.names():
        Folder(to).adopt(folder, name)
    found = tree(to)
    shutil.rmtree(to)
    return without_contents(found)


def without_contents(files: dict[str, str]) -> dict[str, str]:
    """All but the two files that tell how an input is known: a local one by its hash, a remote one by its ETag."""
    return {name: digest for name, digest in files.items() if name not in ("manifest.json", "README.md")}


@pytest.mark.slow
def test_a_run_from_a_bucket_into_a_bucket_publishes_the_bytes_of_a_local_one(
    bucket: str, published: Path, tmp_path: Path
) -> None:
    crawl, out = Folder(f"{bucket}/crawl"), Folder(f"{bucket}/ds")
    archives = sorted(path.name for path in SAMPLE.glob("*.warc.gz"))
    for name in archives:
        crawl.adopt(Folder(SAMPLE), name)
    inputs = [f"{crawl.url}/{name}" for name in archives]
    local = without_contents(tree(published))

    # The command as a user gives it, with workers of its own; everything remote.
    words = [w for i in inputs for w in ("-i", i)] + [w for setting in SETTINGS for w in ("--set", setting)]
    command = [sys.executable, "-m", "pipeline", "run", "--out", out.url, "--workers", "2", "--json", *words]
    with pytest.raises(GristmillError, match="folder of its own"):
        run_command(load_recipe("default"), inputs, out.url, "", 1, False, silent)
    told = subprocess.run([*command, "--work", f"{bucket}/work"], capture_output=True, check=True)
    assert json.loads(told.stdout)["records"]["in"] > 0
    assert verify(Dataset.open(out)) == []
    assert fetched(out, tmp_path / "fetched") == local

    # Again, with nothing left to do; then with unfinished work on disk.
    recipe = load_recipe("default").with_settings(SETTINGS)
    splits = plan_inputs(inputs, recipe.split_mb << 20)
    assert Run(recipe, splits, out, Serial(), work=Folder(f"{bucket}/work"))().tasks_done == 0
    assert Run(recipe, splits, out, Serial(), work=Folder(tmp_path / "work"))().tasks_done > 0
    assert fetched(out, tmp_path / "fetched") == local
