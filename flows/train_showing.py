"""What a training run shows in the UI while it goes on: a bar, the loss curve, and what the model writes by now."""

from __future__ import annotations

import base64
import contextvars
import json
import math
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from prefect.artifacts import create_markdown_artifact, create_progress_artifact
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import ArtifactUpdate

from flows.showing import artifact_key
from model.journal import bits_chart, loss_chart, read_journal

EVERY_SECONDS = 5.0  # between two looks at the log; what it shows is drawn anew where there is something new
LINE_SECONDS = 60.0  # between two lines of progress in the flow run's log


@contextmanager
def shown(folder: Path, logger: Any) -> Iterator[None]:
    """Within, a thread reads the log of the run in `folder` and keeps its artifacts up to date."""
    curve, stop = Curve(folder, logger), threading.Event()

    def look() -> None:
        pause = EVERY_SECONDS
        while not stop.wait(pause):
            begun = time.monotonic()
            try:
                curve.look()
            except Exception as error:  # a server that is away for a while must not end a training
                logger.warning("the artifacts could not be renewed: %s", error)
            pause = max(EVERY_SECONDS, 20 * (time.monotonic() - begun))  # a long log takes its time

    # The thread has the flow run's context, so that artifacts belong to it.
    thread = threading.Thread(target=contextvars.copy_context().run, args=(look,), daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
        curve.look()


class Curve:
    """The artifacts of one run: created once, and changed in place."""

    def __init__(self, folder: Path, logger: Any) -> None:
        self.folder, self._logger = folder, logger
        self._seen = -1
        self._line_at = -math.inf
        name = str(folder)
        self._bar: Any = create_progress_artifact(0.0, key=artifact_key("training", name), description=f"0 %: {name}")
        self._page: Any = create_markdown_artifact(
            "Nothing to show yet.", key=artifact_key("loss", name), description=f"Loss and samples: {name}"
        )

    def look(self) -> None:
        """Read what is new in the log, and show it."""
        events = read_journal(self.folder / "log.jsonl")
        steps = [event for event in events if event["kind"] == "step"]
        if not steps or len(events) == self._seen:
            return
        fresh = events[max(self._seen, 0) :] if len(events) > self._seen else events
        self._seen = len(events)
        facts = self._facts()
        last, total = steps[-1], facts.get("steps", 0)
        told = f"step {last['step']:,} of {total:,}, loss {last['loss']:.4f}, {last['tokens_per_s']:,.0f} tokens/s"
        self._log(fresh, told)
        done = min(100.0, round(100 * last["step"] / total, 1)) if total else 0.0
        with get_client(sync_client=True) as client:
            client.update_artifact(self._bar, ArtifactUpdate(data=done, description=f"{told}: {self.folder}"))
            client.update_artifact(self._page, ArtifactUpdate(data=page(events, facts, told)))

    def _facts(self) -> dict[str, Any]:
        try:
            return dict(json.loads((self.folder / "run.json").read_text(encoding="utf-8")))
        except (OSError, ValueError):
            return {}

    def _log(self, fresh: list[dict[str, Any]], told: str) -> None:
        for event in fresh:
            if event["kind"] == "validation":
                bits = f", {event['bits_per_byte']:.4f} bits per byte" if "bits_per_byte" in event else ""
                self._logger.info("validation at step %d: loss %.4f%s", event["step"], event["loss"], bits)
        if time.monotonic() - self._line_at >= LINE_SECONDS:
            self._line_at = time.monotonic()
            self._logger.info(told)


def page(events: list[dict[str, Any]], facts: dict[str, Any], told: str) -> str:
    """Markdown: where the run stands, its curves, the validations, and the last samples."""
    validations = [event for event in events if event["kind"] == "validation"]
    parts = [f"# Training\n\n{told}\n\n![loss by tokens]({_data_url(loss_chart(events))})"]
    if any("bits_per_byte" in event for event in validations):
        baselines = {"byte bigram": facts["bigram_bits_per_byte"]} if "bigram_bits_per_byte" in facts else {}
        parts.append(f"![bits per byte]({_data_url(bits_chart(events, baselines))})")
    if validations:
        rows = [
            f"| {e['step']:,} | {e['tokens']:,} | {e['loss']:.4f} | {e.get('bits_per_byte', 0):.4f} |"
            for e in validations[-10:]
        ]
        parts.append("| step | tokens | loss | bits per byte |\n| ---: | ---: | ---: | ---: |\n" + "\n".join(rows))
    samples = [event for event in events if event["kind"] == "sample"]
    if samples:
        last = [event for event in samples if event["step"] == samples[-1]["step"]]
        # Indented by four, whatever the model wrote is a block of plain text.
        blocks = ("\n".join(f"    {line}" for line in event["text"].splitlines()) for event in last)
        parts.append(f"## Samples at step {samples[-1]['step']:,}\n\n" + "\n\n<!-- -->\n\n".join(blocks))
    return "\n\n".join(parts) + "\n"


def _data_url(svg: str) -> str:
    return f"data:image/svg+xml;base64,{base64.b64encode(svg.encode()).decode()}"
