"""A light WHATWG tree builder: which elements open and close where, without a tree.

It follows 13.2.6 of the standard as far as text and its surroundings depend on it. What it does not do: content that
a table fosters stays where it stands, instead of moving before the table; a formatting element that ends within a block
that it holds leaves the block at once, and is not copied into it; templates know no insertion modes of their own.

The oracle of the kernel in C (`pipeline/speed/native/page_tree.h`), and what runs where there is none.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Protocol

from pipeline.extractors.html_tags import (
    BARRIER,
    BREAKOUT,
    CLOSES_P,
    FORMATTING,
    HEADING,
    IMPLIED,
    IN_HEAD,
    INTEGRATION,
    MARKER,
    RAW,
    REOPENS,
    SCOPED_END,
    SKIPPED,
    SPECIAL,
    TAGS,
    VOID,
)
from pipeline.extractors.html_tokens import TAG_NAME, Tag, after_markup, decoded, raw_end, read_tag

DEEPEST = 600  # elements open at once; deeper ones close at once
MOST_FORMATS = 60  # formatting elements that are remembered
MOST_REOPENED = 100_000  # times that one is opened again
# what `<meta>` tells that is gathered
TOLD = frozenset(
    "description og:title og:description og:type author article:author article:published_time date".split()
)

_SPACE = "\t\n\f\r "
_LEVELS = {"table": 0, "tbody": 1, "thead": 1, "tfoot": 1, "tr": 2, "td": 3, "th": 3, "caption": 3}
_WANTED = {**_LEVELS, "caption": 1, "colgroup": 1, "col": 1}
_PARTS = _WANTED.keys() - {"table"}
_FOSTERS = frozenset(("table", "tbody", "thead", "tfoot", "tr"))
_HEAD, _AFTER_HEAD, _BODY, _FRAMESET = range(4)


class Writer(Protocol):
    """Who is told of what a reader would see; elements are numbers that `open` gives."""

    def open(self, tag: str, names: str) -> int: ...
    def void(self, tag: str) -> None: ...
    def skip(self) -> None: ...
    def text(self, text: str) -> None: ...
    def close(self, element: int) -> None:
        """The innermost element ends."""

    def leave(self, element: int, inner: int) -> None:
        """An element ends while `inner`, opened in it, does not; what stands before `inner` stays in it."""

    def move(self, element: int, parent: int) -> None: ...
    def rename(self, element: int, names: str) -> None: ...


class _Open:
    """An element on the stack."""

    __slots__ = ("element", "flags", "foreign", "format", "formats", "gone", "tag")

    def __init__(self, tag: str, flags: int, element: int, foreign: bool, formats: int) -> None:
        self.tag, self.flags, self.foreign = tag, flags, foreign
        self.element = element  # of the writer; -1 where no reader sees it
        self.formats = formats  # how many formats were remembered when it opened
        self.format: _Format | None = None
        self.gone = False  # its end tag has been, what it holds is still open


class _Format:
    """A formatting element that goes on until its end tag, cut off or not (13.2.4.3)."""

    __slots__ = ("names", "on", "source", "tag")

    def __init__(self, tag: str, names: str, source: str, on: _Open) -> None:
        self.tag, self.names, self.source = tag, names, source
        self.on: _Open | None = on


class Tree:
    """Reads a page's HTML once and tells a Writer of it; what the page says of itself is gathered on the way."""

    def __init__(self, writer: Writer) -> None:
        self.writer = writer
        self.stack: list[_Open] = []
        self.formats: list[_Format | None] = []  # None is a marker
        self.tables: list[_Open] = []  # open tables, their parts, and templates
        self.skipping = 0  # open elements that no reader sees, the head one of them
        self.phase = _HEAD
        self.quirks = False
        self.form: _Open | None = None
        self.named_html = self.named_body = False
        self.reopened = 0
        self.depth = self.attributes = 0  # most elements around an element, and most attributes of one
        self.title: str | None = None  # raw, as the two below
        self.metas: list[tuple[str, str]] = []
        self.scripts: list[str] = []  # JSON-LD

    def read(self, html: str) -> None:
        self.quirks = is_quirky(html)
        self.push("html", TAGS["html"], "")
        self.writer.skip()  # the head
        self.skipping += 1
        at = 0
        while (mark := html.find("<", at)) >= 0:
            self.text(html[at:mark])
            name = TAG_NAME.match(html, mark)
            if name is not None:
                tag = read_tag(html, mark)
                if tag is None:
                    at = len(html)
                    break
                at = self.end(tag) if html[mark + 1] == "/" else self.start(tag, html, mark)
            elif html.startswith(("<!", "<?", "</"), mark):
                at = after_markup(html, mark, self.foreign())
            else:
                self.text("<")
                at = mark + 1
        self.text(html[at:])
        while self.stack:
            self.pop()

    # ---- text and tags -----------------------------------------------------------------------------------------

    def text(self, raw: str) -> None:
        text = decoded(raw)
        blank = not text.strip(_SPACE)
        if self.phase < _BODY and not blank and not self.in_template():
            self.begin_body()
        if not text or self.skipping or self.phase != _BODY:
            return
        if self.stack[-1].tag == "colgroup" and not blank:
            self.pop()
        if not blank or self.stack[-1].tag not in _FOSTERS:
            self.reopen()
        self.writer.text(text)

    def start(self, tag: Tag, html: str, mark: int) -> int:
        """Treat a start tag; where to read on."""
        self.attributes = max(self.attributes, tag.written)
        name, flags = tag.name, TAGS.get(tag.name, REOPENS)
        if name == "meta":
            self.gather(tag.attributes)
        if self.foreign():
            if not (flags & BREAKOUT or (name == "font" and tag.attributes.keys() & {"color", "face", "size"})):
                self.push(name, flags, "", foreign=True)
                if tag.closed:
                    self.pop()
                return tag.end
            while self.foreign():
                self.pop()
        if self.phase < _BODY and not self.in_template() and not self.in_head(tag, flags):
            return tag.end
        if self.phase == _FRAMESET:
            return self.after_raw(tag, html) if flags & RAW else tag.end
        if name in ("html", "body"):
            self.name_again(name, tag.attributes)
            return tag.end
        self.place(tag, flags, html[mark : tag.end])
        if flags & RAW:
            return self.after_raw(tag, html)
        return len(html) if name == "plaintext" else tag.end

    def in_head(self, tag: Tag, flags: int) -> bool:
        """Whether a start tag before the body is to be placed; it may begin the body."""
        if tag.name == "html":
            return True
        if tag.name == "head":
            return False
        if flags & IN_HEAD and not (tag.name == "noscript" and self.phase == _AFTER_HEAD):
            return tag.name != "noscript" and not flags & VOID
        if tag.name == "frameset":
            self.phase = _FRAMESET
            return False
        self.begin_body()
        return True

    def place(self, tag: Tag, flags: int, source: str) -> None:
        """Open the element of a start tag where the standard would in the body (13.2.6.4.7)."""
        name, flags = ("img", TAGS["img"]) if tag.name == "image" else (tag.name, flags)
        if name in _PARTS:
            self.table_part(name, tag.attributes)
        if name in _PARTS or name in ("head", "frame", "frameset"):
            return
        in_table = bool(self.tables) and self.tables[-1].tag in _FOSTERS
        if name == "form" and self.form is not None and not self.in_template():
            return
        if name == "table" and in_table:
            self.end_part("table")
        self.make_room(name, flags)
        if name == "select" and self.in_scope("select"):
            self.pop_to("select")
            return
        if flags & REOPENS:
            self.reopen()
        if flags & VOID:
            self.void(name, flags)
            return
        names = "" if self.skipping else names_of(tag.attributes)
        opened = self.push(name, flags, names, foreign=name in ("svg", "math"))
        if opened is None:
            return
        if tag.closed and opened.foreign:
            self.pop()
        elif name == "form" and not self.in_template():
            self.form = opened
            if in_table:
                self.pop()
        elif flags & FORMATTING:
            self.remember(_Format(name, names, source, opened))

    def make_room(self, name: str, flags: int) -> None:
        """Close what cannot hold an element of this name."""
        if self.stack[-1].tag == "colgroup":
            self.pop()
        if flags & CLOSES_P and not (name == "table" and self.quirks):
            self.close_p()
        if flags & HEADING and self.stack[-1].flags & HEADING:
            self.pop()
        elif name in ("li", "dd", "dt"):
            self.close_item(name)
        elif name == "button" and self.in_scope("button"):
            self.pop_to("button")
        elif name == "a" and self.format_of("a") is not None:
            self.end_format("a")
        elif name == "nobr" and self.in_scope("nobr"):
            self.end_format("nobr")
        elif name in ("option", "optgroup") and self.in_scope("select"):
            self.imply("optgroup" if name == "option" else "")
        elif name in ("option", "optgroup") and self.stack[-1].tag == "option":
            self.pop()
        elif name in ("rb", "rtc", "rp", "rt") and self.in_scope("ruby"):
            self.imply("rtc" if name in ("rp", "rt") else "")
        elif name == "input" and self.in_scope("select"):
            self.pop_to("select")

    def after_raw(self, tag: Tag, html: str) -> int:
        """Where to read on behind a raw text element, which ends there."""
        end = raw_end(html, tag.end, tag.name)
        if self.stack[-1].tag == tag.name:
            self.pop()
        if tag.name == "title" and self.title is None:
            self.title = html[tag.end : end]
        if tag.name == "script" and "ld+json" in tag.attributes.get("type", "").lower():
            self.scripts.append(html[tag.end : end])
        closing = read_tag(html, end) if end < len(html) else None
        return closing.end if closing else len(html)

    def end(self, tag: Tag) -> int:
        """Treat an end tag; where to read on."""
        name, flags = tag.name, TAGS.get(tag.name, REOPENS)
        if self.phase < _BODY and not self.in_template():
            if name == "head":
                self.phase = _AFTER_HEAD
            if name not in ("body", "html", "br"):
                return tag.end
            self.begin_body()
        if self.phase == _FRAMESET or name in ("body", "html"):
            return tag.end
        if self.stack[-1].foreign:
            if name in ("br", "p"):
                while self.foreign():
                    self.pop()
            elif self.end_foreign(name):
                return tag.end
        if name == "br":
            self.place(Tag("br", {}, 0, False, 0), TAGS["br"], "")
        elif name == "p":
            if not self.in_scope("p", "button"):
                self.push("p", TAGS["p"], "")
            self.close_p()
        elif name == "form":
            self.end_form()
        elif name == "template":
            if self.in_template():
                self.pop_through(next(one for one in reversed(self.tables) if one.tag == name))
        elif name == "li":
            if self.in_scope("li", "ol", "ul"):
                self.pop_to("li")
        elif flags & HEADING:
            self.end_heading()
        elif name in _WANTED:
            self.end_part(name)
        elif flags & FORMATTING:
            self.end_format(name)
        elif not flags & SCOPED_END:
            self.end_other(name)
        elif self.in_scope(name):
            self.pop_to(name)
        return tag.end

    # ---- the stack ---------------------------------------------------------------------------------------------

    def push(self, name: str, flags: int, names: str, foreign: bool = False) -> _Open | None:
        """Open an element; None where it lies too deep and closes at once."""
        self.depth = max(self.depth, len(self.stack))
        element = -1
        if not self.skipping:
            if flags & SKIPPED:
                self.writer.skip()
            else:
                element = self.writer.open(name, names)
        self.skipping += element < 0
        one = _Open(name, flags, element, foreign, len(self.formats))
        self.stack.append(one)
        if not foreign:
            if flags & MARKER:
                self.formats.append(None)
            if name in _LEVELS or name == "template":
                self.tables.append(one)
        if len(self.stack) <= DEEPEST:
            return one
        self.pop()
        return None

    def pop(self) -> None:
        """Close the innermost element, and those around it that are gone."""
        while True:
            one = self.stack.pop()
            if one.element < 0:
                self.skipping -= 1
            else:
                self.writer.close(one.element)
            if one.format is not None:
                one.format.on = None
            if self.tables and self.tables[-1] is one:
                self.tables.pop()
            if one.flags & MARKER and not one.foreign:
                del self.formats[one.formats :]
            if not self.stack or not self.stack[-1].gone:
                return

    def pop_through(self, one: _Open) -> None:
        while one in self.stack:
            self.pop()

    def pop_to(self, name: str) -> None:
        """Close the innermost element of that name, which is open, and all within it."""
        named = (one for one in reversed(self.stack) if one.tag == name and not one.gone and not one.foreign)
        self.pop_through(next(named))

    def void(self, name: str, flags: int) -> None:
        self.depth = max(self.depth, len(self.stack))
        if self.skipping:
            return
        if flags & SKIPPED:
            self.writer.skip()
        else:
            self.writer.void(name)

    def in_scope(self, name: str, *barriers: str) -> bool:
        """Whether an element of that name is open, and none around which scopes end within it (13.2.4.2)."""
        for one in reversed(self.stack):
            if one.gone:
                continue
            if one.tag == name and not one.foreign:
                return True
            if one.flags & BARRIER or one.tag in barriers:
                return False
        return False

    def foreign(self) -> bool:
        """Whether SVG or MathML is being read."""
        return self.stack[-1].foreign and not self.stack[-1].flags & INTEGRATION

    def in_template(self) -> bool:
        return any(one.tag == "template" for one in self.tables)

    def begin_body(self) -> None:
        self.phase = _BODY
        self.skipping -= 1
        self.push("body", TAGS["body"], "")

    def name_again(self, name: str, attributes: dict[str, str]) -> None:
        """A later <html> or <body> names the element, if none did before; the first that has names wins."""
        names = names_of(attributes)
        if not names or self.in_template():
            return
        if name == "html" and not self.named_html:
            self.named_html = True
            self.writer.rename(self.stack[0].element, names)
        if name == "body" and not self.named_body:
            self.named_body = True
            self.writer.rename(self.stack[1].element, names)

    # ---- ends --------------------------------------------------------------------------------------------------

    def close_p(self) -> None:
        if self.in_scope("p", "button"):
            self.pop_to("p")

    def close_item(self, name: str) -> None:
        """A list item ends the one before it, a term or description both."""
        for one in reversed(self.stack):
            if one.gone:
                continue
            if one.tag == name or (name != "li" and one.tag in ("dd", "dt")):
                self.pop_through(one)
                return
            if one.flags & SPECIAL and one.tag not in ("address", "div", "p"):
                return

    def imply(self, but: str) -> None:
        while self.stack[-1].flags & IMPLIED and self.stack[-1].tag != but:
            self.pop()

    def end_other(self, name: str) -> None:
        for one in reversed(self.stack):
            if one.gone:
                continue
            if one.tag == name and not one.foreign:
                self.pop_through(one)
                return
            if one.flags & SPECIAL:
                return

    def end_foreign(self, name: str) -> bool:
        for one in reversed(self.stack):
            if not one.foreign:
                return False
            if one.tag == name:
                self.pop_through(one)
                return True
        return False

    def end_heading(self) -> None:
        for one in reversed(self.stack):
            if one.flags & HEADING and not one.gone:
                self.pop_through(one)
                return
            if one.flags & BARRIER:
                return

    def end_form(self) -> None:
        if self.in_template():
            if self.in_scope("form"):
                self.pop_to("form")
            return
        form, self.form = self.form, None
        if form is None or form not in self.stack or not self.in_scope("form"):
            return
        self.imply("")
        if self.stack[-1] is form:
            self.pop()
        else:
            form.gone = True

    # ---- tables ------------------------------------------------------------------------------------------------

    def table_part(self, name: str, attributes: dict[str, str]) -> None:
        """Open a part of a table, and what it needs around it; what cannot hold it closes (13.2.6.4.9 to 15)."""
        wanted = _WANTED[name]
        while self.tables and self.tables[-1].tag != "template" and _LEVELS[self.tables[-1].tag] >= wanted:
            self.pop_through(self.tables[-1])
        if not self.tables or self.tables[-1].tag == "template":
            return
        inner = self.tables[-1]
        while self.stack[-1] is not inner and not (name == "col" and self.stack[-1].tag == "colgroup"):
            self.pop()
        if wanted > 1 and inner.tag == "table":
            self.push("tbody", TAGS["tbody"], "")
        if wanted > 2 and inner.tag != "tr":
            self.push("tr", TAGS["tr"], "")
        if name != "col":
            self.push(name, TAGS[name], names_of(attributes))
            return
        if self.stack[-1].tag != "colgroup":
            self.push("colgroup", TAGS["colgroup"], "")
        self.void("col", TAGS["col"])

    def end_part(self, name: str) -> None:
        if name == "colgroup" and self.stack[-1].tag == name:
            self.pop()
        for one in reversed(self.tables):
            if one.tag == name:
                self.pop_through(one)
                return
            if one.tag in ("table", "template") or (one.tag == "caption" and name != "table"):
                return
            if one.tag in ("td", "th") and name in ("td", "th", "caption"):
                return

    # ---- formatting --------------------------------------------------------------------------------------------

    def remember(self, new: _Format) -> None:
        """Of like ones three at most (13.2.4.3, "Noah's Ark")."""
        if len(self.formats) >= MOST_FORMATS:
            return
        alike = [one for one in self._recent() if (one.tag, one.source) == (new.tag, new.source)]
        if len(alike) >= 3:
            self.formats.remove(alike[-1])
        self.formats.append(new)
        if new.on is not None:
            new.on.format = new

    def reopen(self) -> None:
        """Open again what was cut off (13.2.4.3, "reconstruct")."""
        if not self.formats or (last := self.formats[-1]) is None or last.on is not None:
            return
        missing = []
        for one in self._recent():
            if one.on is not None:
                break
            missing.append(one)
        for one in reversed(missing):
            if self.reopened >= MOST_REOPENED:
                return
            self.reopened += 1
            one.on = self.push(one.tag, TAGS[one.tag], one.names)
            if one.on is not None:
                one.on.format = one

    def format_of(self, name: str) -> _Format | None:
        return next((one for one in self._recent() if one.tag == name), None)

    def _recent(self) -> list[_Format]:
        """Formats since the last marker, the latest first."""
        found = []
        for one in reversed(self.formats):
            if one is None:
                break
            found.append(one)
        return found

    def end_format(self, name: str) -> None:
        """The end tag of a formatting element (13.2.6.4.7, "adoption agency"), without copies."""
        top = self.stack[-1]
        if top.tag == name and top.format is None and not top.foreign:
            self.pop()
            return
        ended = self.format_of(name)
        if ended is None:
            self.end_other(name)
            return
        if ended.on is None:
            self.formats.remove(ended)
            return
        at = self.stack.index(ended.on)
        within = self.stack[at + 1 :]
        if any(one.flags & BARRIER and not one.gone for one in within):
            return
        self.formats.remove(ended)
        furthest = next((k for k, one in enumerate(within) if one.flags & SPECIAL and not one.gone), None)
        if furthest is None:
            self.pop_through(ended.on)
        else:
            self.take_out(at, at + 1 + furthest)

    def take_out(self, at: int, furthest: int) -> None:
        """End the element at a place of the stack, and what is in it around its furthest block, formats aside."""
        around, leaving = self.stack[at - 1], list[_Open]()
        if (ended := self.stack[at].format) is not None:
            ended.on = self.stack[at].format = None
        block = self.stack[furthest]
        for one in self.stack[at : furthest + 1]:
            if one.format is None and one is not block:
                leaving.append(one)
                continue
            for left in leaving:
                self.stack.remove(left)
                self.skipping -= left.element < 0
                if left.element >= 0:
                    self.writer.leave(left.element, one.element)
            if one.element >= 0 and around.element >= 0:
                self.writer.move(one.element, around.element)
            around, leaving = one, []

    def gather(self, attributes: dict[str, str]) -> None:
        for key in ("name", "property"):
            told = attributes.get(key, "").lower()
            if told in TOLD and "content" in attributes:
                self.metas.append((told, attributes["content"]))
                return


def names_of(attributes: dict[str, str]) -> str:
    """What an element is called: class, id, role, itemprop, as far as it has them, and whether it is hidden."""
    names = "\n".join(attributes[key] for key in ("class", "id", "role", "itemprop") if key in attributes)
    style = attributes.get("style", "")
    hidden = "hidden" in attributes or attributes.get("aria-hidden") == "true"
    return names + "\th" if hidden or "display:none" in style or "display: none" in style else names


_DOCTYPE = re.compile(r"\ufeff?(?:\s|<!--.*?--!?>|<\?[^>]*>)*<!doctype([^>]*)>", re.I | re.S)
_PUBLIC = re.compile(r"\s+html\s+public\s*[\"']([^\"']*)[\"']\s*([\"']?)", re.I)
_QUIRKY = re.compile(
    r"-//(?:w3c//dtd (?:html (?:2|3|4\.0 (?:transitional|frameset)//|experimental)|w3 html)|ietf//|w3o//|microsoft//|netscape"
    r"|softquad|sun micro|spyglass|webtechs|advasoft|metrius|o'reilly|as//|sq//)|html$|-/w3c/dtd html 4\.0",
    re.I,
)
_QUIRKY_ALONE = re.compile(r"-//w3c//dtd html 4\.01 (?:transitional|frameset)//", re.I)


def is_quirky(html: str) -> bool:
    """Whether a paragraph may hold a table (13.2.6.4.1): no doctype, or one of the old ones."""
    doctype = _DOCTYPE.match(html, 0, 4096)
    return doctype is None or _is_quirky_doctype(doctype[1])


@lru_cache(1024)
def _is_quirky_doctype(doctype: str) -> bool:
    public = _PUBLIC.match(doctype)
    if public is None:
        return not doctype.strip().lower().startswith("html")
    return bool(_QUIRKY.match(public[1]) or (_QUIRKY_ALONE.match(public[1]) and not public[2]))
