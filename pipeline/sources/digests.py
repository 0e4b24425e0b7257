"""Digests: what an archive says its records hash to, and whether they do."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re

from pipeline.sources.heads import Head
from pipeline.sources.http import parse_http

_SHA1 = re.compile(r"[A-Z2-7]{32}")
_SIZES = {"md5": 16, "sha1": 20, "sha256": 32, "sha512": 64}


def sha1(payload: bytes | memoryview) -> str:
    """The digest as archives write it: "sha1:" and 32 letters of base32."""
    return "sha1:" + base64.b32encode(hashlib.sha1(payload).digest()).decode()


def normalise(digest: str) -> str:
    """`SHA1:…` in hexadecimal or base32 as `sha1:BASE32`; anything else as it is, its algorithm in lower case."""
    algorithm, colon, value = digest.strip().partition(":")
    if not colon:
        return algorithm
    algorithm, value = algorithm.strip().lower().replace("sha-", "sha"), value.strip()
    if algorithm == "sha1" and not _SHA1.fullmatch(value) and (raw := _decode(algorithm, value)):
        value = base64.b32encode(raw).decode()
    return f"{algorithm}:{value}"


def matches(digest: str, data: bytes | memoryview) -> bool | None:
    """Whether `data` hashes to `digest`; None where that cannot be told (no digest, an unknown algorithm)."""
    algorithm, _, value = normalise(digest).partition(":")
    raw = _decode(algorithm, value)
    return None if raw is None else hashlib.new(algorithm, data, usedforsecurity=False).digest() == raw


def claims_fit(head: Head, block: memoryview) -> bool | None:
    """Whether what a record's header and its HTTP header claim about the block is so; None where they claim nothing."""
    for name, data in (("warc-block-digest", block), ("warc-payload-digest", None)):
        if digest := head.get(name):
            if data is None:
                data = block[parse_http(block).body_at :]
            if (fits := matches(digest, data)) is not None:
                return fits
    http = parse_http(block)
    if http.content_length is None or http.transfer_encoding:
        return None
    return http.content_length == len(block) - http.body_at


def _decode(algorithm: str, value: str) -> bytes | None:
    size = _SIZES.get(algorithm)
    if size is None:
        return None
    try:
        if len(value) == size * 2:
            return bytes.fromhex(value)
        raw = base64.b32decode(value.upper() + "=" * (-len(value) % 8))
    except (ValueError, binascii.Error):
        return None
    return raw if len(raw) == size else None
