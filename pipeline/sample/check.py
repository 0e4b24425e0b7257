"""Holds the result of a run against the key of the sample crawl."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa

from pipeline.errors import GristmillError

Entry = Mapping[str, Any]
KEY = Path(__file__).parent / "key.jsonl"
PRESETS = ("default", "multilingual")  # those for which the key says what becomes of every record


def load_key(preset: str = "default", path: Path = KEY) -> list[Entry]:
    """The key as it holds under a preset: one entry a stored record, in the order of files and offsets.

    An entry names its record (`file`, `offset`) and says what must become of it: `state` (any of these), `drop`
    (step → rules that may end it; no rules accept any, no steps accept any), and for kept pages `language`, `with`
    and `without` (snippets of the text), `gone` ("type value" of planted personal data) and `cluster` (exactly one
    of its members is kept, and it is the survivor of the others). `why` gives the reason in words.
    Raises GristmillError for a recipe that the key says nothing about.
    """
    if preset not in PRESETS:
        raise GristmillError(
            f"the key of the sample crawl does not say what {preset} makes of it",
            str(path),
            f"Run one of these presets on it: {', '.join(PRESETS)}.",
        )
    entries = [orjson.loads(line) for line in path.read_bytes().splitlines()]
    return [{**entry, **entry.pop("under", {}).get(preset, {})} for entry in entries]


def check_against_key(ledger: pa.Table, documents: pa.Table, key: Sequence[Entry]) -> list[str]:
    """Every difference between a run over the sample crawl and `key`, in words; empty where there is none.

    `ledger` has the columns of LEDGER_SCHEMA, `documents` those of DOCUMENT_SCHEMA (`id` is the record_id).
    """
    rows = {_place(row["file"], row["offset"]): row for row in _rows(ledger, _LEDGER_COLUMNS)}
    texts = {row["id"]: row["text"] for row in _rows(documents, ("id", "text"))}
    found = []
    for entry in key:
        row = rows.pop(_place(entry["file"], entry["offset"]), None)
        if row is None:
            found.append(f"{_name(entry)}: has no row in the ledger ({entry['why']})")
            continue
        found += [f"{_name(entry)}: {what} ({entry['why']})" for what in _check_entry(entry, row, texts)]
    found += [f"{file}@{offset}: is in the ledger, but not in the key" for file, offset in rows]
    return found + _check_clusters(ledger, key)


_LEDGER_COLUMNS = ("record_id", "file", "offset", "state", "step", "rule", "detail", "language")


def _check_entry(entry: Entry, row: Entry, texts: Mapping[str, str]) -> list[str]:
    state = row["state"]
    if state not in entry["state"]:
        return [f"is {_fate(row)}, must be {' or '.join(entry['state'])}"]
    if state != "kept":
        rules = entry["drop"].get(row["step"])
        if entry["drop"] and (rules is None or (rules and row["rule"] not in rules)):
            return [f"is {_fate(row)}, must be so by {_expected(entry['drop'])}"]
        return []
    found = []
    if entry.get("language", row["language"]) != row["language"]:
        found.append(f"is said to be {row['language']!r}, is {entry['language']!r}")
    text = texts.get(row["record_id"])
    if text is None:
        return [*found, "is kept, but is not among the documents"]
    found += [f"lacks {snippet!r}" for snippet in entry.get("with", ()) if snippet not in text]
    found += [f"has {snippet!r}" for snippet in entry.get("without", ()) if snippet in text]
    for planted in entry.get("gone", ()):
        kind, _, value = planted.partition(" ")
        if value in text:
            found.append(f"leaks {kind} {value!r}")
    return found


def _check_clusters(ledger: pa.Table, key: Sequence[Entry]) -> list[str]:
    """Of each set of duplicates exactly one is kept, and the others name it as their survivor."""
    rows = {_place(row["file"], row["offset"]): row for row in _rows(ledger, _LEDGER_COLUMNS)}
    clusters: dict[str, list[Entry]] = defaultdict(list)
    for entry in key:
        row = rows.get(_place(entry["file"], entry["offset"]))
        if row is not None and "cluster" in entry:
            clusters[entry["cluster"]].append(row)
    found = []
    for name, members in clusters.items():
        kept = [row["record_id"] for row in members if row["state"] == "kept"]
        if len(kept) != 1:
            found.append(f"cluster {name}: {len(kept)} of {len(members)} duplicates are kept, must be 1")
            continue
        wrong = sum(1 for row in members if row["state"] == "dropped" and row["detail"] != kept[0])
        if wrong:
            found.append(f"cluster {name}: {wrong} duplicates do not name the survivor {kept[0]}")
    return found


def _rows(table: pa.Table, columns: Sequence[str]) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = table.select(list(columns)).to_pylist()
    return rows


def _place(file: str, offset: int) -> tuple[str, int]:
    """A record by its archive's base name, so that the key holds wherever the crawl lies."""
    return file.rsplit("/", 1)[-1], offset


def _name(entry: Entry) -> str:
    return str(entry.get("url") or f"{entry['file']}@{entry['offset']} ({entry['type']})")


def _fate(row: Entry) -> str:
    return str(row["state"]) if row["state"] == "kept" else f"{row['state']} by {row['step']}/{row['rule']}"


def _expected(drop: Mapping[str, Sequence[str]]) -> str:
    return " or ".join(f"{step}/{'|'.join(rules)}" if rules else step for step, rules in drop.items())
