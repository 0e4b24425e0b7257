"""Pages that no reader sees and that parsers choke on: too large, nested without end, or with a million attributes."""

from __future__ import annotations

import re

from pipeline.errors import Quarantine
from pipeline.record import Page
from pipeline.steps.html import reading

# resiliparse takes time that grows with the square of the depth (0.25 s at 5,000 levels, minutes at 100,000),
# it and lxml with the square of an element's attributes. A page with fewer marks than these cannot hold
# enough of either to hurt, and passes. The reading is linear in both.
_HARMLESS_TAGS = 6_000
_HARMLESS_ATTRIBUTES = 12_000
_HUGE_TAG = re.compile(r"<[a-zA-Z][^<>]{20000}")  # attributes without a value show no "="


def refuse_hostile(page: Page, *, max_html_chars: int, max_depth: int, max_attributes: int) -> None:
    """Quarantine a page that is too large, nested too deep or has too many attributes on one element.

    Limits are in characters, levels below the root, and attributes of an element, those written twice counted twice.
    Depth is that of the WHATWG tree: a million unclosed paragraphs are siblings and do no harm. Pages of few tags pass
    unseen.
    """
    html = page.html
    if len(html) > max_html_chars:
        raise Quarantine("html_too_large", f"{len(html)} characters, limit {max_html_chars}")
    found = page.from_html(reading)
    if found.depth >= max_depth and html.count("<") > _HARMLESS_TAGS:
        raise Quarantine("tree_too_deep", f"over {max_depth} levels")
    if found.attributes > max_attributes and (html.count("=") > _HARMLESS_ATTRIBUTES or _HUGE_TAG.search(html)):
        raise Quarantine("too_many_attributes", f"over {max_attributes} on one element")
