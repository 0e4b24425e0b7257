"""The automation that trains on what was published; set up by `gristmill deploy`, and off until somebody switches it on."""

from __future__ import annotations

from datetime import timedelta

from prefect.client.orchestration import SyncPrefectClient
from prefect.events.actions import RunDeployment
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture
from prefect.exceptions import ObjectNotFound

from flows.curate import PUBLISHED

NAME = "gristmill: published datasets are trained on"
DEPLOYMENT = "pretrain/published"


def on_published(client: SyncPrefectClient) -> list[AutomationCore]:
    """The automation, where its deployment stands. On or off as it was; off at first, for training takes hours.

    The dataset of the event is the run's only parameter: the rest is the deployment's, to be changed there.
    """
    try:
        deployment = client.read_deployment_by_name(DEPLOYMENT)
    except ObjectNotFound:
        return []
    standing = client.read_automations_by_name(NAME)
    dataset = {"__prefect_kind": "jinja", "template": "{{ event.payload.dataset }}"}
    return [
        AutomationCore(
            name=NAME,
            description="Off until you switch it on. The model's size and the rest stand in pretrain/published.",
            enabled=any(automation.enabled for automation in standing),
            trigger=EventTrigger(
                expect={PUBLISHED},
                match={"prefect.resource.id": ["gristmill.dataset.*"]},
                posture=Posture.Reactive,
                threshold=1,
                within=timedelta(0),
            ),
            actions=[RunDeployment(deployment_id=deployment.id, parameters={"data": [dataset]})],
        )
    ]
