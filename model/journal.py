"""What a run tells: log.jsonl, a progress line, its plots, and TensorBoard where it is asked for."""

from __future__ import annotations

import json
import math
import os
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

from model.plot import Series, line_chart
from pipeline.errors import GristmillError

PROGRESS_SECONDS = 10.0  # between two lines of progress in a file, which nobody can write over


class Journal:
    """One line of JSON an event in `log.jsonl`; `loss.svg` and `bits-per-byte.svg` are drawn from it, so those of a
    resumed run are whole. `baselines` are bits per byte, by name, to be drawn beside the validation's.

    Lines: {"kind": "step", "step", "tokens", "loss", "lr", "grad_norm", "tokens_per_s", "mfu", …},
    {"kind": "validation", "step", "tokens", "loss", "bits_per_byte"}, {"kind": "sample", "step", "prompt", "text"}.
    `tokens` counts targets seen; loss is in nats a token; mfu is a share, null on an unknown device.
    """

    def __init__(
        self,
        folder: Path,
        step: int,
        tensorboard: bool = False,
        screen: TextIO | None = None,
        baselines: Mapping[str, float] | None = None,
    ) -> None:
        self.folder, self.path, self.screen = folder, folder / "log.jsonl", screen or sys.stderr
        self.baselines = baselines or {}
        self.events = [event for event in read_journal(self.path) if event["step"] <= step]
        folder.mkdir(parents=True, exist_ok=True)
        # What a killed run logged after its last checkpoint will be done, and told, again.
        draft = self.path.with_suffix(".tmp")
        draft.write_text("".join(json.dumps(event) + "\n" for event in self.events), encoding="utf-8")
        os.replace(draft, self.path)
        self._file = self.path.open("a", encoding="utf-8")
        self._board = _board(folder) if tensorboard else None
        self._live = self.screen.isatty()
        self._waiting, self._told = "", -math.inf

    def tell(self, kind: str, step: int, **facts: Any) -> None:
        event = {"kind": kind, "step": step, **facts}
        self.events.append(event)
        try:
            self._file.write(json.dumps(event) + "\n")
            self._file.flush()
        except OSError as error:
            todo = "Free some space and run the same command again: it goes on from the last checkpoint."
            raise GristmillError(f"the log cannot be written ({error.strerror})", str(self.path), todo) from error
        if self._board is not None:
            for name, value in facts.items():
                if isinstance(value, int | float):
                    self._board.add_scalar(f"{kind}/{name}", value, step)

    def progress(self, text: str) -> None:
        """One line that is written over on a terminal; elsewhere one every few seconds, and always the last."""
        if self._live:
            self.screen.write(f"\r\x1b[2K{text}")
        elif time.monotonic() - self._told < PROGRESS_SECONDS:
            self._waiting = text
            return
        else:
            self._told, self._waiting = time.monotonic(), ""
            self.screen.write(f"{text}\n")
        self.screen.flush()

    def say(self, text: str) -> None:
        """A line that stays."""
        self.screen.write(("\r\x1b[2K" if self._live else "") + text + "\n")
        self.screen.flush()

    def _tell_what_waits(self) -> None:
        if self._waiting:
            self.say(self._waiting)
            self._waiting = ""

    def draw(self) -> None:
        """Draw the plots anew."""
        self._draw("loss.svg", loss_chart(self.events))
        if any("bits_per_byte" in event for event in self.events):
            self._draw("bits-per-byte.svg", bits_chart(self.events, self.baselines))

    def _draw(self, name: str, chart: str) -> None:
        draft = self.folder / f".{name}.tmp"
        draft.write_text(chart, encoding="utf-8")
        os.replace(draft, self.folder / name)

    def close(self) -> None:
        self._tell_what_waits()
        self.draw()
        self._file.close()
        if self._board is not None:
            self._board.close()
        if self._live:
            self.screen.write("\n")


def loss_chart(events: Sequence[Mapping[str, Any]]) -> str:
    """Training and validation loss by tokens seen, as SVG."""
    found = {
        kind: [(event["tokens"], event["loss"]) for event in events if event["kind"] == kind]
        for kind in ("step", "validation")
    }
    series = [Series("training", smoothed(found["step"])), Series("validation", found["validation"])]
    return line_chart("Loss", "tokens", "nats a token", series)


def bits_chart(events: Sequence[Mapping[str, Any]], baselines: Mapping[str, float]) -> str:
    """Bits per byte of the validation by tokens seen, and of the baselines, as SVG."""
    points = [(event["tokens"], event["bits_per_byte"]) for event in events if "bits_per_byte" in event]
    ends = (0, max(tokens for tokens, _ in points))
    lines = [Series(name, [(end, bits) for end in ends]) for name, bits in baselines.items()]
    return line_chart("Validation", "tokens", "bits per byte", [Series("model", points), *lines])


class Pace:
    """Seconds a step, steadied, and what is left of them."""

    def __init__(self) -> None:
        self._last, self._mean = time.perf_counter(), 0.0

    def start(self) -> None:
        """Begin a step: what lay between (validation, samples) is not counted."""
        self._last = time.perf_counter()

    def step(self) -> float:
        """Seconds of the step that ends now."""
        seconds = time.perf_counter() - self._last
        self._mean = 0.9 * self._mean + 0.1 * seconds if self._mean else seconds
        return seconds

    def left(self, steps: int) -> str:
        seconds = round(self._mean * steps)
        return f"{seconds // 3600}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"


def read_journal(path: Path) -> list[dict[str, Any]]:
    """The events of a log; a line that a kill cut off is left out."""
    if not path.is_file():
        return []
    events = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            events.append(json.loads(line))
        except ValueError:
            continue
    return events


def smoothed(points: list[tuple[float, float]], most: int = 400) -> list[tuple[float, float]]:
    """At most `most` points, each the mean of its neighbours in between."""
    size = max(1, math.ceil(len(points) / most))
    groups = [points[start : start + size] for start in range(0, len(points), size)]
    return [(group[-1][0], sum(loss for _, loss in group) / len(group)) for group in groups]


def _board(folder: Path) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise GristmillError(
            "TensorBoard is not installed", "--tensorboard", "pip install tensorboard, or leave the option out."
        ) from error
    return SummaryWriter(str(folder / "tensorboard"))
