"""Errors of a run by kind: which are worth another try, and how they are told."""

from __future__ import annotations

import errno
import logging
from collections.abc import Iterator
from typing import Any

from prefect import Task, get_run_logger
from prefect.client.schemas.objects import State
from prefect.states import Failed

from pipeline.errors import GristmillError

RETRY_SECONDS = [10, 60, 300]
# What does not mend itself: the file is not there, may not be read, the disk is full.
_LASTING = {
    errno.ENOENT,
    errno.EACCES,
    errno.EPERM,
    errno.EROFS,
    errno.ENOSPC,
    errno.EDQUOT,
    errno.ENOTDIR,
    errno.EISDIR,
}


def passes(error: BaseException) -> bool:
    """Whether waiting may mend it: a server that is busy or away, a connection that broke.

    A mistake of the user, a full disk or a fault of ours is the same at the next try.
    """
    return any(_passes(one) for one in _chain(error))


def retry_if_it_passes(task: Task[..., Any], run: Any, state: State[Any]) -> bool:
    """`retry_condition_fn` of every task here."""
    del task, run
    try:
        state.result()
    except Exception as error:
        return passes(error)
    return False


def failed(error: GristmillError) -> State[Any]:
    """The state of a flow run that the user's mistake ended: told in its message and in the log, without frames."""
    get_run_logger().error("%s", error)
    # The engine would log once more that the run failed, with the stack of its own frames, which helps nobody.
    logging.getLogger("prefect.flow_runs").addFilter(_without_engine_frames)
    return Failed(message=str(error))


def _without_engine_frames(record: logging.LogRecord) -> bool:
    return not record.getMessage().startswith("Engine execution exited with unexpected exception")


def _passes(error: BaseException) -> bool:
    status = getattr(error, "status", None)  # of pipeline.sources: what an HTTP server answered, 0 for nothing
    if isinstance(error, GristmillError):
        return status == 0 or status in (408, 425, 429) or (isinstance(status, int) and status >= 500)
    return isinstance(error, (ConnectionError, TimeoutError)) or (
        isinstance(error, OSError) and error.errno is not None and error.errno not in _LASTING
    )


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__
