"""How far a run is: bars on a terminal, a line a phase in a pipe."""

from __future__ import annotations

import time
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn


class Bars:
    """Live bars; refining tells records a second, stored MB a second, and the share that is dropped."""

    def __init__(self, console: Console) -> None:
        self._progress = Progress(
            TextColumn("{task.description:<10}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[told]}"),
            console=console,
        )
        self._tasks: dict[str, Any] = {}
        self._rate = Rate()

    def __call__(self, phase: str, done: int, total: int, about: dict[str, Any]) -> None:
        if phase not in self._tasks:
            self._progress.start()
            self._tasks[phase] = self._progress.add_task(phase, total=total, told="")
        self._rate.add(about if phase == "refine" else {})
        told = self._rate.told() if phase == "refine" else ""
        self._progress.update(self._tasks[phase], completed=done, total=total, told=told)
        self._progress.refresh()

    def stop(self) -> None:
        """Leave the bars as they stand; what is printed next comes below them."""
        self._progress.stop()


class Lines:
    """One line when a phase is done: for logs and pipes."""

    def __init__(self, console: Console) -> None:
        self._console, self._rate, self._begun = console, Rate(), time.monotonic()

    def __call__(self, phase: str, done: int, total: int, about: dict[str, Any]) -> None:
        self._rate.add(about if phase == "refine" else {})
        if done >= total:
            told = f"  {self._rate.told()}" if phase == "refine" else ""
            self._console.print(f"{time.monotonic() - self._begun:7.1f} s  {phase:<10} {done}/{total}{told}")


class Rate:
    """Records and stored bytes a second since the first task of this run, and what share was dropped."""

    def __init__(self) -> None:
        self._begun = time.monotonic()
        self._records = self._bytes = self._kept = 0

    def add(self, about: dict[str, Any]) -> None:
        if "records" in about and "states" in about:
            self._records += about["records"]
            self._bytes += about["bytes"]
            self._kept += about["states"].get("kept", 0)

    def told(self) -> str:
        if not self._records:
            return ""
        seconds = max(time.monotonic() - self._begun, 1e-9)
        kept = 100 * self._kept / self._records
        return f"{self._records / seconds:,.0f} records/s  {self._bytes / seconds / 1e6:.1f} MB/s  {kept:.0f}% of records kept"
