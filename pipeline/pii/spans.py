"""What was found where, and which of two overlapping findings stands."""

from __future__ import annotations

from bisect import bisect
from collections.abc import Iterable
from typing import NamedTuple

# How certain a finding is, when two overlap. A checksum or a syntax that nothing else has comes first; an IP
# address before a phone number (libphonenumber reads parts of addresses as numbers); a number that a word
# names before one that only looks right.
PROVEN = 1.0  # e-mail with a public suffix, IBAN, wallet
ADDRESS = 0.95  # IP address, card with issuer and Luhn digit
NAMED = 0.85  # a word beside it says what it is; an international number with its +
SHAPED = 0.6  # only the shape and the metadata say so


class Found(NamedTuple):
    """One finding: Presidio's entity, start and end in characters of the text, and a certainty of 0 to 1."""

    entity: str
    start: int
    end: int
    certainty: float


def settle(found: Iterable[Found]) -> list[Found]:
    """Findings without overlap, in order: the most certain stands, of equals the longest, then the first."""
    standing: list[Found] = []  # in order, so that only the two neighbours can overlap
    for one in sorted(found, key=lambda f: (-f.certainty, f.start - f.end, f.start, f.entity)):
        place = bisect(standing, one.start, key=lambda f: f.start)
        if (place == 0 or standing[place - 1].end <= one.start) and (
            place == len(standing) or one.end <= standing[place].start
        ):
            standing.insert(place, one)
    return standing
