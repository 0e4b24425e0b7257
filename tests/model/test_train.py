"""The loop: it learns, it tells, it goes on to the digit, and it stops where it must."""

import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from xml.etree import ElementTree

import pytest
import torch
from torch.optim import Muon

from model.config import ModelConfig
from model.journal import Journal, read_journal
from model.optim import OptimizerConfig, Optimizers, schedule
from model.pretrain import horizon, model_config, pretrain
from model.weights import build_model, load_model, save_model
from pipeline.errors import GristmillError
from tests.model.datasets import publish
from tests.model.runs import config, losses
from tests.model.tiny import random_model, tiny_config

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return publish(tmp_path_factory.mktemp("data") / "ds")


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_a_run_learns_and_tells_what_it_did(dataset, tmp_path, capsys):
    loop = {"validate_every": 20, "sample_every": 20, "save_every": 20, "prompts": ("The quick",)}
    outcome = pretrain(config(tmp_path, dataset, steps=40, loop=loop))
    events = read_journal(tmp_path / "log.jsonl")
    steps = [event for event in events if event["kind"] == "step"]
    assert [event["step"] for event in steps] == list(range(1, 41))
    assert set(steps[0]) >= {"step", "tokens", "loss", "lr", "grad_norm", "tokens_per_s", "mfu"}
    assert steps[0]["mfu"] is None  # a CPU is in no table
    assert steps[-1]["tokens"] == outcome.tokens
    assert steps[-1]["loss"] < 0.8 * steps[0]["loss"]
    validations = [event for event in events if event["kind"] == "validation"]
    assert [event["step"] for event in validations] == [20, 40]
    baseline = json.loads((tmp_path / "run.json").read_text())["bigram_bits_per_byte"]
    assert validations[-1]["bits_per_byte"] < validations[0]["bits_per_byte"]
    assert 1 < baseline < 8
    samples = [event for event in events if event["kind"] == "sample"]
    assert all(event["text"].startswith("The quick") for event in samples)
    ElementTree.parse(tmp_path / "loss.svg")
    assert "byte bigram" in (tmp_path / "bits-per-byte.svg").read_text()
    assert "step 40/40" in capsys.readouterr().err
    model = load_model(tmp_path / "model")
    assert model.config.max_seq_len == 32
    assert (tmp_path / "model/tokenizer.json").exists()


def test_the_tiny_model_passes_the_byte_bigram_on_the_samples_shards(published, tmp_path):
    run = config(tmp_path, published, steps=12, loop={"micro_tokens": 0}, model="tiny", seq_len=128, batch_tokens=2048)
    outcome = pretrain(run)
    assert outcome.validation["bits_per_byte"] < json.loads((tmp_path / "run.json").read_text())["bigram_bits_per_byte"]


def test_a_full_disk_ends_the_log_with_what_to_do(tmp_path):
    journal = Journal(tmp_path, 0)
    journal._file.close()
    journal._file = open("/dev/full", "w")
    with pytest.raises(GristmillError, match=r"log cannot be written \(No space left"):
        journal.tell("step", 1, tokens=1, loss=1.0)


def test_a_killed_run_goes_on_to_the_digit(dataset, tmp_path):
    steps, loop = 14, {"save_every": 3}
    pretrain(config(tmp_path / "whole", dataset, steps=steps, loop=loop))
    code = (
        "import sys, torch; from pathlib import Path; torch.set_num_threads(1); from tests.model.runs import config;"
        f"from model.pretrain import pretrain; pretrain(config(Path(sys.argv[1]), Path(sys.argv[2]), {steps}, {loop}))"
    )
    out = tmp_path / "killed"
    process = subprocess.Popen([sys.executable, "-c", code, str(out), str(dataset)], cwd=ROOT)
    deadline = time.monotonic() + 240
    while len(losses(out)) < 5 and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.002)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert 5 <= len(losses(out)) <= steps
    pretrain(config(out, dataset, steps=steps, loop=loop))
    assert losses(out) == losses(tmp_path / "whole")
    ends = [load_model(tmp_path / name / "model").state_dict() for name in ("whole", "killed")]
    assert all(torch.equal(value, ends[1][name]) for name, value in ends[0].items())


def test_a_finished_run_has_nothing_left_to_do(dataset, tmp_path):
    pretrain(config(tmp_path, dataset, steps=2))
    before = (tmp_path / "log.jsonl").read_bytes()
    assert pretrain(config(tmp_path, dataset, steps=2)).step == 2
    assert (tmp_path / "log.jsonl").read_bytes() == before


def test_accumulation_and_masks_change_how_not_what(dataset, tmp_path):
    for name, loop in {"parts": {"micro_tokens": 64}, "whole": {"micro_tokens": 512}}.items():
        pretrain(config(tmp_path / name, dataset, steps=4, loop=loop))
    assert losses(tmp_path / "parts") == pytest.approx(losses(tmp_path / "whole"), abs=2e-3)
    pretrain(config(tmp_path / "masked", dataset, steps=4, loop={"document_mask": True}))
    assert losses(tmp_path / "masked")[-1] != losses(tmp_path / "parts")[-1]


def test_a_loss_that_is_no_number_stops_and_names_the_documents(dataset, tmp_path):
    model = random_model(ModelConfig.preset("d1", 400, max_seq_len=32))
    with torch.no_grad():
        model.model.layers[0].mlp.up_proj.weight[0, 0] = float("nan")
    save_model(model, tmp_path / "broken")
    with pytest.raises(GristmillError, match=r"loss of step 0 is nan.*train-\d-\d") as told:
        pretrain(config(tmp_path / "run", dataset, init=str(tmp_path / "broken")))
    facts = json.loads(Path(told.value.where).read_text())
    assert len(facts["rows"]) == len(facts["inputs"]) == 16
    assert all(row["documents"] for row in facts["rows"])


def test_training_goes_on_from_other_weights(dataset, tmp_path):
    pretrain(config(tmp_path / "base", dataset, steps=10))
    pretrain(config(tmp_path / "more", dataset, steps=4, init=str(tmp_path / "base/model"), seed=1))
    assert losses(tmp_path / "more")[0] < losses(tmp_path / "base")[0] - 0.3


def test_another_shape_does_not_resume(dataset, tmp_path):
    pretrain(config(tmp_path, dataset, steps=2))
    with pytest.raises(GristmillError, match="another shape"):
        pretrain(config(tmp_path, dataset, steps=4, model="tiny"))


def test_every_parameter_has_one_rate_of_its_kind():
    for shape in ({}, {"tie_embeddings": True}, {"n_experts": 4, "n_experts_per_token": 2, "d_expert": 32}):
        model = build_model(tiny_config(**shape))
        optimizers = Optimizers(model, OptimizerConfig(), 64, model.config.tie_embeddings)
        muon, adamw = optimizers.all
        assert isinstance(muon, Muon)
        names = {id(p): name for name, p in model.named_parameters()}
        hidden = {names[id(p)] for group in muon.param_groups for p in group["params"]}
        assert all(".layers." in name and "norm" not in name and "mlp.gate." not in name for name in hidden)
        assert len(hidden) + sum(len(group["params"]) for group in adamw.param_groups) == len(names)


def test_the_rate_rises_stays_and_falls():
    settings = OptimizerConfig(warmup_steps=10, cooldown=0.5)
    rates = [schedule(step, 100, settings) for step in range(100)]
    assert rates[0] == pytest.approx(0.1)
    assert set(rates[9:50]) == {1.0}
    assert rates[75] == pytest.approx(0.5)
    assert rates[99] == pytest.approx(0.02)
    with pytest.raises(GristmillError, match="cooldown"):
        schedule(0, 10, OptimizerConfig(cooldown=1.5))


def test_experts_train_and_share_the_load(tmp_path, dataset):
    from model.loss import Objective

    torch.manual_seed(0)
    model = build_model(tiny_config(n_experts=4, n_experts_per_token=1, d_expert=32))
    model.initialize(0)
    with torch.no_grad():  # a router that sends nearly all to expert 0
        model.model.layers[0].mlp.gate.weight.mul_(0.1)[0].add_(0.4)
    objective, tokens = Objective(model), torch.randint(0, 448, (4, 64))
    optimizers = Optimizers(model, OptimizerConfig(warmup_steps=1), 64, False)
    start = objective(tokens, tokens).router
    for step in range(30):
        loss = objective(tokens, tokens)
        (loss.nats / tokens.numel() + 0.5 * loss.router).backward()
        optimizers.step(step, 30)
    assert objective(tokens, tokens).router < start
    assert objective(tokens, tokens).router < 1.5


def test_the_horizon_is_steps_or_tokens_or_chinchilla(dataset, tmp_path):
    shape = model_config(config(tmp_path, dataset))
    assert horizon(config(tmp_path, dataset, steps=7), shape) == 7
    assert horizon(config(tmp_path, dataset, steps=0, tokens=5120), shape) == 10
    assert horizon(config(tmp_path, dataset, steps=0), shape) == round(20 * shape.parameters()["total"] / 512)


def test_two_runs_do_not_share_a_folder(dataset, tmp_path):
    from model.checkpoint import held
    from model.parallel import Processes

    alone = Processes(0, 1, torch.device("cpu"))
    with held(tmp_path, alone), pytest.raises(GristmillError, match="another run is at work"):
        pretrain(config(tmp_path, dataset, steps=2))
    assert pretrain(config(tmp_path, dataset, steps=2)).step == 2


def test_progress_in_a_file_is_a_line_now_and_then_and_the_last(tmp_path):
    screen = io.StringIO()
    journal = Journal(tmp_path, 0, screen=screen)
    for step in range(500):
        journal.progress(f"step {step}")
    journal.close()
    assert screen.getvalue().splitlines() == ["step 0", "step 499"]


def test_activations_in_bfloat16_learn_as_well(dataset, tmp_path):
    for precision in ("float32", "bfloat16"):
        pretrain(config(tmp_path / precision, dataset, steps=6, loop={"precision": precision}))
    wide, narrow = losses(tmp_path / "float32"), losses(tmp_path / "bfloat16")
    assert narrow != wide
    assert narrow == pytest.approx(wide, abs=0.1)
