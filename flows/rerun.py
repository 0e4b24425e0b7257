"""The flow `rerun`: a crashed run is run again, under the same parameters, a few times at most.

It is a flow and no plain automation, because an automation knows no count (a poison input would loop for ever), may
fire more than once for one crash, and leaves the task runs and child runs of the dead run as they were. It is itself
run again where it crashes, which is harmless: each crash has one answer, however often it is given.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from logging import Logger
from typing import Any, TypeVar
from uuid import UUID

from prefect import flow, get_run_logger
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterId,
    FlowRunFilterParentFlowRunId,
    FlowRunFilterState,
    FlowRunFilterStateType,
    TaskRunFilter,
    TaskRunFilterState,
    TaskRunFilterStateType,
)
from prefect.client.schemas.objects import FlowRun, State, StateType, TaskRun
from prefect.states import Cancelled, Cancelling, Completed, Crashed, Scheduled

MOST_TRIES = 3
_TRY = "try:"
_PAGE = 200  # as many as a server tells at once
R = TypeVar("R", FlowRun, TaskRun)
_SETTLE_SECONDS = 2.0  # a worker's own report of the crash may still be on its way


@flow(name="rerun", flow_run_name="rerun {crashed}", persist_result=False)
def rerun(crashed: str, most_tries: int = MOST_TRIES) -> str | State[Any]:
    """Run the crashed flow run `crashed` (its id) again; returns the id of the new run.

    The same crash is answered once, however often it is told. After `most_tries` runs of a chain nothing is run: what
    crashes every time wants a person.
    """
    with get_client(sync_client=True) as client:
        time.sleep(_SETTLE_SECONDS)
        answer = run_again(client, client.read_flow_run(UUID(crashed)), most_tries, get_run_logger())
    return str(answer.id) if isinstance(answer, FlowRun) else answer


def run_again(client: SyncPrefectClient, run: FlowRun, most_tries: int, logger: Logger | Any) -> FlowRun | State[Any]:
    """Answer a crash: the run that follows the crashed one, or a Completed state that says why there is none."""
    if run.state is None or not run.state.is_crashed():
        return Completed(name="NotCrashed", message=f"{run.name} is {run.state.name if run.state else 'nowhere'}")
    closed = _close_tasks(client, run)
    cancelled = _stop_children(client, run)
    if _was_being_cancelled(client, run):
        client.set_flow_run_state(run.id, Cancelled(message="it was being cancelled when it crashed"), force=True)
        return Completed(name="WasCancelled", message=f"{run.name} was being cancelled when it crashed")
    attempt = tries(run) + 1
    if attempt > most_tries:
        logger.error("%s crashed %d times: it is left to a person", run.name, attempt - 1)
        return Completed(name="GaveUp", message=f"{run.name} crashed {attempt - 1} times; see its log")
    if run.deployment_id is None:
        return Completed(name="NotDeployed", message=f"{run.name} is of no deployment")
    new = client.create_flow_run_from_deployment(
        run.deployment_id,
        parameters=run.parameters,
        state=Scheduled(),
        name=f"{run.name.partition(' · try ')[0]} · try {attempt}",
        tags=[*(tag for tag in run.tags if not tag.startswith(_TRY)), f"{_TRY}{attempt}"],
        idempotency_key=answer_key(run),
        job_variables=run.job_variables,
    )
    logger.info(
        "%s is run again as %s; of the dead run %d task runs were closed and %d runs that it had started cancelled",
        run.name,
        new.name,
        closed,
        cancelled,
    )
    return new


def answer_key(run: FlowRun) -> str:
    """The idempotency key of the run that follows a crashed one."""
    return f"rerun-{run.id}"


def tries(run: FlowRun) -> int:
    """Which run of its chain this is, from 1."""
    return next((int(tag.removeprefix(_TRY)) for tag in run.tags if tag.startswith(_TRY)), 1)


def _was_being_cancelled(client: SyncPrefectClient, run: FlowRun) -> bool:
    """Whether somebody wanted it to end: it is not run again then, though its worker died before it could say so."""
    states = sorted(client.read_flow_run_states(run.id), key=lambda state: state.timestamp)
    before = [state for state in states if not state.is_crashed()]
    return bool(before) and before[-1].is_cancelling()


def _stop_children(client: SyncPrefectClient, run: FlowRun) -> int:
    """Runs that the dead run gave out would go on beside those that its successor gives out. Returns how many were."""
    going = FlowRunFilter(
        parent_flow_run_id=FlowRunFilterParentFlowRunId(any_=[run.id]),
        state=FlowRunFilterState(
            type=FlowRunFilterStateType(any_=[StateType.SCHEDULED, StateType.PENDING, StateType.RUNNING])
        ),
    )
    stopped = 0
    for child in _each(lambda: client.read_flow_runs(flow_run_filter=going, limit=_PAGE)):
        client.set_flow_run_state(child.id, Cancelling(message=f"{run.name} crashed, which had started it"))
        stopped += 1
    return stopped


def _close_tasks(client: SyncPrefectClient, run: FlowRun) -> int:
    """Task runs of a dead flow run would stay Running for ever: they are Crashed too. Returns how many were."""
    running = TaskRunFilter(
        state=TaskRunFilterState(type=TaskRunFilterStateType(any_=[StateType.RUNNING, StateType.PENDING]))
    )
    of_run = FlowRunFilter(id=FlowRunFilterId(any_=[run.id]))
    closed = 0
    for one in _each(lambda: client.read_task_runs(flow_run_filter=of_run, task_run_filter=running, limit=_PAGE)):
        client.set_task_run_state(one.id, Crashed(message="the flow run's process was gone"), force=True)
        closed += 1
    return closed


def _each(read: Callable[[], Sequence[R]]) -> Iterator[R]:
    """Each run that `read` tells, asked again until it tells no new one: what was answered leaves what it tells."""
    seen: set[UUID] = set()
    while new := [one for one in read() if one.id not in seen]:
        yield from new
        seen |= {one.id for one in new}
