"""Remote files: whatever a server does, the bytes are those of the file or the user is told why not."""

from __future__ import annotations

import gzip
import io
import random
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from warcio.statusandheaders import StatusAndHeaders
from warcio.warcwriter import WARCWriter

from pipeline.errors import GristmillError
from pipeline.sources import Reading, Split, open_split, plan_inputs
from pipeline.sources.rate import Rate
from pipeline.sources.remote import RemoteFile, open_remote, stat_all, stat_remote
from pipeline.sources.transport import _has_credentials, transport_of
from tests.sources.servers import (
    Fault,
    Server,
    drop,
    longer,
    refuse,
    s3_server,
    serving,
    stall,
    trickle,
    with_header,
    without_header,
)

DATA = random.Random(5).randbytes(3 << 20)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Impatient manners and a cache of its own, so that a test takes no longer than what it tests."""
    monkeypatch.setenv("GRISTMILL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("GRISTMILL_RETRY_SECONDS", "0.01")
    monkeypatch.setenv("GRISTMILL_RETRIES", "4")
    monkeypatch.setenv("NO_PROXY", "*")


@pytest.fixture
def server() -> Iterator[Server]:
    with serving(Server({"/file.bin": DATA, "/empty": b""})) as at_work:
        yield at_work


@pytest.fixture(scope="module")
def moto() -> Iterator[str]:
    with s3_server() as address:
        yield address


@pytest.fixture
def bucket(moto: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A bucket `crawl` that holds file.bin, behind a proxy that can misbehave."""
    import s3fs

    for name, value in {"ACCESS_KEY_ID": "key", "SECRET_ACCESS_KEY": "secret", "DEFAULT_REGION": "us-east-1"}.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    with serving(Server(upstream=moto)) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
        _has_credentials.cache_clear()
        files = s3fs.S3FileSystem(endpoint_url=f"http://{moto}", skip_instance_cache=True)
        files.mkdirs("crawl", exist_ok=True)
        files.pipe("crawl/file.bin", DATA)
        yield proxy
    _has_credentials.cache_clear()


def opened(url: str) -> RemoteFile:
    file = open_remote(url, *stat_remote(url))
    assert isinstance(file, RemoteFile)
    return file


def test_a_url_says_size_and_version(server: Server) -> None:
    size, content = stat_remote(f"{server.url}/file.bin")
    assert size == len(DATA)
    assert content.startswith("etag:")
    assert stat_remote(f"{server.url}/empty")[0] == 0
    server.etags = False
    assert stat_remote(f"{server.url}/file.bin") == (len(DATA), "modified:Sun, 18 Oct 2026 10:00:00 GMT")


def test_reading_and_seeking_are_those_of_a_local_file(server: Server) -> None:
    chance, local = random.Random(1), io.BytesIO(DATA)
    with opened(f"{server.url}/file.bin") as remote:
        assert remote.read(0) == b""
        for _ in range(60):
            if chance.random() < 0.4:
                at = chance.randrange(len(DATA) + 10)
                assert remote.seek(at) == local.seek(at)
            size = chance.choice([1, 100, 70_000, 700_000])
            assert remote.read(size) == local.read(size)
            assert remote.tell() == local.tell()
        assert remote.seek(-20, io.SEEK_END) == len(DATA) - 20
        assert remote.read() == DATA[-20:]
        assert remote.read(1) == b""
    with pytest.raises(ValueError, match="closed"):
        remote.read(1)


def test_reading_straight_on_takes_few_requests_and_no_byte_twice(server: Server) -> None:
    with opened(f"{server.url}/file.bin") as file:
        assert b"".join(iter(lambda: file.read(100_000), b"")) == DATA
        assert file.traffic.requests <= 5
        assert file.traffic.bytes == len(DATA)
        assert file.traffic.retries == 0


def test_a_split_fetches_its_own_bytes_and_little_more(server: Server) -> None:
    url = f"{server.url}/file.bin"
    with open_remote(url, *stat_remote(url), until=2 << 20) as file:
        file.seek(1 << 20)
        while file.tell() < 2 << 20:
            file.read(64 << 10)
        assert isinstance(file, RemoteFile)
        time.sleep(0.1)
        assert file.traffic.bytes == 1 << 20
        assert file.read(1000) == DATA[2 << 20 :][:1000]
        assert file.traffic.bytes <= (1 << 20) + (256 << 10)


FAULTS: dict[str, list[Fault | None]] = {
    "503": [refuse(503)] * 3,
    "503 with Retry-After": [refuse(503, "0")],
    "429, 500, 502, 504": [refuse(429), refuse(500), refuse(502), refuse(504)],
    "403 of a file that could be read": [refuse(403), refuse(403)],
    "cut off": [drop(100_000), drop(90_000), drop(10), drop(0)],
    "cut off again and again": [drop(70_000)] * 20,
    "reset": [drop(150_000, reset=True)] * 3,
    "stalls": [stall(50_000), stall(0)],
    "trickles": [trickle(0.01)],
    "another range": [with_header("Content-Range", lambda told: told.replace("bytes 0-", "bytes 1-"))],
    "no range said": [without_header("Content-Range")],
    "a length that is none": [with_header("Content-Length", lambda told: str(int(told) // 2))],
    "longer than said": [longer],
    "a byte more": [with_header("Content-Length", lambda told: str(int(told) + 1))],
}
SLOW = ("stalls", "trickles")  # a busy machine may look like a server that stalls, too


@pytest.mark.parametrize("name", FAULTS)
def test_what_goes_wrong_on_the_way_does_not_reach_the_reader(
    server: Server, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"{server.url}/file.bin"
    known = stat_remote(url)
    monkeypatch.setenv("GRISTMILL_RETRIES", "9")
    monkeypatch.setenv("GRISTMILL_TIMEOUT_SECONDS", "0.4" if name in SLOW else "60")
    server.faults = list(FAULTS[name])
    with open_remote(url, *known) as file:
        assert file.read(len(DATA)) == DATA
        assert isinstance(file, RemoteFile)
        told = sum(fault not in (None, longer) for fault in FAULTS[name])
        assert file.traffic.retries >= told if name in SLOW else file.traffic.retries == told
    assert not server.faults


def test_a_read_that_was_cut_off_goes_on_from_the_byte_reached(server: Server) -> None:
    url = f"{server.url}/file.bin"
    known = stat_remote(url)
    server.log.clear()
    server.faults = [drop(100_000)]
    with open_remote(url, *known) as file:
        file.read(200_000)
    assert server.log[1][2].startswith("bytes=100000-")


def test_a_server_that_sends_less_than_it_is_asked_for_is_asked_for_the_rest(server: Server) -> None:
    server.most = 100_000
    with opened(f"{server.url}/file.bin") as file:
        assert file.read() == DATA
        assert file.traffic.retries == 0


@pytest.mark.parametrize("faults", [[], [drop(500_000), drop(2_000_000)]])
def test_a_server_that_knows_no_ranges_is_read_once(server: Server, faults: list[Fault | None]) -> None:
    url = f"{server.url}/file.bin"
    server.ranges = False
    known = stat_remote(url)
    assert known[0] == len(DATA)
    with open_remote(url, *known) as file:
        server.faults = [None, *faults]
        assert file.seek(1_000_000)
        assert file.read(500_000) == DATA[1_000_000:1_500_000]
        asked = len(server.log)
        file.seek(0)
        assert file.read() == DATA
        assert len(server.log) == asked


@pytest.mark.parametrize("etags", [True, False])
@pytest.mark.parametrize("ranges", [True, False])
def test_a_file_that_changes_while_it_is_read_is_told(server: Server, etags: bool, ranges: bool) -> None:
    server.etags, server.ranges = etags, ranges
    url = f"{server.url}/file.bin"
    known = stat_remote(url)
    with open_remote(url, *known) as file:
        if ranges:
            file.read(1000)
        server.files["/file.bin"] = (b"other" + DATA)[: len(DATA) + (0 if etags else 1)]
        file.seek(2 << 20)
        with pytest.raises(GristmillError, match="changed while it was read") as error:
            file.read(1000)
    assert "accept-changed-inputs" in error.value.todo


@pytest.mark.parametrize(
    ("fault", "what"),
    [
        (refuse(500), "answers 500, 5 times in a row"),
        (drop(1000), "broke off, 5 times"),
        (without_header("Content-Range"), "does not say which bytes"),
        (with_header("Content-Range", lambda told: "bytes 7-8/3145728"), "sends bytes 7-8 where 0-"),
    ],
)
def test_a_server_that_goes_on_failing_is_given_up_with_the_number_of_tries(
    server: Server, fault: Fault, what: str
) -> None:
    url = f"{server.url}/file.bin"
    known = stat_remote(url)
    server.always = fault
    with open_remote(url, *known) as file, pytest.raises(GristmillError, match=what) as error:
        file.read(200_000)
    assert error.value.where == url
    assert "resumes" in error.value.todo


@pytest.mark.parametrize(
    ("fault", "what", "requests"),
    [
        (refuse(404), "answers 404", 1),
        (refuse(410), "answers 410", 1),
        (refuse(401), "answers 401", 1),
        (refuse(403), "answers 403", 4),
        (refuse(400), "answers 400", 1),
        (without_header("Content-Range"), "does not say how long", 1),
    ],
)
def test_what_cannot_be_read_is_told_at_once(server: Server, fault: Fault, what: str, requests: int) -> None:
    server.always = fault
    with pytest.raises(GristmillError, match=what) as error:
        stat_remote(f"{server.url.replace('//', '//user:secret@')}/file.bin?signature=abc")
    assert error.value.where == f"{server.url}/file.bin"
    assert error.value.todo
    assert len(server.log) == requests


@pytest.mark.parametrize(
    ("url", "what"),
    [
        ("http://127.0.0.1:9/x", "connection was refused"),
        ("http://nowhere.invalid/x", "no host nowhere.invalid"),
        ("ftp://host/x", "does not read ftp://"),
        ("s3://bucket", "names a bucket"),
        ("http://[/x", "no URL"),
    ],
)
def test_an_address_that_leads_nowhere_is_told(url: str, what: str) -> None:
    with pytest.raises(GristmillError, match=what):
        stat_remote(url)


def test_a_number_in_the_environment_that_is_none_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRISTMILL_MAX_REQUESTS_PER_SECOND", "many")
    with pytest.raises(GristmillError, match="'many' is no such number"):
        stat_remote("http://127.0.0.1:9/x")


def write_warc(path: Path) -> None:
    with path.open("wb") as out:
        writer = WARCWriter(out, gzip=True)
        for i in range(30):
            body = f"<html><body><p>Page {i}</p>{random.Random(i).randbytes(30_000).hex()}</body></html>".encode()
            head = StatusAndHeaders("200 OK", [("Content-Type", "text/html")], protocol="HTTP/1.1")
            headers = {"WARC-Date": "2026-10-18T00:00:00Z", "WARC-Record-ID": f"<urn:uuid:{i}>"}
            url = f"https://example.org/{i}"
            writer.write_record(
                writer.create_warc_record(
                    url, "response", io.BytesIO(body), http_headers=head, warc_headers_dict=headers
                )
            )


def pages(splits: list[Split]) -> list[tuple[str, int, int, bytes]]:
    return [
        (page.record_id, page.offset, page.length, page.payload)
        for split in splits
        for page in open_split(split, Reading())
    ]


def test_a_warc_over_a_bad_line_gives_the_pages_of_the_local_file(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GRISTMILL_RETRIES", "10")
    write_warc(tmp_path / "a.warc.gz")
    server.files["/a.warc.gz"] = (tmp_path / "a.warc.gz").read_bytes()
    url, chance = f"{server.url}/a.warc.gz", random.Random(3)
    local = plan_inputs([str(tmp_path / "a.warc.gz")], 200_000)
    remote = plan_inputs([url], 200_000)
    assert len(remote) == len(local) > 2
    assert [(split.name, split.start, split.end) for split in remote] == [(s.name, s.start, s.end) for s in local]
    kinds = [None, refuse(502), drop(20_000), drop(70_000, reset=True), refuse(500), longer]
    server.faults = [refuse(503), *(chance.choice(kinds) for _ in range(40))]
    assert pages(remote) == pages(local)
    assert len(pages(local)) == 30


def test_a_server_that_stays_away_is_no_damage_of_the_file(server: Server, tmp_path: Path) -> None:
    write_warc(tmp_path / "a.warc.gz")
    server.files["/a.warc.gz"] = (tmp_path / "a.warc.gz").read_bytes()
    splits = plan_inputs([f"{server.url}/a.warc.gz"])
    server.faults, server.always = [drop(100_000)], drop(10)
    with pytest.raises(GristmillError, match="broke off"):
        pages(splits)


def test_jsonl_and_parquet_are_read_from_a_server(server: Server, tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = [{"url": f"https://example.org/{i}", "text": random.Random(i).randbytes(500).hex()} for i in range(900)]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "t.parquet", row_group_size=100)
    import orjson

    (tmp_path / "t.jsonl").write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in rows))
    (tmp_path / "t.jsonl.gz").write_bytes(gzip.compress((tmp_path / "t.jsonl").read_bytes()))
    for name in ("t.parquet", "t.jsonl", "t.jsonl.gz"):
        server.files[f"/{name}"] = (tmp_path / name).read_bytes()
        server.faults = [None, None, drop(5000), refuse(504), drop(60_000)]
        found = [p.payload for s in plan_inputs([f"{server.url}/{name}"], 300_000) for p in open_split(s, Reading())]
        assert found == [row["text"].encode() for row in rows]


# ---- S3 ----------------------------------------------------------------------------------------------------------


def test_s3_is_read_like_a_file(bucket: Server) -> None:
    size, content = stat_remote("s3://crawl/file.bin")
    assert size == len(DATA)
    assert content.startswith("etag:")
    with opened("s3://crawl/file.bin") as file:
        assert file.read() == DATA
        assert file.traffic.retries == 0


@pytest.mark.parametrize(
    "name", ["503", "429, 500, 502, 504", "403 of a file that could be read", "cut off", "reset", "stalls"]
)
def test_what_goes_wrong_on_the_way_from_s3_does_not_reach_the_reader(
    bucket: Server, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = stat_remote("s3://crawl/file.bin")
    monkeypatch.setenv("GRISTMILL_RETRIES", "9")
    monkeypatch.setenv("GRISTMILL_TIMEOUT_SECONDS", "0.4" if name in SLOW else "60")
    bucket.faults = list(FAULTS[name])
    with open_remote("s3://crawl/file.bin", *known) as file:
        assert file.read(len(DATA)) == DATA
        assert isinstance(file, RemoteFile)
        told = len(FAULTS[name])
        assert file.traffic.retries >= told if name in SLOW else file.traffic.retries == told


def test_an_object_that_changes_while_it_is_read_is_told(bucket: Server, moto: str) -> None:
    import s3fs

    files = s3fs.S3FileSystem(endpoint_url=f"http://{moto}", skip_instance_cache=True)
    with opened("s3://crawl/file.bin") as file:
        file.read(1000)
        files.pipe("crawl/file.bin", b"x" * len(DATA))
        file.seek(2 << 20)
        with pytest.raises(GristmillError, match="changed while it was read"):
            file.read(1000)


def test_what_s3_does_not_hold_is_told(bucket: Server) -> None:
    for url in ("s3://crawl/nothing", "s3://no-such-bucket/file"):
        with pytest.raises(GristmillError, match="answers 404") as error:
            stat_remote(url)
        assert error.value.where == url


def test_an_empty_object_is_empty(bucket: Server, moto: str) -> None:
    import s3fs

    s3fs.S3FileSystem(endpoint_url=f"http://{moto}", skip_instance_cache=True).pipe("crawl/empty", b"")
    assert stat_remote("s3://crawl/empty")[0] == 0


def test_common_crawl_without_credentials_is_read_over_https(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    _has_credentials.cache_clear()
    try:
        assert transport_of("s3://commoncrawl/crawl-data/x.warc.gz", 1.0).host == "data.commoncrawl.org"
        assert transport_of("s3://another/crawl-data/x.warc.gz", 1.0).host == "s3_another"
    finally:
        _has_credentials.cache_clear()


# ---- the shared rate -----------------------------------------------------------------------------------------------

READER = """
import sys
from pipeline.sources.remote import stat_remote
print("ready", flush=True)
sys.stdin.readline()
for _ in range(int(sys.argv[2])):
    stat_remote(sys.argv[1])
"""


def test_two_processes_share_the_rate(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRISTMILL_MAX_REQUESTS_PER_SECOND", "20")
    command = [sys.executable, "-c", READER, f"{server.url}/file.bin", "20"]
    readers = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) for _ in range(2)]
    for reader in readers:
        assert reader.stdout is not None
        reader.stdout.readline()
    for reader in readers:
        assert reader.stdin is not None
        reader.stdin.write(b"go\n")
        reader.stdin.flush()
    for reader in readers:
        reader.communicate()
        assert reader.returncode == 0
    moments = sorted(moment for moment, *_ in server.log)
    assert len(moments) == 40
    # A second's worth may go at once; the other 20 take a second.
    assert moments[-1] - moments[0] >= 0.95
    assert all(moments[i + 25] - moments[i] > 0.2 for i in range(15))


def test_bytes_are_paced_too(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRISTMILL_MAX_BYTES_PER_SECOND", str(4 << 20))
    begun = time.monotonic()
    with opened(f"{server.url}/file.bin") as file:
        while file.read(256 << 10):
            pass
    assert time.monotonic() - begun > 0.3


def test_one_refusal_slows_all_and_several_at_once_count_as_one() -> None:
    one, other, never = Rate("host", 100.0, 0.0), Rate("host", 100.0, 0.0), threading.Event()
    asked = one.take(1, never)
    one.refused(asked, 0.2)
    other.refused(asked, 0.2)
    begun = time.monotonic()
    for _ in range(6):
        other.take(1, never)
    # After the pause at half the rate and with no burst: 5 intervals of 1/50 s.
    assert 0.28 < time.monotonic() - begun < 0.9


def test_a_throttled_read_makes_other_readers_wait(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    url = f"{server.url}/file.bin"
    known = stat_remote(url)
    monkeypatch.setenv("GRISTMILL_RETRY_SECONDS", "0.3")
    server.faults = [refuse(503)]
    with open_remote(url, *known) as throttled, open_remote(url, *known) as other:
        reading = threading.Thread(target=throttled.read, args=(1000,))
        reading.start()
        while not any(status == 503 for status in server.statuses()):
            time.sleep(0.005)
        time.sleep(0.05)
        begun = time.monotonic()
        other.read(1000)
        assert time.monotonic() - begun > 0.15
        reading.join()


def test_a_state_from_before_the_machine_started_is_passed_over(tmp_path: Path) -> None:
    rate, never = Rate("host", 1000.0, 0.0), threading.Event()
    path = tmp_path / "cache/rates/host"
    for content in (b"\xff" * 40, b"short", b"\x00\x00\x00\x00\x00\x00\xf0\x7f" * 5):
        path.write_bytes(content)
        begun = time.monotonic()
        rate.take(1, never)
        assert time.monotonic() - begun < 0.5


def test_a_cache_that_cannot_be_written_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("GRISTMILL_CACHE", str(tmp_path / "file"))
    with pytest.raises(GristmillError, match="rate that all workers share"):
        stat_remote("http://127.0.0.1:9/x")


# ---- many files ----------------------------------------------------------------------------------------------------


def test_what_common_crawl_said_once_is_not_asked_again(server: Server) -> None:
    names = [f"/crawl-data/CC-MAIN-2026-43/segments/1/warc/{i}.warc.gz" for i in range(50)]
    server.files |= {name: name.encode() for name in names}
    urls = [server.url + name for name in names]
    first = list(stat_all(urls))
    assert [size for size, _ in first] == [len(name) for name in names]
    assert len(server.log) == 50
    assert list(stat_all(urls)) == first
    assert len(server.log) == 50
    server.files[names[7]] = b"now another"
    with open_remote(urls[7], *first[7]) as file, pytest.raises(GristmillError, match="changed"):
        file.read(1)
    assert stat_remote(urls[7])[0] == len(b"now another")


def test_many_files_are_asked_for_at_once_and_the_first_failure_is_told(server: Server) -> None:
    server.files |= {f"/{i}": b"x" * i for i in range(64)}

    def slow(reply: object) -> object:
        time.sleep(0.03)
        return reply

    server.always = slow  # type: ignore[assignment]  # it is a Fault
    begun = time.monotonic()
    assert [size for size, _ in stat_all([f"{server.url}/{i}" for i in range(64)])] == list(range(64))
    assert time.monotonic() - begun < 64 * 0.03
    with pytest.raises(GristmillError, match="answers 404"):
        list(stat_all([f"{server.url}/{i}" for i in range(60, 70)]))
