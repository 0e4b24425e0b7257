"""Train or validation: no web site lies on both sides."""

from __future__ import annotations

import ipaddress
from functools import cache, lru_cache
from hashlib import blake2b
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from tldextract import TLDExtract

Part = Literal["train", "validation"]


def part_of(host: str, record_id: str, seed: int, validation_share: float) -> Part:
    """The part a document belongs to: by hash of its site, or of its record_id where it has no host.

    A site is the registrable domain, so www.example.org and example.org lie together; under a suffix that
    hands out names of its own (github.io, blogspot.com) each name is a site. About `validation_share` of the
    sites, which is not the same share of the documents.
    """
    site = site_of(host) if host else ""
    key = f"site\0{site}" if site else f"record\0{record_id}"
    digest = blake2b(f"{seed}\0{key}".encode(), digest_size=8, person=b"gristmill.parts").digest()
    return "validation" if int.from_bytes(digest, "big") < validation_share * 2**64 else "train"


@lru_cache(1 << 16)
def site_of(host: str) -> str:
    """The registrable domain of a host in ASCII (IDNA), or the host itself: an IP address, a bare name."""
    host = host.strip().rstrip(".").lower()
    try:
        return str(ipaddress.ip_address(host.strip("[]")))
    except ValueError:
        return _ascii(_suffixes()(host).top_domain_under_public_suffix or host)


def _ascii(host: str) -> str:
    if host.isascii():
        return host
    try:
        return host.encode("idna").decode("ascii")
    except UnicodeError:
        return host


@cache
def _suffixes() -> TLDExtract:
    """The public suffix list that tldextract ships; never the network's, nor a cache on this machine."""
    from tldextract import TLDExtract

    return TLDExtract(cache_dir=None, suffix_list_urls=(), fallback_to_snapshot=True, include_psl_private_domains=True)
