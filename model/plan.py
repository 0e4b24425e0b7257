"""Planning a run: of parameters, tokens, FLOPs, or GPUs and hours, any that decide it; the rest follows.

Every figure carries the formula that it came from and where that formula was published.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from model.config import PRESETS, ModelConfig
from model.devices import DEVICES, Device
from pipeline.errors import GristmillError

CHINCHILLA_RATIO = 20.0  # tokens a parameter, Hoffmann et al. 2022, arXiv 2203.15556, table 3
# L(N, D) = E + A / N^alpha + B / D^beta: Hoffmann et al.'s third approach as refitted by Besiroglu et al. 2024,
# arXiv 2404.10102, whose fit agrees with the other two approaches where the original's did not.
E, A, ALPHA, B, BETA = 1.8172, 482.01, 0.3478, 2085.43, 0.3658
ASSUMED_MFU = 0.40  # of a dense 124 M to 1 B model in bf16 on an H100: llm.c and modded-nanogpt reach 36 to 40 %


class Figure(NamedTuple):
    """One line of a plan: a value with its unit, how it was reckoned, and the source of that."""

    name: str
    value: float
    unit: str
    formula: str
    source: str


@dataclass(frozen=True)
class Plan:
    """What was asked, completed. `figures` holds all to be shown; the fields are what a run is started from."""

    parameters: float
    tokens: float
    flops: float
    model: str  # the nearest preset
    batch_tokens: int
    figures: tuple[Figure, ...]


def plan(
    parameters: float = 0,
    tokens: float = 0,
    flops: float = 0,
    gpus: int = 0,
    hours: float = 0,
    gpu: str = "H100",
    mfu: float = ASSUMED_MFU,
    hour_price: float = 0,
    inference_tokens: float = 0,
) -> Plan:
    """Complete a plan from any of its quantities; those that are given are kept.

    GPUs and hours give FLOPs; FLOPs alone are shared as Chinchilla does; parameters alone get 20 tokens each.
    Raises GristmillError where nothing is given, or what is given contradicts itself.
    """
    device = _device(gpu)
    if gpus and hours:
        if flops:
            raise GristmillError("FLOPs are given twice", "--flops, --gpus, --hours", "Give one of them.")
        flops = gpus * hours * 3600 * device.flops * mfu
    n, d, how = _completed(parameters, tokens, flops)
    compute = 6 * n * d
    seconds = compute / (device.flops * mfu)
    price = hour_price or device.hour_price
    batch = batch_size(d)
    name, shape = nearest_preset(n)
    memory = 16 * n
    kaplan = kaplan_optimal(compute)
    figures = [
        Figure("parameters", n, "", how[0], how[2]),
        Figure("tokens", d, "", how[1], how[2]),
        Figure("compute", compute, "FLOP", "6 N D", "Kaplan et al. 2020, arXiv 2001.08361, section 2.1"),
        Figure(
            "loss to expect",
            predicted_loss(n, d),
            "nats/token",
            "E + A/N^0.348 + B/D^0.366, on MassiveText with its tokenizer: compare plans, not datasets",
            "Besiroglu et al. 2024, arXiv 2404.10102",
        ),
        Figure("Chinchilla parameters", chinchilla(compute)[0], "", "sqrt(C / (6 x 20))", "arXiv 2203.15556, table 3"),
        Figure("Chinchilla tokens", chinchilla(compute)[1], "", "20 N", "arXiv 2203.15556, table 3"),
        Figure("Kaplan parameters", kaplan[0], "", "1.3e9 C^0.73, C in PF-days", "arXiv 2001.08361, section 6.1"),
        Figure("Kaplan tokens", kaplan[1], "", "C / 6 N", "arXiv 2001.08361"),
        Figure("batch", batch, "tokens", "2^19 (D / 2.5e9)^0.383", "Power Lines, arXiv 2505.13738; nanochat's anchor"),
        Figure("steps", d / batch, "", "D / batch", ""),
        Figure("Muon learning rate", muon_rate(batch), "", "0.02 sqrt(batch / 2^19)", "nanochat, dev/LOG.md"),
        Figure(
            "AdamW embedding rate", 0.3 * (shape.d_model / 768) ** -0.5, "", "0.3 (d/768)^-1/2", "nanochat; track 3"
        ),
        Figure("GPU hours", seconds / 3600, f"h on one {gpu}", f"C / ({device.flops / 1e12:.0f}e12 x {mfu:.0%})", ""),
        Figure("hours", seconds / 3600 / max(gpus, 1), f"h on {max(gpus, 1)}", "GPU hours / GPUs", ""),
        Figure("cost", seconds / 3600 * price, "USD", f"GPU hours x {price:.2f}", "--price, else a typical list price"),
        Figure(
            "training state", memory / 1e9, "GB", "16 N: fp32 weights, gradients, two moments", "ZeRO, arXiv 1910.02054"
        ),
        Figure(
            "GPUs for the state", max(1, math.ceil(memory / (0.6 * device.memory))), "", "16 N / 60 % of memory", ""
        ),
    ]
    if inference_tokens:
        small = inference_aware(n, d, inference_tokens)
        source = "Sardana et al. 2024, arXiv 2401.00448, eq. 3"
        figures += [
            Figure("inference-aware parameters", small[0], "", "min 6ND + 2N D_inf at the same loss", source),
            Figure("inference-aware tokens", small[1], "", "D that reaches the same loss", source),
        ]
    return Plan(n, d, compute, name, batch, tuple(figures))


def chinchilla(flops: float) -> tuple[float, float]:
    """Parameters and tokens that spend `flops` at 20 tokens a parameter."""
    n = math.sqrt(flops / (6 * CHINCHILLA_RATIO))
    return n, CHINCHILLA_RATIO * n


def kaplan_optimal(flops: float) -> tuple[float, float]:
    """Kaplan et al.'s compute-optimal parameters and tokens: N = 1.3e9 C^0.73 with C in PF-days."""
    n = 1.3e9 * (flops / (1e15 * 86400)) ** 0.73
    return n, flops / (6 * n)


def predicted_loss(parameters: float, tokens: float) -> float:
    """Nats a token by the Chinchilla law."""
    return E + A / parameters**ALPHA + B / tokens**BETA


def inference_aware(parameters: float, tokens: float, inference_tokens: float) -> tuple[float, float]:
    """The model of the same predicted loss for which training and `inference_tokens` of use together cost least."""
    loss = predicted_loss(parameters, tokens)

    def tokens_for(n: float) -> float:
        rest = loss - E - A / n**ALPHA
        return (B / rest) ** (1 / BETA) if rest > 0 else math.inf

    sizes = parameters * np.logspace(-1.5, 0.5, 4001)
    costs = [6 * n * tokens_for(n) + 2 * n * inference_tokens for n in sizes]
    best = float(sizes[int(np.argmin(costs))])
    return best, tokens_for(best)


def batch_size(tokens: float) -> int:
    """Tokens a batch: 2^19 at 2.5 B tokens, by the 0.383th power, to the nearest power of two from 2^14 up."""
    exact = 2**19 * (tokens / 2.5e9) ** 0.383
    return 1 << max(14, round(math.log2(exact)))


def muon_rate(batch_tokens: float) -> float:
    """Muon's rate for a batch, by its square root from 0.02 at 2^19."""
    return 0.02 * math.sqrt(batch_tokens / 2**19)


def nearest_preset(parameters: float, vocab_size: int = 32768) -> tuple[str, ModelConfig]:
    """The preset or depth whose total is nearest by ratio."""
    names = [name for name in PRESETS if name != "gpt2"] + [f"d{depth}" for depth in range(4, 49, 2)]
    shapes = [(name, ModelConfig.preset(name, vocab_size)) for name in names]
    return min(shapes, key=lambda pair: abs(math.log(pair[1].parameters()["total"] / parameters)))


class PowerLaw(NamedTuple):
    """y = floor + scale x^-exponent."""

    floor: float
    scale: float
    exponent: float

    def at(self, x: float) -> float:
        return self.floor + self.scale * x**-self.exponent


def fit_power_law(points: Sequence[tuple[float, float]]) -> PowerLaw:
    """Least squares in log(y - floor), the floor searched below the lowest y; with two points it is 0.

    Raises GristmillError with fewer than two distinct x.
    """
    x, y = (np.array(column, float) for column in zip(*sorted(points), strict=True)) if points else ([], [])
    if len(set(x)) < 2:
        raise GristmillError("a power law needs two runs of different size", "runs", "Finish more runs.")
    floors = np.linspace(0, min(y) * 0.999, 400) if len(set(x)) > 2 else np.zeros(1)

    def at(floor: float) -> tuple[float, PowerLaw]:
        slope, offset = np.polyfit(np.log(x), np.log(y - floor), 1)
        law = PowerLaw(float(floor), float(np.exp(offset)), float(-slope))
        return float(np.sum((floor + law.scale * x**-law.exponent - y) ** 2)), law

    return min((at(floor) for floor in floors), key=lambda pair: pair[0])[1]


def _completed(n: float, d: float, flops: float) -> tuple[float, float, tuple[str, str, str]]:
    if n < 0 or d < 0 or flops < 0:
        raise GristmillError("a quantity is negative", "plan", "Give positive numbers.")
    if n and d and flops:
        raise GristmillError(
            "parameters, tokens and FLOPs are all given", "plan", "Two of them decide the third: leave one out."
        )
    if n and d:
        return n, d, ("given", "given", "")
    if flops and n:
        return n, flops / (6 * n), ("given", "C / 6N", "arXiv 2001.08361")
    if flops and d:
        return flops / (6 * d), d, ("C / 6D", "given", "arXiv 2001.08361")
    source = "Chinchilla, arXiv 2203.15556, table 3"
    if flops:
        return *chinchilla(flops), ("sqrt(C / 120)", "20 N", source)
    if n:
        return n, CHINCHILLA_RATIO * n, ("given", "20 N", source)
    if d:
        return d / CHINCHILLA_RATIO, d, ("D / 20", "given", source)
    raise GristmillError(
        "nothing to plan from", "plan", "Give --parameters, --tokens, --flops, or --gpus with --hours."
    )


def _device(name: str) -> Device:
    found = next((device for key, device in DEVICES.items() if key.lower() == name.lower()), None)
    if found is None:
        raise GristmillError(f"the device {name} is not in the table", "--gpu", f"Known are {', '.join(DEVICES)}.")
    return found
