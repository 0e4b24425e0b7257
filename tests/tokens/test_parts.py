"""No site on both sides."""

from __future__ import annotations

import pytest

from pipeline.tokens import part_of
from pipeline.tokens.parts import site_of


@pytest.mark.parametrize(
    ("host", "site"),
    [
        ("www.example.com", "example.com"),
        ("EXAMPLE.com.", "example.com"),
        ("a.b.c.example.co.uk", "example.co.uk"),
        ("alice.github.io", "alice.github.io"),
        ("www.alice.github.io", "alice.github.io"),
        ("www.münchen.de", "xn--mnchen-3ya.de"),
        ("xn--mnchen-3ya.de", "xn--mnchen-3ya.de"),
        ("192.0.2.7", "192.0.2.7"),
        ("[2001:DB8::1]", "2001:db8::1"),
        ("localhost", "localhost"),
        ("co.uk", "co.uk"),
        ("under_score.example.org", "example.org"),
        ("a..b", "a..b"),
        ("x" * 300 + ".ü.com", "xn--tda.com"),
    ],
)
def test_site_is_the_registrable_domain(host: str, site: str) -> None:
    assert site_of(host) == site


def test_a_site_lies_on_one_side() -> None:
    for n in range(200):
        parts = {part_of(f"{sub}site{n}.com", f"{n}{sub}", 0, 0.3) for sub in ("", "www.", "m.", "a.b.")}
        assert len(parts) == 1


def test_the_share_is_about_that_of_the_sites() -> None:
    hosts = [f"site{n}.org" for n in range(20_000)]
    held = {h for h in hosts if part_of(h, "", 0, 0.05) == "validation"}
    assert 850 < len(held) < 1150
    assert held <= {h for h in hosts if part_of(h, "", 0, 0.1) == "validation"}
    assert held != {h for h in hosts if part_of(h, "", 1, 0.05) == "validation"}
    assert not any(part_of(h, "", 0, 0.0) == "validation" for h in hosts)


def test_without_a_host_the_record_decides() -> None:
    parts = [part_of("", f"{n:032x}", 0, 0.5) for n in range(1000)]
    assert 400 < parts.count("validation") < 600
    assert parts == [part_of("", f"{n:032x}", 0, 0.5) for n in range(1000)]
