"""Heads: the header of a WARC record and the URL line of an ARC record, and where one may begin."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipeline.sources.text import Text

LONGEST = 16 << 10  # bytes that an anchor matches at most: an ARC line holds the URL
_WINDOW = 1 << 20
_MAX_HEAD = 1 << 20  # bytes of a WARC header; Common Crawl's have about 600

# Line ends are LF, CRLF, and CRCRLF where a file went through the wrong hands.
# What begins a record wherever it stands. A page that quotes the version line alone is no record, so a header
# field must follow.
_WARC = rb"(?i:WARC)/\d{1,2}\.\d{1,2}[ \t]*\r*\n(?=[A-Za-z][A-Za-z0-9-]{0,63}[ \t]*:)"
# URL, IP address, date, content type, (v2: result, checksum, location, offset, file name,) length.
# archive.org/web/researcher/ArcFileFormat.php. URLs with blanks occur, and so do lengths that are none.
_ARC = (
    rb"(?P<url>[A-Za-z][A-Za-z0-9+.-]{0,31}:[^\r\n\0]{0,8191}?)"
    rb" (?P<ip>\d{1,3}(?:\.\d{1,3}){3}|[0-9A-Fa-f:]{2,45}|-|0)"
    rb" (?P<date>\d{8,18})"
    rb" (?P<mime>[^ \r\n\0]{0,255})"
    rb"(?: [^ \r\n\0]{0,4095}){0,5}?"
    rb" (?P<length>-?\w{1,20})\r*\n"
)
ANCHOR = re.compile(rb"(?:%b)|(?:(?:^|(?<=\n))%b)" % (_WARC, _ARC))
_ARC_LINE = re.compile(_ARC)
# What an ARC line begins with behind a block that has no line end; "ttp://" is a length that is off by one.
_USUAL_URL = re.compile(rb"(?:https?|ftp|dns|whois|gopher|nntp|news|metadata):", re.I)
_FILEDESC = re.compile(rb"(?P<url>filedesc:[^ \r\n]*)[^\r\n]{0,8191}?(?: (?P<length>\d{1,9}))?\r*\n")
# At the start of a file or member a version line says enough, even one that no standard knows.
_FIRST = re.compile(rb"(?i:WARC)/[^\r\n]{1,32}(?:\r*\n|\Z)|filedesc:[^\r\n]{0,8191}\r*\n|%b" % _ARC)
_BLANK_LINE = re.compile(rb"\n\r*\n")
_NEXT_WARC = re.compile(rb"\n(?=(?i:WARC)/\d{1,2}\.\d{1,2}[ \t]*\r*\n)")
_FOLD = re.compile(r"\r*\n[ \t]+")
_NEWLINES = re.compile(rb"[\r\n]*")


@dataclass(slots=True)
class Head:
    """The header of a record; an ARC line is told in WARC's terms."""

    type: str
    size: int  # in bytes, with the blank line
    length: int | None  # of the block, None where it is missing or no number
    fields: dict[str, str] = field(default_factory=dict)  # by lower-case name; the first of each
    arc: bool = False
    closed: bool = True  # a blank line or another record's header ends it, not the end of the text

    def get(self, name: str) -> str:
        return self.fields.get(name, "")


def first_head(text: Text) -> int | None:
    """Where the first record begins, if nothing but line ends stands in front of it."""
    position = newlines(text, 0)
    return position if _FIRST.match(text.view(position, LONGEST)) else None


def head_follows(text: Text, position: int) -> bool:
    """Whether a record begins at `position`, where the one in front of it ends."""
    match = ANCHOR.match(text.view(position, LONGEST))
    return bool(match and (_begins_line(text, position, match) or _USUAL_URL.match(match["url"])))


def is_findable(text: Text, position: int) -> bool:
    """Whether `find_head` would find the record that begins at `position`."""
    match = ANCHOR.match(text.view(position, LONGEST))
    return bool(match and _begins_line(text, position, match))


def _begins_line(text: Text, position: int, match: re.Match[bytes]) -> bool:
    """An ARC line must begin a line to be known for one; a WARC header need not."""
    return match["url"] is None or bytes(text.view(position - 1, 1)) == b"\n"


def find_head(text: Text, start: int) -> int:
    """The first position from `start` on where a record begins, or the end of the text."""
    while True:
        window = text.view(start, _WINDOW)
        last = len(window) < _WINDOW
        match = ANCHOR.search(window)
        if match and (last or match.start() < len(window) - LONGEST):
            if match.start() or _begins_line(text, start, match):
                return start + match.start()
            start += 1  # an ARC line in the middle of a line
        elif last:
            return start + len(window)
        else:
            start += len(window) - LONGEST


def newlines(text: Text, position: int) -> int:
    """The position behind the line ends that stand at `position`."""
    while window := text.view(position, 4096):
        match = _NEWLINES.match(window)
        assert match is not None  # it matches the empty string
        position += match.end()
        if match.end() < len(window):
            break
    return position


def read_head(text: Text, position: int) -> Head | None:
    """The header of the record at `position`, None where it has no end."""
    window = text.view(position, LONGEST)
    if arc := _ARC_LINE.match(window) or _FILEDESC.match(window):
        return _arc_head(arc)
    for size in (2048, LONGEST, _MAX_HEAD):
        data = bytes(window[:size]) if size <= LONGEST else bytes(text.view(position, size))
        if end := _warc_end(data):
            return _warc_head(data[:end])
        if len(data) < size:
            return None if text.error else _warc_head(data, closed=False)
    return None


def parse_plain_head(text: bytes) -> Head | None:
    """The WARC header at the very start of a text, None where it is an ARC line or anything out of the ordinary."""
    if text[:5] != b"WARC/" or not _FIRST.match(text):
        return None
    data = text[:2048]
    end = _warc_end(data)
    return _warc_head(data[:end]) if end else None


def _warc_end(data: bytes) -> int | None:
    """Where the header ends: behind the first blank line, or in front of another record's header."""
    blank = _BLANK_LINE.search(data)
    other = _NEXT_WARC.search(data, 0, blank.start() if blank else len(data))
    end = other or blank
    return end.end() if end else None


def _warc_head(data: bytes, closed: bool = True) -> Head:
    lines = data.decode("utf-8", "replace")
    if "\n " in lines or "\n\t" in lines:
        lines = _FOLD.sub(" ", lines)
    fields: dict[str, str] = {}
    for line in lines.split("\n"):
        name, colon, value = line.partition(":")
        if colon and (name := _field_name(name)) and name not in fields:
            fields[name] = value.partition("\r")[0].strip()
    return Head(
        type=fields.get("warc-type", "").lower() or "unknown",
        size=len(data),
        length=_number(fields.get("content-length", "")),
        fields=fields,
        closed=closed,
    )


@lru_cache(256)  # the names of all records are the same
def _field_name(written: str) -> str:
    """In lower case; "" where this is the name of no field."""
    return "" if "\r" in written else written.strip().lower()


def _arc_head(line: re.Match[bytes]) -> Head:
    found = {name: (value or b"").decode("utf-8", "replace") for name, value in line.groupdict().items()}
    return Head(
        type="warcinfo" if found["url"].startswith("filedesc:") else "response",
        size=line.end(),
        length=_number(found["length"]),
        fields={
            "warc-target-uri": found["url"],
            "warc-date": _iso_date(found.get("date", "")),
            "content-type": found.get("mime", ""),
        },
        arc=True,
    )


def _number(digits: str) -> int | None:
    return int(digits) if digits.isascii() and digits.isdigit() and len(digits) < 19 else None


def _iso_date(digits: str) -> str:
    """20080509190241 as 2008-05-09T19:02:41Z."""
    if len(digits) < 14:
        return digits
    d = digits
    return f"{d[:4]}-{d[4:6]}-{d[6:8]}T{d[8:10]}:{d[10:12]}:{d[12:14]}Z"
