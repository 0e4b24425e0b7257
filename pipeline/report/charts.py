"""Small pictures as inline SVG: they take their colours from the page's style, so light and dark both work."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from math import log1p

from pipeline.report.facts import Histogram, Stage

_W = 640  # view box units; pictures scale to the width of their column


def funnel_chart(stages: Sequence[Stage]) -> str:
    """One bar a step, as wide as what is left after it, with what it took in another shade."""
    whole = max((stage.came for stage in stages), default=0) or 1
    rows, height = [], 26
    for i, stage in enumerate(stages):
        y = i * height
        left, took = stage.left / whole, (stage.dropped + stage.quarantined) / whole
        x = 150.0
        room = _W - x - 90
        rows.append(
            f'<text x="{x - 8}" y="{y + 16}" class="label end">{escape(stage.label)}</text>'
            f'<rect x="{x}" y="{y + 4}" width="{room * left:.1f}" height="16" class="kept"><title>{stage.left:,} left</title></rect>'
            f'<rect x="{x + room * left:.1f}" y="{y + 4}" width="{room * took:.1f}" height="16" class="gone">'
            f"<title>{stage.dropped + stage.quarantined:,} taken by {escape(stage.label)}</title></rect>"
            f'<text x="{_W - 4}" y="{y + 16}" class="number end">{stage.left:,}</text>'
        )
    return _svg(len(stages) * height + 4, "".join(rows), "Funnel: records left after each step")


def histogram_chart(histogram: Histogram) -> str:
    """Kept and dropped pages over the measured value, heights on a log scale, limits as lines."""
    tall, base = 110, 118
    bins = len(histogram.kept)
    peak = max(log1p(k + d) for k, d in zip(histogram.kept, histogram.dropped, strict=True)) or 1
    low, high = histogram.edges[0], histogram.edges[-1]
    width = _W / bins
    bars = []
    for i, (kept, dropped) in enumerate(zip(histogram.kept, histogram.dropped, strict=True)):
        if not kept + dropped:
            continue
        full = tall * log1p(kept + dropped) / peak
        shade = full * kept / (kept + dropped)
        title = (
            f"{_short(histogram.edges[i])} to {_short(histogram.edges[i + 1])}: {kept:,} passed, {dropped:,} dropped"
        )
        bars.append(
            f'<g><title>{title}</title><rect x="{i * width:.1f}" y="{base - full:.1f}" width="{width - 1:.1f}" '
            f'height="{full - shade:.1f}" class="gone"/><rect x="{i * width:.1f}" y="{base - shade:.1f}" '
            f'width="{width - 1:.1f}" height="{shade:.1f}" class="kept"/></g>'
        )
    for rule, keep, limit in histogram.limits:
        if low <= limit <= high:
            x = _W * (limit - low) / (high - low)
            side = "end" if x > _W / 2 else ""
            bars.append(
                f'<line x1="{x:.1f}" x2="{x:.1f}" y1="2" y2="{base}" class="limit"><title>{escape(rule)}</title></line>'
                f'<text x="{x + (-4 if side else 4):.1f}" y="12" class="limit-text {side}">{escape(keep)} {_short(limit)}</text>'
            )
    axis = (
        f'<line x1="0" x2="{_W}" y1="{base}" y2="{base}" class="axis"/>'
        f'<text x="0" y="{base + 15}" class="number">{_short(low)}</text>'
        f'<text x="{_W}" y="{base + 15}" class="number end">{_short(high)}</text>'
    )
    return _svg(base + 20, "".join(bars) + axis, f"Histogram of {histogram.column}")


def bar_chart(rows: Sequence[tuple[str, float, str]], title: str) -> str:
    """A bar for each (label, value, what stands beside it)."""
    top = max((value for _, value, _ in rows), default=0) or 1
    height, x = 22, 200.0
    room = _W - x - 130
    drawn = "".join(
        f'<text x="{x - 8}" y="{i * height + 15}" class="label end">{escape(_clip(label, 30))}</text>'
        f'<rect x="{x}" y="{i * height + 4}" width="{max(room * value / top, 1):.1f}" height="13" class="kept"/>'
        f'<text x="{x + max(room * value / top, 1) + 6:.1f}" y="{i * height + 15}" class="number">{escape(told)}</text>'
        for i, (label, value, told) in enumerate(rows)
    )
    return _svg(len(rows) * height + 4, drawn, title)


def _svg(height: float, body: str, title: str) -> str:
    return f'<svg viewBox="0 0 {_W} {height:.0f}" role="img" aria-label="{escape(title)}">{body}</svg>'


def _short(value: float) -> str:
    if float(value).is_integer() and abs(value) < 1e7:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def _clip(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"
