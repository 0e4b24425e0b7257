"""Evaluation: scores against plain computation, items against files."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch

from model.evaluate import Evaluator, Rate
from model.tasks import Item, read_items
from model.vocabulary import Vocabulary
from model.weights import build_model
from pipeline.errors import GristmillError
from tests.model.tiny import TEXTS, random_model, tiny_config, tokenizer_parts

EOT = 384
DATA = Path(__file__).parents[2] / "../shared/data/train/eval"


@pytest.fixture(scope="module")
def evaluator() -> Evaluator:
    return Evaluator(random_model(), Vocabulary(tokenizer_parts()["tokenizer.json"]), EOT, batch_tokens=600)


def nats(evaluator: Evaluator, ids: list[int], count: int) -> float:
    with torch.no_grad():
        chances = evaluator.model(torch.tensor([ids[:-1]]))[0].log_softmax(-1)
    return -sum(float(chances[at - 1, ids[at]]) for at in range(len(ids) - count, len(ids)))


def test_bits_per_byte_of_a_uniform_model_is_the_vocabularys() -> None:
    model = build_model(tiny_config())
    model.initialize(0)  # its head starts at zero, so every token is as likely
    vocabulary = Vocabulary(tokenizer_parts()["tokenizer.json"])
    found = Evaluator(model, vocabulary, EOT).bits_per_byte(TEXTS[:5])
    tokens = sum(len(vocabulary.encode(text)) for text in TEXTS[:5])
    size = sum(len(text.encode()) for text in TEXTS[:5])
    assert found["bits_per_byte"] == pytest.approx(tokens * math.log2(448) / size, rel=1e-5)
    assert found["perplexity"] == pytest.approx(448, rel=1e-4)
    assert (found["tokens"], found["bytes"]) == (tokens, size)


def test_long_texts_count_each_token_once(evaluator: Evaluator) -> None:
    text = " ".join(TEXTS[:12])
    ids = [EOT, *evaluator.vocabulary.encode(text)]
    assert len(ids) > 3 * 128
    found = evaluator.bits_per_byte([text, TEXTS[13]])
    wanted, done = nats(evaluator, ids[:129], 128), 129
    while done < len(ids):
        end = min(done + 64, len(ids))
        wanted += nats(evaluator, ids[end - 129 : end], end - done)
        done = end
    short = [EOT, *evaluator.vocabulary.encode(TEXTS[13])]
    wanted += nats(evaluator, short, len(short) - 1)
    assert found["loss"] * found["tokens"] == pytest.approx(wanted, rel=1e-4)


def test_a_continuations_score_is_its_log_likelihood(evaluator: Evaluator) -> None:
    pairs = [("the cat", " sat on a mat"), ("", "the dog"), ("and", " ran"), ("the cat " * 100, " sat")]
    found = evaluator.score(pairs)
    for (context, ending), score in zip(pairs, found, strict=True):
        before = evaluator.vocabulary.encode(context)
        after = evaluator.vocabulary.encode(context + ending)[len(before) :]
        whole = [EOT, *before, *after][-129:]
        assert score.nats == pytest.approx(nats(evaluator, whole, len(after)), rel=1e-3)
        assert (score.tokens, score.bytes) == (len(after), len(ending.encode()))


def test_the_likelier_choice_wins_and_a_tie_does_not(evaluator: Evaluator) -> None:
    options = (("the cat", " sat"), ("the cat", " on the mat and the dog"), ("the cat", " old"))
    costs = [score.nats for score in evaluator.score(options)]
    best = costs.index(min(costs))
    found = evaluator.accuracy([Item(options, gold, "choice") for gold in range(3)])
    assert found["accuracy"]["value"] == pytest.approx(1 / 3)
    assert evaluator.accuracy([Item(options, best, "choice")])["accuracy"]["value"] == 1
    same = Item((options[0], options[0]), 0, "choice")
    assert evaluator.accuracy([same])["accuracy"]["value"] == 0


def test_a_cloze_is_right_where_greedy_says_it(evaluator: Evaluator) -> None:
    with torch.no_grad():
        said = evaluator.model(torch.tensor([[EOT, *evaluator.vocabulary.encode("the cat sat")]]))[0, -1]
    (score,) = evaluator.score([("the cat sat", " on")])
    best = int(said.argmax()) == evaluator.vocabulary.encode(" on")[0] and score.tokens == 1
    found = evaluator.accuracy([Item((("the cat sat", " on"),), 0, "cloze")])
    assert found["accuracy"]["value"] == float(best)
    assert found["perplexity"] == pytest.approx(math.exp(score.nats / score.tokens), rel=1e-4)


def test_standard_errors() -> None:
    assert Rate(0.5, 100).stderr == pytest.approx(0.05)
    assert Rate(1.0, 10).stderr == 0


def test_few_shot_examples_never_hold_the_item_itself(evaluator: Evaluator) -> None:
    from random import Random

    from model.evaluate import _examples

    items = [Item(((f"Q{n}", " yes"), (f"Q{n}", " no")), n % 2, "choice") for n in range(5)]
    for n, item in enumerate(items):
        prefix = _examples(item, 3, items, Random(n))
        assert prefix.count("\n\n") == 3
        assert f"Q{n}" not in prefix
    assert evaluator.accuracy(items, shots=2)["shots"] == 2


def test_verbatim_continuations_are_found(evaluator: Evaluator) -> None:
    from model.generate import Engine
    from model.sampling import Sampling

    prompt = evaluator.vocabulary.encode(TEXTS[0])[:8]
    (made,) = Engine(evaluator.model).generate([[EOT, *prompt]], Sampling(max_tokens=4, temperature=0))

    class Fixed(Vocabulary):
        """Reads `memorised` as what the model says anyway: text of any ids, which no random text decodes to."""

        def encode(self, text: str) -> list[int]:
            return prompt + made.tokens if text == "memorised" else super().encode(text)

    probe = Evaluator(evaluator.model, Fixed(tokenizer_parts()["tokenizer.json"]), EOT)
    found = probe.memorisation(["memorised", TEXTS[1]], [TEXTS[2], TEXTS[3]], prefix=8, length=4)
    assert found["seen"]["value"] == 0.5
    assert found["unseen"]["value"] == 0
    assert found["unseen"]["count"] == 2


def test_items_of_every_form(tmp_path: Path) -> None:
    rows = [
        {"query": "Question: why?", "choices": ["so", "no"], "gold": 1},
        {"ctx": "[header] How [title] One", "choices": ["[step] a.", "b."], "gold": 0, "kind": "wikihow"},
        {"context_options": ["A is", "B is"], "continuation": "big.", "gold": 1},
        {"context": "It is", "continuation": "red"},
        {"good": "he runs", "bad": "he run", "paradigm": "agreement"},
        {"task": "mmlu", "subject": "law", "query": "Which?", "choices": ["x", "y"], "gold": 0},
    ]
    path = tmp_path / "items.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    items = read_items(path)
    assert items[0].options[1] == ("Question: why?\nAnswer:", " no")
    assert items[1].options[0] == (" How. One", " a.")
    assert items[2].example == "B is big."
    assert (items[3].kind, items[3].options) == ("cloze", (("It is", " red"),))
    assert (items[4].kind, items[4].group) == ("pair", "agreement")
    assert items[5].options[0] == ("Which?\nA. x\nB. y\nAnswer:", " A")


@pytest.mark.parametrize("row", ['{"text": "x"}', '{"query": "q", "choices": ["a"], "gold": 3}', "[]"])
def test_a_bad_item_is_told_by_its_line(tmp_path: Path, row: str) -> None:
    path = tmp_path / "items.jsonl"
    path.write_text('{"good": "a", "bad": "b"}\n' + row + "\n")
    with pytest.raises(GristmillError, match="line 2"):
        read_items(path)


def test_every_real_set_is_read_and_scored(evaluator: Evaluator) -> None:
    if not DATA.is_dir():
        pytest.skip("the shared training data is not beside the checkout")
    for path in sorted(DATA.glob("*.xz")):
        items = read_items(path)
        found = evaluator.accuracy(items[:4])
        assert found["accuracy"]["count"] == 4, path.name
