"""Finished runs as points of a scaling law."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from model.config import ModelConfig
from model.journal import read_journal
from model.plan import PowerLaw
from model.plot import Series, line_chart
from pipeline.errors import GristmillError


class Run(NamedTuple):
    """What a finished run says: loss in nats a token, of validation where it was validated, else of its last steps."""

    name: str
    parameters: float
    tokens: float
    flops: float
    loss: float


def finished_runs(folders: Sequence[Path]) -> list[Run]:
    """The runs of these folders, smallest first. Raises GristmillError for a folder that holds none."""
    return sorted((_run(folder) for folder in folders), key=lambda run: run.flops)


def draw(runs: Sequence[Run], law: PowerLaw) -> str:
    """Points and fit, both axes logarithmic, as SVG."""
    low, high = runs[0].flops, runs[-1].flops
    curve = [(float(x), law.at(float(x))) for x in np.geomspace(low, high * 10, 60)]
    points = [(run.flops, run.loss) for run in runs]
    return line_chart(
        "Scaling", "training FLOP", "nats a token", [Series("fit", curve), Series("runs", points, dots=True)], log=True
    )


def _run(folder: Path) -> Run:
    events = read_journal(folder / "log.jsonl")
    steps = [event for event in events if event["kind"] == "step"]
    validations = [event for event in events if event["kind"] == "validation"]
    try:
        facts = json.loads((folder / "run.json").read_text(encoding="utf-8"))
        config = ModelConfig(**facts["model"])
        tokens = steps[-1]["tokens"]
    except (OSError, ValueError, KeyError, IndexError) as error:
        todo = "Give the --out folders of finished `gristmill train pretrain`."
        raise GristmillError(f"no finished run ({error})", str(folder), todo) from error
    tail = [event["loss"] for event in steps[-20:]]
    loss = validations[-1]["loss"] if validations else sum(tail) / len(tail)
    flops = config.flops_per_token(facts["data"]["seq_len"]) * tokens
    return Run(folder.name, config.parameters()["total"], tokens, flops, loss)
