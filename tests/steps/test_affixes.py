from __future__ import annotations

import random
import subprocess
import sys
from functools import cache
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.speed import Lexicon
from pipeline.steps.affixes import AffixTokenizer, from_spacy
from pipeline.steps.english import _describe, english, spacy_data
from tests.steps.quality_texts import documents, needs_data, real_texts


@cache
def blank(code: str) -> Any:
    import spacy

    return spacy.blank(code)


def assert_equal(code: str, tokenizer: AffixTokenizer, text: str) -> None:
    theirs = [token.text for token in blank(code).tokenizer(text)]
    assert tokenizer.within(text, 0, len(text)) == theirs
    guarded = frozenset(tokenizer.rules.exceptions) if code == "en" else None
    by_chunks = Lexicon(tokenizer.chunk, tokenizer.within, "", guarded=guarded).read(text).words
    assert by_chunks == [token for token in theirs if not token.isspace()]


def collage(tokenizer: AffixTokenizer, seed: int) -> str:
    """Exceptions, parts of exceptions and marks side by side: where the second pass and its precedence show."""
    rng = random.Random(seed)
    exceptions = [text for text in tokenizer.rules.exceptions if not text.isalnum()]
    marks = [*"abZ19'’.,:;()[]-/\"!?$%#&*—…km", "  ", "\t", "\u00a0", "\u2028", "\x00"]
    pick = [
        lambda: rng.choice(exceptions),
        lambda: rng.choice(rng.choice(exceptions)),
        lambda: rng.choice(marks),
    ]
    return "".join(rng.choice([*pick, pick[2], lambda: " "])() for _ in range(rng.randint(1, 12)))


@needs_data
def test_english_tokens_are_spacys_on_real_pages() -> None:
    for text in real_texts()[::3]:
        assert_equal("en", english(), text)


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 2**48))
def test_english_tokens_are_spacys_where_exceptions_meet(seed: int) -> None:
    for part in range(8):
        assert_equal("en", english(), collage(english(), seed + part))


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 2**48))
def test_english_tokens_are_spacys_for_words_among_marks(seed: int) -> None:
    rng = random.Random(seed)
    words = [
        "cannot",
        "Calif",
        "well",
        "known",
        "USA",
        "dont",
        "Mass",
        "the",
        "wed",
        "Jr",
        "xyz",
        "I",
        "co",
        "\x00",
        "12",
        "3.5",
    ]
    text = ""
    for _ in range(20):
        lead = "".join(rng.choices('("[$“‘', k=rng.choice([0, 0, 1, 2, 4])))
        body = rng.choice("---—–").join(rng.choices(words, k=rng.choice([1, 1, 2, 3])))
        marks = "".join(rng.choices([*',.!?)]":;”’…', "'s", "’s"], k=rng.choice([0, 1, 1, 2, 3, 4])))
        text += lead + body + marks + " "
    assert_equal("en", english(), text)


@settings(max_examples=200, deadline=None)
@given(st.one_of(documents(), st.text(st.characters(exclude_categories=["Cs"]), max_size=30)))
def test_english_tokens_are_spacys_on_any_text(text: str) -> None:
    assert_equal("en", english(), text)


@pytest.mark.parametrize("code", ["xx", "de", "fr"])
def test_other_languages_take_spacys_rules(code: str) -> None:
    tokenizer = from_spacy(code)
    assert tokenizer is not None
    for seed in range(150):
        assert_equal(code, tokenizer, collage(tokenizer, seed))


def test_languages_without_chunks_are_told() -> None:
    assert from_spacy("zh") is None  # another algorithm
    assert from_spacy("ru") is None  # exceptions with spaces in them


def test_exceptions_win_back_their_tokens() -> None:
    tokens = english().within("either/or—Mr. Smith's and/or (e.g.) can't.", 0, 42)
    assert tokens == "either / or — Mr. Smith 's and/or ( e.g. ) ca n't .".split()


def test_only_a_contested_chunk_depends_on_its_neighbours() -> None:
    assert english().chunk("word") == (("word",), False)
    assert english().chunk("feet''") == (("feet", "''"), False)
    assert english().chunk("here):") == (("here", "):"), True)
    # ":'(" is longer than "):", and spans the space: spaCy prefers it, and then leaves all as it is.
    text = "here): '("
    assert english().within(text, 0, 6) == ["here", ")", ":"] == [t.text for t in blank("en").tokenizer(text)][:3]


def test_the_short_cut_for_plain_chunks_knows_every_exception() -> None:
    """What the C extension parts without asking, it parts as the patterns do: see pipeline/speed/native/plain.c."""
    rng = random.Random(11)
    guarded = frozenset(english().rules.exceptions)
    lexicon = Lexicon(english().chunk, english().within, "", guarded=guarded)
    cores = [*guarded, *(token for sequence in english()._sequences for token in sequence)]
    cores += [
        "word",
        "USA",
        "ab",
        "x1",
        "12",
        "1,000",
        "3.5",
        "2019-20",
        "a-b",
        "well-known",
        "é",
        "one—two",
        "2–4",
    ] * 9
    for core in sorted(cores):
        for _ in range(12):
            lead = "".join(rng.choices('(["$“‘', k=rng.choice([0, 0, 1, 2])))
            marks = "".join(rng.choices([*',.!?)]":;”’…', "’s", "'s"], k=rng.choice([0, 1, 1, 2])))
            chunk = lead + rng.choice(["", "", "", "ab-"]) + core + marks
            if not any(char.isspace() for char in chunk):
                assert tuple(lexicon.read(chunk).words) == english().chunk(chunk)[0], chunk


def test_the_data_is_that_of_the_installed_spacy() -> None:
    assert spacy_data() == {**_describe(), "exceptions": spacy_data()["exceptions"]}
    assert {text: list(tokens) for text, tokens in _describe()["exceptions"].items()} == spacy_data()["exceptions"]


def test_english_words_do_without_spacy() -> None:
    code = (
        "import sys; from pipeline.steps.words import split_into_words, count_sentences;"
        "assert split_into_words(\"Don't go.\", 'en') == ['Do', \"n't\", 'go', '.'];"
        "assert count_sentences('One. Two.', 'en') == 2;"
        "assert not {'spacy', 'torch'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
