"""IP addresses: Presidio's recogniser, `ipaddress.is_global`, and what stands around them."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from functools import cache
from typing import Any

from pipeline.pii.presidio import recogniser
from pipeline.pii.spans import ADDRESS, Found

ENTITY = "IP_ADDRESS"

_V4 = re.compile(r"(?<![\w.])(?:\d{1,3}\.){3}\d{1,3}(?:/\d{1,2})?(?![\w]|\.\d|-\d)", re.ASCII)
_V6 = re.compile(
    r"(?<![\w:.])[0-9A-Fa-f]{0,4}(?::[0-9A-Fa-f]{0,4}){2,7}(?:(?<=:)\d{1,3}(?:\.\d{1,3}){3})?(?:%\w{1,16})?(?:/\d{1,3})?(?![\w:]|\.\d)"
)
_IPV6_UNICAST = ipaddress.ip_network("2000::/3")  # all that IANA has given out

_SAYS_IP = re.compile(
    r"(?i)(?<![a-z])(?:ip(?:v[46])?|address(?:es)?|adresse|host(?:name)?|server|dns|subnet|gateway|ping|proxy)(?![a-z])"
)
# A version or a section, not an address: "version 6.1.2.2", "sections 6.1 and 6.1.2.2", "Firefox/3.0.0.11".
_SAYS_NO_IP = re.compile(
    r"(?i)(?:(?<![a-z])(?:v|ver|version(?:en|s|e)?|release|rev|revision|build|firmware|driver|update|"
    r"upgrade|patch|sections?|sect?|§+|chapters?|clauses?|articles?|paragraphs?|rules?|tables?|fig|"
    r"figures?|appendix|step|abschnitt|kapitel|раздел|версия|версии|wersja|wersji)[\s.:#№]{0,3}|[a-z][\w.+-]*/)"
    r"(?:(?:no|number|nr|is|to|from)\W{1,2})?(?:[\d.]+(?:,|\s(?:and|or|to|und|et|y|–|-))\s)*$"
)
# Four numbers under this are one address in 4,096, and most sections and versions: at the head of a line,
# after a name or after "in" they are taken for one.
_SMALL = 32
_MAY_BE_SECTION = re.compile(r"(?:(?:^|\n)[\W_]*|\b(?:in|see|per|of|under|and|or|by) |\b[A-Z][\w+-]* |\()$")


def find_ips(text: str, public_only: bool) -> Iterator[Found]:
    """IPv4 and IPv6 addresses, with a network's /length; only what the internet routes if `public_only`."""
    for match in _V4.finditer(text):
        if _accepts(match[0], public_only) and not _is_version(text, match):
            yield Found(ENTITY, match.start(), match.end(), ADDRESS)
    for place in _v6_candidates().finditer(text):
        found = _V6.match(text, place.start())
        if found and _accepts(found[0], public_only) and _is_v6(found[0], text, found.start()):
            yield Found(ENTITY, found.start(), found.end(), ADDRESS)


@cache
def _v6_candidates() -> Any:
    import re2

    return re2.compile(r"[0-9A-Fa-f]{0,4}:[0-9A-Fa-f]{0,4}:[0-9A-Fa-f:.]*(?:%[0-9A-Za-z]{1,16})?")


def _accepts(written: str, public_only: bool) -> bool:
    found = recogniser("IpRecognizer").analyze(written, [ENTITY], None)
    if not any(one.score >= 0.5 and one.end - one.start == len(written) for one in found):
        return False
    address = ipaddress.ip_interface(written).ip
    return address.is_global or not public_only


def _is_version(text: str, match: re.Match[str]) -> bool:
    before = text[max(0, match.start() - 40) : match.start()]
    if _SAYS_NO_IP.search(before):
        return True
    octets = [int(part) for part in match[0].partition("/")[0].split(".")]
    return max(octets) < _SMALL and bool(_MAY_BE_SECTION.search(before)) and not _SAYS_IP.search(before)


def _is_v6(written: str, text: str, start: int) -> bool:
    """Eight groups are believed; a shortened one in the space that IANA gives out, or where a word says so.

    `std::dec` and `10::30` are none.
    """
    if written.count(":") == 7:
        return True
    address = ipaddress.ip_interface(written).ip
    given_out = address in _IPV6_UNICAST and any(char.isdigit() for char in written)
    return given_out or bool(_SAYS_IP.search(text[max(0, start - 40) : start]))
