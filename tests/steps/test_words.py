from __future__ import annotations

import gzip
from collections import defaultdict

import pytest
from datatrove.utils.text import split_into_sentences
from datatrove.utils.text import split_into_words as datatroves_words
from hypothesis import given, settings

from pipeline.steps.gopher import GopherQuality
from pipeline.steps.words import count_sentences, reading, split_into_words, tokenizer_version
from tests.steps.quality_texts import DATA, documents, needs_data, page_of, real_texts


@needs_data
def test_words_are_datatroves_on_real_pages() -> None:
    for text in real_texts()[::4]:
        assert page_of(text).words == datatroves_words(text, "eng")


@needs_data
def test_sentences_are_datatroves_on_real_lines() -> None:
    for text in real_texts()[::8]:
        for line in text.splitlines()[:20]:
            assert count_sentences(line, "en") == len(split_into_sentences(line, "eng"))


@settings(max_examples=120, deadline=None)
@given(documents())
def test_words_and_sentences_are_datatroves_on_any_text(text: str) -> None:
    assert split_into_words(text, "en") == datatroves_words(text, "eng")
    assert count_sentences(text, "en") == len(split_into_sentences(text, "eng"))


@pytest.mark.parametrize("line", ["", " ", "  ", "A. ", "A.  ", "Hi.  [1]", "\tHi. You", "a. b. c.  x", "Wait?! No..."])
def test_whitespace_tokens_begin_sentences(line: str) -> None:
    assert count_sentences(line, "en") == len(split_into_sentences(line, "eng"))


@needs_data
def test_other_languages_are_datatroves() -> None:
    texts = defaultdict(str)
    with gzip.open(DATA / "lid/lingua_sentences.tsv.gz", "rt", encoding="utf-8") as rows:
        for row in rows:
            code, _, text = row.rstrip("\n").split("\t", 2)
            texts[code] += text + "\n" if len(texts[code]) < 3000 else ""
    for three, two in [
        ("deu", "de"),
        ("fra", "fr"),
        ("rus", "ru"),
        ("ell", "el"),
        ("pol", "pl"),
        ("spa", "es"),
    ]:
        assert split_into_words(texts[three], two) == datatroves_words(texts[three], three)
        assert split_into_words(texts[three], three) == datatroves_words(texts[three], three)
        for line in texts[three].splitlines()[:10]:
            assert count_sentences(line, two) == len(split_into_sentences(line, three))


@pytest.mark.parametrize(
    ("language", "text", "words"),
    [
        ("zh", "我爱你 OK。", ["我", "爱", "你", "OK", "。"]),
        ("th", "กิน ข้าว", ["กิ", "น", "ข้", "า", "ว"]),
        ("qxx", "Mi, casa.", ["Mi", ",", "casa", "."]),
    ],
)
def test_where_no_tokenizer_is_installed_scripts_without_spaces_go_by_characters(
    language: str, text: str, words: list[str]
) -> None:
    from importlib.util import find_spec

    if find_spec("jieba") or find_spec("pythainlp"):
        pytest.skip("a tokenizer for this language is installed")
    assert split_into_words(text, language) == words


def test_no_language_is_english() -> None:
    assert page_of("I can't.", language="").words == ["I", "ca", "n't", "."]


def test_agreed_difference_a_word_that_breaks_spacy() -> None:
    """spaCy fails on IS_ALPHA from its second time on, and datatrove then takes it out of the text."""
    assert split_into_words("x IS_ALPHA y", "en") == ["x", "IS_ALPHA", "y"]


def test_agreed_difference_two_letter_codes_mean_their_own_script() -> None:
    from datatrove.utils.word_tokenizers import load_tokenizer_assignments

    assert load_tokenizer_assignments()["hi"].args == ("StanzaTokenizer", "kmr")  # type: ignore[attr-defined]
    assert split_into_words("नमस्ते दुनिया", "hi") == ["नमस्ते", "दुनिया"]


def test_a_page_is_split_once_for_each_version_of_its_text_and_language() -> None:
    page = page_of("One two.")
    assert page.words is page.words
    assert reading(page) is reading(page)
    assert reading(page, "de") is not reading(page)
    page.text = "Three."
    assert page.words == ["Three", "."]


def test_a_lone_surrogate_is_no_trap() -> None:
    assert page_of("a\ud800b c").words == ["a\ud800b", "c"]
    assert GopherQuality(min_words=None).check(page_of("that \ud800 and have been")) is None


def test_the_version_names_what_decides() -> None:
    assert "spacy-data 3.8" in tokenizer_version()
