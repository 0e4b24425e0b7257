"""What a page says of itself before its body: title, description, type."""

from __future__ import annotations

import re
from dataclasses import dataclass
from html import unescape


@dataclass(frozen=True, slots=True)
class Head:
    """Texts as a reader would see them, "" where the page has none."""

    title: str = ""
    description: str = ""
    author: str = ""
    date: str = ""
    og_type: str = ""
    schema_types: frozenset[str] = frozenset()  # schema.org types named in JSON-LD


_TOLD = "description|og:title|og:description|og:type|author|article:author|article:published_time|date"
_META = re.compile(rf'<meta (?=[^>]*\b(?:name|property)="({_TOLD})")[^>]*\bcontent="([^"]*)"', re.IGNORECASE)
_TITLE = re.compile(r"<title[^>]*>([^<]*)</title>")
_TYPE = re.compile(r'"@type"\s*:\s*"(\w+)"')

_JSON_LD = "application/ld+json"


def read_head(html: str) -> Head:
    """The head of a serialised tree."""
    end = html.find("<body")
    head = html[: end if end > 0 else 0]
    found: dict[str, str] = {}
    for meta in _META.finditer(head):
        found.setdefault(meta[1].lower(), _text(meta[2]))
    title = _TITLE.search(head)
    return Head(
        title=(_text(title[1]) if title else "") or found.get("og:title", ""),
        description=found.get("description") or found.get("og:description", ""),
        author=found.get("author") or found.get("article:author", ""),
        date=found.get("article:published_time") or found.get("date", ""),
        og_type=found.get("og:type", "").lower(),
        schema_types=_schema_types(html),
    )


def _schema_types(html: str) -> frozenset[str]:
    types: set[str] = set()
    at = html.find(_JSON_LD)
    while at >= 0:
        end = html.find("</script>", at)
        types.update(_TYPE.findall(html, at, end if end >= 0 else len(html)))
        at = html.find(_JSON_LD, max(end, at + 1))
    return frozenset(types)


def _text(raw: str) -> str:
    return " ".join(unescape(raw).split())
