"""E-mail and IPv4 exactly as datatrove's PIIFormatter does it for FineWeb, with a fresh formatter a page.

datatrove hands out its replacements in turn over a whole worker, so that a page's text depends on the pages
before it; here each page begins again, which is the one difference.
"""

from __future__ import annotations

import re
from functools import cache
from ipaddress import ip_address
from itertools import cycle
from typing import Any

# datatrove 0.10.1, pipeline/formatters/pii.py
EMAIL_REPLACEMENTS = ("email@example.com", "firstname.lastname@example.org")
IP_REPLACEMENTS = (
    "22.214.171.124",
    "126.96.36.199",
    "188.8.131.52",
    "184.108.40.206",
    "220.127.116.11",
    "18.104.22.168",
)

_ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]"
_OCTET = r"(?:25[0-5]|2[0-4][0-9]|[01]?[0-9][0-9]?)"
_HOST = (
    r"(?:(?:[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?\.)+[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?|"
    rf"\[(?:{_OCTET}\.){{3}}(?:25[0-5]|2[0-4][0-9]|[01]?[0-9][0-9]?|[A-Za-z0-9-]*[A-Za-z0-9]:)])"
)
_EMAIL = re.compile(rf"\b{_ATOM}+(?:\.{_ATOM}+)*@{_HOST}")
_AT_HOST = re.compile(rf"@{_HOST}")
_LOCAL_START = re.compile(rf"\b{_ATOM}")
_NOT_LOCAL = re.compile(r"[^A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]|\.\.")
_IP = re.compile(rf"(?:{_OCTET}\.){{3}}{_OCTET}")


def mask_as_datatrove(text: str, *, emails: bool = True, ips: bool = True) -> tuple[str, int, int]:
    """The text as a fresh `PIIFormatter` leaves it, and how many addresses and IPs were replaced."""
    email_count = ip_count = 0
    if emails and "@" in text:
        text, email_count = _mask_emails(text)
    if ips and _digits_and_dots().search(text):
        text, ip_count = _mask_ips(text)
    return text, email_count, ip_count


def _mask_emails(text: str) -> tuple[str, int]:
    """datatrove's `sub`, tried only where an @ has a host after it and a local part before it."""
    replacements = cycle(EMAIL_REPLACEMENTS)
    parts: list[str] = []
    end, count = 0, 0
    at = text.find("@")
    while at >= 0:
        if at > end and text[at - 1] != "." and _AT_HOST.match(text, at):
            local = _LOCAL_START.search(text, _run_start(text, end, at), at)
            match = _EMAIL.match(text, local.start()) if local else None
            if match:
                parts += [text[end : match.start()], next(replacements)]
                end, count = match.end(), count + 1
        at = text.find("@", max(at + 1, end))
    parts.append(text[end:])
    return "".join(parts), count


def _run_start(text: str, floor: int, at: int) -> int:
    """The first place, `floor` or later, from which only what a local part may hold comes before the @."""
    begin, step = at, 64
    while begin > floor:
        low = max(floor, begin - step)
        outside = list(_NOT_LOCAL.finditer(text, low, min(begin + 1, at)))
        if outside:
            return outside[-1].end()
        begin, step = low, step * 2
    return begin


def _mask_ips(text: str) -> tuple[str, int]:
    replacements = cycle(IP_REPLACEMENTS)
    count = 0

    def replace(match: re.Match[str]) -> str:
        nonlocal count
        try:
            public = ip_address(match[0]).is_global
        except ValueError:  # a leading zero
            public = False
        if not public:
            return match[0]
        count += 1
        return next(replacements)

    return _IP.sub(replace, text), count


@cache
def _digits_and_dots() -> Any:
    import re2

    return re2.compile(r"[0-9]\.[0-9]{1,3}\.[0-9]{1,3}\.[0-9]")
