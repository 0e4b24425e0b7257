"""The texts that the sample crawl is built from: what stands in `texts/*.md`, parsed.

A file holds pages, each after a line of five equals signs: `key: value` lines, a blank line, then Markdown.
Forum posts and comments start with `@@ user | date`; `%% comments` opens the comments below an article.
A key may stand more than once where it is a list (`with`, `without`, `gone`, `mirror`, `edit`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

TEXTS = Path(__file__).parent / "texts"
_LISTS = {"with": "present", "without": "absent", "gone": "gone", "mirror": "mirrors", "edit": "edits"}


@dataclass(frozen=True, slots=True)
class Post:
    """One contribution to a forum thread or one comment."""

    user: str
    date: str
    body: str


@dataclass(slots=True)
class Source:
    """One page: where it lies on the invented web, what it says, and what must become of it."""

    url: str
    theme: str
    title: str
    by: str = ""
    date: str = ""
    lang: str = "en"
    charset: str = ""  # "gbk/meta": how the bytes are encoded, and where the page says so (header, meta, both, none)
    encoding: str = ""  # content-encodings as stored: gzip, br, chunked, joined by "+"
    file: str = ""  # number of the WARC that it goes to
    damage: str = ""  # mojibake | flip | cut | truncated-flag
    copy: str = ""  # URL of the page whose body this one repeats, with `edits` ("old => new")
    drop: str = ""  # steps that may drop it: "c4_quality/curly_bracket gopher_quality"; "" where it must be kept
    why: str = ""
    cluster: str = ""  # pages with one name are duplicates: exactly one of them is kept
    body: str = ""
    posts: list[Post] = field(default_factory=list)
    comments: list[Post] = field(default_factory=list)
    present: list[str] = field(default_factory=list)
    absent: list[str] = field(default_factory=list)
    gone: list[str] = field(default_factory=list)  # planted PII: "email jane@…"
    mirrors: list[str] = field(default_factory=list)
    edits: list[str] = field(default_factory=list)

    @property
    def host(self) -> str:
        return self.url.split("/", 3)[2]


def read_sources(folder: Path = TEXTS) -> list[Source]:
    """Every page of the texts, files in order of name and pages in order of appearance."""
    pages = [
        _parse(chunk, path.name)
        for path in sorted(folder.glob("*.md"))
        for chunk in path.read_text(encoding="utf-8").split("=====\n")[1:]
    ]
    by_url = {page.url: page for page in pages}
    if len(by_url) != len(pages):
        raise ValueError(f"two pages have one URL: {sorted(p.url for p in pages if by_url[p.url] is not p)}")
    for page in pages:
        if page.copy:
            _copy(page, by_url[page.copy])
    return pages


def _parse(chunk: str, file: str) -> Source:
    head, _, body = chunk.partition("\n\n")
    fields: dict[str, str] = {}
    lists: dict[str, list[str]] = {name: [] for name in _LISTS.values()}
    for line in head.splitlines():
        key, colon, value = line.partition(": ")
        if not colon:
            raise ValueError(f"{file}: not a 'key: value' line: {line!r}")
        if key in _LISTS:
            lists[_LISTS[key]].append(value)
        else:
            fields[key] = value
    text, _, comments = body.partition("%% comments\n")
    lead, *posts = _posts(text)
    return Source(
        **fields,
        body=lead.body,
        posts=posts,
        comments=_posts(comments)[1:],
        present=lists["present"],
        absent=lists["absent"],
        gone=lists["gone"],
        mirrors=lists["mirrors"],
        edits=lists["edits"],
    )


def _posts(text: str) -> list[Post]:
    """What stands before the first `@@` line as a Post without user, then the posts."""
    lead, *rest = ("\n" + text).split("\n@@ ")
    posts = [Post("", "", lead.strip("\n"))]
    for chunk in rest:
        line, _, body = chunk.partition("\n")
        user, _, date = line.partition(" | ")
        posts.append(Post(user, date, body.strip("\n")))
    return posts


def _copy(page: Source, original: Source) -> None:
    page.body, page.posts = original.body, original.posts
    for edit in page.edits:
        old, arrow, new = edit.partition(" => ")
        if not arrow or old not in page.body:
            raise ValueError(f"{page.url}: {page.copy} has no {old!r} to edit")
        page.body = page.body.replace(old, new)
