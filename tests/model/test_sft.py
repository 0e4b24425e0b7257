"""Fine-tuning: what is packed, what is learned, and that it learns."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import islice
from pathlib import Path

import pytest
import torch

from model.answers import answers
from model.chat import ChatTemplate, Message
from model.conversations import Conversation
from model.generate import Engine
from model.lora import LoRAConfig
from model.loss import Objective
from model.sampling import Sampling
from model.sft import ConversationLoader, ConversationRows, SFTConfig, sft, split
from model.train import LoopSettings
from model.weights import load_model, save_model
from pipeline.errors import GristmillError
from tests.model.tiny import WORDS, random_model, tokenizer_folder, tokenizer_parts


def talk(number: int, length: int = 3) -> Conversation:
    word = WORDS[number % len(WORDS)]
    asked = Message("user", f"{word} {' '.join(WORDS[:length])} {number}")
    return Conversation((asked, Message("assistant", f"the {word} sat")), f"talks:{number}")


@pytest.fixture(scope="module")
def template() -> ChatTemplate:
    return ChatTemplate(tokenizer_parts()["tokenizer.json"])


def test_every_conversation_is_in_one_row_whole(template: ChatTemplate) -> None:
    rows = ConversationRows([talk(n, n % 9) for n in range(40)], template, 96)
    packed = rows.pack()
    assert sorted(piece.document for row in packed for piece in row) == list(range(40))
    for row in packed:
        inputs, targets, documents = rows.fill(row)
        for number, piece in enumerate(row):
            here = documents == number
            assert inputs[here].tolist() == template.render(talk(piece.document, piece.document % 9).messages).ids[:-1]
        assert (targets[documents == len(row)] == -100).all()
    assert rows.counts["learned_tokens"] == sum((rows.fill(row)[1] != -100).sum() for row in packed)


def test_packed_rows_give_the_loss_of_each_conversation_alone(template: ChatTemplate) -> None:
    rows = ConversationRows([talk(n) for n in range(6)], template, 120)
    objective = Objective(random_model())
    with torch.no_grad():
        packed = sum(
            float(objective(*(torch.from_numpy(part)[None] for part in rows.fill(row))).nats) for row in rows.pack()
        )
        alone = sum(
            float(objective(torch.from_numpy(i)[None], torch.from_numpy(t)[None]).nats)
            for i, t in zip(rows.inputs, rows.targets, strict=True)
        )
    assert packed == pytest.approx(alone, rel=1e-4)


def test_too_long_is_cut_and_nothing_to_learn_left_out(template: ChatTemplate) -> None:
    silent = Conversation((Message("user", "hello"),), "s:1")
    endless = Conversation((Message("user", "the cat " * 200), Message("assistant", "no")), "e:1")
    long_answer = Conversation((Message("user", "go"), Message("assistant", "the cat " * 200)), "l:1")
    rows = ConversationRows([silent, endless, long_answer, talk(1)], template, 64)
    assert rows.counts["conversations"] == 4
    assert (rows.counts["cut"], rows.counts["nothing_to_learn"]) == (2, 2)
    assert len(rows) == 2
    with pytest.raises(GristmillError, match="no answer"):
        ConversationRows([silent, endless], template, 64)


def test_any_number_of_ranks_sees_the_same_batches_and_resumes(template: ChatTemplate) -> None:
    rows = ConversationRows([talk(n) for n in range(50)], template, 64)

    def batches(world: int, skip: int = 0) -> list[torch.Tensor]:
        loaders = [ConversationLoader(rows, 4, 1, rank, world) for rank in range(world)]
        for loader in loaders:
            first = ConversationLoader(rows, 4, 1, 0, 1)
            list(islice(first, skip))
            loader.load_state_dict(first.state_dict())
        found = []
        for parts in islice(zip(*loaders, strict=True), 12 - skip):
            whole = torch.empty(4, 64, dtype=torch.int64)
            for rank, part in enumerate(parts):
                whole[rank::world] = part.inputs
            found.append(whole)
        return found

    once = batches(1)
    assert all(torch.equal(a, b) for world in (2, 4) for a, b in zip(once, batches(world), strict=True))
    assert all(torch.equal(a, b) for a, b in zip(once[5:], batches(2, skip=5), strict=True))
    with pytest.raises(GristmillError, match="another seed"):
        ConversationLoader(rows, 4, 2).load_state_dict(ConversationLoader(rows, 4, 1).state_dict())


def test_held_out_files_take_the_place_of_a_share(tmp_path: Path) -> None:
    base = tokenizer_folder(tmp_path / "base")
    save_model(random_model(), base, about={"eos_token_id": 384})
    for name, numbers in {"train": range(20), "held-out": range(20, 24)}.items():
        rows = [{"messages": [m._asdict() for m in talk(n).messages]} for n in numbers]
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    config = SFTConfig(
        data=(str(tmp_path / "train.jsonl"),), validation=(str(tmp_path / "held-out.jsonl"),), init=str(base),
        out=str(tmp_path / "run"), batch_tokens=256, steps=1, device="cpu", loop=LoopSettings(steps=0, prompts=()),
    )  # fmt: skip
    outcome = sft(config)
    facts = json.loads((tmp_path / "run/run.json").read_text())
    assert (facts["data"]["conversations"], facts["trained_share"]) == (20, 1.0)
    model = load_model(tmp_path / "run/model")
    told = answers(Engine(model), tokenizer_parts()["tokenizer.json"], [talk(n) for n in range(20, 24)], 8)
    assert told["response_loss"] == pytest.approx(outcome.validation["loss"], abs=1e-4)


def test_an_opening_falls_on_one_side() -> None:
    train, held_out = split([talk(n) for n in range(400)] * 2, 0.25, 0)
    assert not {c.messages[0] for c in train} & {c.messages[0] for c in held_out}
    assert 0.15 < len(held_out) / 800 < 0.35


@pytest.mark.parametrize("lora", [None, LoRAConfig(rank=8, alpha=16), LoRAConfig(rank=8, alpha=16, quantized=True)])
def test_it_learns_to_answer_and_to_stop(tmp_path: Path, template: ChatTemplate, lora: LoRAConfig | None) -> None:
    base = tokenizer_folder(tmp_path / "base")
    # A frozen base must have something for adapters to steer: larger weights.
    save_model(random_model(std=0.2 if lora else 0.05), base, about={"eos_token_id": 327})
    data = tmp_path / "talks.jsonl"
    rows = [{"messages": [m._asdict() for m in talk(n).messages]} for n in range(200)]
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    from model.optim import OptimizerConfig

    loop = LoopSettings(
        steps=0,
        prompts=("cat the",),
        sample_every=0,
        optimizer=OptimizerConfig(
            kind="adamw", adamw_lr=2e-2 if lora else 4e-3, adamw_weight_decay=0.0, warmup_steps=5
        ),
        validate_every=10,
    )
    config = SFTConfig(
        data=(str(data),), init=str(base), out=str(tmp_path / "run"), batch_tokens=512, steps=60, device="cpu",
        validation_share=0.1, lora=lora, loop=loop,
    )  # fmt: skip
    outcome = sft(config)
    events = [json.loads(line) for line in (tmp_path / "run/log.jsonl").read_text().splitlines()]
    losses = [event["loss"] for event in events if event["kind"] == "validation"]
    assert [event["step"] for event in events if event["kind"] == "validation"][:2] == [0, 10]
    samples = [event for event in events if event["kind"] == "sample"]
    assert all(event["text"].startswith("cat the\n") for event in samples)
    assert losses[-1] < (0.75 if lora else 0.6) * losses[0]
    assert outcome.step == 60
    # Run again, finished: nothing is done anew, and the weights load as a plain model.
    assert sft(replace(config)).step == 60
    model = load_model(tmp_path / "run/model")
    if lora:
        assert (tmp_path / "run/adapter/adapter_model.safetensors").is_file()
        return
    told = answers(Engine(model), tokenizer_parts()["tokenizer.json"], [talk(n) for n in range(200, 230)], 20)
    assert told["ended"] == {"value": 1.0, "stderr": 0.0, "count": 30}
    assert told["response_loss"] < 0.6 * losses[0]
    (answer,) = Engine(model).generate(
        [template.prompt([talk(3).messages[0]])], Sampling(max_tokens=20, temperature=0, stop=(template.end_id,))
    )
    assert answer.finish == "stop"
    assert template.decode(answer.tokens).startswith("the")
