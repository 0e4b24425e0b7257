"""IP addresses: Presidio's recogniser, `ipaddress.is_global`, and what stands around them."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator

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
# A version or a section, not an address: "version 6.1.2.2", "v4.15.0.213", "§ 6.1.2.2", "Firefox/3.0.0.11".
_SAYS_NO_IP = re.compile(
    r"(?i)(?:(?<![a-z])(?:v|ver|version(?:en|s|e)?|release|rev|revision|build|firmware|driver|update|upgrade|patch|"
    r"section|sect?|chapter|clause|article|paragraph|rule|table|figure|fig|appendix|step|abschnitt|kapitel|"
    r"раздел|версия|версии|εκδοση|wersja|wersji)[\s.:#№]{0,3}|§\s?|[a-z][\w.+-]*/)(?:(?:no|number|nr|is|to|from)\W{1,2})?$"
)
_SMALL = 32  # four numbers under this are a section or a version far more often than one address in 4,096


def find_ips(text: str, public_only: bool) -> Iterator[Found]:
    """IPv4 and IPv6 addresses (with a network's /length); only those that the internet routes where `public_only`."""
    for match in _V4.finditer(text):
        if _accepts(match[0], public_only) and not _is_version(text, match):
            yield Found(ENTITY, match.start(), match.end(), ADDRESS)
    if "::" in text or text.count(":") > 6:
        for match in _V6.finditer(text):
            if _accepts(match[0], public_only) and (
                match[0].count(":") == 7 or _is_given_out(match[0], text, match.start())
            ):
                yield Found(ENTITY, match.start(), match.end(), ADDRESS)


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
    return max(octets) < _SMALL and not _SAYS_IP.search(before)


def _is_given_out(written: str, text: str, start: int) -> bool:
    """A shortened IPv6 address is believed in the space that IANA gives out, or where a word says so: std::dec is none."""
    address = ipaddress.ip_interface(written).ip
    return (address in _IPV6_UNICAST and any(c.isdigit() for c in written)) or bool(
        _SAYS_IP.search(text[max(0, start - 40) : start])
    )
