"""What stands in the place of a finding: its type, or an invented value that nobody can own."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from hashlib import blake2b

from pipeline.pii.spans import Found

_FIRST = (
    "Alex",
    "Casey",
    "Dana",
    "Eli",
    "Fran",
    "Jamie",
    "Jordan",
    "Kim",
    "Lee",
    "Morgan",
    "Noa",
    "Pat",
    "Quinn",
    "Robin",
    "Sam",
    "Toni",
)
_LAST = (
    "Ashdown", "Birchall", "Corwin", "Dunmore", "Elmsley", "Farrow", "Grendon", "Holloway", "Ingham",
    "Kestrel", "Larkin", "Marlow", "Norwood", "Oakes", "Penrose", "Quill",
)  # fmt: skip
_PLACES = (
    "Ashford Vale",
    "Brackenmoor",
    "Claywater",
    "Dunfield",
    "Eastmere",
    "Fallow Hill",
    "Greyhaven",
    "Harrowby",
)
_BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"


def replace_found(text: str, found: Sequence[Found], replacement: Callable[[str, str], str]) -> str:
    """`text` with `replacement(entity, value)` for each finding; they are in order and do not overlap."""
    parts, end = [], 0
    for one in found:
        parts += [text[end : one.start], replacement(one.entity, text[one.start : one.end])]
        end = one.end
    parts.append(text[end:])
    return "".join(parts)


def placeholder(template: str) -> Callable[[str, str], str]:
    """`template` with `{entity}` filled in: `<{entity}>` gives <EMAIL_ADDRESS>."""
    return lambda entity, value: template.format(entity=entity)


def surrogate(seed: int) -> Callable[[str, str], str]:
    """An invented value of the same kind, by a hash of seed and value alone: the same on every page.

    None can belong to anyone: hosts of RFC 2606, addresses of RFC 5737 and 3849, 555-01xx numbers of the
    North American plan, cards and accounts whose check digits are wrong, social security numbers of the 900
    area.
    """

    def invent(entity: str, value: str) -> str:
        plain = (
            re.sub(r"[\s\-.()/\u00ad\u200b-\u200d]+", "", value).casefold()
            if entity not in _WITH_MARKS
            else value.casefold()
        )
        digest = blake2b(f"{seed}\0{entity}\0{plain}".encode("utf-8", "surrogatepass"), digest_size=32).digest()
        draw = _Draw(int.from_bytes(digest, "big"))
        if entity in _INVENTORS:
            return _INVENTORS[entity](draw, value)
        return "".join(_same_kind(draw, char) for char in value)

    return invent


_WITH_MARKS = frozenset({"EMAIL_ADDRESS", "IP_ADDRESS", "CRYPTO", "PERSON", "LOCATION", "NRP", "ORGANIZATION"})


class _Draw:
    """Numbers out of one hash, in turn."""

    def __init__(self, pool: int) -> None:
        self.pool, self._first = pool, pool

    def below(self, limit: int) -> int:
        if self.pool < limit:  # a long value uses the hash up: go on from the hash of it
            self._first = int.from_bytes(blake2b(self._first.to_bytes(32, "big"), digest_size=32).digest(), "big")
            self.pool = self._first
        self.pool, drawn = divmod(self.pool, limit)
        return drawn

    def digits(self, count: int) -> str:
        return "".join(str(self.below(10)) for _ in range(count))

    def pick(self, choices: Sequence[str]) -> str:
        return choices[self.below(len(choices))]


def _email(draw: _Draw, value: str) -> str:
    return f"user{draw.below(16**8):08x}@example.{draw.pick(('com', 'org', 'net'))}"


def _phone(draw: _Draw, value: str) -> str:
    number = f"{draw.below(8) + 2}{draw.below(9)}{draw.below(10)}-555-01{draw.digits(2)}"
    return f"+1-{number}" if value.lstrip("(").startswith("+") else number


def _card(draw: _Draw, value: str) -> str:
    digits = "4" + draw.digits(14)
    total = sum(sum(divmod(int(d) * (2 - i % 2), 10)) for i, d in enumerate(digits))
    return digits + str((10 - total % 10 + 1 + draw.below(9)) % 10)  # any last digit but the one that passes


def _iban(draw: _Draw, value: str) -> str:
    return f"GB00MILL{draw.digits(14)}"  # check digits run from 02 to 98


def _ssn(draw: _Draw, value: str) -> str:
    # the 900 area is never issued; its groups from 50 up are tax numbers
    return f"9{draw.digits(2)}-{draw.below(49) + 1:02d}-{draw.below(9999) + 1:04d}"


def _ip(draw: _Draw, value: str) -> str:
    if ":" in value:
        return "2001:db8:" + ":".join(f"{draw.below(65535) + 1:x}" for _ in range(6))
    return f"{draw.pick(('192.0.2', '198.51.100', '203.0.113'))}.{draw.below(254) + 1}"


def _wallet(draw: _Draw, value: str) -> str:
    return "1" + "".join(draw.pick(_BASE58) for _ in range(33))  # its checksum is wrong but once in 4 billion


def _person(draw: _Draw, value: str) -> str:
    return f"{draw.pick(_FIRST)} {draw.pick(_LAST)}" if " " in value.strip() else draw.pick(_FIRST)


def _place(draw: _Draw, value: str) -> str:
    return draw.pick(_PLACES)


_INVENTORS: dict[str, Callable[[_Draw, str], str]] = {
    "EMAIL_ADDRESS": _email,
    "PHONE_NUMBER": _phone,
    "CREDIT_CARD": _card,
    "IBAN_CODE": _iban,
    "US_SSN": _ssn,
    "IP_ADDRESS": _ip,
    "CRYPTO": _wallet,
    "PERSON": _person,
    "LOCATION": _place,
}


def _same_kind(draw: _Draw, char: str) -> str:
    """Another digit for a digit, another letter for a letter."""
    if char.isdigit():
        return str(draw.below(10))
    if char.isalpha():
        letter = chr(ord("a") + draw.below(26))
        return letter.upper() if char.isupper() else letter
    return char
