"""UrlFilter: datatrove's decisions page by page, what slips past datatrove, and the shared lists."""

from __future__ import annotations

import gzip
import json
import multiprocessing
import re
import tarfile
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pipeline.errors import GristmillError
from pipeline.record import Drop, Page
from pipeline.steps import blocklists
from pipeline.steps.address import Address, host_name, names, registered_domain
from pipeline.steps.url import UrlFilter

DATA = Path(__file__).parents[2].parent / "shared/data/curation"
needs_data = pytest.mark.skipif(not DATA.exists(), reason="the test data lie beside the checkout only")

pytestmark = pytest.mark.filterwarnings("ignore:The 'registered_domain' property:DeprecationWarning")

PARITY = UrlFilter(matching="datatrove-0.10")
STRICT = UrlFilter()


@pytest.fixture(autouse=True, scope="module")
def _lists_are_built() -> None:
    STRICT.load()


def page(url: str) -> Page:
    return Page("0" * 32, "a.warc.gz", 0, 1, "response", url=url)


def rule(step: UrlFilter, url: str) -> str:
    drop = step.check(page(url))
    return drop.rule if drop else ""


def own_lists(folder: Path, **lists: str) -> UrlFilter:
    """A filter with lists of its own alone."""
    given: dict[str, Any] = {"datatrove_lists": False}
    for setting, lines in lists.items():
        path = folder / f"{setting}.txt"
        path.write_text(lines)
        given[setting] = (str(path),)
    return UrlFilter(**given)


# --- datatrove's own filter, with its own lists

REASONS = {
    "": "",
    "domain": "listed_domain",
    "subdomain": "listed_domain",
    "url": "listed_url",
    "hard_blacklisted": "hard_word",
    "soft_blacklisted": "soft_words",
    "blacklisted_subword": "sub_word",
}


class Datatrove:
    """datatrove 0.10.1's URLFilter, with those of its 4.56 million domains that the URLs could match.

    All of them would take 10 s and 665 MB, and decide the same.
    """

    def __init__(self, urls: list[str]) -> None:
        from datatrove.pipeline.filters.url_filter import URLFilter, get_list
        from datatrove.utils._import_utils import ASSETS_PATH
        from tldextract import TLDExtract

        self.filter = filter_ = URLFilter(use_integrated_lists=False)
        filter_.tldextractor = TLDExtract(suffix_list_urls=(), cache_dir=None)
        wanted = {name for url in urls for name in _names_for(filter_.tldextractor(url))}
        with tarfile.open(Path(ASSETS_PATH) / "url_filterblacklistsv0_3_0.tar.gz") as archive:
            lines = (line.decode().strip() for line in archive.extractfile("domains") or ())
            filter_.block_listed_domains = {line for line in lines if line in wanted}
            filter_.block_listed_url = {line.decode().strip() for line in archive.extractfile("urls") or ()}
        filter_.banned_words = get_list(ASSETS_PATH, "banned_words.txt", set())
        filter_.soft_banned_words = get_list(ASSETS_PATH, "soft_banned_words.txt", set())
        filter_.banned_subwords = get_list(ASSETS_PATH, "banned_subwords.txt", set())
        import ahocorasick

        filter_.banned_subwords_automaton = ahocorasick.Automaton(ahocorasick.STORE_INTS)
        for i, word in enumerate(filter_.banned_subwords):
            filter_.banned_subwords_automaton.add_word(word, i)
        filter_.banned_subwords_automaton.make_automaton()

    def rule(self, url: str) -> str:
        from datatrove.data import Document

        verdict = self.filter.filter(Document(text="", id="", metadata={"url": url}))
        return REASONS["" if verdict is True else verdict[1]]


def _names_for(parts: Any) -> tuple[str, str]:
    return parts.top_domain_under_public_suffix, parts.fqdn


class Listed(NamedTuple):
    """A sample of what datatrove's archive lists."""

    domains: list[str]
    internationalised: list[str]
    addresses: list[str]
    urls: list[str]


@cache
def listed() -> Listed:
    with tarfile.open(blocklists._datatrove_asset(blocklists._ARCHIVE)) as tar:
        sample = Listed([], [], [], [line.decode().strip() for line in tar.extractfile("urls") or ()][::20])
        for i, line in enumerate(tar.extractfile("domains") or ()):
            if i % 500 == 0:
                sample.domains.append(line.decode().strip())
            elif b"xn--" in line:
                sample.internationalised.append(line.decode().strip())
            elif i < 100_000 and re.fullmatch(rb"(\d+\.){3}\d+\s*", line):
                sample.addresses.append(line.decode().strip())
    return sample


def crawled_urls() -> list[str]:
    """URLs of real pages: the labelled sets and the archives."""
    found = []
    for path in sorted(DATA.glob("extraction/*.truth.jsonl.gz")):
        with gzip.open(path, "rt") as lines:
            found += [json.loads(line).get("url") or "" for line in lines]
    for path in sorted(DATA.glob("warc/real/*.warc.gz")):
        try:
            found += re.findall(rb"WARC-Target-URI: <?([^\r\n>]+)", gzip.decompress(path.read_bytes()))
        except (OSError, EOFError):
            continue
    return sorted({url.decode("utf-8", "replace") if isinstance(url, bytes) else url for url in found} - {""})


def made_urls() -> list[str]:
    """URLs of listed hosts and words in every spelling, with and without what is around them."""
    from random import Random

    draw = Random(7)
    words = [*blocklists.datatrove_words("banned_words"), *blocklists.datatrove_words("soft_banned_words")]
    words = sorted([*words, *blocklists.datatrove_words("banned_subwords")])
    hosts = [
        *listed().domains,
        "example.com",
        "news.example.co.uk",
        "10.0.0.1",
        "localhost",
        "münchen.de",
    ]
    shapes = [
        "http://{h}/",
        "https://www.{h}/{w}/{v}",
        "HTTP://{H}/a-{w}.html",
        "http://a.b.{h}:81/?q={w}+{v}",
    ]
    shapes += [
        "http://{h}./{W}-{v}",
        "//u:p@{h}/{w}{v}",
        "{h}/{w}",
        "http://{h}%2f{w}",
        "http://example.com/{w}-{v}",
    ]
    shapes += [
        "http://example.com/x{w}y",
        "http://example.com/{W}",
        "http://{w}.com/",
        "http://example.com/{w}_{v}",
    ]
    made = []
    for _ in range(6000):
        h, w, v = draw.choice(hosts), draw.choice(words), draw.choice(words)
        made.append(draw.choice(shapes).format(h=h, w=w, v=v, H=h.upper(), W=w.upper()))
    return [*made, *listed().urls, *(f"http://{entry}" for entry in listed().urls)]


ODD_URLS = [
    "http://",
    "://",
    "http:///path",
    "http://[::1]:80/",
    "http://[::1",
    "http://]/",
    "http://a..b/",
    "http://.com",
    "http://com",
    "http://co.uk/",
    "http://" + "a." * 300 + "com",
    "http://exa mple.com/ x",
    "\x00\x01",
    "http://\ud800.com/",
    "javascript:void(0)",
    "http://xn--/",
    "http://xn--a.com",
    "http://" + "ü" * 80 + ".de",
    "http://1.2.3.4.5/",
    "http://999.1.1.1/",
    "http://example.com:port/",
    "mailto:someone@example.com",
    "http://example.com/%zz%",
    "ｈｔｔｐ://ｅｘａｍｐｌｅ。ｃｏｍ",
]


@cache
def reference() -> Datatrove:
    return Datatrove([*crawled_urls(), *made_urls(), *ODD_URLS, *(url for _, url in differences())])


@needs_data
def test_on_real_urls_the_decisions_are_datatroves() -> None:
    urls = crawled_urls()
    assert len(urls) > 1500
    assert [rule(PARITY, url) for url in urls] == [reference().rule(url) for url in urls]


def test_on_made_urls_the_decisions_are_datatroves_and_strict_drops_no_less() -> None:
    urls = [*made_urls(), *ODD_URLS]
    expected = [reference().rule(url) for url in urls]
    assert [rule(PARITY, url) for url in urls] == expected
    assert {*expected} == {"", "listed_domain", "listed_url", "hard_word", "soft_words", "sub_word"}
    assert not [url for url, why in zip(urls, expected, strict=True) if why and not rule(STRICT, url)]


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=50).map("http://".__add__) | st.text(max_size=30))
@example("http://po\u0130rn.example.com")
def test_no_url_is_too_odd_and_strict_drops_no_less(url: str) -> None:
    assert not rule(PARITY, url) or rule(STRICT, url)


# Where the two differ by intent, with a URL that shows it: each is dropped by `strict` and kept by datatrove.
@cache
def differences() -> list[tuple[str, str]]:
    word, whole = min(blocklists.datatrove_words("banned_words")), STRICT._lists().domains[0][1]
    domain = next(name for name in listed().domains if registered_domain(name) == name)
    subdomain = next(name for name in listed().domains if registered_domain(name) not in whole)
    spelled = next(name for name in listed().internationalised if host_name(_unicode(name)) == name != _unicode(name))
    address = next(name for name in listed().addresses if registered_domain(name) == "")
    return [
        ("a host in upper case", f"http://{domain.upper()}/"),
        ("a word in upper case", f"http://example.com/{word.upper()}/"),
        ("a percent-encoded word", f"http://example.com/x%20%{ord(word[0]):x}{word[1:]}/"),
        ("an internationalised host in Unicode", f"http://{_unicode(spelled)}/"),
        ("an IP address", f"http://{address}/"),
        ("an IP address as one number", f"http://{_as_number(address)}/"),
        ("a name below a listed subdomain", f"http://a.{subdomain}/"),
        ("a listed URL, whose entry has no scheme", f"http://{listed().urls[5]}"),
        ("what lies in a listed folder", f"https://www.{listed().urls[5].rstrip('/')}/page.html"),
    ]


def _unicode(name: str) -> str:
    try:
        return name.encode().decode("idna")
    except UnicodeError:
        return name


def _as_number(address: str) -> int:
    return int.from_bytes(bytes(map(int, address.split("."))), "big")


def test_each_agreed_difference_from_datatrove() -> None:
    for what, url in differences():
        assert (reference().rule(url), bool(rule(STRICT, url))) == ("", True), what


# --- what is said of a drop


def test_a_drop_names_the_list_and_what_matched() -> None:
    name = listed().domains[100]
    listed_page = page(f"http://www.{name}/")
    drop = STRICT.check(listed_page)
    assert drop is not None
    assert drop == Drop("listed_domain", 1.0, 1.0, f"datatrove: {name}")
    assert listed_page.values["url_filter.listed_domains"] == 1.0
    assert set(listed_page.values) == set(STRICT.columns)


def test_soft_words_are_counted_and_their_threshold_is_a_setting(tmp_path: Path) -> None:
    step = own_lists(tmp_path, soft_words="red\nblue\n# a comment\ngreen\n")
    one, two = page("http://example.com/red/"), page("http://example.com/Red-BLUE/")
    assert step.check(one) is None
    assert one.values["url_filter.soft_words"] == 1.0
    assert step.check(two) == Drop("soft_words", 2.0, 2.0, "blue, red")
    assert step.model_copy(update={"soft_word_threshold": None}).check(two) is None


def test_a_page_without_a_url_is_kept_and_says_nothing() -> None:
    nowhere = page("")
    assert STRICT.check(nowhere) is None
    assert nowhere.values == {}


# --- own lists


def test_own_lists_of_every_kind(tmp_path: Path) -> None:
    step = own_lists(
        tmp_path,
        domains="# mine\nBad.Example\n0.0.0.0 ads.example.org # hosts file\n*.wild.example\nbücher.example\n",
        urls="http://www.good.example/~bad/\ngood.example/page?id=7\n",
        hard_words="casino\n",
        sub_words="free-money\n",
    )
    dropped = {
        "http://bad.example/": "listed_domain",
        "https://a.b.bad.example:8443/x": "listed_domain",
        "http://ads.example.org/": "listed_domain",
        "http://x.wild.example/": "listed_domain",
        "http://xn--bcher-kva.example/": "listed_domain",
        "http://BÜCHER.example/": "listed_domain",
        "http://good.example/~bad": "listed_url",
        "https://www.good.example/~BAD/deep/page.html?x#y": "listed_url",
        "http://good.example/page?id=7": "listed_url",
        "http://good.example/my-casino-page": "hard_word",
        "http://good.example/getfreemoneynow": "sub_word",
    }
    kept = ["http://notbad.example/", "http://good.example/", "http://good.example/page?id=8",
            "http://good.example/casinos", "http://example.org/"]  # fmt: skip
    assert {url: rule(step, url) for url in dropped} == dropped
    assert not [url for url in kept if rule(step, url)]


def test_a_gzipped_list_in_ut1s_layout_is_named_by_its_category(tmp_path: Path) -> None:
    (tmp_path / "gambling").mkdir()
    path = tmp_path / "gambling" / "domains.gz"
    path.write_bytes(gzip.compress(b"bets.example\n"))
    step = UrlFilter(datatrove_lists=False, domains=(str(path),))
    assert step.check(page("http://www.bets.example/")) == Drop("listed_domain", 1.0, 1.0, "gambling: bets.example")


def test_the_allow_list_goes_before_everything(tmp_path: Path) -> None:
    allow = tmp_path / "allow.txt"
    allow.write_text("sex-education.example\n")
    url = f"http://www.sex-education.example/{min(blocklists.datatrove_words('banned_words'))}"
    assert rule(STRICT, url)
    assert rule(UrlFilter(allow=(str(allow),)), url) == ""


def test_the_version_follows_the_lists_and_not_their_place(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    here, there = (
        own_lists(tmp_path / "a", domains="x.example\n"),
        own_lists(tmp_path / "b", domains="x.example\n"),
    )
    (tmp_path / "c").mkdir()
    other = own_lists(tmp_path / "c", domains="y.example\n")
    assert here.version == there.version != other.version
    assert STRICT.version == UrlFilter().version != here.version


def test_a_list_that_is_not_there_is_told_before_the_first_page(tmp_path: Path) -> None:
    with pytest.raises(GristmillError, match="cannot read this list"):
        UrlFilter(domains=(str(tmp_path / "none.txt"),)).load()


# --- the cache


@pytest.fixture
def cache_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GRISTMILL_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "blocklists"


def _many(path: str, cache: str, results: Any) -> None:
    import os

    os.environ["GRISTMILL_CACHE"] = cache
    hashed = blocklists.own_list.__wrapped__(path, "domains")
    results.put((len(hashed), "site7.example" in hashed, "none.example" in hashed))


def test_workers_that_build_at_once_all_get_the_whole_list(tmp_path: Path, cache_folder: Path) -> None:
    source = tmp_path / "list.txt"
    source.write_text("".join(f"site{n}.example\n" for n in range(50_000)))
    context = multiprocessing.get_context("fork")
    results: Any = context.Queue()
    workers = [context.Process(target=_many, args=(str(source), str(cache_folder.parent), results)) for _ in range(4)]
    for worker in workers:
        worker.start()
    assert [results.get(timeout=60) for _ in workers] == [(50_000, True, False)] * 4
    for worker in workers:
        worker.join()
    assert len(list(cache_folder.glob("*.npy"))) == 1
    assert not list(cache_folder.glob("*.tmp"))


def test_a_damaged_cache_is_built_anew(tmp_path: Path, cache_folder: Path) -> None:
    source = tmp_path / "list.txt"
    source.write_text("one.example\ntwo.example\none.example\n")
    open_list = blocklists.own_list.__wrapped__
    assert len(open_list(str(source), "domains")) == 2
    (built,) = cache_folder.glob("*.npy")
    whole = built.read_bytes()
    for damaged in (whole[:-8], whole[:-1] + b"x", b""):
        built.write_bytes(damaged)
        assert "two.example" in open_list(str(source), "domains")
        assert built.read_bytes() == whole


def test_an_empty_list_holds_nothing(tmp_path: Path, cache_folder: Path) -> None:
    (tmp_path / "empty.txt").write_text("# nothing\n\n")
    empty = blocklists.own_list.__wrapped__(str(tmp_path / "empty.txt"), "domains")
    assert len(empty) == 0
    assert "" not in empty


def test_a_cache_that_cannot_be_written_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("GRISTMILL_CACHE", str(tmp_path / "file"))
    (tmp_path / "list.txt").write_text("a.example\n")
    with pytest.raises(GristmillError, match="GRISTMILL_CACHE"):
        blocklists.own_list.__wrapped__(str(tmp_path / "list.txt"), "domains")


def test_datatroves_lists_are_all_there() -> None:
    domains, urls = blocklists.datatrove_list("domains"), blocklists.datatrove_list("urls")
    assert len(domains) == 4_558_940
    assert all(name in domains for name in listed().domains)
    assert all(url in urls for url in listed().urls)
    assert not [n for n in range(20_000) if f"no-such-site-{n}.example" in domains]


# --- addresses


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("http://Example.COM./", "example.com"),
        ("https://user:pass@example.com:8080/x", "example.com"),
        ("http:\\\\example.com\\x", "example.com"),
        ("//example.com/x", "example.com"),
        ("example.com/x", "example.com"),
        ("http://bücher.example", "xn--bcher-kva.example"),
        ("http://XN--BCHER-KVA.example", "xn--bcher-kva.example"),
        ("http://ｅｘａｍｐｌｅ。com", "example.com"),
        ("http://ex%61mple.com/", "example.com"),
        ("http://[2001:DB8::1]:80/", "2001:db8::1"),
        ("http://0x7f.1/", "127.0.0.1"),
        ("http://2130706433/", "127.0.0.1"),
        ("http://host-7/", "host-7"),
        ("", ""),
    ],
)
def test_hosts_have_one_spelling(url: str, host: str) -> None:
    assert Address.of(url).host == host


def test_the_names_of_a_host_end_at_its_registered_domain() -> None:
    assert names("a.b.news.co.uk") == ["news.co.uk", "b.news.co.uk", "a.b.news.co.uk"]
    assert names("example.com") == ["example.com"]
    assert names("127.0.0.1") == ["127.0.0.1"]
    assert names("co.uk") == ["co.uk"]
    assert names("") == []


def test_a_url_is_looked_up_with_the_folders_above_it() -> None:
    assert Address.of("http://www.example.com/A/b/c.html?Q=1#top").keys() == [
        "example.com/a/b/c.html?q=1",
        "example.com/a/b/c.html",
        "example.com/a/b",
        "example.com/a",
    ]
    assert len(Address.of("http://example.com" + "/x" * 500).keys()) < 20
