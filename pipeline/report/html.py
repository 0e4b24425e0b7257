"""The report of a run: one HTML file that needs nothing else, readable offline, in the dark and on a phone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path
from typing import Any

import pyarrow as pa

from pipeline.refine import SAMPLES_KEPT, SAMPLES_PER_RULE
from pipeline.report.charts import bar_chart, funnel_bars, histogram_chart
from pipeline.report.facts import TOP, Facts
from pipeline.store import Entry, Folder


def write_report(folder: Folder, facts: Facts, metrics: dict[str, Any], samples: Iterable[pa.Table]) -> Entry:
    """Write report.html into the run's folder.

    `metrics` holds this run's times and its machine; `samples` are the splits' samples of pages (see
    `pipeline.refine.SAMPLE_SCHEMA`), of which for each rule those of smallest rank are shown.
    """
    return folder.write_bytes("report.html", report(facts, metrics, samples).encode())


def report(facts: Facts, metrics: dict[str, Any], samples: Iterable[pa.Table]) -> str:
    """The whole page."""
    sections = [
        ("funnel", "Funnel", _funnel(facts)),
        ("rules", "Drops by step and rule", _rules(facts)),
        ("samples", "Read what was thrown away", _samples(facts, samples)),
        ("values", "Measured values", _histograms(facts)),
        ("languages", "Languages", _languages(facts)),
        ("hosts", "Hosts", _hosts(facts)),
        ("duplicates", "Duplicates", _duplicates(facts)),
        ("tokens", "Tokens", _tokens(facts)),
        ("archives", "Archives", _archives(facts)),
        ("speed", "This run", _speed(metrics)),
        ("recipe", "Recipe", f"<pre><code>{escape(facts.recipe.yaml())}</code></pre>"),
    ]
    links = " ".join(f'<a href="#{anchor}">{title}</a>' for anchor, title, body in sections if body)
    bodies = "".join(f'<h2 id="{anchor}">{title}</h2>{body}' for anchor, title, body in sections if body)
    style = (Path(__file__).parent / "report.css").read_text(encoding="utf-8")
    title = f"{facts.recipe.name}: {facts.states['kept']:,} documents"
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>{escape(title)}</title><style>{style}</style></head><body><main><h1>{escape(title)}</h1>"
        f'<p class="soft">{escape(facts.recipe.about)}</p><nav>{links}</nav>{_tiles(facts)}{_alarms(facts)}{bodies}'
        "</main></body></html>\n"
    )


def _tiles(facts: Facts) -> str:
    tiles = [
        ("records in", facts.records),
        ("documents kept", facts.states["kept"]),
        ("dropped by a rule", facts.states["dropped"]),
        ("set aside", facts.states["quarantined"]),
        ("tokens", facts.tokens),
        ("hosts", len(facts.hosts)),
    ]
    account = " + ".join(f"{facts.states[state]:,} {state}" for state in ("kept", "dropped", "quarantined"))
    return (
        f'<div class="tiles">{"".join(f"<div class=tile><b>{n:,}</b>{what}</div>" for what, n in tiles)}</div>'
        f'<p class="soft">{facts.records:,} records in = {account}</p>'
    )


def _alarms(facts: Facts) -> str:
    alarms = list(facts.manifest.about["dedup"].get("alarms", []))
    note = facts.manifest.about["tokenizer"]["note"]
    told = [*(f"Deduplication: {alarm}" for alarm in alarms), *([note] if note else [])]
    return "".join(f'<p class="alarm">{escape(str(alarm))}</p>' for alarm in told)


def _funnel(facts: Facts) -> str:
    others = sum(stage.no_pages for stage in facts.funnel)
    told = (
        f"<p class=soft>Of {facts.records:,} records {others:,} hold no page: requests, metadata, revisits and the like. "
        "The bars show the others.</p>"
    )
    chart = funnel_bars(facts.funnel)
    return (told if others else "") + chart + _key("left after the step", "taken by it")


def _rules(facts: Facts) -> str:
    rows = []
    for stage in facts.funnel:
        for rule, count in stage.rules.items():
            rows.append(
                (
                    stage.label,
                    rule,
                    f"{count:,}",
                    f"{count / stage.came:.1%}" if stage.came else "",
                    f"{count / facts.records:.1%}",
                )
            )
    return _table(("step", "rule", "records", "of step", "of all"), rows, numbers=3) + _early(facts)


def _early(facts: Facts) -> str:
    early = facts.early
    if early is None or not early.dropped_early:
        return ""
    told = (
        f"The early language gate dropped {early.dropped_early:,} pages before extraction; {early.audited:,} more were let "
        f"through to check it, {early.judged:,} of them reached the late gate, which kept {early.kept_late:,}"
    )
    bound = (
        f" (so with 95 % confidence it loses at most {early.upper_bound:.1%} of what it drops)" if early.judged else ""
    )
    return (
        f"<p>{told}{bound}. Of {early.passed_early:,} that passed it, the late gate dropped {early.dropped_late:,}.</p>"
    )


def _samples(facts: Facts, tables: Iterable[pa.Table]) -> str:
    """Pages that were kept, then those of each rule in the order of the funnel."""
    groups = _smallest_ranks(tables)
    told = [_sample_group("kept", "before deduplication", None, groups.pop(("kept", "", ""), []), SAMPLES_KEPT)]
    for stage in facts.funnel:
        for rule, count in stage.rules.items():
            rows = [row for state in ("dropped", "quarantined") for row in groups.get((state, stage.label, rule), [])]
            told.append(_sample_group(stage.label, rule, count, rows, SAMPLES_PER_RULE))
    return (
        "<p class=soft>Pages chosen by hash, so nobody picked them. Text is cut after 3,000 characters; "
        "personal data is taken out as the recipe says.</p>" + "".join(told)
    )


def _smallest_ranks(tables: Iterable[pa.Table]) -> dict[tuple[str, str, str], list[dict[str, Any]]]:
    """The samples to show by (state, step, rule); of all splits' samples no more than these are held."""
    groups: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
    for table in tables:
        for row in table.to_pylist():
            group = groups.setdefault((row["state"], row["step"], row["rule"]), [])
            group.append(row)
            if len(group) > 2 * SAMPLES_KEPT:
                group[:] = sorted(group, key=lambda row: row["rank"])[:SAMPLES_KEPT]
    return groups


def _sample_group(step: str, rule: str, count: int | None, rows: list[dict[str, Any]], most: int) -> str:
    shown = sorted(rows, key=lambda row: row["rank"])[:most]
    if not shown:
        return ""
    of = f"{len(shown)} of {count:,}" if count is not None else f"{len(shown)}"
    pages = "".join(_sample(row) for row in shown)
    return f"<details><summary><b>{escape(step)}</b> {escape(rule)} <small>{of}</small></summary>{pages}</details>"


def _sample(row: dict[str, Any]) -> str:
    limit = "" if row["limit"] is None else f" (limit {row['limit']:.4g})"
    measured = "" if row["value"] is None else f"{row['value']:.4g}{limit} "
    detail = escape(f"{measured}{row['detail'] or ''} {row['language'] or ''}".strip())
    return (
        f"<details><summary>{escape(row['url'] or row['record_id'])} <small>{detail}</small></summary>"
        f"<pre>{escape(row['excerpt'] or '')}</pre></details>"
        if row["excerpt"]
        else f"<p class=bare>{escape(row['url'] or row['record_id'])} <small>{detail}</small></p>"
    )


def _histograms(facts: Facts) -> str:
    pictures = "".join(
        f"<div><h3>{escape(histogram.column)}</h3>{histogram_chart(histogram)}</div>"
        for histogram in facts.histograms
        if histogram.limits and sum(1 for n in map(sum, zip(histogram.kept, histogram.dropped, strict=True)) if n) > 1
    )
    key = _key("passed this step", "dropped by it", "limit")
    return f"{key}<p class=soft>Heights are on a log scale. Values that are the same on every page are left out.</p><div class=pictures>{pictures}</div>"


def _languages(facts: Facts) -> str:
    total = sum(facts.languages_seen.values())
    rows = [
        (code, float(count), f"{count:,} ({count / total:.1%}), published {facts.languages[code]:,}")
        for code, count in _top(facts.languages_seen)
    ]
    return bar_chart(rows) if rows else ""


def _hosts(facts: Facts) -> str:
    rows = [
        (host or "(none)", float(n), f"{n:,} docs, {facts.host_tokens[host]:,} tokens") for host, n in _top(facts.hosts)
    ]
    return bar_chart(rows) if rows else ""


def _duplicates(facts: Facts) -> str:
    dedup = facts.manifest.about["dedup"]
    if not dedup:
        return "<p>The recipe removes no duplicates.</p>"
    removed = dedup["removed"]
    sizes = [(f"{size:,}", f"{n:,}") for size, n in sorted(facts.cluster_sizes.items(), reverse=True)[:TOP] if size > 1]
    text = (
        f"<p>{dedup['documents']:,} documents came, {removed['exact']:,} exact and {removed['near']:,} near-duplicates went. "
        f"{dedup['verified_pairs']:,} candidate pairs passed verification by true similarity, {dedup['rejected_pairs']:,} did not.</p>"
    )
    return text + (_table(("cluster size", "clusters"), sizes, numbers=2) if sizes else "")


def _tokens(facts: Facts) -> str:
    rows = [
        (f"{1 << power:,} to {(2 << power) - 1:,}", float(count), f"{count:,}")
        for power, count in sorted(facts.token_lengths.items())
    ]
    parts = [(part, f"{n['documents']:,}", f"{n['tokens']:,}") for part, n in facts.parts.items()]
    ratio = facts.chars / facts.tokens if facts.tokens else 0
    return (
        _table(("part", "documents", "tokens"), parts, numbers=2)
        + f"<p>{ratio:.2f} characters a token, {facts.tokens / max(facts.states['kept'], 1):,.0f} tokens a document.</p>"
        + f"<h3>Documents by tokens</h3>{bar_chart(rows)}"
    )


def _archives(facts: Facts) -> str:
    reading = facts.manifest.about["reading"]
    odd = sorted(reading.items(), key=lambda item: (item[1]["state"] == "complete", item[0]))
    rows = [
        (
            name,
            file["state"],
            ", ".join(f"{kind} {count:,}" for kind, count in file["records"].items()),
            ", ".join(f"{start:,}–{end:,}" for start, end in file["lost"]) or "–",
        )
        for name, file in odd[: 2 * TOP]
    ]
    return _table(("archive", "state", "records", "lost bytes"), rows) + (
        f"<p class=soft>and {len(odd) - 2 * TOP:,} more</p>" if len(odd) > 2 * TOP else ""
    )


def _speed(metrics: dict[str, Any]) -> str:
    pages, seconds = metrics["pages"], metrics["cpu_seconds"]
    rows = [
        (
            step,
            f"{pages.get(step, 0):,}",
            f"{spent:.2f}",
            f"{1000 * spent / pages[step]:.2f}" if pages.get(step) else "",
        )
        for step, spent in seconds.items()
    ]
    machine = metrics["machine"]
    phases = ", ".join(f"{phase} {spent:.1f} s" for phase, spent in metrics["seconds"].items())
    return (
        _table(("step", "pages", "CPU seconds", "CPU ms a page"), rows, numbers=3)
        + f"<p>Phases, wall time of this run: {escape(phases)}.</p>"
        + f"<p class=soft>{machine['cores']} cores, Python {machine['python']}, {escape(machine['system'])}; "
        + f"finished {metrics['finished']}. CPU seconds are those of the run that refined each split.</p>"
    )


def _top(counts: Any) -> list[tuple[str, int]]:
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:TOP]


def _key(kept: str, gone: str, limit: str = "") -> str:
    line = f'<i class="l"></i>{limit}' if limit else ""
    return f'<p class="key soft"><i class="k"></i>{kept}<i class="g"></i>{gone}{line}</p>'


def _table(header: Sequence[str], rows: Iterable[Sequence[str]], numbers: int = 0) -> str:
    """A table whose last `numbers` columns are numbers."""
    first = len(header) - numbers

    def line(cells: Sequence[str], tag: str) -> str:
        kinds = ("" if i < first else " class=n" for i in range(len(cells)))
        return "".join(
            f"<{tag}{kind}>{escape(cell).replace('_', '_<wbr>')}</{tag}>"
            for cell, kind in zip(cells, kinds, strict=True)
        )

    body = "".join(f"<tr>{line(row, 'td')}</tr>" for row in rows)
    return f'<div class="scroll"><table><tr>{line(header, "th")}</tr>{body}</table></div>'
