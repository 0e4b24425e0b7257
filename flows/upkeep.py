"""What automations miss: they live on events, and events are lost with the server that dies over them.

`gristmill up` and every `gristmill worker` look once a minute for runs that died unnoticed and for crashes that nobody
answered, and for late runs that nobody will take. Where automations have done their work, this finds nothing; done twice, it does no harm.
"""

from __future__ import annotations

import logging
import threading
from datetime import UTC, datetime, timedelta
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterEndTime,
    FlowRunFilterIdempotencyKey,
    FlowRunFilterState,
    FlowRunFilterStateName,
    FlowRunFilterStateType,
    FlowRunFilterTags,
)
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.events.filters import EventFilter, EventNameFilter, EventOccurredFilter, EventResourceFilter
from prefect.states import Cancelled, Crashed, Late

from flows.automations import CANCELLING_SECONDS, PENDING_SECONDS, RERUN, TAG, UPKEEP, WINDOW_SECONDS
from flows.deployments import has_worker, no_worker
from flows.rerun import MOST_TRIES, answer_key, run_again, tries

EVERY_SECONDS = 60.0
_LOOK_BACK = timedelta(hours=24)
_logger = logging.getLogger("gristmill.upkeep")


def keep_up(stopped: threading.Event) -> None:
    """Sweep until `stopped`; a server that is away is asked again a minute later."""
    silent: set[UUID] = set()
    while not stopped.wait(EVERY_SECONDS):
        try:
            with get_client(sync_client=True) as client:
                silent = sweep(client, silent)
        except Exception as error:  # whatever the server answers, the worker beside this goes on
            silent = set()
            _logger.debug("not swept: %s", error)


def sweep(client: SyncPrefectClient, silent: set[UUID]) -> set[UUID]:
    """Crash what died unnoticed, tell why nobody takes a run, and answer crashes; returns the runs that are silent now.

    A running one is dead if it was `silent` at the last sweep too: after a pause of the server, its heartbeats are
    heard again before the next one.
    """
    now = datetime.now(UTC)
    quiet = {run.id for run in _in_state(client, StateType.RUNNING) if not _alive(client, run, now)}
    for dead in quiet & silent:
        client.set_flow_run_state(dead, Crashed(message=f"its process gave no sign of life for {WINDOW_SECONDS} s"))
    for run in _in_state(client, StateType.PENDING):
        if _age(run, now) > PENDING_SECONDS:
            told = f"a worker took it, and it did not begin within {PENDING_SECONDS} s"
            client.set_flow_run_state(run.id, Crashed(message=told))
    for run in _in_state(client, StateType.CANCELLING):
        if _age(run, now) > CANCELLING_SECONDS:
            client.set_flow_run_state(run.id, Cancelled(message="its worker did not say that it is gone"))
    _tell_why_late(client)
    for run in _unanswered(client, now):
        run_again(client, run, MOST_TRIES, _logger)
    return quiet - silent


def _tell_why_late(client: SyncPrefectClient) -> None:
    """Late runs of a pool without worker say so in their state; they are as late as before, for the first worker."""
    late = client.read_flow_runs(
        flow_run_filter=FlowRunFilter(
            state=FlowRunFilterState(name=FlowRunFilterStateName(any_=["Late"])),
            tags=FlowRunFilterTags(all_=[TAG]),
        ),
        limit=200,
    )
    untold = [(run, run.state) for run in late if run.state and not run.state.message]
    pools = {run.work_pool_name for run, _ in untold if run.work_pool_name}
    empty = {pool for pool in pools if not has_worker(client, pool)}
    for run, state in untold:
        if run.work_pool_name in empty:
            told = Late(scheduled_time=state.state_details.scheduled_time, message=no_worker(run.work_pool_name))
            client.set_flow_run_state(run.id, told, force=True)  # it was Late before, which is no transition


def _in_state(client: SyncPrefectClient, state: StateType) -> list[FlowRun]:
    """Ours in that state, upkeep included."""
    return [
        run
        for tag in (TAG, UPKEEP)
        for run in client.read_flow_runs(
            flow_run_filter=FlowRunFilter(
                state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[state])),
                tags=FlowRunFilterTags(all_=[tag]),
            ),
            limit=200,
        )
    ]


def _alive(client: SyncPrefectClient, run: FlowRun, now: datetime) -> bool:
    if _age(run, now) < WINDOW_SECONDS:
        return True
    heartbeats = EventFilter(
        occurred=EventOccurredFilter(since=now - timedelta(seconds=WINDOW_SECONDS), until=now),
        event=EventNameFilter(name=["prefect.flow-run.heartbeat"]),
        resource=EventResourceFilter(id=[f"prefect.flow-run.{run.id}"]),
    )
    return bool(client.read_events(heartbeats, limit=1).events)


def _age(run: FlowRun, now: datetime) -> float:
    """Seconds that it has been in its state."""
    return (now - run.state.timestamp).total_seconds() if run.state else 0.0


def _unanswered(client: SyncPrefectClient, now: datetime) -> list[FlowRun]:
    """Crashed runs that are to be run again and were not, a minute after their end."""
    crashed = client.read_flow_runs(
        flow_run_filter=FlowRunFilter(
            state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.CRASHED])),
            tags=FlowRunFilterTags(all_=[RERUN]),
            end_time=FlowRunFilterEndTime(after_=now - _LOOK_BACK, before_=now - timedelta(seconds=EVERY_SECONDS)),
        ),
        limit=200,
    )
    crashed = [run for run in crashed if tries(run) < MOST_TRIES]
    if not crashed:
        return []
    keys = FlowRunFilterIdempotencyKey(any_=[answer_key(run) for run in crashed])
    answers = client.read_flow_runs(flow_run_filter=FlowRunFilter(idempotency_key=keys), limit=200)
    answered = {run.idempotency_key for run in answers}
    return [run for run in crashed if answer_key(run) not in answered]
