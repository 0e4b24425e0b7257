"""The training flows without a server: forms, what is shown, and processes that find each other."""

from __future__ import annotations

import base64
import re
from pathlib import Path

import pytest
import torch
from pydantic import ValidationError

from flows.automations import GPU, LIMITS
from flows.train import QUESTIONS, _spread, pretrain, sft
from flows.train_forms import PROMPTS, Devices, Horizon, Shape, Tuning, Watching, pretrain_config, sft_config
from flows.train_showing import page
from model.data import Source
from model.journal import read_journal
from model.pretrain import PretrainConfig
from model.pretrain import pretrain as start
from model.sft import QUESTIONS as TRAINERS_QUESTIONS
from model.sft import SFTConfig
from model.train import LoopSettings
from pipeline.errors import GristmillError
from tests.model.datasets import publish
from tests.model.runs import config


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return publish(tmp_path_factory.mktemp("data") / "ds")


def test_forms_that_are_left_as_they_are_give_the_trainers_own_defaults() -> None:
    forms = Watching(), Devices()
    assert pretrain_config(["a=2"], "out", Shape(), Horizon(), *forms) == PretrainConfig(
        data=(Source("a", 2.0),), out="out"
    )
    asked = Watching(prompts=QUESTIONS)
    mine = sft_config(["a"], "base", "out", Tuning(), asked, Devices())
    theirs = SFTConfig(data=("a",), init="base", out="out")
    assert tuple(PROMPTS) == LoopSettings(steps=0).prompts
    assert tuple(QUESTIONS) == TRAINERS_QUESTIONS
    assert mine == theirs


def test_what_is_given_arrives() -> None:
    made = pretrain_config(
        ["a", "b=3"],
        "out",
        Shape(preset="tiny", seq_len=64),
        Horizon(steps=7, lr=0.5, optimizer="adamw", cooldown=0.1, packing="concat"),
        Watching(prompts=["x"], save_every=3),
        Devices(device="cpu", precision="bfloat16"),
    )
    assert (made.model, made.seq_len, made.steps, made.packing, made.device) == ("tiny", 64, 7, "concat", "cpu")
    assert (made.loop.optimizer.adamw_lr, made.loop.optimizer.cooldown) == (0.5, 0.1)
    assert (made.loop.prompts, made.loop.save_every, made.loop.precision) == (("x",), 3, "bfloat16")
    tuned = sft_config(["a"], "base", "out", Tuning(lora_rank=4, quantized=True, lr=0.1), Watching(), Devices())
    assert tuned.lora is not None
    assert (tuned.lora.rank, tuned.lora.quantized, tuned.lr) == (4, True, 0.1)
    with pytest.raises(ValidationError, match="lora_rank"):
        Tuning(quantized=True)


def test_a_dataset_that_was_published_anew_is_trained_on_in_another_folder(dataset: Path, tmp_path: Path) -> None:
    def folder(path: Path, **horizon: int) -> str:
        return pretrain_config([str(path)], "", Shape(preset="tiny"), Horizon(**horizon), Watching(), Devices()).out

    assert re.fullmatch(r"out/models/ds-tiny-[0-9a-f]{8}", folder(dataset))
    assert folder(dataset) == folder(dataset)
    assert folder(publish(tmp_path / "ds", seed=1)) != folder(dataset) != folder(dataset, steps=3)


def test_the_forms_of_both_flows_have_help_for_every_field() -> None:
    for one in (pretrain, sft):
        schema = one.parameters.model_dump()
        for form in (schema.get("definitions") or {}).values():
            assert all(field.get("description") for field in form["properties"].values()), form["title"]
        assert schema["properties"]["data"]["description"]
    assert LIMITS[GPU] == 1


def test_the_page_shows_curves_validations_and_what_the_model_writes() -> None:
    events = [
        {"kind": "step", "step": 1, "tokens": 10, "loss": 5.0},
        {"kind": "step", "step": 2, "tokens": 20, "loss": 4.0},
        {"kind": "validation", "step": 2, "tokens": 20, "loss": 4.5, "bits_per_byte": 2.5},
        {"kind": "sample", "step": 1, "prompt": "The", "text": "The old one"},
        {"kind": "sample", "step": 2, "prompt": "The", "text": "The # new ![x](y)\n| one |"},
    ]
    told = page(events, {"bigram_bits_per_byte": 3.25}, "step 2 of 2")
    pictures = [base64.b64decode(data).decode() for data in re.findall(r"base64,([^)]+)\)", told)]
    assert len(pictures) == 2
    assert "training" in pictures[0]
    assert "byte bigram" in pictures[1]
    assert "| 2 | 20 | 4.5000 | 2.5000 |" in told
    assert "    The # new ![x](y)\n    | one |" in told
    assert "old one" not in told


@pytest.mark.slow
def test_processes_find_each_other_and_the_first_to_fail_is_told(dataset: Path, tmp_path: Path) -> None:
    torch.set_num_threads(1)
    outcome = _spread(start, config(tmp_path / "two", dataset, steps=2), 2)
    assert outcome.step == 2
    assert [e["step"] for e in read_journal(tmp_path / "two/log.jsonl") if e["kind"] == "step"] == [1, 2]
    with pytest.raises(GristmillError, match="no such preset"):
        _spread(start, config(tmp_path / "none", dataset, model="tinny"), 1)
