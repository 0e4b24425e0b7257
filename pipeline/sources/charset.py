"""Charset: from bytes to text as browsers do it, and where the server lies, better."""

from __future__ import annotations

import codecs
import re
from functools import lru_cache

# encoding.spec.whatwg.org: a label names the superset that pages really use. What resiliparse's table of labels
# gives → (WHATWG name, Python codec); what is not here is its own codec.
_SUPERSETS = {
    "gbk": ("gb18030", "gb18030"),
    "gb2312": ("gb18030", "gb18030"),
    "shift_jis": ("shift_jis", "cp932"),
    "euc_kr": ("euc-kr", "cp949"),
    "euc_jp": ("euc-jp", "euc_jp"),
    "big5": ("big5", "big5hkscs"),
    "iso2022_jp": ("iso-2022-jp", "iso2022_jp"),
    "iso8859-1": ("windows-1252", "cp1252"),
    "iso8859-9": ("windows-1254", "cp1254"),
    "iso8859-11": ("windows-874", "cp874"),
    "ascii": ("windows-1252", "cp1252"),
}
_OTHER_LABELS = {
    "x-mac-cyrillic": "mac_cyrillic",
    "x-mac-ukrainian": "mac_cyrillic",
    "x-user-defined": "cp1252",
    "hz-gb-2312": "hz",
    "iso-8859-8-i": "iso8859-8",
}
_BOMS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))
# The standard's prescan looks at 1,024 bytes; pages with long scripts in front declare it later.
_PRESCAN = 4096
_META = re.compile(rb"<meta\b[^>]{0,512}?charset\s*=\s*[\"']?\s*([A-Za-z0-9_:.()-]{1,64})", re.I)
_XML = re.compile(rb"\A\s*<\?xml\b[^>]{0,256}?encoding\s*=\s*[\"']([A-Za-z0-9_:.-]{1,64})[\"']", re.I)
_SAMPLE = 64 << 10
_MULTIBYTE = frozenset(
    {"gb18030", "cp932", "cp949", "euc_jp", "big5hkscs", "iso2022_jp", "hz", "utf-16-le", "utf-16-be"}
)


def decode_html(payload: bytes, charset: str) -> tuple[str, str]:
    """(text, name of the encoding used). Never raises: bytes that mean nothing become U+FFFD.

    BOM, then `charset` (of the HTTP header), then `<meta>`, then detection. Two departures from the standard, both
    where the declaration is proved wrong: bytes that are valid UTF-8 are not read in a single-byte encoding, and
    text declared as UTF-8 that is mostly no UTF-8 goes to detection.
    """
    for bom, codec in _BOMS:
        if payload.startswith(bom):
            return payload[len(bom) :].decode(codec, "replace"), codec
    declared = _codec(charset) or _declared_within(payload)
    if declared is None or declared[1] not in _MULTIBYTE:
        try:
            return payload.decode("utf-8"), "utf-8"
        except UnicodeDecodeError as error:
            # A page that was cut off in the middle of a character is still UTF-8, if nothing says otherwise.
            said = declared is None or declared[1] == "utf-8" or not payload[: error.start].isascii()
            if said and error.start >= len(payload) - 3:
                return payload.decode("utf-8", "replace"), "utf-8"
    if declared is None or (declared[1] == "utf-8" and _hardly_utf8(payload)):
        declared = _detected(payload) or ("windows-1252", "cp1252")
    return _decode(payload, *declared)


def _decode(payload: bytes, name: str, codec: str) -> tuple[str, str]:
    try:
        return payload.decode(codec), name
    except UnicodeDecodeError:
        pass
    if codec in _MULTIBYTE:
        try:
            return payload.decode("utf-8"), "utf-8"
        except UnicodeDecodeError:
            pass
    return payload.decode(codec, "replace"), name


@lru_cache(maxsize=1024)
def _codec(label: str) -> tuple[str, str] | None:
    """(WHATWG name, Python codec) of a charset label, None where it names nothing."""
    from resiliparse.parse.encoding import map_encoding_to_html5

    label = label.strip().strip("\"'").lower()
    if not label:
        return None
    found = _OTHER_LABELS.get(label) or map_encoding_to_html5(label, False)
    if not found:
        return None
    name, codec = _SUPERSETS.get(found, (found, found))
    if codec.startswith("cp125"):
        name = f"windows-{codec[2:]}"
    try:
        codecs.lookup(codec)
    except LookupError:
        return None
    return name, codec


def _declared_within(payload: bytes) -> tuple[str, str] | None:
    head = payload[:_PRESCAN]
    match = _META.search(head) or _XML.match(head)
    declared = _codec(match[1].decode("ascii")) if match else None
    # Whoever could read the declaration byte by byte is not reading UTF-16 (HTML standard, 13.2.3.2).
    return ("utf-8", "utf-8") if declared and declared[1].startswith("utf-16") else declared


def _hardly_utf8(payload: bytes) -> bool:
    """Whether at least a tenth of what is not ASCII is no UTF-8 either."""
    sample = payload[:_SAMPLE]
    beyond = sum(1 for byte in sample if byte > 127)
    return sample.decode("utf-8", "replace").count("\ufffd") * 10 > beyond


def _detected(payload: bytes) -> tuple[str, str] | None:
    from resiliparse.parse.encoding import detect_encoding

    found = _codec(detect_encoding(payload) or "")
    # A few bytes in a page of ASCII are too little for the detector, which then says UTF-8 all the same.
    return None if found and found[1] == "utf-8" and _hardly_utf8(payload) else found
