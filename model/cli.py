"""`gristmill train …`: what is asked on the command line, and how its answer is shown."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from model.commands import chat, evaluate, export, generate, import_, one_of, sft

app = typer.Typer(help="Train a language model on published tokens, and plan how.", no_args_is_help=True)
out = Console(highlight=False)

Data = Annotated[
    list[str], typer.Option("--data", "-d", help="A published dataset, or FOLDER=WEIGHT; several make a mixture.")
]
Out = Annotated[Path, typer.Option("--out", "-o", help="Folder of the run; the same folder resumes it.")]
AsJson = Annotated[bool, typer.Option("--json", help="JSON for machines.")]


@app.command()
def pretrain(
    data: Data,
    out_folder: Out,
    model: Annotated[str, typer.Option(help="tiny, 30m, 124m, 350m, 1b, gpt2, or d12: sized by depth.")] = "124m",
    init: Annotated[str, typer.Option(help="Folder of weights to go on from: continued pretraining.")] = "",
    seq_len: Annotated[int, typer.Option(help="Tokens a row; 0: the model's context.")] = 0,
    batch_tokens: Annotated[
        int, typer.Option(help="Tokens a step, over all processes; 0: by the tokens to train on.")
    ] = 0,
    micro_tokens: Annotated[int, typer.Option(help="Tokens a forward on one device; 0: by device.")] = 0,
    steps: Annotated[int, typer.Option(help="Optimizer steps; 0: by --tokens.")] = 0,
    tokens: Annotated[float, typer.Option(help="Tokens to train on; 0: 20 a parameter.")] = 0,
    seed: Annotated[int, typer.Option(help="Decides weights and order of data.")] = 0,
    packing: Annotated[str, typer.Option(help="bestfit, concat or bestfit_crop.")] = "bestfit",
    document_mask: Annotated[bool, typer.Option(help="Attend within one document only.")] = False,
    optimizer: Annotated[str, typer.Option(help="muon or adamw.")] = "muon",
    lr: Annotated[float, typer.Option(help="Of Muon, or of AdamW with --optimizer adamw; 0: default.")] = 0,
    warmup_steps: Annotated[int, typer.Option(help="Steps until the full rate.")] = 40,
    cooldown: Annotated[float, typer.Option(help="Share of the run in which the rate falls.")] = 0.6,
    validate_every: Annotated[int, typer.Option(help="Steps; 0: at the end.")] = 250,
    validation_tokens: Annotated[int, typer.Option(help="Held-out tokens to validate on, of each dataset at most.")] = 1 << 20,
    sample_every: Annotated[int, typer.Option(help="Steps; 0: at the end.")] = 250,
    prompt: Annotated[list[str], typer.Option(help="Text to continue now and then.")] = [],  # noqa: B006  # typer takes a list
    save_every: Annotated[int, typer.Option(help="Steps; 0: at the end.")] = 250,
    keep: Annotated[int, typer.Option(help="Checkpoints to keep.", min=1)] = 2,
    strategy: Annotated[str, typer.Option(help="auto, ddp or fsdp, under torchrun.")] = "auto",
    compiled: Annotated[bool | None, typer.Option("--compile/--no-compile", help="Default: on GPUs.")] = None,
    recompute: Annotated[bool, typer.Option(help="Recompute activations: less memory, a third more work.")] = False,
    precision: Annotated[str, typer.Option(help="Of activations: float32, bfloat16; auto: bfloat16 on GPUs.")] = "auto",
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    tensorboard: Annotated[bool, typer.Option(help="Log to TensorBoard as well.")] = False,
    verify: Annotated[bool, typer.Option(help="Check every shard's SHA-256 before the start.")] = True,
) -> None:
    """Train a base model. Run it again to resume; `torchrun -m model pretrain …` spreads it over GPUs."""
    _need_torch()
    from model.data import Source
    from model.optim import OptimizerConfig
    from model.pretrain import PretrainConfig
    from model.pretrain import pretrain as start
    from model.train import LoopSettings

    rates: dict[str, Any] = {"muon_lr" if optimizer == "muon" else "adamw_lr": lr} if lr else {}
    loop = LoopSettings(
        steps=steps,
        micro_tokens=micro_tokens,
        optimizer=OptimizerConfig(
            kind=one_of(optimizer, "--optimizer", "muon", "adamw"),
            warmup_steps=warmup_steps,
            cooldown=cooldown,
            **rates,
        ),
        document_mask=document_mask,
        validate_every=validate_every,
        sample_every=sample_every,
        save_every=save_every,
        keep=keep,
        strategy=one_of(strategy, "--strategy", "auto", "ddp", "fsdp"),
        compiled=compiled,
        recompute=recompute,
        precision=one_of(precision, "--precision", "auto", "float32", "bfloat16"),
        tensorboard=tensorboard,
        **({"prompts": tuple(prompt)} if prompt else {}),
    )
    outcome = start(
        PretrainConfig(
            data=tuple(Source.parse(text) for text in data),
            out=str(out_folder),
            model=model,
            init=init,
            seq_len=seq_len,
            batch_tokens=batch_tokens,
            steps=steps,
            tokens=int(tokens),
            seed=seed,
            validation_tokens=validation_tokens,
            packing=one_of(packing, "--packing", "bestfit", "concat", "bestfit_crop"),
            device=device,
            checksums=verify,
            loop=loop,
        )
    )
    print(json.dumps({"out": str(out_folder), **_finite(outcome._asdict())}))


@app.command()
def plan(
    parameters: Annotated[float, typer.Option("--parameters", "-n", help="For example 124e6.")] = 0,
    tokens: Annotated[float, typer.Option("--tokens", "-t", help="For example 2.5e9.")] = 0,
    flops: Annotated[float, typer.Option(help="Training FLOPs, for example 1e19.")] = 0,
    gpus: Annotated[int, typer.Option(help="How many GPUs.")] = 0,
    hours: Annotated[float, typer.Option(help="How long they may run.")] = 0,
    gpu: Annotated[str, typer.Option(help="Which.")] = "H100",
    mfu: Annotated[float, typer.Option(help="Share of the peak that is reached.")] = 0.4,
    price: Annotated[float, typer.Option(help="USD an hour of one GPU; 0: a typical list price.")] = 0,
    inference_tokens: Annotated[float, typer.Option(help="Tokens the model will serve in its life.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Parameters, tokens, FLOPs, or GPUs and hours: give some, get the rest, with the source of every figure."""
    from model.plan import plan as make_plan

    made = make_plan(parameters, tokens, flops, gpus, hours, gpu, mfu, price, inference_tokens)
    if as_json:
        facts = {"model": made.model, "batch_tokens": made.batch_tokens, "figures": [f._asdict() for f in made.figures]}
        print(json.dumps(facts, indent=2))
        return
    table = Table(box=None, pad_edge=False)
    for title in ("", "value", "formula", "source"):
        table.add_column(title, justify="right" if title == "value" else "left")
    for figure in made.figures:
        table.add_row(figure.name, f"{_short(figure.value)} {figure.unit}".strip(), figure.formula, figure.source)
    out.print(table)
    out.print(
        f"\nstart it   gristmill train pretrain --data DATASET --out RUN --model {made.model} "
        f"--batch-tokens {made.batch_tokens} --tokens {made.tokens:.3g}",
        soft_wrap=True,
    )


@app.command()
def scaling(
    runs: Annotated[list[Path], typer.Argument(help="Folders of finished runs.")],
    plot: Annotated[Path, typer.Option(help="Where to draw the fit.")] = Path("scaling.svg"),
    as_json: AsJson = False,
) -> None:
    """Fit loss = floor + scale x FLOPs^-exponent to finished runs, and draw it."""
    from model.plan import fit_power_law
    from model.scaling import draw, finished_runs

    found = finished_runs(runs)
    law = fit_power_law([(run.flops, run.loss) for run in found])
    plot.write_text(draw(found, law), encoding="utf-8")
    if as_json:
        print(json.dumps({"law": law._asdict(), "runs": [run._asdict() for run in found], "plot": str(plot)}))
        return
    table = Table(box=None, pad_edge=False)
    for title in ("run", "parameters", "tokens", "FLOP", "loss", "fit"):
        table.add_column(title, justify="left" if title == "run" else "right")
    for run in found:
        numbers = [_short(run.parameters), _short(run.tokens), f"{run.flops:.3g}"]
        table.add_row(run.name, *numbers, f"{run.loss:.4f}", f"{law.at(run.flops):.4f}")
    out.print(table)
    out.print(f"\nloss = {law.floor:.4f} + {law.scale:.4g} C^-{law.exponent:.4f}   drawn in {plot}")


def _need_torch() -> None:
    from importlib.util import find_spec

    from pipeline.errors import GristmillError

    if find_spec("torch") is None:
        raise GristmillError("torch is not installed", "gristmill train", "pip install 'gristmill[train]'")


for command in (sft, generate, chat, evaluate, export):
    app.command()(command)
app.command("import")(import_)


def _finite(facts: dict[str, Any]) -> dict[str, Any]:
    """JSON knows no NaN: a run that had nothing left to do has no last loss."""
    return {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in facts.items()}


def _short(value: float) -> str:
    for size, letter in ((1e12, " T"), (1e9, " B"), (1e6, " M")):
        if 1e15 > abs(value) >= size:
            return f"{value / size:.3g}{letter}"
    return f"{value:.4g}"


def main() -> None:
    """`python -m model …`, for torchrun: the user's mistakes without a traceback."""
    from pipeline.errors import GristmillError

    try:
        app()
    except GristmillError as error:
        print(f"error {error}", file=sys.stderr)
        sys.exit(error.exit_code)
