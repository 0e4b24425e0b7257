"""Heads: the header of a WARC record and the URL line of an ARC record, and where one may begin."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from pipeline.sources.text import Text

LONGEST = 16 << 10  # bytes that an anchor matches at most: an ARC line holds the URL
_WINDOW = 1 << 20
_MAX_HEAD = 1 << 20  # bytes of a WARC header; Common Crawl's have about 600

# What begins a record wherever it stands. A page that quotes the version line alone is no record, so a header
# field must follow.
_WARC = rb"WARC/\d{1,2}\.\d{1,2}[ \t]*\r?\n(?=[A-Za-z][A-Za-z0-9-]{0,63}[ \t]*:)"
# URL, IP address, date, content type, (v2: result, checksum, location, offset, file name,) length.
# archive.org/web/researcher/ArcFileFormat.php. URLs with blanks occur, and so do lengths that are none.
_ARC = (
    rb"(?P<url>[A-Za-z][A-Za-z0-9+.-]{0,31}:[^\r\n\0]{0,8191}?) (?P<ip>\d{1,3}(?:\.\d{1,3}){3}|[0-9A-Fa-f:]{2,45}|-)"
    rb" (?P<date>\d{8,18}) (?P<mime>[^ \r\n\0]{0,255})(?P<more>(?: [^ \r\n\0]{0,4095}){0,5}?) (?P<length>-?\w{1,20})\r?\n"
)
ANCHOR = re.compile(rb"(?:%b)|(?:(?:^|(?<=\n))%b)" % (_WARC, _ARC))
_WARC_LINE = re.compile(rb"WARC/\d{1,2}\.\d{1,2}[ \t]*\r?\n")
_ARC_LINE = re.compile(_ARC)
# At the start of a file or member a version line says enough, even one that no standard knows.
_FIRST = re.compile(rb"WARC/[^\r\n]{1,32}(?:\r?\n|\Z)|%b" % _ARC)
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


def is_head(text: Text, position: int) -> bool:
    """Whether a record begins at `position`, behind another one.

    `find_head` answers the same, so a reader that comes along the file and one that looks for its first record
    in the middle agree.
    """
    match = ANCHOR.match(text.view(position, LONGEST))
    if match and match["url"] is not None:
        return bytes(text.view(position - 1, 1)) == b"\n"
    return bool(match)


def find_head(text: Text, start: int) -> int:
    """The first position from `start` on where a record begins, or the end of the text."""
    while True:
        window = text.view(start, _WINDOW)
        last = len(window) < _WINDOW
        match = ANCHOR.search(window)
        if match and (last or match.start() < len(window) - LONGEST):
            if match["url"] is None or match.start() or bytes(text.view(start - 1, 1)) == b"\n":
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
    if arc := _ARC_LINE.match(window):
        return _arc_head(arc)
    for size in (2048, LONGEST, _MAX_HEAD):
        data = bytes(text.view(position, size))
        if end := _warc_end(data):
            return _warc_head(data[:end])
        if len(data) < size:
            return None if text.error else _warc_head(data, closed=False)
    return None


def _warc_end(data: bytes) -> int | None:
    """Where the header ends: behind the first blank line, or in front of another record's header."""
    ends = [at + len(gap) for gap in (b"\r\n\r\n", b"\n\n", b"\n\r\n") if (at := data.find(gap)) >= 0]
    end = min(ends, default=None)
    other = data.find(b"\nWARC/", 0, end) + 1
    return other if other and _WARC_LINE.match(data, other) else end


def _warc_head(data: bytes, closed: bool = True) -> Head:
    fields: dict[str, str] = {}
    name = ""
    for line in data.decode("utf-8", "replace").split("\n")[1:]:
        line = line.rstrip("\r")
        if line[:1] in (" ", "\t") and name:
            fields[name] = f"{fields[name]} {line.strip()}".strip()
            continue
        key, colon, value = line.partition(":")
        if colon:
            name = key.strip().lower()
            if name in fields:
                name = ""  # the first of a name counts, also where it goes on over several lines
            else:
                fields[name] = value.strip()
    length = fields.get("content-length", "")
    return Head(
        type=fields.get("warc-type", "").lower() or "unknown",
        size=len(data),
        length=int(length) if length.isascii() and length.isdigit() and len(length) < 19 else None,
        fields=fields,
        closed=closed,
    )


def _arc_head(line: re.Match[bytes]) -> Head:
    url = line["url"].decode("utf-8", "replace")
    length = line["length"].decode("ascii")
    return Head(
        type="warcinfo" if url.startswith("filedesc:") else "response",
        size=line.end(),
        length=int(length) if length.isdigit() and len(length) < 19 else None,
        fields={
            "warc-target-uri": url,
            "warc-date": _iso_date(line["date"].decode("ascii")),
            "content-type": line["mime"].decode("utf-8", "replace"),
        },
        arc=True,
    )


def _iso_date(digits: str) -> str:
    """20080509190241 as 2008-05-09T19:02:41Z."""
    if len(digits) < 14:
        return digits
    d = digits
    return f"{d[:4]}-{d[4:6]}-{d[6:8]}T{d[8:10]}:{d[10:12]}:{d[12:14]}Z"
