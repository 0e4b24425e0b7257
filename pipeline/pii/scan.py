"""One pass over a text that says which kinds of personal data it may hold, then the finders of just those."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

from pipeline.pii import emails, identifiers, ips, phones, presidio
from pipeline.pii.fold import DASHES, INVISIBLE, SPACES, fold, odd_digits
from pipeline.pii.spans import Found, settle

# Short names of the recipe → Presidio's entities. Any other of Presidio's is named in lower case: uk_nhs.
ENTITIES = {
    "email": emails.ENTITY,
    "phone": phones.ENTITY,
    "credit_card": identifiers.CARD,
    "iban": identifiers.IBAN,
    "us_ssn": identifiers.SSN,
    "ip": ips.ENTITY,
    "crypto": identifiers.WALLET,
}

# What must be somewhere in a text before it is worth looking closer: a necessary condition of each finder.
_SPACED = r"(?:[ .\-/()]{0,4}[0-9])"
_NEEDED = {
    "email": r"@",
    "hidden_email": r"(?i)[\[({<]\s{0,2}(?:at|@|arroba|ät)\s{0,2}[\])}>]|\sat\s[a-z0-9-]{1,63}\sdot\s",
    "phone": rf"[0-9]{_SPACED}{{4}}",
    "credit_card": r"[0-9](?:[ -]?[0-9]){11}",
    "iban": r"[A-Z]{2}[ -]?[0-9]{2}(?:[ -]?[A-Z0-9]){11}|"
    r"[a-z]{2}[0-9]{2}(?:[ -]?[a-z0-9]{4}){2}[ -]?[a-z0-9]{3}",
    "us_ssn": r"[0-9]{3}[- .]?[0-9]{2}[- .]?[0-9]{4}",
    "ip": r"[0-9]\.[0-9]{1,3}\.[0-9]{1,3}\.[0-9]|:[0-9A-Fa-f]{0,4}:",
    "crypto": r"[1-9A-HJ-NP-Za-km-z]{26}|0x[0-9a-fA-F]{40}|(?i:bc|ltc|tb)1[02-9A-Za-z]{25}",
}


def find_pii(
    text: str,
    entities: tuple[str, ...],
    *,
    phone_regions: tuple[str, ...] = ("all",),
    public_ips_only: bool = True,
    hidden_emails: bool = True,
) -> list[Found]:
    """Findings in order, without overlap; `entities` by the recipe's names (`email`, `us_ssn`, `uk_nhs`)."""
    reading, offsets = text, None
    needed = _needed(reading)
    if "odd" in needed:
        reading, offsets = fold(text)
        needed = _needed(reading)
    found: list[Found] = []
    for entity in entities:
        if entity in needed:
            found += _finder(entity, reading, phone_regions, public_ips_only)
    if hidden_emails and "email" in entities and "hidden_email" in needed:
        found += emails.find_hidden_emails(reading)
    found += _find_by_presidio(reading, entities)
    if offsets is not None:
        found = [f._replace(start=offsets[f.start], end=offsets[f.end - 1] + 1) for f in found]
    return settle(found)


def _finder(entity: str, text: str, phone_regions: tuple[str, ...], public_ips_only: bool) -> Iterator[Found]:
    match entity:
        case "email":
            return emails.find_emails(text)
        case "phone":
            return phones.find_phones(text, phone_regions)
        case "credit_card":
            return identifiers.find_cards(text)
        case "iban":
            return identifiers.find_ibans(text)
        case "us_ssn":
            return identifiers.find_ssns(text)
        case "ip":
            return ips.find_ips(text, public_ips_only)
        case _:
            return identifiers.find_wallets(text)


def _find_by_presidio(text: str, entities: tuple[str, ...]) -> Iterator[Found]:
    """What is found by Presidio's own rules alone; below all that has rules here."""
    others = [name.upper() for name in entities if name not in ENTITIES]
    names = tuple(name for name in others if name in presidio.NER_ENTITIES)
    for entity in others:
        if entity not in names:
            for start, end, score in presidio.find_others(text, entity):
                yield Found(entity, start, end, score / 2)
    if names:
        for entity, start, end, score in presidio.find_names(text, names):
            yield Found(entity, start, end, score / 3)


def _needed(text: str) -> set[str]:
    patterns, names = _patterns()
    return {names[i] for i in patterns.Match(text) or ()}


@cache
def _patterns() -> tuple[Any, tuple[str, ...]]:
    import re2

    patterns = re2.Set.SearchSet()
    for pattern in _NEEDED.values():
        patterns.Add(pattern)
    odd, beside = f"[{INVISIBLE}{odd_digits()}＠﹫．＋Ａ-Ｚａ-ｚ]", f"[{SPACES}{DASHES}（）／。]"
    patterns.Add(f"{odd}|[0-9@]{beside}|{beside}[0-9@]")
    patterns.Compile()
    return patterns, (*_NEEDED, "odd")
