"""A stage: the same task over many items, each of which is done once and for all.

An item's output lies under the scratch folder as `<stage>/<number>.<part>.arrow`; its receipt
`<stage>/<number>.json`, written after it, holds what the task returned. An item with a receipt is not run again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, Any

import numpy as np
import pyarrow as pa

from pipeline.dedup.rows import Array, Rows, from_batches, take, to_batch
from pipeline.store import Folder

RunTasks = Callable[[Callable[[Any], Any], Sequence[Any]], Iterable[Any]]
Counts = dict[str, Any]  # small and JSON-like


@dataclass(frozen=True)
class Job:
    """One item of a stage, on its way to wherever it is run."""

    scratch: Folder
    stage: str
    number: int
    task: Callable[[Job], Counts]
    item: Any = None

    def output(self, part: str) -> str:
        return f"{self.stage}/{self.number:05d}.{part}.arrow"


def run_stage(
    scratch: Folder, stage: str, task: Callable[[Job], Counts], items: Sequence[Any], run_tasks: RunTasks
) -> list[Counts]:
    """What `task` returned for each item, in the order of the items, whatever the order they were run in."""
    jobs = [Job(scratch, stage, number, task, item) for number, item in enumerate(items)]
    return [counts for _, counts in sorted(run_tasks(run_job, jobs), key=lambda done: done[0])]


def run_job(job: Job) -> tuple[int, Counts]:
    """Run one job unless its receipt says that it was."""
    receipt = f"{job.stage}/{job.number:05d}.json"
    if not job.scratch.exists(receipt):
        job.scratch.write_json(receipt, job.task(job))
    return job.number, job.scratch.read_json(receipt)


def outputs(stage: str, count: int, part: str) -> list[str]:
    """The files of this part that the `count` items of a stage left."""
    return [f"{stage}/{number:05d}.{part}.arrow" for number in range(count)]


class BucketWriter:
    """Writes rows to an Arrow file such that batch k holds rows of bucket k modulo `buckets`.

    A reader gets at one bucket without reading the others. Nothing is compressed: hashes and ids do not compress.
    """

    def __init__(self, file: IO[bytes], schema: pa.Schema, buckets: int) -> None:
        self._schema, self._buckets = schema, buckets
        self._writer = pa.ipc.new_file(file, schema)
        self.rows = 0

    def add(self, rows: Rows, bucket: Array) -> None:
        """Write rows with the number of the bucket that each belongs to."""
        order = np.argsort(bucket.astype(np.uint16 if self._buckets <= 1 << 16 else np.uint32), kind="stable")
        ends = np.cumsum(np.bincount(bucket, minlength=self._buckets))
        batch = to_batch(take(rows, order), self._schema)
        for start, end in zip([0, *ends[:-1].tolist()], ends.tolist(), strict=True):
            self._writer.write_batch(batch.slice(start, end - start))
        self.rows += batch.num_rows

    def add_batches(self, batches: Iterable[pa.RecordBatch]) -> None:
        """Write one batch for each bucket, in their order."""
        for batch in batches:
            self._writer.write_batch(batch)
            self.rows += batch.num_rows

    def close(self) -> None:
        self._writer.close()


@contextmanager
def bucket_writer(folder: Folder, name: str, schema: pa.Schema, buckets: int) -> Iterator[BucketWriter]:
    """A BucketWriter on a file that comes into being when the block ends without an error."""
    with folder.create(name) as draft:
        writer = BucketWriter(draft.file, schema, buckets)
        yield writer
        writer.close()
        draft.commit(writer.rows)


def read_batches(folder: Folder, names: Iterable[str], bucket: int, buckets: int) -> Iterator[pa.RecordBatch]:
    """The batches of one bucket in several files."""
    for name in names:
        with folder.open(name) as file, pa.ipc.open_file(file) as reader:
            for number in range(bucket, reader.num_record_batches, buckets):
                batch = reader.get_batch(number)
                if batch.num_rows:
                    yield batch


def read_bucket(folder: Folder, names: Iterable[str], schema: pa.Schema, bucket: int, buckets: int) -> Rows:
    """The rows of one bucket in several files."""
    return from_batches(read_batches(folder, names, bucket, buckets), schema)
