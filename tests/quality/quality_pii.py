"""Leak rate and precision of PII removal by type: `python -m tests.quality.quality_pii` prints a table.

A value leaks when one of its letters or digits is left in the text, under whatever type the rest went. A
finding is right when it overlaps a labelled value of its type. The labelled sets are Presidio's synthetic
sentences, libphonenumber's example numbers of 131 regions, php-iban's examples, and isemail's addresses; the
texts without labels show how often something is found where hardly anything is (most of that is real:
articles print phone numbers). `--misses` prints what leaked and what was found wrongly in the labelled sets.
"""

from __future__ import annotations

import argparse
import gzip
import json
from collections import Counter
from collections.abc import Iterator
from math import sqrt
from pathlib import Path
from typing import Any

import phonenumbers

from pipeline.pii import find_pii
from pipeline.pii.scan import ENTITIES
from pipeline.steps.pii import RemovePii

DATA = Path(__file__).resolve().parents[2].parent / "shared/data/curation"
TYPES = {entity: name for name, entity in ENTITIES.items()}
Labelled = tuple[str, list[tuple[int, int, str]]]  # a text, and start, end and recipe name of each value


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--misses", action="store_true")
    options = parser.parse_args()
    if not DATA.exists():
        raise SystemExit(f"the labelled sets are not here: {DATA}")
    print("| set | type | values | leaked | leak rate (95 %) | found | precision |")
    print("| --- | --- | ---: | ---: | --- | ---: | ---: |")
    for name, labelled in labelled_sets().items():
        report(name, labelled, options.misses)
    print()
    print("| texts without labels | texts | " + " | ".join(ENTITIES) + " | findings / 1,000 texts |")
    print("| --- | ---: |" + " ---: |" * (len(ENTITIES) + 1))
    for name, texts in plain_sets().items():
        counts = Counter(TYPES[found.entity] for text in texts for found in find(text))
        row = " | ".join(str(counts[kind]) for kind in ENTITIES)
        print(f"| {name} | {len(texts)} | {row} | {1000 * counts.total() / len(texts):.0f} |")


def find(text: str) -> list[Any]:
    step = RemovePii()
    return find_pii(
        text,
        step.entities,
        phone_regions=step.phone_regions,
        public_ips_only=step.public_ips_only,
        hidden_emails=step.hidden_emails,
    )


def report(name: str, labelled: list[Labelled], misses: bool) -> None:
    values, leaked, found_count, right = Counter[str](), Counter[str](), Counter[str](), Counter[str]()
    for text, spans in labelled:
        found = find(text)
        masked = {i for one in found for i in range(one.start, one.end)}
        for start, end, kind in spans:
            values[kind] += 1
            if any(text[i].isalnum() and i not in masked for i in range(start, end)):
                leaked[kind] += 1
                if misses:
                    print(f"LEAK {name} {kind}: {text[max(0, start - 40) : end + 20]!r} {text[start:end]!r}")
        for one in found:
            kind = TYPES[one.entity]
            found_count[kind] += 1
            if any(one.start < end and start < one.end and kind == of for start, end, of in spans):
                right[kind] += 1
            elif misses:
                print(f"WRONG {name} {kind}: {text[max(0, one.start - 40) : one.end + 20]!r}")
    for kind in [*ENTITIES, "private_ip", "invalid_email"]:
        if values[kind] or found_count[kind]:
            low, high = wilson(leaked[kind], values[kind])
            rate = f"{leaked[kind] / values[kind]:.1%} ({low:.1%}–{high:.1%})" if values[kind] else "–"
            precision = f"{right[kind] / found_count[kind]:.1%}" if found_count[kind] else "–"
            print(f"| {name} | {kind} | {values[kind]} | {leaked[kind]} | {rate} | {found_count[kind]} | {precision} |")


def wilson(hits: int, total: int) -> tuple[float, float]:
    """The 95 % score interval of a share (Wilson 1927)."""
    if not total:
        return 0.0, 0.0
    z, p = 1.96, hits / total
    centre, width = p + z * z / (2 * total), z * sqrt(p * (1 - p) / total + z * z / (4 * total * total))
    return max(0.0, (centre - width) / (1 + z * z / total)), (centre + width) / (1 + z * z / total)


def labelled_sets() -> dict[str, list[Labelled]]:
    return {
        "presidio_synthetic": list(synthetic()),
        "phones +E.164": list(phones("I wrote it down: {} or so.", "E164")),
        "phones +international": list(phones("Our team ({}) is here.", "INTERNATIONAL")),
        "phones national, named": list(phones("Please call {} after six.", "NATIONAL")),
        "phones national, bare": list(phones("Mrs Smith, {}, London", "NATIONAL")),
        "ibans": list(ibans("Please pay to {} by Friday.", 0)),
        "ibans in groups": list(ibans("IBAN: {}\nBIC: ABCDEFGH", 4)),
        "emails": list(emails()),
    }


def synthetic() -> Iterator[Labelled]:
    import ipaddress

    for line in lines("pii/presidio_synthetic.jsonl.gz"):
        row = json.loads(line)
        spans = []
        for span in row["spans"]:
            kind = TYPES.get(span["type"], "")
            if kind == "ip" and not ipaddress.ip_address(span["value"]).is_global:
                kind = "private_ip"
            if kind:
                spans.append((span["start"], span["end"], kind))
        yield row["text"], spans


def phones(template: str, form: str) -> Iterator[Labelled]:
    for line in lines("pii/phone_examples.tsv.gz")[1:]:
        region, _, e164, *_ = line.split("\t")
        number = phonenumbers.format_number(
            phonenumbers.parse(e164, region), getattr(phonenumbers.PhoneNumberFormat, form)
        )
        yield placed(template, number, "phone")


def ibans(template: str, group: int) -> Iterator[Labelled]:
    for line in lines("pii/iban_examples.tsv.gz")[1:]:
        iban = line.split("\t")[1]
        written = " ".join(iban[i : i + group] for i in range(0, len(iban), group)) if group else iban
        yield placed(template, written, "iban")


def emails() -> Iterator[Labelled]:
    for line in lines("pii/email_syntax.jsonl.gz"):
        row = json.loads(line)
        valid = row["category"] in ("ISEMAIL_VALID_CATEGORY", "ISEMAIL_DNSWARN", "ISEMAIL_RFC5321")
        if valid and row["diagnosis"] != "ISEMAIL_RFC5321_TLD":
            yield placed("Write to {} today.", row["address"], "email")


def placed(template: str, value: str, kind: str) -> Labelled:
    start = template.index("{}")
    return template.replace("{}", value), [(start, start + len(value), kind)]


def plain_sets() -> dict[str, list[str]]:
    return {
        "near_duplicates/articles": [json.loads(line)["text"] for line in lines("near_duplicates/articles.jsonl.gz")],
        "quality/dclm": [json.loads(line)["text"] for line in lines("quality/dclm_human_judgements.jsonl.gz")],
        "extraction/wcxb_dev": [json.loads(line)["text"] for line in lines("extraction/wcxb_dev.truth.jsonl.gz")],
        "extraction/waddle": [
            "\n".join(json.loads(line)["paragraphs"]) for line in lines("extraction/waddle.truth.jsonl.gz")
        ],
        "lid/udhr": [line.split("\t")[2] for line in lines("lid/udhr_documents.tsv.gz")],
        "lid/lingua": [line.split("\t")[2] for line in lines("lid/lingua_sentences.tsv.gz")],
    }


def lines(name: str) -> list[str]:
    return gzip.decompress((DATA / name).read_bytes()).decode().rstrip("\n").split("\n")


if __name__ == "__main__":
    main()
