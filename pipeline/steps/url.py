"""UrlFilter: drop pages by where they come from, as datatrove does, without what lets pages slip past it."""

from __future__ import annotations

import functools
import hashlib
import os
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from importlib.metadata import version
from typing import Any, ClassVar, Literal, NamedTuple
from urllib.parse import unquote

from pydantic import Field

from pipeline.record import Drop, Page
from pipeline.settings import OWN_FILES
from pipeline.steps.address import Address, names, suffix_list
from pipeline.steps.blocklists import (
    NOT_ALPHANUMERIC,
    HashedSet,
    Kind,
    Words,
    datatrove_hash,
    datatrove_list,
    datatrove_words,
    file_hash,
    own_list,
    own_words,
    squeezed,
)
from pipeline.steps.step import Rule, Step, Takes


class UrlFilter(Step):
    """Drop pages whose domain or URL is listed, or whose URL has listed words, as datatrove's URLFilter does.

    FineWeb's first step (Penedo et al. 2024, arXiv 2406.17557, section 3), with the lists that datatrove
    ships. `matching: datatrove-0.10` decides as datatrove 0.10.1 does on every URL. `strict`, the default,
    drops all that datatrove drops, and also what slips past it: hosts and words in upper case,
    internationalised hosts in the other spelling, percent-encoded words, IP addresses in any spelling,
    subdomains of a listed subdomain, and listed URLs (they have no scheme, so datatrove never meets one).

    No network, ever. The lists are memory-mapped and shared by all workers: see `blocklists`.
    """

    name: ClassVar[str] = "url_filter"
    takes: ClassVar[Takes] = "record"
    rules: ClassVar[tuple[Rule, ...]] = (
        Rule("listed_domain", "listed_domains", "<", "domain_threshold"),
        Rule("listed_url", "listed_urls", "<", "url_threshold"),
        Rule("hard_word", "hard_words", "<", "hard_word_threshold"),
        Rule("soft_words", "soft_words", "<", "soft_word_threshold"),
        Rule("sub_word", "sub_words", "<", "sub_word_threshold"),
    )

    domain_threshold: int | None = Field(
        1, ge=1, description="Drop when so many names of the host are on a list; empty never."
    )
    url_threshold: int | None = Field(
        1, ge=1, description="Drop when the URL, or so many folders above it, are on a list; empty never."
    )
    hard_word_threshold: int | None = Field(
        1, ge=1, description="Drop when the URL has so many hard words, each enough by itself; empty never."
    )
    soft_word_threshold: int | None = Field(
        2,
        ge=1,
        description="Drop when the URL has so many soft words, which tell only together; empty never.",
    )
    sub_word_threshold: int | None = Field(
        1, ge=1, description="Drop when so many sub-words stand anywhere in the URL's letters; empty never."
    )
    matching: Literal["strict", "datatrove-0.10"] = Field(
        "strict", description="How URLs are compared; datatrove-0.10 repeats its decisions exactly."
    )
    datatrove_lists: bool = Field(True, description="Use the lists that datatrove ships.")
    domains: tuple[str, ...] = Field(
        (), description="Files of listed domains, one a line; hosts files too.", json_schema_extra=OWN_FILES
    )
    urls: tuple[str, ...] = Field(
        (), description="Files of listed URLs; a folder covers all in it.", json_schema_extra=OWN_FILES
    )
    hard_words: tuple[str, ...] = Field(
        (), description="Files of words of which one is enough.", json_schema_extra=OWN_FILES
    )
    soft_words: tuple[str, ...] = Field(
        (), description="Files of words of which two are needed.", json_schema_extra=OWN_FILES
    )
    sub_words: tuple[str, ...] = Field(
        (), description="Files of words that count inside longer ones.", json_schema_extra=OWN_FILES
    )
    allow: tuple[str, ...] = Field(
        (), description="Files of domains that are never dropped here.", json_schema_extra=OWN_FILES
    )

    def measure(self, page: Page) -> Mapping[str, float | None]:
        return {value: len(found) for value, found in self._found(page).items()}

    def check(self, page: Page) -> Drop | None:
        found = self._found(page)
        measured = {value: len(hits) for value, hits in found.items()}
        self.note(page, measured)
        drop = self.judge(measured)
        if drop is None:
            return None
        value = next(rule.value for rule in self.rules if rule.name == drop.rule)
        return replace(drop, detail=", ".join(found[value]))

    def load(self) -> None:
        """Map the lists now, building them where no run on this machine has (some seconds)."""
        self._lists()
        suffix_list().extract_str("example.com")

    @property
    def version(self) -> str:
        """The hash of all lists, and of the public suffix list by its package's version."""
        hashes = [[file_hash(path) for path in paths] for paths in self._own]
        listed = f"{datatrove_hash() if self.datatrove_lists else ''}{hashes}"
        return f"lists {hashlib.sha256(listed.encode()).hexdigest()[:32]}, tldextract {version('tldextract')}"

    def _found(self, page: Page) -> dict[str, list[str]]:
        """What was found for each value, as "list: name" or the word; nothing for a page without a URL."""
        if not page.url:
            return {}
        look = _strictly(page.url) if self.matching == "strict" else _like_datatrove(page.url)
        lists = self._lists()
        if any(name in allowed for _, allowed in lists.allow for name in look.hosts):
            return {}
        return {
            "listed_domains": _on_lists(look.hosts, lists.domains),
            "listed_urls": _on_lists(look.urls, lists.urls),
            "hard_words": sorted(look.words & lists.hard_words),
            "soft_words": sorted(look.words & lists.soft_words),
            "sub_words": lists.sub_words_in(look.letters),
        }

    @property
    def _own(self) -> tuple[tuple[str, ...], ...]:
        return (self.domains, self.urls, self.hard_words, self.soft_words, self.sub_words, self.allow)

    def _lists(self) -> _Lists:
        return _lists(self.datatrove_lists, self._own)


class _Look(NamedTuple):
    """What of a URL is looked up."""

    hosts: list[str]
    urls: list[str]
    words: set[str]
    letters: list[str]  # the URL's ASCII letters and digits without anything between them


def _strictly(url: str) -> _Look:
    address = Address.of(url)
    forms = {url, unicodedata.normalize("NFKC", unquote(url))}
    words = {word.lower() for form in forms for word in NOT_ALPHANUMERIC.split(form)}
    return _Look(names(address.host), [url, *address.keys()], words, sorted(map(squeezed, forms)))


def _like_datatrove(url: str) -> _Look:
    parts = suffix_list()(url)
    hosts = list(dict.fromkeys([parts.top_domain_under_public_suffix, parts.fqdn]))
    return _Look(hosts, [url], set(NOT_ALPHANUMERIC.split(url)), [squeezed(url)])


def _on_lists(names: Iterable[str], lists: tuple[tuple[str, HashedSet], ...]) -> list[str]:
    return [f"{label}: {name}" for name in names for label, listed in lists if name in listed]


@dataclass(frozen=True)
class _Lists:
    domains: tuple[tuple[str, HashedSet], ...]
    urls: tuple[tuple[str, HashedSet], ...]
    hard_words: frozenset[str]
    soft_words: frozenset[str]
    sub_words: Any  # an Aho-Corasick automaton, None without words
    allow: tuple[tuple[str, HashedSet], ...]

    def sub_words_in(self, letters: list[str]) -> list[str]:
        if self.sub_words is None:
            return []
        return sorted({word for text in letters for _, word in self.sub_words.iter(text)})


@functools.cache
def _lists(shipped: bool, own: tuple[tuple[str, ...], ...]) -> _Lists:
    """Every list of a step's settings, opened once a process."""
    domains, urls, hard, soft, sub, allow = own
    return _Lists(
        domains=_hashed("domains", shipped, domains),
        urls=_hashed("urls", shipped, urls),
        hard_words=_words("banned_words", shipped, hard),
        soft_words=_words("soft_banned_words", shipped, soft),
        sub_words=_automaton(_words("banned_subwords", shipped, sub)),
        allow=_hashed("domains", False, allow),
    )


def _hashed(kind: Kind, shipped: bool, paths: tuple[str, ...]) -> tuple[tuple[str, HashedSet], ...]:
    own = [(_label(path), own_list(path, kind)) for path in paths]
    return (("datatrove", datatrove_list(kind)), *own) if shipped else tuple(own)


def _words(which: Words, shipped: bool, paths: tuple[str, ...]) -> frozenset[str]:
    words = datatrove_words(which) if shipped else frozenset()
    return words.union(*map(own_words, paths))


def _automaton(words: frozenset[str]) -> Any:
    import ahocorasick

    automaton = ahocorasick.Automaton()
    for word in sorted(words):
        automaton.add_word(word, word)
    automaton.make_automaton()
    return automaton if words else None


def _label(path: str) -> str:
    """What the ledger calls a list: its file's name, or in UT1's layout (adult/domains) its folder's."""
    stem = os.path.basename(path).partition(".")[0]
    return os.path.basename(os.path.dirname(path)) or stem if stem in ("domains", "urls") else stem
