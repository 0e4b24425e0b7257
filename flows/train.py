"""The flows `pretrain` and `sft`: published datasets to a base model, conversations to one that answers.

A run's state lies in its folder: one that was killed, cancelled or crashed goes on there from its last checkpoint when
it is started again. What a run shows while it goes on is `train_showing.py`'s, its parameters are `train_forms.py`'s.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from prefect import flow, get_run_logger, task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.concurrency.sync import concurrency
from prefect.events import emit_event
from prefect.runtime import flow_run
from prefect.utilities.annotations import quote
from pydantic import BaseModel

from flows.faults import RETRY_SECONDS, failed, retry_if_it_passes
from flows.showing import artifact_key
from flows.traces import trace_run
from flows.train_forms import Devices, Horizon, Shape, Tuning, Watching, pretrain_config, sft_config
from flows.train_showing import shown
from pipeline.errors import GristmillError
from pipeline.recipe import digest

trace_run()  # here, because the engine opens a run's span as soon as it has imported the flow
TRAINED = "gristmill.model.trained"  # the event on which what comes after training is triggered
GPU = "gristmill-gpu"  # global concurrency limit: trainings at once, each of which fills its GPUs' memory
LEASE_SECONDS = 60  # after which the slot of a killed run is free: its next try waits for no longer
QUESTIONS = ["What is the capital of France?", "Name three fruits.", "Write a short story about a dog."]


class Trained(BaseModel):
    """A model that was trained. Loss in nats a token; `validation` is empty without held-out data."""

    folder: str
    model: str  # the folder of weights, config and tokenizer
    steps: int
    tokens: int
    validation: dict[str, float]
    seconds: float


def pretrain_name() -> str:
    """124m · name of the dataset."""
    given = flow_run.parameters
    shape = given.get("model", {})
    preset = Shape.model_validate(shape).preset if isinstance(shape, dict) else shape.preset
    return f"{preset} · {' + '.join(_last(path) for path in given['data'])}"


def sft_name() -> str:
    """sft · name of the model's run · name of the data."""
    given = flow_run.parameters
    return f"sft · {_last(given['init'].removesuffix('/model'))} · {' + '.join(_last(path) for path in given['data'])}"


@flow(name="pretrain", flow_run_name=pretrain_name, persist_result=True)
def pretrain(
    data: list[str],
    folder: str = "",
    model: Shape = Shape(),  # noqa: B008  # the form's default; never changed
    training: Horizon = Horizon(),  # noqa: B008  # likewise
    watching: Watching = Watching(),  # noqa: B008  # likewise
    devices: Devices = Devices(),  # noqa: B008  # likewise
) -> Trained | State[Any]:
    """Train a base model on published datasets, and resume in the folder of a run that did not end.

    Args:
        data: Published datasets, as the workers see them: FOLDER, or FOLDER=WEIGHT to mix several.
        folder: Folder of the run, which all workers share; empty for one in out/models named by model and data.
    """
    try:
        from model.pretrain import pretrain as start

        config = pretrain_config(data, folder, model, training, watching, devices)
        return _trained(start, config, devices)
    except GristmillError as error:  # the user's to mend: told in the state's message, without a stack of frames
        return failed(error)
    except ImportError as error:
        return failed(_lacks(error))


@flow(name="sft", flow_run_name=sft_name, persist_result=True)
def sft(
    data: list[str],
    init: str,
    folder: str,
    training: Tuning = Tuning(),  # noqa: B008  # likewise
    watching: Watching = Watching(prompts=QUESTIONS),  # noqa: B008  # likewise
    devices: Devices = Devices(),  # noqa: B008  # likewise
) -> Trained | State[Any]:
    """Fine-tune a model on conversations, and resume in the folder of a run that did not end.

    Args:
        data: Files of conversations: OpenAI messages, Alpaca, ShareGPT or UltraChat, as JSON lines or Parquet.
        init: Folder of the model to start from: `model` in the folder of a pretraining.
        folder: Folder of the run, which all workers share.
    """
    try:
        from model.sft import sft as start

        return _trained(start, sft_config(data, init, folder, training, watching, devices), devices)
    except GristmillError as error:
        return failed(error)
    except ImportError as error:
        return failed(_lacks(error))


def _trained(start: Callable[[Any], Any], config: Any, devices: Devices) -> Trained:
    begun, folder = time.monotonic(), Path(config.out)
    with _slot(devices), shown(folder, get_run_logger()):
        outcome = train(start.__module__.rpartition(".")[2], quote(start), quote(config), devices.processes)
    result = Trained(
        folder=str(folder),
        model=str(folder / "model"),
        steps=outcome.step,
        tokens=outcome.tokens,
        validation=outcome.validation,
        seconds=round(time.monotonic() - begun, 3),
    )
    _tell(result)
    return result


@task(
    name="train",
    task_run_name="{stage}",
    retries=len(RETRY_SECONDS),
    retry_delay_seconds=RETRY_SECONDS,
    retry_condition_fn=retry_if_it_passes,
    cache_policy=NO_CACHE,
    persist_result=False,
)
def train(stage: str, start: Callable[[Any], Any], config: Any, processes: int) -> Any:
    """One run of the trainer, here or in processes of its own; its Outcome."""
    get_run_logger().info("%s in %s", stage, config.out)
    return start(config) if processes == 1 else _spread(start, config, processes)


def _spread(start: Callable[[Any], Any], config: Any, processes: int) -> Any:
    """The same in `processes` processes that find each other, as `torchrun` starts them; the first one's Outcome."""
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    launch = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=processes,
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        run_id=digest(config.out)[:12],
        max_restarts=0,  # what can be mended by trying again is tried again by the task and the automations
    )
    try:
        return elastic_launch(launch, start)(config)[0]
    except ChildFailedError as error:
        raise _first(error) from None


def _first(error: Any) -> Exception:
    """What the process that failed first raised."""
    rank, failure = error.get_first_failure()
    message = failure.message
    told = str(message["message"]) if isinstance(message, dict) else str(message)
    kind, colon, what = told.partition(": ")
    if colon and kind == GristmillError.__name__:
        return GristmillError(what)
    return RuntimeError(f"process {rank} ended: {told}")


def _slot(devices: Devices) -> AbstractContextManager[None]:
    """A slot of the concurrency limit that the form names; on CUDA, of the GPU's."""
    limit = devices.limit
    if not limit and devices.device != "cpu":
        import torch

        limit = GPU if torch.cuda.is_available() else ""
    if not limit:
        return nullcontext()
    # A server that is away for a moment is no reason to end hours of training.
    return concurrency(limit, occupy=1, lease_duration=LEASE_SECONDS, raise_on_lease_renewal_failure=False)


def _tell(result: Trained) -> None:
    """Where things lie, and the event."""
    lines = [
        f"- model: `{result.model}`",
        f"- try it: `gristmill generate {result.model} 'Once upon a time'`",
        f"- for other tools: `gristmill export {result.model} --to hf --out FOLDER`, or `--to gguf`",
    ]
    key, about = artifact_key("model", result.folder), f"Where the model of {result.folder} lies"
    create_markdown_artifact("\n".join(lines), key=key, description=about)
    emit_event(
        TRAINED,
        resource={
            "prefect.resource.id": f"gristmill.model.{digest(result.folder)[:12]}",
            "prefect.resource.name": result.model,
        },
        related=[{"prefect.resource.id": f"prefect.flow-run.{flow_run.id}", "prefect.resource.role": "flow-run"}],
        payload=result.model_dump(),
    )


def _lacks(error: ImportError) -> GristmillError:
    """The worker was installed without what training needs."""
    return GristmillError(f"{error.name or error} is not installed", "worker", "pip install 'gristmill[train]'")


def _last(path: str) -> str:
    return path.partition("=")[0].rstrip("/").rpartition("/")[2]
