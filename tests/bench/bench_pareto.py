"""Which extractor finds how much in what time: `python -m tests.bench.bench_pareto [--sample 8]`.

F1 (the mean over the labelled sets) and CPU ms a page of each engine, from one run of `tests/quality`'s measurement in
which the engines take turns; drawn as `extractors.svg` beside RESULTS.md. On the line: no engine is better in less time.
"""

from __future__ import annotations

import argparse
import math
import sys
from pathlib import Path
from statistics import mean
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from tests.quality.quality_extraction import DATA, FOLD_MODELS, engines, fold_models, measure  # noqa: E402

PICTURE = Path(__file__).with_name("extractors.svg")
WIDTH, HEIGHT, LEFT, TOP, RIGHT, BOTTOM = 720, 420, 60, 24, 24, 52


class Point(NamedTuple):
    name: str
    ms: float
    f1: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sample", type=int, default=8, help="take every Nth page of each set")
    options = parser.parse_args()
    if not DATA.is_dir():
        raise SystemExit(f"{DATA}: no labelled pages there")
    scores, milliseconds, pages = measure(engines(fold_models(DATA, FOLD_MODELS)), DATA, options.sample)
    sets = [row for row in next(iter(scores.values())) if ":" not in row]
    points = [Point(name, milliseconds[name], mean(scores[name][row] for row in sets)) for name in scores]
    PICTURE.write_text(drawn(points), encoding="utf-8")
    best = frontier(points)
    print(f"{sum(pages[row] for row in sets)} labelled pages; F1 is the mean over {len(sets)} sets.\n")
    print("| engine | F1 | CPU ms a page | on the frontier |\n| --- | --: | --: | --- |")
    for point in sorted(points, key=lambda point: point.ms):
        print(f"| {point.name} | {point.f1:.3f} | {point.ms:.2f} | {'yes' if point in best else ''} |")
    print(f"\n![F1 against CPU ms a page]({PICTURE.name})")


def frontier(points: list[Point]) -> list[Point]:
    """The points that none beats in both, from the fastest on."""
    found: list[Point] = []
    for point in sorted(points, key=lambda point: (point.ms, -point.f1)):
        if not found or point.f1 > found[-1].f1:
            found.append(point)
    return found


def drawn(points: list[Point]) -> str:
    """An SVG: time to the right on a logarithmic scale, F1 upwards."""
    decades = (
        math.floor(math.log10(min(point.ms for point in points))),
        math.ceil(math.log10(max(p.ms for p in points))),
    )
    lowest = math.floor(min(point.f1 for point in points) * 20 - 0.2) / 20

    def x(ms: float) -> float:
        share = (math.log10(ms) - decades[0]) / max(1, decades[1] - decades[0])
        return LEFT + share * (WIDTH - LEFT - RIGHT)

    def y(f1: float) -> float:
        return TOP + (1 - f1) / (1 - lowest) * (HEIGHT - TOP - BOTTOM)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="system-ui, sans-serif" '
        'font-size="13">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>',
    ]
    for decade in range(decades[0], decades[1] + 1):
        at = x(10**decade)
        parts.append(f'<path d="M{at:.1f} {TOP}V{HEIGHT - BOTTOM}" stroke="#e5e5e5"/>')
        parts.append(f'<text x="{at:.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{10.0**decade:g}</text>')
    for step in range(round(lowest * 20), 21):
        at = y(step / 20)
        parts.append(f'<path d="M{LEFT} {at:.1f}H{WIDTH - RIGHT}" stroke="#e5e5e5"/>')
        parts.append(f'<text x="{LEFT - 8}" y="{at + 4:.1f}" text-anchor="end">{step / 20:.2f}</text>')
    corners = frontier(points)
    line = f"M{x(corners[0].ms):.1f} {y(corners[0].f1):.1f}"
    line += "".join(f"H{x(point.ms):.1f}V{y(point.f1):.1f}" for point in corners[1:])
    parts.append(f'<path d="{line}H{WIDTH - RIGHT}" fill="none" stroke="#1a7f5a" stroke-width="2"/>')
    for point in points:
        colour = "#1a7f5a" if point in corners else "#8a8a8a"
        at, end = x(point.ms), x(point.ms) > WIDTH * 0.7
        parts.append(f'<circle cx="{at:.1f}" cy="{y(point.f1):.1f}" r="5" fill="{colour}"/>')
        parts.append(
            f'<text x="{at + (-9 if end else 9):.1f}" y="{y(point.f1) - 8:.1f}" '
            f'text-anchor="{"end" if end else "start"}">{point.name}</text>'
        )
    parts.append(f'<text x="{WIDTH / 2}" y="{HEIGHT - 12}" text-anchor="middle">CPU ms a page (logarithmic)</text>')
    parts.append(
        f'<text x="16" y="{HEIGHT / 2}" text-anchor="middle" transform="rotate(-90 16 {HEIGHT / 2})">F1</text>'
    )
    return "\n".join([*parts, "</svg>"]) + "\n"


if __name__ == "__main__":
    main()
