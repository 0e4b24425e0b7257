"""Line charts as SVG, drawn by hand: no library, the same bytes for the same numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from typing import NamedTuple

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 800, 440, 70, 20, 44, 54
LETTER = 7.5  # pixels that a letter of the legend takes, about
COLORS = ("#2563eb", "#d97706", "#059669", "#7c3aed")


class Series(NamedTuple):
    """Points (x, y) by name: a line, or dots where `dots`."""

    name: str
    points: Sequence[tuple[float, float]]
    dots: bool = False


def line_chart(title: str, x_label: str, y_label: str, series: Sequence[Series], log: bool = False) -> str:
    """An SVG document; with `log` both axes are logarithmic. Points that are not finite are left out."""
    kept = [Series(s.name, [p for p in s.points if _shown(p, log)], s.dots) for s in series]
    every = [point for s in kept for point in s.points] or [(1.0, 1.0), (2.0, 2.0)]
    x_axis = _Axis([x for x, _ in every], LEFT, WIDTH - RIGHT, log)
    y_axis = _Axis([y for _, y in every], HEIGHT - BOTTOM, TOP, log)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="system-ui, sans-serif" '
        f'font-size="13" role="img" aria-label="{escape(title)}">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>',
        f'<text x="{LEFT}" y="24" font-size="16" font-weight="600" fill="#111827">{escape(title)}</text>',
    ]
    for value in y_axis.ticks():
        at = y_axis.at(value)
        parts.append(f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{at:.1f}" y2="{at:.1f}" stroke="#e5e7eb"/>')
        parts.append(f'<text x="{LEFT - 8}" y="{at + 4:.1f}" text-anchor="end" fill="#374151">{_number(value)}</text>')
    for value in x_axis.ticks():
        at = x_axis.at(value)
        below = HEIGHT - BOTTOM + 20
        parts.append(f'<text x="{at:.1f}" y="{below}" text-anchor="middle" fill="#374151">{_number(value)}</text>')
    legend_x = WIDTH - RIGHT  # beside the title, where no line passes
    for number, (name, points, dots) in enumerate(kept):
        color = COLORS[number % len(COLORS)]
        parts.append(f'<text x="{legend_x}" y="24" text-anchor="end" fill="{color}">{escape(name)}</text>')
        parts.append(_drawn([(x_axis.at(x), y_axis.at(y)) for x, y in points], color, dots))
        legend_x -= LETTER * (len(name) + 2)
    middle = (LEFT + WIDTH - RIGHT) / 2
    parts.append(f'<text x="{middle}" y="{HEIGHT - 12}" text-anchor="middle" fill="#111827">{escape(x_label)}</text>')
    turned = f'transform="rotate(-90 18 {HEIGHT / 2})"'
    parts.append(
        f'<text x="18" y="{HEIGHT / 2}" {turned} text-anchor="middle" fill="#111827">{escape(y_label)}</text></svg>'
    )
    return "\n".join(parts) + "\n"


def _drawn(points: list[tuple[float, float]], color: str, dots: bool) -> str:
    if dots:
        return "\n".join(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{color}"/>' for x, y in points)
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return f'<polyline points="{path}" fill="none" stroke="{color}" stroke-width="1.8"/>'


class _Axis:
    """Values to pixels between `start` and `end`."""

    def __init__(self, values: list[float], start: float, end: float, log: bool) -> None:
        self.log, self.start, self.end = log, start, end
        scaled = [math.log10(value) if log else value for value in values]
        low, high = min(scaled), max(scaled)
        margin = (high - low) * 0.03 or abs(high) * 0.1 or 1.0
        self.low, self.high = low - margin, high + margin

    def at(self, value: float) -> float:
        scaled = math.log10(value) if self.log else value
        return self.start + (scaled - self.low) / (self.high - self.low) * (self.end - self.start)

    def ticks(self) -> list[float]:
        """Round values within the axis: 1, 2 and 5 times powers of ten."""
        if self.log:
            powers = range(math.floor(self.low), math.ceil(self.high) + 1)
            found = [digit * 10.0**power for power in powers for digit in (1, 2, 5)]
            return [value for value in found if self.low <= math.log10(value) <= self.high]
        raw = (self.high - self.low) / 6
        step = min((digit * 10.0 ** math.floor(math.log10(raw)) for digit in (1, 2, 5, 10)), key=lambda s: abs(s - raw))
        return [index * step for index in range(math.ceil(self.low / step), math.floor(self.high / step) + 1)]


def _shown(point: tuple[float, float], log: bool) -> bool:
    return all(math.isfinite(value) and (value > 0 or not log) for value in point)


def _number(value: float) -> str:
    for size, letter in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:.6g}{letter}"
    return f"{value:.4g}"
