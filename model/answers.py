"""How a model answers: the loss of held-out answers, and how many of its own come to an end."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import takewhile
from typing import Any

import torch

from model.chat import ASSISTANT, ChatTemplate
from model.conversations import Conversation
from model.evaluate import Rate
from model.generate import Engine
from model.loss import Objective
from model.packing import IGNORED
from model.sampling import Sampling
from model.sft import ConversationRows


def answers(
    engine: Engine, tokenizer_json: bytes, conversations: Sequence[Conversation], max_tokens: int = 128
) -> dict[str, Any]:
    """`response_loss` in nats a token of the assistant's words, and `ended`: the share of greedy answers to the first
    question that end with `<|im_end|>` within `max_tokens`.

    Raises GristmillError where no conversation holds an answer, or the tokenizer knows no turns.
    """
    template, context = ChatTemplate(tokenizer_json), engine.model.config.max_seq_len
    rows = ConversationRows(conversations, template, context)
    loss, tokens = response_loss(engine, rows)
    asked = [list(takewhile(lambda m: m.role != ASSISTANT, one.messages)) for one in conversations]
    prompts = [template.prompt(messages) for messages in asked if messages]
    # A question that leaves no room for an answer says nothing of the model.
    fitting = [prompt for prompt in prompts if len(prompt) + max_tokens <= context]
    said = engine.generate(fitting, Sampling(max_tokens=max_tokens, temperature=0, stop=(template.end_id,)))
    ended = sum(answer.finish == "stop" for answer in said)
    rate = Rate(ended / max(len(said), 1), len(said))
    return {"response_loss": loss, "response_tokens": tokens, "ended": rate.to_dict()}


@torch.inference_mode()
def response_loss(engine: Engine, rows: ConversationRows) -> tuple[float, int]:
    """Nats a learned token, and how many there are; each row alone within its document mask."""
    objective, device = Objective(engine.model), engine.model.output_weight.device
    nats, count = 0.0, 0
    for inputs, targets, documents in rows.rows():
        block = (part[None].to(device) for part in (inputs, targets, documents))
        nats += float(objective(*block).nats)
        count += int((targets != IGNORED).sum())
    return nats / count, count
