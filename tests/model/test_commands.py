"""The commands as a person runs them, from conversations to a file for llama.cpp."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from model.cli import app
from model.weights import load_model, save_model
from pipeline.errors import GristmillError
from tests.model.tiny import TEXTS, random_model, tokenizer_folder


@pytest.fixture
def base(tmp_path: Path) -> Path:
    folder = tokenizer_folder(tmp_path / "base")
    save_model(random_model(), folder, about={"eos_token_id": 384, "bos_token_id": 384})
    return folder


def ran(*arguments: object, stdin: str = "") -> str:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments], input=stdin)
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.output


def test_generate_continues_a_prompt_and_several(base: Path) -> None:
    one = ran("generate", base, "the cat", "--max-tokens", 8, "--device", "cpu")
    assert one.startswith("the cat")
    rows = ran("generate", base, "the cat", "a dog", "--max-tokens", 8, "--json", "--device", "cpu").splitlines()
    assert [json.loads(row)["prompt"] for row in rows] == ["the cat", "a dog"]
    assert "the cat" + json.loads(rows[0])["text"] == one.rstrip("\n")
    greedy = ["--max-tokens", 6, "--temperature", 0, "--json", "--device", "cpu"]
    drafted, plain = (ran("generate", base, "the", *greedy, *more) for more in (["--draft", base], []))
    assert json.loads(drafted)["text"] == json.loads(plain)["text"]


def test_generate_takes_a_vote(base: Path) -> None:
    told = json.loads(
        ran("generate", base, "the", "--vote", 5, "--answer", "[a-z]", "--max-tokens", 8, "--device", "cpu")
    )
    assert sum(told["votes"].values()) <= 5
    assert told["answer"] == max(told["votes"], key=told["votes"].get)
    with pytest.raises(GristmillError, match="no regular expression"):
        ran("generate", base, "the", "--vote", 2, "--answer", "(")


def test_the_folder_of_a_run_is_not_its_models(base: Path) -> None:
    base.rename(base.parent / "model")
    with pytest.raises(GristmillError, match=f"Its model is {base.parent / 'model'}"):
        ran("generate", base.parent, "the")


def test_chat_answers_each_line(base: Path) -> None:
    said = ran("chat", base, "--max-tokens", 5, "--device", "cpu", stdin="hello\n/new\nthe cat\n\n")
    assert said.strip()


def test_evaluate_tells_texts_and_items(base: Path, tmp_path: Path) -> None:
    (tmp_path / "t.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in TEXTS[:4]))
    (tmp_path / "i.jsonl").write_text(json.dumps({"good": "the cat", "bad": "cat the"}) + "\n")
    results = tmp_path / "r.json"
    found = ran(
        "evaluate", base, "-t", tmp_path / "t.jsonl", "-i", tmp_path / "i.jsonl", "--seen", tmp_path / "t.jsonl",
        "-o", results, "--device", "cpu",
    )  # fmt: skip
    assert "bits per byte" in found
    told = json.loads(results.read_text())
    assert told["t.jsonl"]["bits_per_byte"] > 0
    assert told["i.jsonl"]["accuracy"]["count"] == 1
    (tmp_path / "c.jsonl").write_text(json.dumps({"instruction": "Say cat.", "output": "cat"}) + "\n")
    found = json.loads(ran("evaluate", base, "--chat", tmp_path / "c.jsonl", "--json", "--device", "cpu"))
    assert set(found["c.jsonl"]) == {"response_loss", "response_tokens", "ended"}
    with pytest.raises(GristmillError, match="nothing to evaluate"):
        ran("evaluate", base)


def test_sft_then_export(base: Path, tmp_path: Path) -> None:
    data = tmp_path / "talks.jsonl"
    data.write_text(json.dumps({"instruction": "Say cat.", "output": "cat"}) + "\n")
    ran("sft", "-d", data, "--init", base, "-o", tmp_path / "run", "--steps", 2, "--lora", 2, "--validation-share", 0,
        "--batch-tokens", 128, "--device", "cpu")  # fmt: skip
    tuned = tmp_path / "run/model"
    assert json.loads((tuned / "config.json").read_text())["eos_token_id"][1] == 384
    assert load_model(tuned).config == load_model(base).config
    ran("export", tuned, "--to", "hf", "-o", tmp_path / "hf", "--precision", "float16")
    assert load_model(tmp_path / "hf").config == load_model(base).config
    ran("export", tuned, "--to", "gguf", "-o", tmp_path / "gguf", "--precision", "q8_0")
    assert (tmp_path / "gguf/model-q8_0.gguf").stat().st_size > 10_000
    with pytest.raises(GristmillError, match="no such format"):
        ran("export", tuned, "--to", "onnx", "-o", tmp_path / "x")
    with pytest.raises(GristmillError, match="--qlora"):
        ran("sft", "-d", data, "--init", base, "-o", tmp_path / "run2", "--qlora")
