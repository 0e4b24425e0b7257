"""Web addresses in one spelling: lower-case ASCII hosts, no scheme, user, port or fragment."""

from __future__ import annotations

import functools
import ipaddress
import re
import socket
from typing import NamedTuple
from urllib.parse import unquote

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:(?=//|\\\\)")
_PATH = re.compile("[/?]")
_DOTS = str.maketrans("。．｡", "...")  # what IDNA takes for a full stop
_DEPTH = 16  # levels at which a listed folder is looked for


class Address(NamedTuple):
    """A URL taken apart: `host` in its one spelling, or "", `path` and `query` in lower case."""

    host: str
    path: str
    query: str

    @classmethod
    def of(cls, url: str) -> Address:
        """Take any string apart as browsers would; nothing is too broken for it."""
        text = url.strip().partition("#")[0].replace("\\", "/")
        scheme = _SCHEME.match(text)
        rest = text[scheme.end() :].lstrip("/") if scheme else text.removeprefix("//")
        authority, path = _until_path(rest)
        path, _, query = path.partition("?")
        host = host_name(_without_port(authority.rpartition("@")[2]))
        return cls(host, path.rstrip("/").lower(), query.lower())

    @property
    def key(self) -> str:
        """How a list names this URL: host without `www.`, path, query."""
        return f"{self._bare}?{self.query}" if self.query else self._bare

    def keys(self) -> list[str]:
        """How a list may name this URL or a folder above it (never the host alone), most specific first."""
        host, folders = self.host.removeprefix("www."), self.path.split("/")
        above = [host + "/".join(folders[:n]) for n in range(min(len(folders) - 1, _DEPTH), 1, -1)]
        return list(dict.fromkeys([self.key, self._bare, *above]))

    @property
    def _bare(self) -> str:
        return self.host.removeprefix("www.") + self.path


def host_name(text: str) -> str:
    """The one spelling of a host: lower-case ASCII by IDNA, no final dot; addresses as dotted numbers."""
    host = text.strip().translate(_DOTS).strip(".").lower()
    if "%" in host:
        host = unquote(host)
    if not host.isascii():
        host = _to_ascii(host)
    if host[-1:].isdigit() or "0x" in host:
        return _dotted(host)
    return host


def names(host: str) -> list[str]:
    """The names by which a block list may stand for this host: from its registered domain down to itself.

    A host without one (an address, a public suffix, `localhost`) has only its own.
    """
    domain = registered_domain(host)
    if not domain:
        return [host] if host else []
    labels = host.removesuffix(domain).rstrip(".").split(".") if host != domain else []
    found = [domain]
    for label in reversed(labels):
        found.append(f"{label}.{found[-1]}")
    return found


@functools.lru_cache(16_384)
def registered_domain(host: str) -> str:
    """The name that was registered under a public suffix, "" where there is none.

    A top-level domain that the public suffix list does not know is a suffix by the list's own default rule.
    """
    if ":" in host or host[-1:].isdigit():
        return ""
    parts = suffix_list().extract_str(host)
    return str(parts.top_domain_under_public_suffix) if parts.suffix else ".".join(host.split(".")[-2:])


@functools.cache
def suffix_list():  # type: ignore[no-untyped-def]  # tldextract's class is imported on first use
    """tldextract with the public suffix list of its package: never the network, never a file cache."""
    from tldextract import TLDExtract

    return TLDExtract(suffix_list_urls=(), cache_dir=None)


def _until_path(text: str) -> tuple[str, str]:
    found = _PATH.search(text)
    return (text[: found.start()], text[found.start() :]) if found else (text, "")


def _without_port(authority: str) -> str:
    if authority.startswith("["):
        return authority.partition("]")[0][1:]
    return authority.partition(":")[0]


def _to_ascii(host: str) -> str:
    """IDNA 2008 with the mapping of UTS 46, as browsers do it; label by label as it is where that refuses."""
    import idna

    try:
        return idna.encode(host, uts46=True).decode()
    except (idna.IDNAError, UnicodeError):
        try:
            return host.encode("idna").decode()
        except UnicodeError:
            return host


def _dotted(host: str) -> str:
    """An IPv4 address in any spelling (0x7f.1, 2130706433) as dotted numbers; any other host as it is."""
    try:
        return str(ipaddress.IPv4Address(socket.inet_aton(host)))
    except (OSError, ValueError):
        return host
