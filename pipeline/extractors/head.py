"""What a page says of itself before its body: title, description, type."""

from __future__ import annotations

import re
from collections.abc import Iterable
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


_TYPE = re.compile(r'"@type"\s*:\s*"(\w+)"')


def head_of(title: str | None, metas: Iterable[tuple[str, str]], scripts: Iterable[str]) -> Head:
    """The head told by raw text of `<title>`, (name, content) of `<meta>` and JSON-LD, the first of each name."""
    found: dict[str, str] = {}
    for name, content in metas:
        found.setdefault(name, _text(content))
    return Head(
        title=_text(title or "") or found.get("og:title", ""),
        description=found.get("description") or found.get("og:description", ""),
        author=found.get("author") or found.get("article:author", ""),
        date=found.get("article:published_time") or found.get("date", ""),
        og_type=found.get("og:type", "").lower(),
        schema_types=frozenset(kind for script in scripts for kind in _TYPE.findall(script)),
    )


def _text(raw: str) -> str:
    text = " ".join(unescape(raw).split())
    return text if text.isascii() else text.encode("utf-8", "ignore").decode()  # without lone surrogates
