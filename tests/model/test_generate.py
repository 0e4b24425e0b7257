"""Generation: what is cached, batched, shared or speculated gives what plain decoding gives."""

from __future__ import annotations

import json
import re
from collections import Counter

import pytest
import torch

from model.attention import KVCache
from model.constrain import Grammar
from model.generate import Completion, Engine, best_of_n, self_consistency
from model.sampling import Sampling, draw, generators, probabilities
from model.speculative import judge, speculate
from pipeline.errors import GristmillError
from tests.model.tiny import random_model, tiny_config, tokenizer_parts

PROMPTS = [[5, 6, 7], [9], list(range(10, 40)), [5, 6, 7, 8], [5, 6, 7, 8, 1, 2], [3, 3]]
GREEDY = Sampling(max_tokens=8, temperature=0)


@pytest.fixture(scope="module")
def model():
    return random_model()


def plain(model, prompt: list[int], tokens: int) -> list[int]:
    """Greedy decoding without a cache: the whole text anew for each token."""
    text = list(prompt)
    with torch.no_grad():
        for _ in range(tokens):
            text.append(int(model(torch.tensor([text]))[0, -1].argmax()))
    return text[len(prompt) :]


@pytest.mark.parametrize("shape", [{}, {"family": "llama"}, {"n_experts": 4, "n_experts_per_token": 2, "d_expert": 32}])
def test_cached_and_batched_is_plain_decoding(shape) -> None:
    model = random_model(tiny_config(**shape))
    for slots in (1, 2, 8):
        found = Engine(model, slots=slots, prefix_tokens=0).generate(PROMPTS, GREEDY)
        assert [c.tokens for c in found] == [plain(model, prompt, 8) for prompt in PROMPTS]


def test_logprobs_are_the_models(model) -> None:
    (found,) = Engine(model).generate([PROMPTS[0]], GREEDY)
    text = torch.tensor([PROMPTS[0] + found.tokens])
    with torch.no_grad():
        wanted = model(text).log_softmax(-1)[0, 2:-1].gather(1, text[0, 3:, None])[:, 0]
    assert torch.allclose(torch.tensor(found.logprobs), wanted, atol=1e-4)


def test_a_prefix_is_computed_once_and_changes_nothing(model) -> None:
    engine = Engine(model, prefix_tokens=1000)
    found = [engine.generate([prompt], GREEDY)[0].tokens for prompt in PROMPTS + PROMPTS]
    assert found == [plain(model, prompt, 8) for prompt in PROMPTS] * 2
    # All but the last token of every prompt of the second round, and [5, 6, 7] and [5, 6, 7, 8] of the first.
    assert engine.prefixes.reused == sum(len(p) - 1 for p in PROMPTS) + 3 + 4


def test_the_prefix_cache_keeps_within_its_limit(model) -> None:
    engine = Engine(model, prefix_tokens=20)
    engine.generate(PROMPTS, GREEDY)
    assert sum(map(len, engine.prefixes._kept)) <= 20


def test_samples_do_not_depend_on_the_batch(model) -> None:
    sampling = Sampling(max_tokens=10, temperature=1.5, seed=3)
    one = Engine(model, slots=1).generate(PROMPTS, sampling)
    many = Engine(model, slots=4).generate(PROMPTS, sampling)
    assert [c.tokens for c in one] == [c.tokens for c in many]
    other = Engine(model, slots=4).generate(PROMPTS, Sampling(max_tokens=10, temperature=1.5, seed=4))
    assert [c.tokens for c in one] != [c.tokens for c in other]


def test_stops_at_a_stop_token_at_max_tokens_and_at_the_contexts_end(model) -> None:
    whole = plain(model, PROMPTS[0], 12)
    stopped, cut = Engine(model).generate(
        [PROMPTS[0]] * 2,
        [Sampling(max_tokens=12, temperature=0, stop=(whole[4],)), Sampling(max_tokens=2, temperature=0)],
    )
    assert (stopped.tokens, stopped.finish) == (whole[: whole.index(whole[4])], "stop")
    assert (cut.tokens, cut.finish) == (whole[:2], "length")
    (full,) = Engine(model).generate([[1] * 120], Sampling(max_tokens=50, temperature=0))
    assert (len(full.tokens), full.finish) == (8, "length")
    (none,) = Engine(model).generate([[1]], Sampling(max_tokens=0))
    assert none.tokens == []


def test_a_prompt_that_does_not_fit_is_told(model) -> None:
    with pytest.raises(GristmillError, match="128 tokens"):
        Engine(model).generate([[1] * 128], GREEDY)
    with pytest.raises(GristmillError, match="0 tokens"):
        Engine(model).generate([[]], GREEDY)


def test_padding_of_the_vocabulary_is_never_drawn() -> None:
    engine = Engine(random_model(std=0.01), vocab_size=300)
    found = engine.generate([[1]] * 8, Sampling(max_tokens=40, temperature=5.0))
    assert max(token for c in found for token in c.tokens) < 300


def test_filters_keep_what_they_say() -> None:
    logits = torch.tensor([0.5, 0.25, 0.15, 0.1]).log()

    def chances(**settings) -> list[float]:
        history = settings.pop("history", ())
        return [round(x, 4) for x in probabilities(logits, Sampling(**settings), history).tolist()]

    assert chances() == [0.5, 0.25, 0.15, 0.1]
    assert chances(temperature=0) == [1, 0, 0, 0]
    assert chances(top_k=2) == [0.6667, 0.3333, 0, 0]
    assert chances(top_p=0.7) == [0.6667, 0.3333, 0, 0]
    assert chances(top_p=0.5) == [1, 0, 0, 0]
    assert chances(min_p=0.3) == [0.5556, 0.2778, 0.1667, 0]
    halved = chances(repetition_penalty=2.0, history=[0])  # 0.5 becomes 0.25, for its logit is negative
    assert halved[0] == halved[1]


@pytest.mark.parametrize("wrong", [{"temperature": -1}, {"top_p": 0}, {"min_p": 2}, {"repetition_penalty": 0}])
def test_settings_out_of_range_are_told(wrong) -> None:
    with pytest.raises(GristmillError, match=next(iter(wrong))):
        Sampling(**wrong)


def test_draws_follow_the_chances() -> None:
    wanted = torch.tensor([0.5, 0.0, 0.3, 0.2])
    (generator,) = generators(1, [0])
    counts = Counter(draw(wanted, generator) for _ in range(5000))
    assert counts[1] == 0
    assert all(abs(counts[i] / 5000 - wanted[i]) < 0.03 for i in range(4))


@pytest.mark.parametrize("ahead", [1, 3, 5])
def test_speculative_is_greedy(model, ahead: int) -> None:
    near = random_model()  # the same model but for a little noise: often right, not always
    with torch.no_grad():
        for parameter in near.parameters():
            parameter += 0.03 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1))
    for draft in (near, random_model(tiny_config(n_layers=1), seed=5), model):
        for prompt in PROMPTS:
            found = speculate(model, draft, prompt, GREEDY, ahead)
            assert found.completion.tokens == plain(model, prompt, 8)
    # Itself as the draft: every guess is kept, so ahead + 1 tokens a pass.
    assert found.accepted == found.proposed
    assert found.passes == -(-8 // (ahead + 1))


def test_speculated_samples_follow_the_models_distribution() -> None:
    model = random_model(tiny_config(vocab_size=6, n_layers=1), std=0.4)
    draft = random_model(tiny_config(vocab_size=6, n_layers=1), seed=9, std=0.4)
    with torch.no_grad():
        first = model(torch.tensor([[1]]))[0, -1].softmax(0)
        second = model(torch.tensor([[1, i] for i in range(6)]))[:, -1].softmax(-1)
    wanted = first[:, None] * second
    runs = 500
    counts = torch.zeros(6, 6)
    for seed in range(runs):
        a, b = speculate(model, draft, [1], Sampling(max_tokens=2, seed=seed), 2).completion.tokens
        counts[a, b] += 1
    # Chi-squared with 35 degrees of freedom passes 66.6 once in a thousand.
    assert float(((counts - runs * wanted) ** 2 / (runs * wanted)).sum()) < 66.6


def test_judging_gives_exactly_the_truth() -> None:
    truth, belief = torch.tensor([0.1, 0.6, 0.3]), torch.tensor([0.5, 0.2, 0.3])
    (generator,) = generators(0, [0])
    counts = Counter(judge(truth, belief, draw(belief, generator), generator)[0] for _ in range(6000))
    assert all(abs(counts[i] / 6000 - truth[i]) < 0.025 for i in range(3))


def test_a_draft_of_another_vocabulary_is_refused(model) -> None:
    with pytest.raises(GristmillError, match="vocabulary"):
        speculate(model, random_model(tiny_config(vocab_size=64)), [1], GREEDY)


def test_best_of_n_takes_the_best(model) -> None:
    engine = Engine(model)
    sampling = Sampling(max_tokens=6, temperature=2.0)
    best, scores = best_of_n(engine, [1, 2], sampling, 6)
    assert best.mean_logprob == max(scores)
    shortest, _ = best_of_n(engine, [1, 2], sampling, 6, lambda c: -sum(c.tokens))
    assert sum(shortest.tokens) == min(sum(c.tokens) for c in engine.generate([[1, 2]] * 6, sampling))


def test_self_consistency_takes_the_majority(model) -> None:
    def answer(completion: Completion) -> str | None:
        return None if completion.tokens[0] % 5 == 0 else str(completion.tokens[0] % 3)

    won, votes = self_consistency(Engine(model), [1, 2], Sampling(max_tokens=1, temperature=3.0), 40, answer)
    assert votes[won] == max(votes.values())
    assert 0 < sum(votes.values()) < 40


def test_output_matches_a_regular_expression_or_a_schema(model) -> None:
    pytest.importorskip("llguidance")
    from tokenizers import Tokenizer

    data = tokenizer_parts()["tokenizer.json"]
    tokenizer = Tokenizer.from_buffer(data)
    end = tokenizer.token_to_id("<|endoftext|>")
    vocab = model.config.vocab_size
    engine = Engine(model, vocab_size=tokenizer.get_vocab_size())
    sampling = Sampling(max_tokens=100, temperature=1.0, stop=(end,))
    dates = Grammar.regex(r"[12][0-9]{3}-[01][0-9]", data, vocab, (end,))
    for found in engine.generate([[1], [2], [3]], sampling, dates):
        assert re.fullmatch(r"[12][0-9]{3}-[01][0-9]", tokenizer.decode(found.tokens))
    schema = {
        "type": "object",
        "properties": {"ok": {"type": "boolean"}, "kind": {"enum": ["cat", "dog"]}},
        "required": ["ok", "kind"],
        "additionalProperties": False,
    }
    for found in engine.generate([[1], [2]], sampling, Grammar.json_schema(schema, data, vocab, (end,))):
        value = json.loads(tokenizer.decode(found.tokens))
        assert isinstance(value["ok"], bool)
        assert value["kind"] in ("cat", "dog")
    with pytest.raises(GristmillError, match="grammar"):
        Grammar.regex("(unclosed", data, vocab, (end,))


def test_a_cached_chunk_is_an_uncached_forward(model) -> None:
    text = torch.randint(0, 448, (2, 30), generator=torch.Generator().manual_seed(0))
    cache = KVCache(model.config, 2, 30)
    with torch.no_grad():
        parts = [model(part, cache=cache) for part in text.split([11, 1, 18], dim=1)]
        assert torch.allclose(torch.cat(parts, 1), model(text), atol=1e-4)
