"""The pool: order, errors, and workers that die."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from pipeline.errors import GristmillError
from pipeline.pool import NO_RECORD, Crash, Pool, Serial, in_order, on_record


def square(n: int) -> int:
    return n * n


def fail(n: int) -> int:
    raise GristmillError("cannot", f"item {n}", "do this")


def die_on_poison(task: tuple[int, ...]) -> list[int]:
    """Works through records 0..5; record 3 kills the process unless the task lists it as poison."""
    for offset in range(6):
        on_record(offset)
        if offset == 3 and 3 not in task:
            os.kill(os.getpid(), signal.SIGKILL)
        on_record(NO_RECORD)
    return [offset for offset in range(6) if offset not in task]


def spin_on_poison(task: tuple[int, ...]) -> str:
    on_record(7)
    while 7 not in task:
        pass
    on_record(NO_RECORD)
    return "went on"


def test_results_come_with_their_index_and_can_be_ordered() -> None:
    with Pool(2) as pool:
        assert sorted(pool.run(square, range(20))) == [(n, n * n) for n in range(20)]
        assert list(in_order(pool.run(square, range(20)))) == [n * n for n in range(20)]
    assert list(in_order(Serial().run(square, [3, 4]))) == [9, 16]


def test_an_error_of_a_task_arrives_as_it_was_and_the_pool_works_on() -> None:
    with Pool(1) as pool:
        with pytest.raises(GristmillError, match="item 1") as caught:
            list(pool.run(fail, [1]))
        assert caught.value.todo == "do this"
        assert list(pool.run(square, [5])) == [(0, 25)]


def test_a_record_that_kills_its_worker_is_named_and_the_task_goes_on_without_it() -> None:
    seen: list[Crash] = []

    def without(task: tuple[int, ...], crash: Crash) -> tuple[int, ...]:
        seen.append(crash)
        return (*task, crash.offset)

    with Pool(2) as pool:
        results = dict(pool.run(die_on_poison, [(), ()], without))
    assert results == {0: [0, 1, 2, 4, 5], 1: [0, 1, 2, 4, 5]}
    assert {(crash.offset, crash.reason) for crash in seen} == {(3, "killed by SIGKILL")}


def test_a_record_that_never_ends_is_stopped_by_its_cpu_time() -> None:
    with Pool(1, record_cpu_seconds=0.5) as pool:
        begun = time.monotonic()
        results = list(pool.run(spin_on_poison, [()], lambda task, crash: (*task, crash.offset)))
    assert results == [(0, "went on")]
    assert time.monotonic() - begun < 60


def test_a_task_that_crashes_twice_without_a_handler_ends_the_run_with_a_clear_error() -> None:
    with Pool(1) as pool, pytest.raises(GristmillError, match="ended twice"):
        list(pool.run(die_on_poison, [()]))


def spin_for_ever(marks: str) -> None:
    Path(marks, str(os.getpid())).touch()
    while True:
        pass


def test_a_pool_that_is_killed_leaves_no_worker_behind(tmp_path: Path) -> None:
    code = (
        "from pipeline.pool import Pool\nfrom tests.test_pool import spin_for_ever\n"
        f"list(Pool(2).run(spin_for_ever, [{str(tmp_path)!r}] * 2))"
    )
    with subprocess.Popen([sys.executable, "-c", code]) as owner:
        wait_until(lambda: len(list(tmp_path.iterdir())) == 2)
        workers = [psutil.Process(int(mark.name)) for mark in tmp_path.iterdir()]
        owner.kill()
    wait_until(lambda: not any(w.is_running() and w.status() != psutil.STATUS_ZOMBIE for w in workers))


def wait_until(true: Callable[[], bool], seconds: float = 60) -> None:
    limit = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < limit
        time.sleep(0.05)
