"""Tags, comments, raw text and character references as the WHATWG tokenizer reads them (13.2.5), one regex each.

The oracle of the kernel in C (`pipeline/speed/native/page_tokens.h`), and what runs where there is none.
"""

from __future__ import annotations

import re
from functools import cache
from html.entities import html5
from typing import NamedTuple

_SPACE = "\t\n\f\r "
TAG_NAME = re.compile(rf"</?([a-zA-Z][^{_SPACE}/>]*)")
_BETWEEN = re.compile(rf"[{_SPACE}/]*")
_ATTRIBUTE = re.compile(rf"=?[^{_SPACE}/>=]*")
_EQUALS = re.compile(rf"[{_SPACE}]*=[{_SPACE}]*")
_UNQUOTED = re.compile(rf"[^{_SPACE}>]*")
_COMMENT = re.compile(r"<!--(?:-?>|.*?--!?>|.*)", re.S)
_BOGUS = re.compile(r"<[!?/][^>]*>?")
_CDATA = re.compile(r"<!\[CDATA\[.*?(?:\]\]>|\Z)", re.S)
_SCRIPT = re.compile(rf"<!--|-->|</?script(?=[{_SPACE}/>])", re.I | re.A)
_REFERENCE = re.compile("&(?:#([0-9]+);?|#[xX]([0-9a-fA-F]+);?|([a-zA-Z][a-zA-Z0-9]{0,31};?))")
# 13.2.5.80: what the references 128 to 159 stand for
_WINDOWS = dict(zip(range(128, 160), bytes(range(128, 160)).decode("cp1252", "replace"), strict=True))
_LONGEST_BARE = max(len(name) for name in html5 if not name.endswith(";"))


class Tag(NamedTuple):
    """A tag, lower case, and where it ends in the source."""

    name: str
    attributes: dict[str, str]  # raw: character references stand as written
    written: int  # attributes, those written twice counted twice
    closed: bool  # <name/>
    end: int


def read_tag(html: str, at: int) -> Tag | None:
    """The tag whose name TAG_NAME matched at `at`; None where the source ends within it."""
    name = TAG_NAME.match(html, at)
    assert name is not None
    attributes: dict[str, str] = {}
    count, at = 0, name.end()
    while True:
        before = at
        at = _end(_BETWEEN, html, at)
        if at >= len(html):
            return None
        if html[at] == ">":
            return Tag(lower(name[1]), attributes, count, at > before and html[at - 1] == "/", at + 1)
        start, at = at, _end(_ATTRIBUTE, html, at)
        key, value = lower(html[start:at]), ""
        equals = _EQUALS.match(html, at)
        if equals is not None:
            at = start = equals.end()
            quote = html[at : at + 1]
            if quote and quote in "\"'":
                close = html.find(quote, at + 1)
                if close < 0:
                    return None
                value, at = html[at + 1 : close], close + 1
            else:
                at = _end(_UNQUOTED, html, at)
                value = html[start:at]
        attributes.setdefault(key, value)
        count += 1


_ASCII_LOWER = {ord(upper): upper.lower() for upper in "ABCDEFGHIJKLMNOPQRSTUVWXYZ"}


def lower(name: str) -> str:
    """ASCII lower case, as names are compared."""
    return name.lower() if name.isascii() else name.translate(_ASCII_LOWER)


def after_markup(html: str, at: int, foreign: bool) -> int:
    """Where the comment, doctype, CDATA section or bogus comment that begins at `at` ends."""
    if html.startswith("<!--", at):
        return _end(_COMMENT, html, at)
    if foreign and html.startswith("<![CDATA[", at):
        return _end(_CDATA, html, at)
    return _end(_BOGUS, html, at)


def raw_end(html: str, at: int, tag: str) -> int:
    """Where the end tag of a raw text element begins whose text begins at `at`; the source's end where there is none."""
    if tag == "script":
        return _script_end(html, at)
    found = _raw_close(tag).search(html, at)
    return found.start() if found else len(html)


def _script_end(html: str, at: int) -> int:
    """13.2.5.17 to 31: within `<!--` a script may hold another script whole."""
    state = "data"
    while found := _SCRIPT.search(html, at):
        mark, at = found[0].lower(), found.end()
        if mark == "<!--":
            state, at = "escaped" if state == "data" else state, found.start() + 2  # <!--> begins and ends it
        elif mark == "-->":
            state = "data"
        elif mark == "<script":
            state = "double" if state == "escaped" else state
        elif state == "double":
            state = "escaped"
        else:
            return found.start()
    return len(html)


@cache
def _raw_close(tag: str) -> re.Pattern[str]:
    return re.compile(rf"</{tag}(?=[{_SPACE}/>])", re.I | re.A)


def decoded(text: str) -> str:
    """Text with its character references resolved (13.2.5.72 to 80)."""
    return _REFERENCE.sub(_character, text) if "&" in text else text


def _character(match: re.Match[str]) -> str:
    decimal, hexadecimal, name = match.groups()
    if name is None:
        digits = (decimal or hexadecimal).lstrip("0") or "0"
        code = int(digits, 10 if decimal else 16) if len(digits) <= 7 else 0x110000
        if code in _WINDOWS:
            return _WINDOWS[code] if _WINDOWS[code] != "\ufffd" else chr(code)
        return chr(code) if 0 < code < 0x110000 and not 0xD800 <= code < 0xE000 else "\ufffd"
    if name in html5:
        return html5[name]
    for length in range(min(len(name), _LONGEST_BARE), 1, -1):
        if name[:length] in html5:
            return html5[name[:length]] + name[length:]
    return match[0]


def _end(pattern: re.Pattern[str], html: str, at: int) -> int:
    found = pattern.match(html, at)
    assert found is not None  # each of these patterns matches something
    return found.end()
