"""Checkpoints: the whole state of a run, written while it goes on, loaded by any number of processes.

`checkpoints/step-00000100/` holds torch.distributed.checkpoint's shards and `state.json`. It is written under a
hidden name and renamed when all of it is on disk; so what has its name is whole, and a kill or a full disk leaves
the one before.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from torch import nn
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    get_optimizer_state_dict,
    set_model_state_dict,
    set_optimizer_state_dict,
)

from model.optim import Optimizers
from model.parallel import Processes
from pipeline.errors import GristmillError

# One process without torchrun is meant, and no_dist says so; it warns all the same.
warnings.filterwarnings("ignore", message="torch.distributed is disabled, unavailable or uninitialized")

_FLAT = StateDictOptions(flatten_optimizer_state_dict=True)
STATE = "state.json"
FAULTS = (Exception, CheckpointException)  # the latter is no Exception: it gathers what each process met


@dataclass
class Checkpoints:
    """The checkpoints of one run. `save` returns once the state is copied; the disk is waited for by the next call."""

    folder: Path
    model: nn.Module  # as spread; its parameters' names are Hugging Face's
    optimizers: Optimizers
    group: Processes
    keep: int = 2
    _writing: tuple[Any, Path, Path] | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        # A group of its own: the writer's messages must not meet those of the steps that go on.
        self._messages = dist.new_group(backend="gloo") if self.group.world > 1 else None

    def save(self, step: int, state: dict[str, Any]) -> None:
        """Begin to write step `step` with `state` (JSON: step, loader, …) beside the tensors.

        Raises GristmillError where the checkpoint before this one could not be written.
        """
        self.wait()
        final = self.folder / f"step-{step:08d}"
        draft = self.folder / f".step-{step:08d}.tmp"
        if self.group.is_first:
            shutil.rmtree(draft, ignore_errors=True)
            draft.mkdir(parents=True)
            _write(draft / STATE, json.dumps(state, indent=2, sort_keys=True))
        self.group.barrier()
        tensors = {
            "model": get_model_state_dict(self.model),
            "optimizer": get_optimizer_state_dict(self.model, tuple(self.optimizers.all), options=_FLAT),
        }
        writer = dcp.FileSystemWriter(draft, sync_files=True)
        try:
            future = dcp.async_save(
                tensors, storage_writer=writer, process_group=self._messages, no_dist=self.group.world == 1
            )
        except FAULTS as error:
            raise self._failed(draft, error) from error
        self._writing = future, draft, final

    def wait(self) -> None:
        """Wait for the checkpoint in writing, give it its name, remove the oldest."""
        if self._writing is None:
            return
        (future, draft, final), self._writing = self._writing, None
        try:
            future.result()
        except FAULTS as error:  # whatever the writer's thread met
            raise self._failed(draft, error) from error
        self.group.barrier()
        if self.group.is_first:
            shutil.rmtree(final, ignore_errors=True)
            os.replace(draft, final)
            for old in list_checkpoints(self.folder)[: -self.keep]:
                shutil.rmtree(old)
        self.group.barrier()

    def load(self, path: Path) -> dict[str, Any]:
        """Put the tensors of a checkpoint in place, however many processes wrote it; its `state`.

        Raises GristmillError where it is damaged or of another model.
        """
        state = read_state(path)
        tensors = {
            "model": get_model_state_dict(self.model),
            "optimizer": get_optimizer_state_dict(self.model, tuple(self.optimizers.all), options=_FLAT),
        }
        try:
            dcp.load(tensors, checkpoint_id=path, no_dist=self.group.world == 1)
            set_model_state_dict(self.model, tensors["model"])
            set_optimizer_state_dict(
                self.model, tuple(self.optimizers.all), optim_state_dict=tensors["optimizer"], options=_FLAT
            )
        except FAULTS as error:
            what = f"the checkpoint cannot be loaded ({_first_line(error)})"
            todo = "Remove this folder to resume from the one before, or resume with the model that wrote it."
            raise GristmillError(what, str(path), todo) from error
        return state

    def _failed(self, draft: Path, error: BaseException) -> GristmillError:
        shutil.rmtree(draft, ignore_errors=True)
        before = list_checkpoints(self.folder)
        kept = f"{before[-1].name} is whole" if before else "there is none before it"
        todo = f"Free some space and run the same command again; of the checkpoints, {kept}."
        return GristmillError(f"cannot write the checkpoint ({_first_line(error)})", str(draft), todo)


@contextmanager
def held(folder: Path, group: Processes) -> Iterator[None]:
    """One run at a time in a folder, or two would write each other's checkpoints; a killed run holds nothing.

    Raises GristmillError where another run holds it, or it cannot be written.
    """
    if not group.is_first:
        yield
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / ".lock").open("w")
    except OSError as error:
        what = f"cannot write there ({error.strerror})"
        raise GristmillError(what, str(folder), "Choose a folder that you may write, with --out.") from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            what = "another run is at work in this folder"
            raise GristmillError(what, str(folder), "Wait until it is done, or choose another --out.") from None
        yield


def list_checkpoints(folder: Path) -> list[Path]:
    """The whole checkpoints of a folder, oldest first."""
    return sorted(path for path in folder.glob("step-*") if (path / STATE).is_file())


def read_state(path: Path) -> dict[str, Any]:
    """The JSON half of a checkpoint."""
    try:
        return json.loads((path / STATE).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        todo = "Remove this folder to resume from the one before."
        raise GristmillError(f"no checkpoint ({_first_line(error)})", str(path), todo) from error


def _write(path: Path, text: str) -> None:
    with path.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def _first_line(error: BaseException) -> str:
    """What happened: the last error that a traceback in the message tells, else the message's first line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    told = [line for line in lines if re.match(r"[\w.]*(Error|Exception): ", line)]
    return (told or lines[:1] or [type(error).__name__])[-1]
