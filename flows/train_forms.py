"""Parameters of the training flows as typed models with help texts; and the trainer's own settings made of them.

Their fields are a contract: they are added to, not renamed. Their defaults are the trainer's. torch is imported when a
run starts, not before: a server and most workers have none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from pipeline.recipe import digest

if TYPE_CHECKING:
    from model.pretrain import PretrainConfig
    from model.sft import SFTConfig

PROMPTS = ["The", "Once upon a time", "In the morning"]


class _Form(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Shape(_Form):
    """The model."""

    preset: str = Field("124m", description="tiny, 30m, 124m, 350m, 1b, gpt2, or d12: sized by depth.")
    init: str = Field("", description="Folder of weights to go on from instead: continued pretraining.")
    seq_len: int = Field(0, ge=0, description="Tokens a row; 0 for the model's context.")


class Horizon(_Form):
    """How long, on which rows in which order, with which optimizer."""

    tokens: int = Field(0, ge=0, description="Tokens to train on; 0 for 20 a parameter.")
    steps: int = Field(0, ge=0, description="Optimizer steps, instead of tokens.")
    batch_tokens: int = Field(0, ge=0, description="Tokens a step, over all processes; 0: by the tokens to train on.")
    optimizer: Literal["muon", "adamw"] = Field("muon", description="Muon for the matrices and AdamW, or AdamW alone.")
    lr: float = Field(0.0, ge=0, description="Of Muon, or of AdamW alone; 0 for the optimizer's default.")
    warmup_steps: int = Field(40, ge=0, description="Steps until the full rate.")
    cooldown: float = Field(0.6, ge=0, le=1, description="Share of the run in which the rate falls.")
    packing: Literal["bestfit", "concat", "bestfit_crop"] = Field("bestfit", description="Documents to rows.")
    document_mask: bool = Field(False, description="Attend within one document only.")
    seed: int = Field(0, description="Decides weights and order of data.")


class Tuning(_Form):
    """How long, on which rows, and whether all weights learn or adapters beside them."""

    epochs: float = Field(2.0, gt=0, description="Times over the data.")
    steps: int = Field(0, ge=0, description="Optimizer steps, instead of epochs.")
    seq_len: int = Field(0, ge=0, description="Tokens a row; 0 for the model's context.")
    batch_tokens: int = Field(1 << 15, gt=0, description="Tokens a step.")
    lr: float = Field(0.0, ge=0, description="0: 2e-4, with adapters 2e-3.")
    lora_rank: int = Field(0, ge=0, description="Rank of LoRA adapters; 0 to train every weight.")
    quantized: bool = Field(False, description="QLoRA: the frozen weights in 4 bits; needs a rank.")
    validation_share: float = Field(0.02, ge=0, lt=1, description="Of the conversations, held out.")
    seed: int = Field(0, description="Decides order, split and adapters.")

    @model_validator(mode="after")
    def _something_learns(self) -> Tuning:
        if self.quantized and not self.lora_rank:
            raise ValueError("QLoRA keeps the weights frozen, so adapters must learn: give lora_rank, 16 for example")
        return self


class Watching(_Form):
    """What is told on the way, and saved. A period of 0 means only at the end."""

    validate_every: int = Field(250, ge=0, description="Steps between two validations.")
    validation_tokens: int = Field(
        1 << 20, gt=0, description="Held-out tokens to validate on, of each dataset at most."
    )
    sample_every: int = Field(250, ge=0, description="Steps between two rounds of samples.")
    prompts: list[str] = Field(PROMPTS, description="Texts that the samples continue.")
    save_every: int = Field(250, ge=0, description="Steps between two checkpoints: what a killed run loses at most.")
    keep: int = Field(2, ge=1, description="Checkpoints to keep.")
    tensorboard: bool = Field(False, description="Log to TensorBoard as well.")


class Devices(_Form):
    """What the work is done on."""

    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="auto: CUDA where the worker has it.")
    processes: int = Field(1, ge=1, le=64, description="Processes of the worker's machine, one a GPU.")
    strategy: Literal["auto", "ddp", "fsdp"] = Field("auto", description="Among processes; auto shards from 1 B on.")
    precision: Literal["auto", "float32", "bfloat16"] = Field("auto", description="Of activations.")
    micro_tokens: int = Field(0, ge=0, description="Tokens of one forward on one device; 0: by device.")
    recompute: bool = Field(False, description="Recompute activations: less memory, a third more work.")
    limit: str = Field("", description="Concurrency limit to hold meanwhile; empty: gristmill-gpu on CUDA, else none.")


def pretrain_config(
    data: list[str], folder: str, shape: Shape, horizon: Horizon, watching: Watching, devices: Devices
) -> PretrainConfig:
    """The run that the forms describe; without `folder` in one that is named by model and data."""
    from model.data import Source
    from model.optim import OptimizerConfig
    from model.pretrain import PretrainConfig

    rates: dict[str, Any] = {"muon_lr" if horizon.optimizer == "muon" else "adamw_lr": horizon.lr} if horizon.lr else {}
    optimizer = OptimizerConfig(
        kind=horizon.optimizer, warmup_steps=horizon.warmup_steps, cooldown=horizon.cooldown, **rates
    )
    sources = tuple(Source.parse(text) for text in data)
    return PretrainConfig(
        data=sources,
        out=folder or run_folder(sources, shape, horizon),
        model=shape.preset,
        init=shape.init,
        seq_len=shape.seq_len,
        batch_tokens=horizon.batch_tokens,
        steps=horizon.steps,
        tokens=horizon.tokens,
        seed=horizon.seed,
        packing=horizon.packing,
        validation_tokens=watching.validation_tokens,
        device=devices.device,
        loop=_loop(watching, devices, optimizer=optimizer, document_mask=horizon.document_mask),
    )


def sft_config(
    data: list[str], init: str, folder: str, tuning: Tuning, watching: Watching, devices: Devices
) -> SFTConfig:
    """The fine-tuning that the forms describe."""
    from model.lora import LoRAConfig
    from model.sft import SFTConfig

    rank = tuning.lora_rank
    return SFTConfig(
        data=tuple(data),
        init=init,
        out=folder,
        seq_len=tuning.seq_len,
        batch_tokens=tuning.batch_tokens,
        epochs=tuning.epochs,
        steps=tuning.steps,
        validation_share=tuning.validation_share,
        seed=tuning.seed,
        lr=tuning.lr,
        lora=LoRAConfig(rank=rank, alpha=2.0 * rank, quantized=tuning.quantized) if rank else None,
        device=devices.device,
        loop=_loop(watching, devices, document_mask=True),
    )


def run_folder(sources: tuple[Any, ...], shape: Shape, horizon: Horizon) -> str:
    """`out/models/NAME-MODEL-HASH` below the worker's folder: another one for data that was published anew."""
    from model.dataset import TokenDataset

    name = sources[0].path.rstrip("/").rpartition("/")[2]
    parts = [TokenDataset(source.path, checksums=False).sha256 for source in sources]
    content = digest(parts, [source.weight for source in sources], shape.model_dump(), horizon.model_dump())
    return f"out/models/{name}-{shape.preset}-{content[:8]}"


def _loop(watching: Watching, devices: Devices, **more: Any) -> Any:
    from model.train import LoopSettings

    return LoopSettings(
        steps=0,
        micro_tokens=devices.micro_tokens,
        validate_every=watching.validate_every,
        sample_every=watching.sample_every,
        prompts=tuple(watching.prompts),
        save_every=watching.save_every,
        keep=watching.keep,
        strategy=devices.strategy,
        recompute=devices.recompute,
        precision=devices.precision,
        tensorboard=watching.tensorboard,
        **more,
    )
