"""A private copy of the installed trafilatura, in which slow parts are replaced by equal fast ones.

trafilatura's modules are imported a second time under a name of their own, so that nothing here changes the
trafilatura that a user's own code imports. What differs from its `extract`:

- the pruning rules are compiled (`trafilatura_rules`) and the parser builds plain elements without asking Python;
- of four copies of the tree one remains: the others serve rescues that nine of ten pages never need, and are made
  when they do;
- readability is not asked when its text, which is part of the page's, is too short to win whatever it finds.
"""

from __future__ import annotations

import importlib
import logging
import sys
from copy import copy
from functools import cache
from importlib.util import find_spec
from types import ModuleType
from typing import Any

from pipeline.extractors.engine import Mode
from pipeline.extractors.trafilatura_rules import KNOWN_VERSIONS, compile_basic_cleaning, compile_rules

Tree = Any  # lxml.html.HtmlElement; lxml carries no types
_NAME = "pipeline.extractors._trafilatura"
_UNCLEAN = (
    "aside audio button fencedframe fieldset figure footer iframe input label link nav noindex noscript object"
    " option select source svg time"
).split()


def extract_text(html: str, mode: Mode) -> str:
    """The text of trafilatura's `extract(html, include_comments=False)` in this mode; "" where it gives None."""
    if _installed() not in KNOWN_VERSIONS:
        return _as_installed(html, mode)
    return _twin().extract(html, mode)


@cache
def _installed() -> str:
    from importlib.metadata import version

    return version("trafilatura")


def _as_installed(html: str, mode: Mode) -> str:
    from trafilatura import extract

    text: str | None = extract(
        html,
        favor_precision=mode == "precision",
        favor_recall=mode == "recall",
        include_comments=False,
        deduplicate=False,
    )
    return text or ""


@cache
def _twin() -> _Twin:
    return _Twin()


class _Twin:
    def __init__(self) -> None:
        modules = _second_import()
        self.core, self.main = modules["core"], modules["main_extractor"]
        self.html, self.external = modules["htmlprocessing"], modules["external"]
        self.rules = compile_rules(modules["xpaths"])
        for module in modules.values():
            for name, rules in self.rules.items():
                if hasattr(module, name):
                    setattr(module, name, rules)
        vars(modules["baseline"])["BASIC_CLEAN_XPATH"] = compile_basic_cleaning(modules["settings"])
        _build_plain_elements(modules["utils"])
        vars(modules["utils"])["repair_faulty_html"] = _repair_if_faulty(modules["utils"].repair_faulty_html)
        self.load_html = modules["utils"].load_html
        self.to_text, self.normalize = modules["xml"].xmltotxt, modules["utils"].normalize_unicode
        self.Options = modules["settings"].Extractor
        self.config = modules["settings"].DEFAULT_CONFIG

    def extract(self, html: str, mode: Mode) -> str:
        options = self.Options(
            config=self.config,
            output_format="txt",
            precision=mode == "precision",
            recall=mode == "recall",
            comments=False,
            dedup=False,
        )
        try:
            body, text = _Cascade(self, html, options).run()
        except (TypeError, ValueError):  # as bare_extraction has it: "discarding data"
            return ""
        if len(text) < options.min_output_size and options.min_output_comm_size > 0:
            return ""
        written: str = f"{self.to_text(body, options.formatting)}\n".strip()
        return str(self.normalize(written))


class _Cascade:
    """`trafilatura_sequence` for one page, without comments; the numbers are those of its stages."""

    def __init__(self, twin: _Twin, html: str, options: Any) -> None:
        self.twin, self.source, self.options = twin, html, options
        self.precise = options.focus == "precision"

    def run(self) -> tuple[Tree, str]:
        core, options = self.twin.core, self.options
        tree = self.load()
        body, text = self.main_pass(tree)
        body, text = self.compare(tree, body, text)
        if self.precise:
            return self.within_size(body, text)
        if len(text) < options.min_extracted_size:
            found, found_text, length = core.baseline(tree)
            if length > len(text):
                body, text = found, found_text
        if (
            options.focus == "balanced"
            and 0 < len(text) < core.ESCALATION_MAX_LENGTH
            and len(text) < core.ESCALATION_PAGE_SHARE * len(core.html2txt(tree))
        ):
            body, text = self.escalate(tree, body, text)
        return self.within_size(body, text)

    def load(self) -> Tree:
        """The raw tree without comments and endless scrolls."""
        tree = self.twin.load_html(self.source, self.options.max_file_size)
        if tree is None:
            raise ValueError("empty HTML tree")
        rules, prune = self.twin.rules, self.twin.html.prune_unwanted_nodes
        self.is_forum = self.twin.core._forum_thread_page(tree)
        tree = prune(tree, rules["RAW_TREE_PRUNE_XPATH"])
        if self.precise or not self.is_forum:
            tree = prune(tree, rules["REMOVE_COMMENTS_AND_LISTS_XPATH"])
        return tree

    def converted(self, tree: Tree) -> Tree:
        twin = self.twin
        cleaned = twin.html.convert_tags(twin.html.tree_cleaning(copy(tree), self.options), self.options, None)
        if self.precise and not self.is_forum:
            cleaned = twin.html.prune_unwanted_nodes(cleaned, twin.rules["REMOVE_COMMENTS_XPATH"])
        return cleaned

    def main_pass(self, tree: Tree) -> tuple[Tree, str]:
        """1. The main extractor; a page that yields too little is taken again from the start, with its rescue."""
        main = self.twin.main
        body, text, _ = main._extract(self.converted(tree), self.options)
        if len(body) == 0 or len(text) < self.options.min_extracted_size:
            found: tuple[Tree, str] = main.extract_content(self.converted(tree), self.options)
            return found
        previous = None
        for element in list(body):
            current = main._elem_text(element)
            if current and current == previous and len(current) > main.MIN_DUPLICATE_LENGTH:
                main.delete_element(element, keep_tail=False)
            else:
                previous = current
        main.strip_elements(body, "done")
        main.strip_tags(body, "div")
        for linebreak in body.iter("lb"):
            if (
                linebreak.tail
                and not main.text_chars_test(linebreak.tail)
                and not any(above.tag in main.SPACING_PROTECTED for above in linebreak.iterancestors())
            ):
                linebreak.tail = None
        return body, text

    def compare(self, tree: Tree, body: Tree, text: str) -> tuple[Tree, str]:
        """2. readability, where it can win, and justext, where the text is short or unclean."""
        external, options = self.twin.external, self.options
        if options.focus == "recall" and len(text) > options.min_extracted_size * 10:
            return body, text
        use_readability = False
        raw = tree if self.precise else copy(tree)  # stages 3 and 4 want the raw tree, and precision has none
        if self.precise:
            raw = self.twin.html.prune_unwanted_nodes(raw, self.twin.rules["OVERALL_DISCARD_XPATH"])
        for element in list(raw.iter("script", "style", "fencedframe")):  # readability's own first act
            element.drop_tree()
        if self.readability_may_win(raw, body, text):
            found = external.try_readability(raw)
            found_text = external.trim(external.tostring(found, method="text", encoding="utf-8").decode("utf-8"))
            use_readability = external._prefer_readability(body, found, found_text, len(text), len(found_text), options)
            if use_readability:
                body, text = found, found_text
        unclean = next(body.iterdescendants(*_UNCLEAN), None) is not None
        if unclean or len(text) < options.min_extracted_size:
            cleaned = self.twin.html.tree_cleaning(copy(self.load() if self.precise else tree), options)
            other, other_text = external.justext_rescue(cleaned, options)
            length = len(other_text)
            most = external.JUSTEXT_OVERRIDE_RATIO * length if unclean else length - 1
            if other_text and len(text) <= most:
                body, text, use_readability = other, other_text, False
        if use_readability:
            body, text = external.sanitize_tree(body, options)
        return body, text

    def readability_may_win(self, raw: Tree, body: Tree, text: str) -> bool:
        """Whether a text no longer than the page's own could pass `_prefer_readability`."""
        if not text:
            return True
        most = len(" ".join(raw.text_content().split()))
        if most > 2 * len(text):
            return True
        if self.options.focus == "recall" and (
            most > 1.5 * len(text) or (most > len(text) and body.find(".//head") is None)
        ):
            return True
        return most > self.options.min_extracted_size * 2 and (
            not body.xpath(".//p//text()") or len(body.findall(".//table")) > len(body.findall(".//p"))
        )

    def escalate(self, tree: Tree, body: Tree, text: str) -> tuple[Tree, str]:
        """4. A short text of a long page is tried again in recall mode, and with justext."""
        core = self.twin.core
        wider = copy(self.options)
        wider.focus = "recall"
        found_text = other_text = ""
        found = other = None
        try:
            found, found_text = core._recall_retry(tree, wider, None)
        except Exception:
            found_text = ""
        try:
            other, other_text = core.justext_rescue(copy(tree), self.options)
        except Exception:
            other_text = ""
        length, found_length, other_length = len(text), len(found_text), len(other_text)
        if other_length > found_length and other_length > core.ESCALATION_JUSTEXT_RATIO * length:
            return other, other_text
        if found_length >= self.options.min_extracted_size and found_length > core.ESCALATION_ACCEPT_RATIO * length:
            return found, found_text
        return body, text

    def within_size(self, body: Tree, text: str) -> tuple[Tree, str]:
        limit = self.options.max_tree_size
        if limit and len(body) > limit:
            self.twin.core.strip_tags(body, "hi")
            if len(body) > limit:
                raise ValueError("output tree too long")
        return body, text


def _second_import() -> dict[str, ModuleType]:
    """trafilatura's extraction modules, imported anew under `_NAME`; its loggers stay silent."""
    spec = find_spec("trafilatura")
    assert spec is not None
    package = ModuleType(_NAME)
    package.__path__ = list(spec.submodule_search_locations or [])
    sys.modules[_NAME] = package
    logger = logging.getLogger(_NAME)
    logger.addHandler(logging.NullHandler())
    logger.propagate = False
    names = "settings utils xml xpaths htmlprocessing baseline main_extractor external core".split()
    return {name: importlib.import_module(f"{_NAME}.{name}") for name in names}


def _build_plain_elements(utils: ModuleType) -> None:
    # lxml.html asks a Python function for the class of every element; the rules here need no special ones
    from lxml.etree import ElementDefaultClassLookup
    from lxml.html import HtmlElement

    utils.HTML_PARSER.set_element_class_lookup(ElementDefaultClassLookup(element=HtmlElement))


def _repair_if_faulty(repair: Any) -> Any:
    """`repair_faulty_html` looks for invalid characters in every page by regex; hardly any page holds one."""
    invalid = bytes([*range(9), 11, 12, *range(14, 32)])

    def repair_faulty_html(html: str, beginning: str) -> str:
        raw = html.encode("utf-8", "surrogatepass")
        valid = len(raw.translate(None, invalid)) == len(raw) and "\ufffe" not in html and "\uffff" not in html
        head, rest = (html[:8192], html[8192:]) if valid and "\n" in html[:4096] else (html, "")
        return str(repair(head, beginning)) + rest

    return repair_faulty_html
