"""Plans against published numbers; the power law against one that is known."""

import json
import subprocess
import sys
from xml.etree import ElementTree

import pytest
from typer.testing import CliRunner

from model.cli import app
from model.plan import fit_power_law, inference_aware, nearest_preset, plan, predicted_loss
from model.scaling import draw, finished_runs
from pipeline.errors import GristmillError


def figure(made, name):
    return next(figure.value for figure in made.figures if figure.name == name)


def test_chinchilla_itself():
    made = plan(parameters=70e9)
    assert made.tokens == 1.4e12
    assert made.flops == pytest.approx(5.88e23)  # table 3 of the paper: 5.76e23
    assert predicted_loss(70e9, 1.4e12) == pytest.approx(1.97, abs=0.03)


def test_gpus_and_hours_are_flops():
    made = plan(gpus=8, hours=1)
    assert made.flops == pytest.approx(8 * 3600 * 989e12 * 0.4)
    assert figure(made, "hours") == pytest.approx(1)
    assert figure(made, "cost") == pytest.approx(8 * 2.99)
    assert made.tokens == pytest.approx(20 * made.parameters)


def test_what_is_given_is_kept():
    assert plan(parameters=1e9, tokens=1e12).flops == 6e21
    assert plan(parameters=1e9, flops=6e21).tokens == pytest.approx(1e12)
    assert plan(tokens=1e12, flops=6e21).parameters == pytest.approx(1e9)
    assert plan(tokens=2e10).parameters == pytest.approx(1e9)
    for wrong in (
        {},
        {"parameters": 1, "tokens": 1, "flops": 1},
        {"parameters": -1},
        {"gpus": 1, "hours": 1, "flops": 1},
    ):
        with pytest.raises(GristmillError):
            plan(**wrong)
    with pytest.raises(GristmillError, match="not in the table"):
        plan(parameters=1e9, gpu="Z80")


def test_much_use_asks_for_a_smaller_model_trained_longer():
    n, d = inference_aware(7e9, 1.4e11, 1e13)
    assert n < 7e9
    assert d > 1.4e11
    assert predicted_loss(n, d) == pytest.approx(predicted_loss(7e9, 1.4e11))


def test_presets_are_named_by_their_size():
    assert nearest_preset(124e6)[0] == "124m"
    assert nearest_preset(1.1e9)[0] == "1b"


def test_a_power_law_is_found_again():
    points = [(10.0**x, 1.7 + 400 * (10.0**x) ** -0.15) for x in range(15, 21)]
    law = fit_power_law(points)
    assert law.exponent == pytest.approx(0.15, abs=0.005)
    assert law.at(1e22) == pytest.approx(1.7 + 400 * 1e22**-0.15, rel=0.02)
    with pytest.raises(GristmillError, match="two runs"):
        fit_power_law(points[:1])


def test_finished_runs_become_a_law_and_a_picture(tmp_path):
    from model.config import ModelConfig

    for name, tokens, loss in (("small", 1000, 4.0), ("large", 8000, 3.0)):
        folder = tmp_path / name
        folder.mkdir()
        facts = {"model": ModelConfig.preset("d2", 300).to_dict(), "data": {"seq_len": 64}}
        (folder / "run.json").write_text(json.dumps(facts))
        (folder / "log.jsonl").write_text(
            json.dumps({"kind": "step", "step": 1, "tokens": tokens, "loss": loss}) + "\n"
        )
    runs = finished_runs([tmp_path / "large", tmp_path / "small"])
    law = fit_power_law([(run.flops, run.loss) for run in runs])
    assert [run.name for run in runs] == ["small", "large"]
    assert law.at(runs[1].flops) == pytest.approx(3.0)
    ElementTree.fromstring(draw(runs, law))
    with pytest.raises(GristmillError, match="no finished run"):
        finished_runs([tmp_path])


def test_the_command_prints_a_start_line_and_json():
    told = CliRunner().invoke(app, ["plan", "--parameters", "124e6"])
    assert told.exit_code == 0
    assert "--model 124m" in told.output
    facts = json.loads(CliRunner().invoke(app, ["plan", "--parameters", "124e6", "--json"]).output)
    assert facts["model"] == "124m"
    assert {"name", "value", "unit", "formula", "source"} == set(facts["figures"][0])


def test_a_plan_needs_no_torch():
    code = "import sys; sys.modules['torch'] = None; from model.plan import plan; print(plan(parameters=124e6).model)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "124m\n"
