"""FixText: what is mended, what is left alone, and that fixing twice is fixing once."""

from __future__ import annotations

import gzip
import unicodedata
from pathlib import Path

import ftfy
import pytest
from ftfy.badness import MOJIBAKE_CATEGORIES, is_bad
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.record import Page
from pipeline.speed import character_marks
from pipeline.steps.fix_text import _SUSPICIOUS, FixText, _classes

LID = Path(__file__).parents[2].parent / "shared/data/curation/lid"
needs_lid = pytest.mark.skipif(not LID.exists(), reason="the labelled texts lie beside the checkout only")


def fixed(text: str, **settings: object) -> tuple[str, dict[str, int]]:
    return FixText.model_validate(settings).fixed(text)


def utf8_as(encoding: str, text: str) -> str:
    return text.encode().decode(encoding)


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252", "mac_roman"])
def test_mojibake_is_mended_and_counted_by_line(encoding: str) -> None:
    good = "Le café était déjà fermé.\nA line of plain words.\nGrüße aus Köln, schöne Tage."
    assert fixed(utf8_as(encoding, good)) == (good, {"mojibake": 2})


def test_mojibake_twice_over() -> None:
    assert fixed(utf8_as("cp1252", utf8_as("cp1252", "voilà – déjà"))) == ("voilà – déjà", {"mojibake": 1})


def test_characters_are_composed() -> None:
    assert fixed("re\u0301sume\u0301 \u1112\u1161\u11ab") == ("résumé 한", {"nfc": 1})
    assert fixed("ﬁne", normal_form="NFKC") == ("fine", {"nfc": 1})
    assert fixed("e\u0301", normal_form=None) == ("e\u0301", {})


@pytest.mark.parametrize(
    ("dirty", "clean", "fixes"),
    [
        ("a\x00b\x07c", "abc", {"controls": 2}),
        ("\x1b[31mred\x1b[0m", "red", {"controls": 2}),
        ("\ufeffstart", "start", {"controls": 1}),
        ("lone \ud83d here", "lone \ufffd here", {"controls": 1}),
        ("pair \ud83d\ude00", "pair 😀", {"controls": 1}),
        ("one\r\ntwo\rthree\u2028four\x0cfive", "one\ntwo\nthree\nfour\nfive", {"newlines": 4}),
        ("ends \t\nwith\u00a0\nspace ", "ends\nwith\nspace", {"line_ends": 3}),
        ("Ver\u00adsiche\u00adrung", "Versicherung", {"soft_hyphens": 2}),
    ],
)
def test_each_kind_of_fix(dirty: str, clean: str, fixes: dict[str, int]) -> None:
    assert fixed(dirty) == (clean, fixes)


@pytest.mark.parametrize(
    "clean",
    [
        "",
        "Plain ASCII, in two\n\n\n  indented\tlines.",
        "„So“, sagte er – und ging… «Vraiment ?» l’été, naïve façade, œuvre",
        "कर्ज़ माफ़ क्षेत्र नहीं".replace("ज़", "ज\u093c").replace("फ़", "फ\u093c"),
        "می\u200cخواهم",  # a joiner that Persian is spelled with
        "👨\u200d👩\u200d👧 🏴\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f",
        "磨坊坐落在河边。Млин стоји поред реке. Ο μύλος.",
        "Write &amp; for an ampersand, and &nbsp; for a space.",
    ],
)
def test_clean_text_is_left_alone(clean: str) -> None:
    page = Page("0" * 32, "a.jsonl", 0, 1, "document")
    page.text = clean
    assert FixText().check(page) is None
    assert page.text == clean
    assert "fixes" not in page.notes
    assert page.values == {"fix_text.fixes": 0.0}


def test_entities_are_a_setting() -> None:
    assert fixed("Fish &amp;amp; chips\n<b>&amp;</b>", entities=True) == (
        "Fish & chips\n<b>&amp;</b>",
        {"entities": 2},
    )


def test_every_fix_can_be_switched_off() -> None:
    off = dict.fromkeys(("mojibake", "controls", "soft_hyphens", "newlines", "line_ends", "entities"), False)
    dirty = "sÃ³ \r\n\x00 e\u0301 Ver\u00adein "
    assert fixed(dirty, normal_form=None, **off) == (dirty, {})


def test_the_page_is_told_of_its_fixes() -> None:
    page = Page("0" * 32, "a.jsonl", 0, 1, "document")
    page.text = "sÃ³ \r\n"
    FixText().check(page)
    assert (page.text, page.notes["fixes"]) == ("só\n", {"line_ends": 1, "mojibake": 1, "newlines": 1})
    assert page.values == {"fix_text.fixes": 3.0}


# Characters of ftfy's categories and of what surrounds them, where its heuristics have most to say.
ODD = "".join(sorted({chr(c) for chars in MOJIBAKE_CATEGORIES.values() for c in map(ord, chars)}))
texts = st.one_of(
    st.text(max_size=60),
    st.text(alphabet=ODD + "aZ. -\n\r\x00\x85\xadÐÃÂâ€™вЂГр", max_size=40),
    st.text(max_size=20).map(lambda t: t.encode("utf-8", "replace").decode("latin-1")),
    st.text(max_size=20).map(lambda t: t.encode("utf-8", "replace").decode("cp1251", "replace")),
)


@settings(max_examples=400, deadline=None)
@given(texts)
def test_fixing_twice_is_fixing_once_and_gives_sound_text(text: str) -> None:
    once, _ = fixed(text)
    assert fixed(once) == (once, {})
    once.encode("utf-8")
    assert unicodedata.is_normalized("NFC", once)
    assert "\r" not in once
    assert "\x00" not in once


@settings(max_examples=1000, deadline=None)
@given(texts)
def test_the_cheap_look_misses_nothing_that_ftfy_calls_bad(text: str) -> None:
    assert character_marks(text, _classes()) & _SUSPICIOUS or not is_bad(text)


@needs_lid
@pytest.mark.parametrize("name", ["lingua_sentences.tsv.gz", "udhr_documents.tsv.gz"])
def test_on_labelled_languages_mojibake_is_what_ftfy_says(name: str) -> None:
    """Over 75 and 447 languages: the same outcome as ftfy alone, though nearly no line is shown to it."""
    only = FixText.model_validate(
        {"controls": False, "soft_hyphens": False, "newlines": False, "line_ends": False, "normal_form": None}
    )
    with gzip.open(LID / name, "rt") as lines:
        lines_of = [line.rstrip("\n").split("\t", 2)[2][:4000] for line in lines]
    for text in lines_of[::7]:
        expected = "\n".join(ftfy.fix_encoding(line + "\n").removesuffix("\n") for line in text.split("\n"))
        assert only.fixed(text)[0] == expected


@needs_lid
def test_line_with_umlauts_is_rarely_suspicious() -> None:
    with gzip.open(LID / "lingua_sentences.tsv.gz", "rt") as lines:
        rows = [line.rstrip("\n").split("\t", 2) for line in lines]
    share = sum(bool(character_marks(text, _classes()) & _SUSPICIOUS) for _, _, text in rows) / len(rows)
    assert share < 0.2
