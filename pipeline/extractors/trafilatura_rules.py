"""The pruning rules of trafilatura 2.3, compiled: a verdict for each attribute value, remembered, instead of XPath.

`re:test(@class, …)` in an XPath costs a Python call for each element and rule, over half of trafilatura's time.
Class and id values repeat within a page and between pages; here every value is judged once for all rules, and an
element is looked at only if its values are. Each rule returns the elements that its XPath returns, in the same order.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from itertools import islice
from types import ModuleType
from typing import Any

import re2

Element = Any  # lxml.html.HtmlElement; lxml carries no types
Rule = Callable[[Element], list[Element]]

KNOWN_VERSIONS = frozenset({"2.3.1"})
_CONTAINERS = ("article", "div", "main", "section")
_DISCARDED = ("div", "item", "list", "p", "section", "span")


class Verdicts(dict[str, int]):
    """Which of the patterns an attribute value meets, as bits; bounded, and the same in whatever order asked.

    `any_of` are substrings, of which one stands in every value that meets a pattern, whatever its case: most
    values hold none, and one automaton tells.
    """

    def __init__(self, tests: Iterable[Callable[[str], Any]], any_of: Iterable[str]) -> None:
        self._tests = [(1 << i, test) for i, test in enumerate(tests)]
        self._may = re2.compile("(?i)" + "|".join(any_of)).search

    def __missing__(self, value: str) -> int:
        if len(self) > 100_000:
            self.clear()
        bits = self[value] = sum(bit for bit, test in self._tests if test(value)) if self._may(value) else 0
        return bits


def _substrings(*patterns: str) -> list[str]:
    """A regex for each pattern that matches wherever it does: without anchors, look-aheads and spaces."""
    return [re.sub(r"\^|\\Z|\(\?![^)]*\)|\(\?:\^\| \)|\(\^\|\\s\)|\(\\s\|\$\)", "", p).strip() for p in patterns]


def compile_rules(xpaths: ModuleType) -> dict[str, list[Rule]]:
    """The rule lists of trafilatura's `xpaths` module under their names there."""
    x = xpaths
    search = _search
    both = x._OVERALL_DISCARD_BOTH_TOKENS
    classes = Verdicts(
        [
            search(*both, *x._OVERALL_DISCARD_CLASS_TOKENS),  # 1
            search(*x._CONSENT_ID_CLASS_TOKENS),  # 2, if the first attribute of the two
            search(  # 4
                "^hide-|comments-title|nocomments|-reply-|message|akismet|suggest-links|-hide-|hide-print"
                "| hidden| hide|noprint|notloaded"
            ),
            lambda value: value.startswith("reply-"),  # 8, if first
            lambda value: "teaser" in value.replace("T", "t"),  # 16
            search(r"(^|\s)bottom|bottom(\s|$)", r"(^|\s)link(\s|$)"),  # 32, if first
            search(x._COMMENTS_CLASS),  # 64
            search("mvp-post-add-(?:box|wrap)|infinite-?scroll"),  # 128
            search("mvp-post-add-(?:box|wrap)"),  # 256
            lambda value: "elementor-share-buttons" in value,  # 512
            lambda value: "caption" in value,  # 1024
            search(*x._ARTICLE_CONTENT_CLASS_TOKENS, "^post\\Z", "^entry\\Z"),  # 2048
            search(  # 4096
                *x._STORY_CLASS_TOKENS, "(?i:fulltext)", "^(?:postarea|art-postcontent|text|cell|story)\\Z"
            ),
            lambda value: (
                value == "content"
                or search_main_class(value)
                or "main-content" in value.replace("C", "c").replace("M", "m")
                or "page-content" in value.replace("C", "c").replace("P", "p")
            ),  # 8192
            lambda value: value.startswith("main"),  # 16384
        ],
        _substrings(
            *both,
            *x._OVERALL_DISCARD_CLASS_TOKENS,
            *x._CONSENT_ID_CLASS_TOKENS,
            *x._ARTICLE_CONTENT_CLASS_TOKENS,
            *x._STORY_CLASS_TOKENS,
            "hide|hidden|noprint|notloaded|akismet|suggest-links|message|reply-|teaser|bottom|link|comment",
            "mvp-post-add|infinite-?scroll|elementor-share-buttons|caption|post|entry|fulltext|text|cell|story",
            "content|main",
        ),
    )
    search_main_class = search(*x._MAIN_CONTENT_CLASS_TOKENS)
    search_main_id = search(*x._MAIN_CONTENT_ID_TOKENS)
    ids = Verdicts(
        [
            search(*both, *x._OVERALL_DISCARD_ID_TOKENS),  # 1
            search(*x._CONSENT_ID_CLASS_TOKENS),  # 2, if first
            lambda value: False,  # 4
            lambda value: value.startswith("reply-"),  # 8, if first
            lambda value: "teaser" in value.replace("T", "t"),  # 16
            search(r"(^|\s)bottom|bottom(\s|$)", r"(^|\s)link(\s|$)"),  # 32, if first
            search(f"^(?:{x._COMMENTS_ID}|disqus_thread|dsq-comments)"),  # 64
            search("mvp-post-add-(?:box|wrap)|infinite-?scroll"),  # 128
            search("mvp-post-add-(?:box|wrap)"),  # 256
            search(f"^(?:{x._COMMENTS_ID})"),  # 512
            lambda value: "caption" in value,  # 1024
            search(*x._ARTICLE_CONTENT_ID_TOKENS, "^articleContent\\Z"),  # 2048
            search(*x._STORY_ID_TOKENS, "^(?:article|story)\\Z"),  # 4096
            lambda value: (
                value == "content"
                or search_main_id(value)
                or "main-content" in value.replace("C", "c").replace("M", "m")
            ),  # 8192
            lambda value: value.startswith("main"),  # 16384
            lambda value: "hidden" in value,  # 32768
            search("reader-comments|akismet"),  # 65536
        ],
        _substrings(
            *both,
            *x._OVERALL_DISCARD_ID_TOKENS,
            *x._CONSENT_ID_CLASS_TOKENS,
            *x._ARTICLE_CONTENT_ID_TOKENS,
            *x._STORY_ID_TOKENS,
            "hidden|akismet|reply-|teaser|bottom|link|comment|comol|disqus_thread|dsq-",
            "mvp-post-add|infinite-?scroll|caption|article|story|content|main",
        ),
    )

    def first_of(element: Element, one: str, other: str) -> str:
        """Of two attributes the one that stands first in the source: what XPath makes of `@id|@class`."""
        return next((key for key in element.keys() if key in (one, other)), "")  # noqa: SIM118  (no mapping)

    def simple(bit: int, tags: tuple[str, ...]) -> Rule:
        def rule(tree: Element) -> list[Element]:
            return [
                e
                for e in _below(tree, tags)
                if ((c := e.get("class")) and classes[c] & bit) or ((i := e.get("id")) and ids[i] & bit)
            ]

        return rule

    def overall(tree: Element) -> list[Element]:
        found = []
        for e in _below(tree, _DISCARDED):
            keys = e.keys()
            if not keys:
                continue
            c, i = classes[e.get("class", "")], ids[e.get("id", "")]
            if (
                (c | i) & 1
                or ((c | i) & 2 and (c if first_of(e, "id", "class") == "class" else i) & 2)
                or "data-lp-replacement-content" in keys
                or ("role" in keys and "nav" in e.get("role").replace("N", "n"))
                or ("data-component" in keys and "MostPopularStories" in e.get("data-component"))
            ):
                found.append(e)
        return found

    def hidden(tree: Element) -> list[Element]:
        found = []
        for e in _below(tree, ("*",)):
            keys = e.keys()
            if not keys:
                continue
            c, i = classes[e.get("class", "")], ids[e.get("id", "")]
            style = e.get("style", "") if "style" in keys else ""
            if (
                c & 4
                or i & 65536
                or ((c | i) & 8 and (c if first_of(e, "id", "class") == "class" else i) & 8)
                or (i & 32768 and first_of(e, "id", "style") == "id")
                or (
                    style
                    and (
                        "display:none" in style
                        or "display: none" in style
                        or ("hidden" in style and first_of(e, "id", "style") == "style")
                    )
                )
                or ("aria-hidden" in keys and e.get("aria-hidden") == "true")
            ):
                found.append(e)
        return found

    def precise(tree: Element) -> list[Element]:
        found = []
        for e in _below(tree, _DISCARDED):
            keys = e.keys()
            if not keys:
                continue
            c, i = classes[e.get("class", "")], ids[e.get("id", "")]
            if ((c | i) & 32 and (c if first_of(e, "id", "class") == "class" else i) & 32) or (
                "style" in keys and "border" in e.get("style")
            ):
                found.append(e)
        return found

    def comments_and_lists(tree: Element) -> list[Element]:
        found = []
        for e in _below(tree, ("div", "list", "section", "details", "ol", "ul")):
            c, i = classes[e.get("class", "")], ids[e.get("id", "")]
            if c & 64 or i & (512 if e.tag in ("ol", "ul") else 64):
                found.append(e)
        return found

    def endless(tree: Element) -> list[Element]:
        found = []
        for e in _below(tree, ("div", "section", "aside")):
            bits = classes[e.get("class", "")] | ids[e.get("id", "")]
            if bits & 128 and (bits & 256 or e.find(".//h1") is None):
                found.append(e)
        return found

    def elementor(tree: Element) -> list[Element]:
        return [e for e in _below(tree, ("div", "section", "aside")) if classes[e.get("class", "")] & 512]

    def body(bit: int, attribute: str, values: frozenset[str]) -> Rule:
        def rule(tree: Element) -> list[Element]:
            matching = (
                e
                for e in _below(tree, _CONTAINERS)
                if (classes[e.get("class", "")] | ids[e.get("id", "")]) & bit or e.get(attribute) in values
            )
            return list(islice(matching, 1))

        return rule

    def main(tree: Element) -> list[Element]:
        starts = (
            e
            for e in _below(tree, ("article", "div", "section"))
            if (classes[e.get("class", "")] | ids[e.get("id", "")]) & 16384 or e.get("role", "").startswith("main")
        )
        named = next(starts, None)
        element = next(_below(tree, ("main",)), None)
        both = {e for e in (named, element) if e is not None}
        return list(islice((e for e in _below(tree, ("*",)) if e in both), 1)) if len(both) > 1 else list(both)

    return {
        "BODY_XPATH": [
            body(2048, "itemprop", frozenset({"articleBody"})),
            lambda tree: list(islice(_below(tree, ("article",)), 1)),
            body(4096, "role", frozenset({"article"})),
            body(8192, "role", frozenset()),
            main,
        ],
        "OVERALL_DISCARD_XPATH": [overall, hidden],
        "TEASER_DISCARD_XPATH": [simple(16, _DISCARDED)],
        "PRECISION_DISCARD_XPATH": [lambda tree: list(_below(tree, ("header",))), precise],
        "DISCARD_IMAGE_ELEMENTS": [simple(1024, _DISCARDED)],
        "REMOVE_COMMENTS_XPATH": [simple(64, ("div", "list", "section", "details"))],
        "REMOVE_COMMENTS_AND_LISTS_XPATH": [comments_and_lists],
        "RAW_TREE_PRUNE_XPATH": [endless, elementor],
    }


def compile_basic_cleaning(settings: ModuleType) -> Rule:
    """The rule behind `basic_cleaning`: asides, footers, scripts, cookie banners."""
    tags = frozenset({"aside", "fencedframe", "footer", "script", "style", "svg", "template"})
    consent = re.compile(settings._COOKIE_CONSENT_RE, re.IGNORECASE).search
    words = ["footer", "cookie", "consent", "borlabs", "cmplz", "onetrust", "gdpr"]
    verdicts = Verdicts([consent, lambda value: "footer" in value], words)

    def rule(tree: Element) -> list[Element]:
        found = []
        for e in _below(tree, ("*",)):
            if e.tag in tags:
                found.append(e)
                continue
            keys = e.keys()
            if not keys:
                continue
            c, i = verdicts[e.get("class", "")], verdicts[e.get("id", "")]
            if (c | i) & 1 or (
                e.tag == "div"
                and (c | i) & 2
                and (c if next(key for key in keys if key in ("class", "id")) == "class" else i) & 2
            ):
                found.append(e)
        return found

    return rule


def _search(*tokens: str) -> Callable[[str], Any]:
    return re.compile("|".join(tokens)).search


def _below(tree: Element, tags: tuple[str, ...]) -> Any:
    return tree.iterdescendants(*tags)
