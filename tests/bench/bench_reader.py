"""CPU time of reading archives, beside FastWARC and warcio: `python -m tests.bench.bench_reader [--pages 400]`.

One archive as Common Crawl builds it (request, response and metadata of each page, one gzip member each) of real pages
where the labelled ones lie beside the checkout, of invented ones elsewhere. Every reader gives the bodies of the
responses with their HTTP headers parsed. Ours besides yields a row for every record, checks every payload digest and
knows where each record lies; the last line says what that check costs. The readers take turns in one process;
the figure is the best of the rounds, as CPU milliseconds a page.
"""

from __future__ import annotations

import argparse
import base64
import glob
import gzip
import hashlib
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import lz4.frame
import zstandard
from fastwarc import ArchiveIterator, WarcRecordType
from warcio.archiveiterator import ArchiveIterator as WarcioIterator

from pipeline.sources import InputFile, Reading, Split, open_split
from tests.sources.archives import html, record

PAGES = Path(__file__).parents[3] / "shared/data/curation/extraction"
STORED: dict[str, Callable[[bytes], bytes]] = {
    "gzip": lambda data: gzip.compress(data, 6),
    "zstd": lambda data: zstandard.ZstdCompressor(write_checksum=True).compress(data),
    "lz4": lambda data: lz4.frame.compress(data, content_checksum=True),
    "plain": bytes,
}


def pages(count: int) -> Iterator[bytes]:
    for path in sorted(glob.glob(f"{PAGES}/wcxb*.pages.tar.xz")):
        with tarfile.open(path) as archive:
            for member in archive:
                if count and member.isfile() and (file := archive.extractfile(member)):
                    yield file.read(1 << 20)
                    count -= 1
    for seed in range(count):
        yield html(seed, 6000)


def records(payloads: list[bytes]) -> Iterator[bytes]:
    for i, payload in enumerate(payloads):
        url = f"https://site{i}.example/{i}"
        head = f"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {len(payload)}\r\n\r\n".encode()
        digest = base64.b32encode(hashlib.sha1(payload).digest()).decode()
        yield record("request", url, f"GET /{i} HTTP/1.1\r\nHost: site{i}.example\r\n\r\n".encode())
        http = "Content-Type: application/http; msgtype=response"
        yield record("response", url, head + payload, http, f"WARC-Payload-Digest: sha1:{digest}")
        yield record("metadata", url, b"fetchTimeMs: 22\r\ncharset-detected: UTF-8\r\n")


def ours(path: str) -> int:
    size = Path(path).stat().st_size
    split = Split(InputFile("x.warc", path, size, "warc", ""), 0, size)
    return sum(len(page.payload) for page in open_split(split, Reading()) if page.fate is None)


def fastwarc(path: str) -> int:
    with open(path, "rb") as file:
        found = ArchiveIterator(file, record_types=WarcRecordType.response, parse_http=True)
        return sum(len(response.reader.read()) for response in found)


def warcio(path: str) -> int:
    with open(path, "rb") as file:
        return sum(len(r.content_stream().read()) for r in WarcioIterator(file) if r.rec_type == "response")


def measure(readers: dict[str, Callable[[str], int]], path: str, rounds: int, expected: int) -> dict[str, float]:
    best = dict.fromkeys(readers, float("inf"))
    for _ in range(rounds):
        for name, reader in readers.items():
            began = time.process_time()
            got = reader(path)
            best[name] = min(best[name], time.process_time() - began)
            assert got == expected, f"{name} read {got} bytes of {expected}"
    return best


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pages", type=int, default=400)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    payloads = list(pages(options.pages))
    size = sum(map(len, payloads))
    print(
        f"{len(payloads)} pages of {size / len(payloads) / 1000:.0f} KB; CPU ms a page, best of {options.rounds} rounds"
    )
    with tempfile.TemporaryDirectory() as folder:
        for name, store in STORED.items():
            path = f"{folder}/x.warc"
            with open(path, "wb") as file:
                file.writelines(store(r) for r in records(payloads))
            readers = {"gristmill": ours, "fastwarc": fastwarc}
            if name in ("gzip", "plain"):
                readers["warcio"] = warcio
            best = measure(readers, path, options.rounds, size)
            row = "  ".join(f"{reader} {seconds / len(payloads) * 1000:.3f}" for reader, seconds in best.items())
            print(f"{name:6} {row}   (gristmill / fastwarc: {best['gristmill'] / best['fastwarc']:.2f})")
    hashing = min(time_of_hashing(payloads) for _ in range(options.rounds))
    print(f"of gristmill's time, SHA-1 of the payloads is {hashing / len(payloads) * 1000:.3f}")


def time_of_hashing(payloads: list[bytes]) -> float:
    began = time.process_time()
    for payload in payloads:
        hashlib.sha1(payload).digest()
    return time.process_time() - began


if __name__ == "__main__":
    main()
