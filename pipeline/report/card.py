"""The data card: README.md of the dataset, with Hugging Face's front matter. As reproducible as the shards."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import yaml

from pipeline.record import DOCUMENT_SCHEMA
from pipeline.report.facts import TOP, Facts, Stage
from pipeline.store import Entry, Folder

_COLUMNS = {
    "text": "the document",
    "id": "record_id: 32 hex digits over archive name, offset and payload digest",
    "dump": "the crawl",
    "url": "where the page was",
    "date": "when it was crawled",
    "file_path": "the archive it lay in",
    "language": "code that the language step gave",
    "language_score": "its probability",
    "token_count": "tokens under `tokenizer/`",
    "warc_offset": "byte at which its record begins, as stored",
    "warc_length": "bytes of its record, as stored",
    "digest": "payload digest as in the archive",
    "extractor": "engine and version that extracted the text",
    "cluster_id": "near-duplicate cluster, by its smallest id; null where alone",
    "cluster_size": "documents in that cluster before deduplication",
}
_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (10**6, "100K<n<1M"), (10**7, "1M<n<10M"))


def write_card(folder: Folder, facts: Facts) -> Entry:
    """Write README.md into the dataset."""
    return folder.write_bytes("README.md", card(facts).encode())


def card(facts: Facts) -> str:
    """The card as Markdown: what it is, how to read it, how it came to be, and what is wrong with it."""
    parts = [
        f"---\n{yaml.safe_dump(_front_matter(facts), sort_keys=False, allow_unicode=True)}---\n",
        f"# {_title(facts)}\n\n{_summary(facts)}\n",
        f"## Reading it\n\n{_READING}",
        f"## Contents\n\n{_contents(facts)}",
        f"## How it came to be\n\n{_origin(facts)}",
        f"## What was dropped\n\n{_funnel(facts.funnel)}\n\nEvery record of the input stands in `ledger/` with its one state, the "
        "rule that dropped it, the value measured and the limit.\n",
        f"## Personal data\n\n{_personal(facts)}\n",
        f"## Duplicates\n\n{_duplicates(facts)}\n",
        f"## Damage\n\n{_damage(facts)}\n",
        f"## Limits\n\n{_LIMITS}",
    ]
    return "\n".join(parts)


def _title(facts: Facts) -> str:
    dumps = sorted({file["dump"] for file in facts.manifest.about["inputs"] if file["dump"]})
    return f"{', '.join(dumps) or 'Web text'}, curated by {facts.recipe.name}"


def _front_matter(facts: Facts) -> dict[str, Any]:
    kept = facts.states["kept"]
    parts = [part for part in ("train", "validation", "other") if part in facts.parts]
    files = [{"split": part, "path": f"text/{part}-*.parquet"} for part in parts]
    tokens = [{"split": part, "path": f"tokens/{part}-*.parquet"} for part in parts]
    return {
        "pretty_name": _title(facts),
        "language": sorted(code for code in facts.languages if code != "?"),
        "task_categories": ["text-generation"],
        "size_categories": [next((name for limit, name in _SIZES if kept < limit), "n>10M")],
        "tags": ["gristmill", "common-crawl", "pretraining"],
        "configs": [
            {"config_name": "text", "default": True, "data_files": files},
            {"config_name": "tokens", "data_files": tokens},
        ],
    }


def _summary(facts: Facts) -> str:
    return (
        f"{facts.states['kept']:,} documents and {facts.tokens:,} tokens ({facts.chars:,} characters), made from {facts.records:,} "
        f"records of {len(facts.manifest.about['inputs']):,} archives: {facts.states['dropped']:,} records were dropped by a rule, "
        f"{facts.states['quarantined']:,} set aside as unreadable."
    )


_READING = """```python
from datasets import load_dataset
documents = load_dataset("parquet", data_files="text/train-*.parquet", split="train")
```

```sql
-- DuckDB
select url, token_count from 'text/*.parquet' order by token_count desc limit 10;
```

`tokens/NAME.parquet` holds the tokens of the documents of `text/NAME.parquet`, row by row: ids under `tokenizer/`, without
begin or end token. Train and validation part share no web site.
"""


def _contents(facts: Facts) -> str:
    rows = [(part, f"{n['shards']:,}", f"{n['documents']:,}", f"{n['tokens']:,}") for part, n in facts.parts.items()]
    tokenizer = facts.manifest.about["tokenizer"]
    made = "trained on a sample of the survivors" if tokenizer["trained"] else "an existing one"
    note = f" {tokenizer['note']}" if tokenizer["note"] else ""
    return (
        f"{_table(('part', 'shards', 'documents', 'tokens'), rows)}\n\n"
        f"Tokenizer: byte-level BPE of {tokenizer['vocab_size']:,} tokens, {made}, SHA-256 `{tokenizer['sha256']}`.{note}\n\n"
        f"Columns of the text shards:\n\n"
        f"{_table(('column', 'what it is'), [(f'`{f.name}`', _COLUMNS[f.name]) for f in DOCUMENT_SCHEMA])}\n\n"
        f"Languages:\n\n{_ranked('language', facts.languages, facts.language_tokens)}\n\n"
        f"Most frequent hosts:\n\n{_ranked('host', facts.hosts, facts.host_tokens)}\n"
    )


def _origin(facts: Facts) -> str:
    about = facts.manifest.about
    steps = "\n".join(
        f"{i}. `{s.label}`{f' ({s.version})' if s.version else ''}" for i, s in enumerate(facts.recipe.steps, 1)
    )
    files = [(f"`{f['name']}`", f"{f['bytes']:,}", f"`{f['content']}`") for f in about["inputs"][:TOP]]
    more = f"\n\nand {len(about['inputs']) - TOP:,} more, in `manifest.json`." if len(about["inputs"]) > TOP else ""
    return (
        f"Recipe `{facts.recipe.name}` (`recipe.yaml`, key `{about['recipe']['key']}`), Gristmill {about['gristmill']}. "
        f"{facts.recipe.about}\n\n{steps}\n\nInputs:\n\n{_table(('archive', 'bytes', 'content'), files)}{more}\n"
    )


def _funnel(stages: Sequence[Stage]) -> str:
    rows = [
        (
            f"`{stage.label}`",
            f"{stage.came:,}",
            f"{stage.dropped:,}",
            f"{stage.quarantined:,}",
            ", ".join(f"{rule} {count:,}" for rule, count in stage.rules.items()),
        )
        for stage in stages
    ]
    return _table(("step", "came", "dropped", "set aside", "by rule"), rows)


def _personal(facts: Facts) -> str:
    if not facts.pii:
        return "The recipe removes no personal data."
    rows = [(name, f"{count:,}") for name, count in sorted(facts.pii.items())]
    return (
        f"Replaced in the published documents, by type (no value is stored anywhere):\n\n{_table(('type', 'replaced'), rows)}\n\n"
        "Detection is not perfect: names and postal addresses are left in unless the recipe says otherwise."
    )


def _duplicates(facts: Facts) -> str:
    dedup = facts.manifest.about["dedup"]
    if not dedup:
        return "The recipe removes no duplicates."
    removed = dedup["removed"]
    alarms = "\n".join(f"- **alarm**: {alarm}" for alarm in dedup["alarms"]) or "No alarm was raised."
    return (
        f"{removed['exact']:,} exact and {removed['near']:,} near-duplicates were removed of {dedup['documents']:,} documents; "
        f"{dedup['verified_pairs']:,} candidate pairs were verified by their true similarity, {dedup['rejected_pairs']:,} "
        f"rejected. Each removal names its survivor in the ledger.\n\n{alarms}"
    )


def _damage(facts: Facts) -> str:
    reading = facts.manifest.about["reading"]
    rows = [
        (f"`{name}`", file["state"], ", ".join(f"{a:,}–{b:,}" for a, b in file["lost"]) or "–", file["reason"])
        for name, file in reading.items()
        if file["state"] != "complete" or file["lost"]
    ]
    if not rows:
        return "Every archive was read to its last byte."
    return f"{_table(('archive', 'state', 'lost bytes', 'reason'), rows)}\n\nAll other archives were read to their last byte."


_LIMITS = """The text is what people and machines wrote on the web: it holds mistakes, prejudice and falsehoods, and copyright stays with
the authors. Language and quality are judged by rules and small models; see the ledger for what each of them dropped.
"""


def _ranked(name: str, documents: Any, tokens: Any) -> str:
    top = sorted(documents, key=lambda key: (-documents[key], key))[:TOP]
    return _table(
        (name, "documents", "tokens"), [(key or "–", f"{documents[key]:,}", f"{tokens[key]:,}") for key in top]
    )


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    cells = [[str(cell).replace("|", "\\|").replace("\n", " ") for cell in row] for row in rows]
    return "\n".join(f"| {' | '.join(row)} |" for row in [list(header), ["---"] * len(header), *cells])
