"""Fine-tuning on conversations: the loss on the assistant's words, rows packed within document masks, full or LoRA."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from model.chat import ChatTemplate, Message
from model.checkpoint import held
from model.conversations import Conversation, read_conversations
from model.data import Batch
from model.export import chat_config, end_ids, tokenizer_files
from model.lora import LoRAConfig, add_lora, merged_state, save_adapter, trained_share
from model.optim import OptimizerConfig
from model.packing import IGNORED, Piece, best_fit
from model.parallel import processes
from model.train import LoopSettings, Outcome, Rows, Trainer
from model.vocabulary import Vocabulary
from model.weights import load_model, save_model
from pipeline.errors import GristmillError
from pipeline.store import Folder

Ints = npt.NDArray[np.int64]
QUESTIONS = ("What is the capital of France?", "Name three fruits.", "Write a short story about a dog.")


@dataclass(frozen=True, kw_only=True)
class SFTConfig:
    """A fine-tuning run over conversation files, from the model in folder `init`."""

    data: tuple[str, ...]
    init: str
    out: str
    seq_len: int = 0  # 0: the model's context
    batch_tokens: int = 1 << 15
    epochs: float = 2.0
    steps: int = 0  # instead of epochs
    validation: tuple[str, ...] = ()  # files of conversations held out, instead of a share
    validation_share: float = 0.02  # of the conversations, by hash of their text
    seed: int = 0
    lr: float = 0.0  # 0: 2e-4, with LoRA 2e-3
    lora: LoRAConfig | None = None
    device: str = "auto"
    loop: LoopSettings = field(default_factory=lambda: LoopSettings(steps=0, document_mask=True, prompts=QUESTIONS))


def sft(config: SFTConfig) -> Outcome:
    """Fine-tune to the end, from the folder's last checkpoint if it has one; weights, merged if LoRA, in `out/model`.

    Raises GristmillError for a bad line of the data (by its number), for data with nothing to learn, and as
    Trainer does.
    """
    with processes(config.device) as group, held(Path(config.out), group):
        source = Path(config.init)
        model = load_model(source)
        files = tokenizer_files(source)
        template = ChatTemplate(files["tokenizer.json"])
        seq_len = config.seq_len or model.config.max_seq_len
        if seq_len > model.config.max_seq_len:
            what = f"rows of {seq_len} tokens for a model whose context is {model.config.max_seq_len}"
            raise GristmillError(what, "--seq-len", "Choose a smaller one.")
        share = 0.0 if config.validation else config.validation_share
        kept, held_out = split(read_conversations(config.data), share, config.seed)
        held_out += read_conversations(config.validation)
        train = ConversationRows(kept, template, seq_len)
        loader = ConversationLoader(
            train, max(1, config.batch_tokens // seq_len), config.seed, group.rank, group.world, group.device
        )
        valid = ConversationRows(held_out, template, seq_len, required=False)
        ended_by = end_ids(source)
        lora = config.lora
        if lora and template.end_id not in ended_by:  # a base model, to which the marks of a chat mean nothing yet
            lora = replace(lora, tokens=(template.start_id, template.end_id))
        if lora:
            add_lora(model, lora, config.seed)
        steps = config.steps or max(1, round(config.epochs * len(train.pack()) / loader.batch_rows))
        ends = [template.end_id, *(index for index in ended_by if index != template.end_id)]
        trainer = FineTuner(
            model,
            loader,
            config.out,
            replace(config.loop, steps=steps, document_mask=True, validate_first=True, optimizer=_optimizer(config)),
            group,
            Vocabulary(files["tokenizer.json"]),
            valid.rows if len(valid) else None,
            chat_config(files),
            {"eos_token_id": ends, "bos_token_id": ended_by[-1]},
        )
        trainer.lora, trainer.base = lora, config.init
        if group.is_first:
            facts = {"config": asdict(config), "steps": steps, "model": model.config.to_dict(), "data": train.counts}
            facts["trained_share"] = trained_share(model)
            Folder(config.out).write_bytes("run.json", (json.dumps(facts, indent=2, sort_keys=True) + "\n").encode())
        return trainer.run()


class FineTuner(Trainer):
    """The trainer; samples are answers, and with LoRA it writes the adapter beside the merged weights."""

    lora: LoRAConfig | None = None
    base: str = ""

    def sample(self, prompt: str) -> str:
        """The question and the model's answer to it."""
        assert self.vocabulary is not None
        template = ChatTemplate(self.vocabulary.tokenizer_json)
        return f"{prompt}\n{template.decode(self.continued(template.prompt([Message('user', prompt)])))}"

    def save(self) -> None:
        super().save()
        if self.lora and self.group.is_first:
            save_adapter(self.model, self.lora, self.folder / "adapter", self.base)
            save_model(self.model, self.folder / "model", merged_state(self.model), self.about)


def split(
    conversations: Iterable[Conversation], share: float, seed: int
) -> tuple[list[Conversation], list[Conversation]]:
    """Training and validation conversations. The same opening always falls on the same side, so none leaks."""
    sides: tuple[list[Conversation], list[Conversation]] = ([], [])
    for conversation in conversations:
        opening = json.dumps([seed, *conversation.messages[:1]])
        number = int.from_bytes(hashlib.sha256(opening.encode()).digest()[:8], "big")
        sides[number < share * 2**64].append(conversation)
    return sides


class ConversationRows:
    """Rendered conversations, and rows of T slots packed of them.

    One longer than a row is cut at its end; one in which nothing is left to learn is left out. `counts` tells
    how many. Raises GristmillError where none is left and some are `required`.
    """

    def __init__(
        self, conversations: Iterable[Conversation], template: ChatTemplate, seq_len: int, required: bool = True
    ) -> None:
        self.seq_len, self.origins = seq_len, list[str]()
        self.inputs, self.targets = list[Ints](), list[Ints]()
        self.pad = template.end_id
        self.counts = {"conversations": 0, "cut": 0, "nothing_to_learn": 0, "learned_tokens": 0}
        for conversation in conversations:
            self._add(conversation, template)
        if required and not self.inputs:
            what = f"no answer of an assistant to learn in {self.counts['conversations']} conversations"
            raise GristmillError(what, "--data", "Give conversations with assistant messages that fit --seq-len.")

    def __len__(self) -> int:
        return len(self.inputs)

    def pack(self) -> list[list[Piece]]:
        """Rows as pieces, each a whole conversation."""
        ends = np.zeros(len(self.inputs) + 1, np.int64)
        np.cumsum([len(ids) for ids in self.inputs], out=ends[1:])
        return best_fit(ends, self.seq_len)

    def fill(self, row: list[Piece]) -> tuple[Ints, Ints, Ints]:
        """Inputs, targets and document numbers (T,) of one row; padding is a document of its own, without targets."""
        inputs = np.full(self.seq_len, self.pad, np.int64)
        targets = np.full(self.seq_len, IGNORED, np.int64)
        documents = np.full(self.seq_len, len(row), np.int64)
        at = 0
        for number, piece in enumerate(row):
            here = slice(at, at + piece.length)
            inputs[here], targets[here] = self.inputs[piece.document], self.targets[piece.document]
            documents[here] = number
            at += piece.length
        return inputs, targets, documents

    def rows(self) -> Rows:
        """Every row as tensors, for validation."""
        for row in self.pack():
            inputs, targets, documents = map(torch.from_numpy, self.fill(row))
            yield inputs, targets, documents

    def _add(self, conversation: Conversation, template: ChatTemplate) -> None:
        rendered = template.render(conversation.messages)
        self.counts["conversations"] += 1
        self.counts["cut"] += len(rendered) > self.seq_len + 1
        ids = np.array(rendered.ids[: self.seq_len + 1], np.int64)
        learn = np.array(rendered.learn[: self.seq_len + 1], bool)
        targets = np.where(learn[1:], ids[1:], IGNORED)
        learned = int(learn[1:].sum())
        if not learned:
            self.counts["nothing_to_learn"] += 1
            return
        self.counts["learned_tokens"] += learned
        self.inputs.append(ids[:-1])
        self.targets.append(targets)
        self.origins.append(conversation.origin)


class ConversationLoader:
    """Endless shuffled batches of packed rows, for Trainer. The order is a function of the data and the seed:

    rank r of w takes every w-th row of each global batch from r on, so any number of ranks sees the same batches.
    """

    def __init__(
        self,
        rows: ConversationRows,
        batch_rows: int,
        seed: int = 0,
        rank: int = 0,
        world: int = 1,
        device: torch.device | str = "cpu",
    ) -> None:
        self.data, self.seed, self.rank, self.world, self.device = rows, seed, rank, world, device
        self.packed = rows.pack()
        # A whole number of rows a rank, or collectives would not match.
        self.batch_rows = max(world, batch_rows - batch_rows % world)
        self.taken = 0  # rows, over all epochs

    def __iter__(self) -> Iterator[Batch]:
        while True:
            chosen = [self._row(self.taken + index) for index in range(self.batch_rows)]
            filled = [self.data.fill(self.packed[row]) for row in chosen]
            tokens = sum(int((targets != IGNORED).sum()) for _, targets, _ in filled)
            mine = filled[self.rank :: self.world]
            inputs, targets, documents = (
                torch.from_numpy(np.stack(parts)).to(self.device) for parts in zip(*mine, strict=True)
            )
            self.taken += self.batch_rows
            origins: list[Any] = [(0, row) for row in chosen[self.rank :: self.world]]
            yield Batch(inputs, targets, documents, origins, tokens)

    def state_dict(self) -> dict[str, Any]:
        return {"rows": self.taken, "fingerprint": self._fingerprint()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        if state["fingerprint"] != self._fingerprint():
            what = "the checkpoint is of other conversations, another seed or another row length"
            raise GristmillError(what, "--data", "Resume with the same, or choose another --out folder.")
        self.taken = state["rows"]

    def documents(self, batch: Batch) -> list[list[str]]:
        """`file:line` of the conversations in each row."""
        return [[self.data.origins[piece.document] for piece in self.packed[origin[1]]] for origin in batch.origins]

    def shares(self) -> dict[str, float]:
        return {"conversations": 1.0}

    def _row(self, number: int) -> int:
        epoch, index = divmod(number, len(self.packed))
        return int(self._order(epoch)[index])

    def _order(self, epoch: int) -> npt.NDArray[np.int64]:
        if getattr(self, "_epoch", None) != epoch:
            self._epoch, self._permutation = epoch, np.random.default_rng([self.seed, epoch]).permutation(len(self.packed))
        return self._permutation

    def _fingerprint(self) -> str:
        digest = hashlib.sha256(json.dumps([self.seed, self.data.seq_len, self.data.origins]).encode())
        for ids in self.data.inputs:
            digest.update(ids.tobytes())
        return digest.hexdigest()


def _optimizer(config: SFTConfig) -> OptimizerConfig:
    """AdamW unless the loop asks for more: fine-tuning moves little, and adapters are no matrices to orthogonalise."""
    if config.loop.optimizer != OptimizerConfig():
        return config.loop.optimizer
    # Models this small take ten times the rate that is usual at 7 B; an adapter takes ten times a whole model's.
    rate = config.lr or (2e-3 if config.lora else 2e-4)
    return OptimizerConfig(kind="adamw", adamw_lr=rate, adamw_weight_decay=0.0, warmup_steps=20, cooldown=0.8)
