"""A stage: the same task over many items, each of which is done once and for all.

An item's output lies under the scratch folder as `<stage>/<number>.<part>.arrow`; its receipt
`<stage>/<number>.json`, written after it, holds what the task returned. An item with a receipt is not run again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from typing import IO, Any, NamedTuple

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


class Outputs(NamedTuple):
    """The files of one part that so many items of a stage left, counted from `first`."""

    stage: str
    items: int
    part: str
    first: int = 0

    def names(self) -> list[str]:
        numbers = range(self.first, self.first + self.items)
        return [f"{self.stage}/{number:05d}.{self.part}.arrow" for number in numbers]

    def remove(self, scratch: Folder) -> None:
        """Free their disk; the receipts stay."""
        for name in self.names():
            scratch.remove(name)


class BucketWriter:
    """Writes rows to an Arrow file such that batch k holds rows of bucket k modulo `buckets`.

    A reader gets at one bucket without reading the others. Nothing is compressed: hashes and ids do not compress.
    """

    def __init__(self, file: IO[bytes], schema: pa.Schema, buckets: int) -> None:
        self._schema, self._buckets = schema, buckets
        self._writer = pa.ipc.new_file(file, schema)

    def add(self, rows: Rows, bucket: Array, buckets: int = 0) -> None:
        """Write rows with the number of the bucket that each belongs to.

        Rows that lie in only so many `buckets`, counted from where the last call ended, may be written by themselves.
        """
        buckets = buckets or self._buckets
        order = np.argsort(bucket.astype(np.uint16 if buckets <= 1 << 16 else np.uint32), kind="stable")
        ends = np.cumsum(np.bincount(bucket, minlength=buckets))
        batch = to_batch(take(rows, order), self._schema)
        for start, end in zip([0, *ends[:-1].tolist()], ends.tolist(), strict=True):
            self._writer.write_batch(batch.slice(start, end - start))

    def add_batches(self, batches: Iterable[pa.RecordBatch]) -> None:
        """Write one batch for each bucket, in their order."""
        for batch in batches:
            self._writer.write_batch(batch)

    def close(self) -> None:
        self._writer.close()


@contextmanager
def bucket_writer(folder: Folder, name: str, schema: pa.Schema, buckets: int) -> Iterator[BucketWriter]:
    """A BucketWriter on a file that comes into being when the block ends without an error."""
    with folder.create(name) as draft:
        writer = BucketWriter(draft.file, schema, buckets)
        yield writer
        writer.close()
        draft.keep()


def read_batches(folder: Folder, outputs: Iterable[Outputs], bucket: int, buckets: int) -> Iterator[pa.RecordBatch]:
    """The batches of one bucket in the files of some stages."""
    for name in chain.from_iterable(output.names() for output in outputs):
        with folder.open(name) as file, pa.ipc.open_file(file) as reader:
            for number in range(bucket, reader.num_record_batches, buckets):
                batch = reader.get_batch(number)
                if batch.num_rows:
                    yield batch


def read_bucket(folder: Folder, outputs: Iterable[Outputs], schema: pa.Schema, bucket: int, buckets: int) -> Rows:
    """The rows of one bucket in the files of some stages."""
    return from_batches(read_batches(folder, outputs, bucket, buckets), schema)
