"""Small pictures: bars as HTML, so that their words stay readable on a phone, histograms as inline SVG.

They take their colours from the page's style, so light and dark both work.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from math import log1p

from pipeline.report.facts import Histogram, Stage

_W = 400  # view box units of a histogram, about the pixels that its column has
_SIGNS = {">=": "≥", "<=": "≤", ">": "&gt;", "<": "&lt;"}


def funnel_bars(stages: Sequence[Stage]) -> str:
    """One bar a step, as wide as what is left of the pages after it, with what it took of them in another shade."""
    rows = []
    for stage in stages:
        gone = stage.dropped + stage.quarantined
        took = gone - stage.no_pages
        parts = (("kept", stage.left, f"{stage.left:,} left"), ("gone", took, f"{took:,} taken by {stage.label}"))
        rows.append((stage.label, parts, f"{stage.left:,}", f"−{gone:,}" if gone else ""))
    return _bars(rows, _pages(stages), "funnel")


def funnel_chart(stages: Sequence[Stage]) -> str:
    """The same as one SVG, for places that take a picture alone."""
    wide, x, height = 640, 150.0, 26
    whole, rows = _pages(stages), []
    for i, stage in enumerate(stages):
        y = i * height
        left, took = stage.left / whole, (stage.dropped + stage.quarantined - stage.no_pages) / whole
        room = wide - x - 90
        rows.append(
            f'<text x="{x - 8}" y="{y + 16}" class="label end">{escape(stage.label)}</text>'
            f'<rect x="{x}" y="{y + 4}" width="{room * left:.1f}" height="16" class="kept"><title>{stage.left:,} left</title></rect>'
            f'<rect x="{x + room * left:.1f}" y="{y + 4}" width="{room * took:.1f}" height="16" class="gone">'
            f"<title>{stage.dropped + stage.quarantined:,} taken by {escape(stage.label)}</title></rect>"
            f'<text x="{wide - 4}" y="{y + 16}" class="number end">{stage.left:,}</text>'
        )
    return _svg(wide, len(stages) * height + 4, "".join(rows), "Funnel: pages left after each step")


def _pages(stages: Sequence[Stage]) -> int:
    """What came in, less the records that hold no page; at least 1, since it is divided by."""
    return max(max((stage.came for stage in stages), default=0) - sum(stage.no_pages for stage in stages), 1)


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
    drawn: list[float] = []
    for rule, keep, limit in histogram.limits:
        if low <= limit <= high:
            line = 12 + 13 * drawn.count(limit)  # two rules may share a limit
            drawn.append(limit)
            x = _W * (limit - low) / (high - low)
            side = "end" if x > _W / 2 else ""
            bars.append(
                f'<line x1="{x:.1f}" x2="{x:.1f}" y1="2" y2="{base}" class="limit"><title>{escape(rule)}</title></line>'
                f'<text x="{x + (-4 if side else 4):.1f}" y="{line}" class="limit-text {side}">{_SIGNS.get(keep, keep)} {_short(limit)}</text>'
            )
    axis = (
        f'<line x1="0" x2="{_W}" y1="{base}" y2="{base}" class="axis"/>'
        f'<text x="0" y="{base + 15}" class="number">{_short(low)}</text>'
        f'<text x="{_W}" y="{base + 15}" class="number end">{_short(high)}</text>'
    )
    return _svg(_W, base + 20, "".join(bars) + axis, f"Histogram of {histogram.column}")


def bar_chart(rows: Sequence[tuple[str, float, str]]) -> str:
    """A bar for each (label, value, what stands beside it)."""
    top = max((value for _, value, _ in rows), default=0) or 1
    return _bars([(label, (("kept", value, ""),), told, "") for label, value, told in rows], top, "ranks")


_Part = tuple[str, float, str]  # class, value, title


def _bars(rows: Sequence[tuple[str, Sequence[_Part], str, str]], whole: float, kind: str) -> str:
    """Rows of (label, parts of the bar, a number, what stands after it); a part of `whole` fills its track."""
    drawn = []
    for label, parts, number, after in rows:
        bar = "".join(
            f'<i class="{shade}" style="width:{100 * value / whole:.2f}%"{_title(title)}></i>'
            for shade, value, title in parts
            if value
        )
        soft = f"<small>{escape(after)}</small>" if kind == "funnel" else ""
        drawn.append(
            f"<div><span class=label>{escape(label)}</span><span class=track>{bar}</span><b>{escape(number)}</b>{soft}</div>"
        )
    return f'<div class="bars {kind}">{"".join(drawn)}</div>'


def _title(text: str) -> str:
    return f' title="{escape(text)}"' if text else ""


def _svg(width: float, height: float, body: str, title: str) -> str:
    return f'<svg viewBox="0 0 {width} {height:.0f}" role="img" aria-label="{escape(title)}">{body}</svg>'


def _short(value: float) -> str:
    """Three digits that matter, and no exponent before a million."""
    if (float(value).is_integer() or abs(value) >= 100) and abs(value) < 1e6:
        return f"{value:,.0f}"
    return f"{value:.3g}"
