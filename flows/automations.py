"""What a self-hosted Prefect lacks by default, set up by `gristmill deploy`; doing it again changes nothing.

- zombies     a run whose process vanished with its machine keeps its state for ever: Running without a heartbeat it
              is Crashed after three missed ones, Pending that never began is Crashed, Cancelling is Cancelled
- crashed     a crashed run of a deployment tagged RERUN is run again by the flow `rerun`, a few times at most
- published   a dataset that was published is trained on, once somebody has switched that on (`train_trigger.py`)
- notify      a run that ended badly, or well, is told to a webhook, where one is given

Heartbeat and window belong together: a window shorter than the heartbeat crashes healthy runs.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from prefect.blocks.webhook import Webhook
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import StateType
from prefect.events.actions import CallWebhook, ChangeFlowRunState, RunDeployment
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture

from flows.curate import MEMORY
from flows.refine import DOWNLOADS
from flows.train import GPU
from flows.train_trigger import on_published

TAG = "gristmill"  # on every deployment of ours but the upkeep's; automations look at nothing else
UPKEEP = "upkeep"
RERUN = "rerun-if-crashed"
HEARTBEAT_SECONDS = 30
WINDOW_SECONDS = 3 * HEARTBEAT_SECONDS
PENDING_SECONDS = 180  # until a worker's process has begun its run: on a busy machine it starts in 30
CANCELLING_SECONDS = 120  # a worker kills what does not stop within 30
WEBHOOK = "gristmill-notify"
ENDINGS = {"Completed", "Failed", "Crashed", "Cancelled", "Suspended"}
LIMITS = {DOWNLOADS: 2, MEMORY: 1, GPU: 1}
_MESSAGE = """{"run": {{ flow_run.name | tojson }}, "state": {{ flow_run.state.name | tojson }}, "message": \
{{ (flow_run.state.message or "") | tojson }}, "deployment": {{ deployment.name | tojson }}, "id": "{{ flow_run.id }}"}"""


def install(client: SyncPrefectClient, webhook: str = "") -> list[str]:
    """Create or renew the automations and concurrency limits; returns their names. Needs the deployment rerun/crashed.

    A limit that stands keeps the number that somebody gave it. `webhook` is a URL that takes a POST of JSON.
    """
    wanted = [*_zombies(), _crashed(client), *on_published(client)]
    if webhook:
        wanted.append(_notify(webhook))
    for automation in wanted:
        for standing in client.read_automations_by_name(automation.name):
            client.delete_automation(standing.id)
        client.create_automation(automation)
    standing_limits = {limit.name for limit in client.read_global_concurrency_limits(limit=200)}
    for name, limit in LIMITS.items():
        if name not in standing_limits:
            client.upsert_global_concurrency_limit_by_name(name, limit)
    return [*(automation.name for automation in wanted), *LIMITS]


def _zombies() -> list[AutomationCore]:
    """What a dead process left in a state that it can no longer leave by itself."""
    return [
        _stuck(
            "gristmill: zombies are crashed",
            {"prefect.flow-run.Running", "prefect.flow-run.heartbeat"},
            WINDOW_SECONDS,
            StateType.CRASHED,
            f"its process gave no sign of life for {WINDOW_SECONDS} s; it resumes",
        ),
        _stuck(
            "gristmill: what never began is crashed",
            {"prefect.flow-run.Pending", "prefect.flow-run.Submitting"},
            PENDING_SECONDS,
            StateType.CRASHED,
            f"a worker took it, and it did not begin within {PENDING_SECONDS} s",
        ),
        _stuck(
            "gristmill: what was cancelled is cancelled",
            {"prefect.flow-run.Cancelling"},
            CANCELLING_SECONDS,
            StateType.CANCELLED,
            f"its worker did not say within {CANCELLING_SECONDS} s that it is gone",
        ),
    ]


def _stuck(name: str, after: set[str], seconds: int, state: StateType, message: str) -> AutomationCore:
    """After one of these events any other of the run must follow: the next heartbeat, a pause, an end."""
    return AutomationCore(
        name=name,
        description=f"No sign of life for {seconds} s.",
        trigger=EventTrigger(
            after=after,
            expect={"prefect.flow-run.*"},
            match={"prefect.resource.id": ["prefect.flow-run.*"]},
            match_related=_ours(TAG, UPKEEP),
            for_each={"prefect.resource.id"},
            posture=Posture.Proactive,
            threshold=1,
            within=timedelta(seconds=seconds),
        ),
        actions=[ChangeFlowRunState(state=state, message=message)],
    )


def _crashed(client: SyncPrefectClient) -> AutomationCore:
    rerun = client.read_deployment_by_name("rerun/crashed")
    return AutomationCore(
        name="gristmill: crashed runs are run again",
        description="Each crashed run once, and each chain of runs a few times at most: see the flow `rerun`.",
        trigger=EventTrigger(
            expect={"prefect.flow-run.Crashed"},
            match={"prefect.resource.id": ["prefect.flow-run.*"]},
            match_related=_ours(RERUN),
            for_each={"prefect.resource.id"},
            posture=Posture.Reactive,
            threshold=1,
        ),
        actions=[RunDeployment(deployment_id=rerun.id, parameters={"crashed": _jinja("{{ flow_run.id }}")})],
    )


def _notify(url: str) -> AutomationCore:
    block: Any = Webhook(method="POST", url=url)
    block_id = block.save(WEBHOOK, overwrite=True)
    return AutomationCore(
        name="gristmill: notify",
        description="Tells a webhook how each run ended, and when one waits for a person.",
        trigger=EventTrigger(
            expect={f"prefect.flow-run.{name}" for name in ENDINGS},
            match={"prefect.resource.id": ["prefect.flow-run.*"]},
            match_related=_ours(TAG),
            for_each={"prefect.resource.id"},
            posture=Posture.Reactive,
            threshold=1,
        ),
        actions=[CallWebhook(block_document_id=block_id, payload=_MESSAGE)],
    )


def _ours(*tags: str) -> dict[str, Any]:
    return {"prefect.resource.role": "tag", "prefect.resource.id": [f"prefect.tag.{tag}" for tag in tags]}


def _jinja(template: str) -> dict[str, str]:
    return {"__prefect_kind": "jinja", "template": template}
