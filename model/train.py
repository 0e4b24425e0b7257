"""Trainer: the one loop. Accumulate, step, log, validate, sample, save; and go on from the last checkpoint.

It knows nothing of where batches come from: pretraining gives it a Loader of packed documents, fine-tuning one of
conversations.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict

from model.attention import KVCache
from model.checkpoint import Checkpoints, list_checkpoints, read_state
from model.data import Batch
from model.devices import device_name, peak_flops
from model.journal import Journal, Pace
from model.loss import Objective
from model.optim import OptimizerConfig, Optimizers
from model.packing import IGNORED
from model.parallel import Precision, Processes, Strategy, accumulating, micro_tokens, spread
from model.vocabulary import Vocabulary
from model.weights import Model, save_model
from pipeline.errors import GristmillError
from pipeline.store import Folder

Rows = Iterable[tuple[Tensor, Tensor, Tensor]]  # (T,) inputs, targets, doc_ids


class Batches(Protocol):
    """What the loop asks of a loader; `model.data.Loader` is one."""

    def __iter__(self) -> Iterator[Batch]: ...
    def state_dict(self) -> dict[str, Any]: ...
    def load_state_dict(self, state: dict[str, Any]) -> None: ...
    def documents(self, batch: Batch) -> list[list[str]]: ...
    def shares(self) -> dict[str, float]: ...


@dataclass(frozen=True, kw_only=True)
class LoopSettings:
    """How long, how often, and how the work is spread. A period of 0 means only at the end."""

    steps: int
    micro_tokens: int = 0  # slots of one forward on one device; 0: what fits it
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    document_mask: bool = False  # no gain in pretraining (nanochat, SmolLM3); needed for packed conversations
    validate_first: bool = False  # before the first step too: what fine-tuning starts from
    validate_every: int = 250
    sample_every: int = 250
    sample_tokens: int = 48
    prompts: tuple[str, ...] = ("The", "Once upon a time", "In the morning")
    save_every: int = 250
    keep: int = 2
    strategy: Strategy = "auto"
    compiled: bool | None = None
    recompute: bool = False
    precision: Precision = "auto"
    tensorboard: bool = False


class Outcome(NamedTuple):
    """How a run ended. Loss in nats a token; validation is empty without validation rows."""

    step: int
    tokens: int
    loss: float
    validation: dict[str, float]


class Trainer:
    """One run in one folder: `log.jsonl`, its plots, `checkpoints/`, `model/` (weights, config, tokenizer).

    `validation` gives the rows to validate on, the same each time; `baselines` are bits per byte to compare with,
    by name. Raises GristmillError where the loss is no
    number (and says which documents were in the batch), the disk is full, or the folder holds another run.
    """

    def __init__(
        self,
        model: Model,
        batches: Batches,
        folder: str | Path,
        settings: LoopSettings,
        group: Processes,
        vocabulary: Vocabulary | None = None,
        validation: Callable[[], Rows] | None = None,
        tokenizer_files: dict[str, bytes] | None = None,
        about: dict[str, Any] | None = None,
        baselines: dict[str, float] | None = None,
    ) -> None:
        self.model, self.batches, self.folder, self.settings = model, batches, Path(folder), settings
        self.group, self.vocabulary, self.validation = group, vocabulary, validation
        self.tokenizer_files, self.about, self.baselines = tokenizer_files or {}, about or {}, baselines or {}
        config = model.config
        self.objective = Objective(model)
        self.spread = spread(
            self.objective, group, settings.strategy, settings.compiled, settings.recompute, settings.precision
        )
        self.optimizers = Optimizers(model, settings.optimizer, config.d_model, config.tie_embeddings)
        self.checkpoints = Checkpoints(
            self.folder / "checkpoints", model, self.optimizers, group, max(settings.keep, 1)
        )
        self.micro_tokens = settings.micro_tokens or micro_tokens(config, group.device, settings.recompute)
        self.step, self.tokens = 0, 0
        self.last: dict[str, float] = {}

    def run(self) -> Outcome:
        """Train to the last step, from the last checkpoint if there is one."""
        self._resume()
        if not self.group.is_first:
            return self._loop(None)
        journal = Journal(self.folder, self.step, self.settings.tensorboard, baselines=self.baselines)
        with closing(journal):
            return self._loop(journal)

    def _loop(self, journal: Journal | None) -> Outcome:
        settings, pace = self.settings, Pace()
        loss = math.nan
        if self.step < settings.steps:
            if journal:
                journal.say(self._greeting())
            if self.step == 0 and settings.validate_first:
                self._validate(journal)
            batches = iter(self.batches)
            try:
                while self.step < settings.steps:
                    pace.start()
                    batch = next(batches)
                    loss, norm, factor = self.train_step(batch)
                    self._report(journal, batch, pace, loss, norm, factor)
                    self._periodically(journal)
            finally:
                batches.close()  # type: ignore[attr-defined]  # a generator: its thread ends here
        self.checkpoints.wait()
        return Outcome(self.step, self.tokens, loss, self.last)

    def train_step(self, batch: Batch) -> tuple[float, float, float]:
        """One optimizer step: loss (nats a target), gradient norm, the schedule's factor."""
        self.spread.train()
        world, rows = self.group.world, max(1, self.micro_tokens // batch.inputs.shape[1])
        parts = list(zip(*(part.split(rows) for part in (batch.inputs, batch.targets, batch.doc_ids)), strict=True))
        nats = torch.zeros((), device=self.group.device)
        for number, (inputs, targets, doc_ids) in enumerate(parts):
            with accumulating(self.spread, last=number == len(parts) - 1):
                found = self.spread(inputs, targets, doc_ids if self.settings.document_mask else None)
                # Processes average their gradients, so each counts its targets `world` times; max: all masked.
                loss = found.nats * (world / max(batch.tokens, 1))
                if self.model.config.n_experts:
                    loss = loss + self.model.config.router_loss_weight * found.router / len(parts)
                loss.backward()
            nats += found.nats.detach()
        (summed,) = self.group.sum(nats)
        norm = self.optimizers.clip()
        loss_value, norm_value = (float(summed) / max(batch.tokens, 1)), float(norm)
        if not (math.isfinite(loss_value) and math.isfinite(norm_value)):
            raise self._no_number(batch, loss_value, norm_value)
        factor = self.optimizers.step(self.step, self.settings.steps)
        self.step += 1
        self.tokens += batch.tokens
        return loss_value, norm_value, factor

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """Loss in nats a target over all validation rows; bits per byte where the vocabulary is known.

        End-of-text counts with its nats but stands for no byte: bits per byte are told a little too high, never
        too low.
        """
        assert self.validation is not None
        self.spread.eval()
        device, world = self.group.device, self.group.world
        nats, targets_seen, bytes_seen = (torch.zeros((), dtype=torch.float64, device=device) for _ in range(3))
        lengths = self.vocabulary.bytes_per_token.to(device) if self.vocabulary else None
        for number, block in enumerate(self._validation_blocks()):
            if number % world != self.group.rank:
                continue
            inputs, targets, doc_ids = block.to(device)
            nats += self.spread(inputs, targets, doc_ids if self.settings.document_mask else None).nats
            counted = targets[targets != IGNORED]
            targets_seen += len(counted)
            if lengths is not None:
                bytes_seen += lengths[counted].sum()
        nats, targets_seen, bytes_seen = self.group.sum(nats, targets_seen, bytes_seen)
        result = {"loss": float(nats / targets_seen)}
        if float(bytes_seen):
            result["bits_per_byte"] = float(nats / math.log(2) / bytes_seen)
        return result

    def sample(self, prompt: str) -> str:
        """The prompt and how the model goes on."""
        assert self.vocabulary is not None
        return prompt + self.vocabulary.decode(self.continued([*self.ends[-1:], *self.vocabulary.encode(prompt)]))

    @property
    def ends(self) -> list[int]:
        """The ids that end a text; the last of them ends documents."""
        stated = self.about.get("eos_token_id")
        return stated if isinstance(stated, list) else [] if stated is None else [stated]

    @torch.no_grad()
    def continued(self, ids: list[int]) -> list[int]:
        """What the model writes behind `ids`, at temperature 0.8 with a fixed seed: samples differ by the weights alone."""
        assert self.vocabulary is not None
        self.spread.eval()
        device, config = self.group.device, self.model.config
        known = len(self.vocabulary.bytes_per_token)
        cache = KVCache(config, 1, config.max_seq_len, device, self.model.activation_dtype or torch.float32)
        generator = torch.Generator().manual_seed(0)
        fed, made = ids, list[int]()
        with self._eager():
            for _ in range(min(self.settings.sample_tokens, config.max_seq_len - len(ids))):
                logits = self.objective.logits(torch.tensor([fed], device=device), cache)[0, -1, :known]
                chances = torch.softmax(logits.float().cpu() / 0.8, dim=-1)
                fed = [int(torch.multinomial(chances, 1, generator=generator))]
                if fed[0] in self.ends:
                    break
                made += fed
        return made

    def save(self) -> None:
        """Begin a checkpoint of the whole state; write the weights as safetensors to `model/`."""
        self.checkpoints.save(
            self.step,
            {
                "step": self.step,
                "tokens": self.tokens,
                "loader": self.batches.state_dict(),
                "model": self.model.config.to_dict(),
            },
        )
        whole = get_model_state_dict(self.model, options=StateDictOptions(full_state_dict=True, cpu_offload=True))
        if self.group.is_first:
            target = self.folder / "model"
            for name, data in sorted(self.tokenizer_files.items()):
                Folder(target).write_bytes(name, data)
            save_model(self.model, target, whole, self.about)

    def _resume(self) -> None:
        found = list_checkpoints(self.checkpoints.folder)
        if not found:
            return
        theirs = read_state(found[-1])["model"]
        if theirs != self.model.config.to_dict():
            raise GristmillError(
                "the folder holds a run of a model of another shape", str(found[-1]), "Choose another --out folder."
            )
        state = self.checkpoints.load(found[-1])
        self.batches.load_state_dict(state["loader"])
        self.step, self.tokens = state["step"], state["tokens"]

    def _periodically(self, journal: Journal | None) -> None:
        settings = self.settings
        if self._due(settings.validate_every):
            self._validate(journal)
        if self.vocabulary is not None and settings.prompts and self._due(settings.sample_every):
            for prompt in settings.prompts:
                text = self.sample(prompt)
                if journal:
                    journal.tell("sample", self.step, prompt=prompt, text=text)
                    journal.say(f"  {text!r}")
        if self._due(settings.save_every):
            if journal:
                journal.draw()
            self.save()

    def _validate(self, journal: Journal | None) -> None:
        if self.validation is None:
            return
        self.last = self.validate()
        if journal:
            journal.tell("validation", self.step, tokens=self.tokens, **self.last)
            told = [f"{name.replace('_', ' ')} {value:.4f}" for name, value in self.last.items()]
            told += [f"({name} {bits:.4f})" for name, bits in self.baselines.items()]
            journal.say(f"validation at step {self.step}: {'  '.join(told)}")

    def _due(self, every: int) -> bool:
        return self.step == self.settings.steps or (every > 0 and self.step % every == 0)

    def _report(
        self, journal: Journal | None, batch: Batch, pace: Pace, loss: float, norm: float, factor: float
    ) -> None:
        seconds = pace.step()
        rate = batch.tokens / seconds
        peak = peak_flops(self.group.device)
        flops = self.model.config.flops_per_token(batch.inputs.shape[1])
        mfu = rate * flops / (peak * self.group.world) if peak else None
        if journal is None:
            return
        journal.tell(
            "step",
            self.step,
            tokens=self.tokens,
            loss=loss,
            lr=self.optimizers.lr,
            grad_norm=norm,
            tokens_per_s=round(rate, 1),
            mfu=mfu,
            shares=self.batches.shares(),
        )
        utilisation = f"mfu {mfu:.1%}" if mfu is not None else "mfu unknown"
        journal.progress(
            f"step {self.step}/{self.settings.steps}  {self.tokens / 1e6:.2f}M tokens  loss {loss:.4f}  "
            f"lr x{factor:.2f}  norm {norm:.2f}  {rate:,.0f} tokens/s  {utilisation}  "
            f"left {pace.left(self.settings.steps - self.step)}"
        )

    def _validation_blocks(self) -> Iterator[Tensor]:
        """(3, rows, T) blocks of one shape, as many for each process: masked rows make up what is missing."""
        assert self.validation is not None
        rows = (torch.stack(row) for row in self.validation())  # (3, T) each
        made, size = 0, 0
        while chunk := list(islice(rows, max(1, self.micro_tokens // self.model.config.max_seq_len))):
            masked = chunk[0].clone()
            masked[1] = IGNORED
            size = size or len(chunk)
            yield torch.stack(chunk + [masked] * (size - len(chunk)), dim=1)
            made += 1
        for _ in range(-made % self.group.world):
            yield torch.stack([masked] * size, dim=1)

    def _no_number(self, batch: Batch, loss: float, norm: float) -> GristmillError:
        """Nothing was applied. Which rows did it, and which documents were in them."""
        bad = [row for row in range(len(batch.inputs)) if not self._is_finite(batch, row)]
        documents = self.batches.documents(batch)
        rows = [
            {"origin": list(origin), "documents": ids, "loss_is_finite": row not in bad}
            for row, (origin, ids) in enumerate(zip(batch.origins, documents, strict=True))
        ]
        name = f"nan/step-{self.step:08d}-rank-{self.group.rank}.json"
        facts = {"step": self.step, "loss": str(loss), "grad_norm": str(norm), "rows": rows}
        Folder(self.folder).write_bytes(name, json.dumps({**facts, "inputs": batch.inputs.tolist()}, indent=1).encode())
        named = [ids for row in bad or range(len(documents)) for ids in documents[row]]
        told = ", ".join(named[:3]) + (f" and {len(named) - 3} more" if len(named) > 3 else "")
        return GristmillError(
            f"the loss of step {self.step} is {loss}, its gradient norm {norm}; documents: {told}",
            str(self.folder / name),
            "Nothing of this step was applied. Look at the documents, or resume with a lower learning rate.",
        )

    @torch.no_grad()
    def _is_finite(self, batch: Batch, row: int) -> bool:
        one = slice(row, row + 1)
        doc_ids = batch.doc_ids[one] if self.settings.document_mask else None
        return bool(torch.isfinite(self.spread(batch.inputs[one], batch.targets[one], doc_ids).nats))

    def _eager(self) -> AbstractContextManager[Any]:
        """Compiled layers would be compiled anew for each length of the cache."""
        if self.settings.compiled is False or (self.group.device.type != "cuda" and not self.settings.compiled):
            return nullcontext()  # and the compiler is not even imported
        return torch.compiler.set_stance("force_eager")

    def _greeting(self) -> str:
        config, group = self.model.config, self.group
        total = config.parameters()["total"]
        start = f"resuming behind step {self.step}" if self.step else "starting"
        devices = f"{group.world} x {device_name(group.device)}"
        return f"{start}: {total / 1e6:.1f}M parameters, {self.settings.steps} steps, on {devices}"
