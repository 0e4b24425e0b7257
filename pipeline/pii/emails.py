"""E-mail addresses: cut out around each @, decided by Presidio's recogniser and the public suffix list."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from typing import Any

from pipeline.pii.presidio import recogniser_classes
from pipeline.pii.spans import NAMED, PROVEN, Found

ENTITY = "EMAIL_ADDRESS"

_LOCAL_CHARS, _DOMAIN_CHARS = (
    320,
    255,
)  # RFC 5321 4.5.3.1 allows 64 and 255; over-long local parts are masked too

# Scripts written without spaces: there, what stands before an address is the sentence, not the address.
_UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u2e80-\u9fff\ua960-\ua97f\uac00-\ud7ff\uf900-\ufaff"
_LETTER = rf"[^\W{_UNSPACED}]"
_ATOM = rf"(?:{_LETTER}|[!#$%&'*+^`{{}}~.\-])"  # without / = ? |, which in pages delimit URL parts
_LOCAL = re.compile(rf"{_ATOM}+$")
_QUOTED_LOCAL = re.compile(
    r'(?:^|(?<=[\s<(\[,;:=]))"(?:[^"\\\r\n]|\\.){1,64}"(?:\.(?:[\w!#$%&\'*+^`{}~-]+|"[^"\r\n]*"))*$'
)
_DOMAIN = re.compile(rf"@({_LETTER}+(?:-+{_LETTER}+)*(?:\.{_LETTER}+(?:-+{_LETTER}+)*)+)")
_ANY_LOCAL = re.compile(r"[\w!#$%&'*+^`{}~.\-]+$")
_ANY_DOMAIN = re.compile(r"@(\w+(?:-+\w+)*(?:\.\w+(?:-+\w+)*)+)")
_LITERAL = re.compile(r"@\[(?:IPv6:[0-9A-Fa-f:.]{2,45}|\d{1,3}(?:\.\d{1,3}){2,3})\]")
# Last labels that end a file name, as in logo@2x.png, and no host.
_FILES = re.compile(r"(?i)png|jpe?g|gif|svg|webp|bmp|ico|css|[jt]sx?|json|html?|php|py|rb|pdf|txt|md|xml|mp[34]")
_TLD = re.compile(r"[^\W\d_](?:[\w-]{0,61}[^\W_])?")

# name [at] host [dot] org, name(at)host.org, name at host dot org
_AT = r"\s{0,2}[\[({<]\s{0,2}(?:at|@|arroba|ät)\s{0,2}[\])}>]\s{0,2}"
_DOT = (
    r"(?:\s{0,2}[\[({<]\s{0,2}(?:dot|\.|punkt|punto|ponto|point)\s{0,2}[\])}>]\s{0,2}"
    r"|\s(?:dot|punkt|punto)\s|\.)"
)
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_HIDDEN = re.compile(
    rf"(?i)(?<![\w.])(?P<local>\w[\w+-]{{0,63}}(?:(?:\.|{_DOT})[\w+-]{{1,64}}){{0,4}}?)"
    rf"(?:{_AT}(?P<host>{_LABEL}(?:{_DOT}{_LABEL}){{1,4}})"
    rf"|\sat\s(?P<spoken>{_LABEL}(?:\sdot\s{_LABEL}){{1,4}}))(?!\w)"
)
_SIGN = re.compile(rf"(?i){_AT}|\sat\s(?=[a-z0-9-]{{1,63}}\sdot\s)")
_SPELLED_DOT = re.compile(rf"(?i){_DOT}")


def find_emails(text: str) -> Iterator[Found]:
    """Every address that is written as one."""
    at = text.find("@")
    end = 0
    while at >= 0:
        span = _address(text, at, end)
        if span is not None:
            end = span[1]
            yield Found(ENTITY, span[0], span[1], PROVEN)
        at = text.find("@", at + 1)


def find_hidden_emails(text: str) -> Iterator[Found]:
    """Addresses spelled out against harvesters (`name [at] host dot org`) whose host has a public suffix."""
    end = 0
    for sign in _SIGN.finditer(text):
        match = _HIDDEN.search(text, max(end, sign.start() - _LOCAL_CHARS), sign.end() + _DOMAIN_CHARS)
        if match is None or match.start() > sign.start():
            continue
        host = _SPELLED_DOT.sub(".", match["host"] or match["spoken"])
        if _recogniser().validate_result(f"x@{host}"):
            end = match.end()
            yield Found(ENTITY, match.start(), end, NAMED)


def _address(text: str, at: int, floor: int) -> tuple[int, int] | None:
    """The span of the address around the @ at `at`, beginning at `floor` or later."""
    if at == floor or at + 1 == len(text) or text[at - 1].isspace() or text[at + 1] in " @.\n":
        return None
    before = text[max(floor, at - _LOCAL_CHARS) : at]
    after = text[at : at + _DOMAIN_CHARS + 1]
    quoted = _QUOTED_LOCAL.search(before) if before.endswith('"') else None
    for local_of, domain_of in ((_LOCAL, _DOMAIN), (_ANY_LOCAL, _ANY_DOMAIN)):
        local = quoted or local_of.search(before)
        if local is None:
            continue
        start = at - len(local[0]) + (0 if quoted else len(local[0]) - len(local[0].lstrip(".'`")))
        literal = _LITERAL.match(after)
        if literal:
            return start, at + literal.end()
        domain = domain_of.match(after)
        if domain and start < at:
            labels = _host_labels(domain[1])
            if labels:
                return start, at + 1 + len(".".join(domain[1].split(".")[:labels]))
    return None


def _host_labels(domain: str) -> int:
    """How many labels of `domain`, from the left, are the host: a sentence may go on without a space."""
    labels = domain.split(".")
    recognise = _recogniser()
    for count in range(len(labels), 1, -1):
        address = "x@" + ".".join(labels[:count])
        if any(found.end == len(address) for found in recognise.analyze(address, [ENTITY], None)):
            return count
    last = labels[-1]
    # A suffix that the list lacks (.local, .corp, a new one): the shape decides.
    return len(labels) if _TLD.fullmatch(last) and not _FILES.fullmatch(last) else 0


@cache
def _recogniser() -> Any:
    """Presidio's e-mail recogniser over the public suffix list that tldextract ships, never the network's."""
    import tldextract

    suffixes = tldextract.TLDExtract(cache_dir=None, suffix_list_urls=(), fallback_to_snapshot=True)

    class EmailRecognizer(recogniser_classes()["EmailRecognizer"]):  # type: ignore[misc]  # untyped base
        def validate_result(self, pattern_text: str) -> bool:
            return bool(suffixes(pattern_text.rpartition("@")[2]).suffix and suffixes(pattern_text).domain)

    return EmailRecognizer()
