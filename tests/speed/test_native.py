"""The C kernels against their twin, on real texts and on whatever Unicode holds."""

from __future__ import annotations

import importlib.util
import os
import random
import subprocess
import sys
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.speed import ODD, C4Rules, twin
from pipeline.steps.english import english, spacy_data
from pipeline.steps.gopher import STOP_WORDS
from tests.steps.quality_texts import documents, needs_data, real_texts

if importlib.util.find_spec("pipeline.speed._filters") is None:
    pytest.skip("the C extension is not built: no compiler at install", allow_module_level=True)

from pipeline.speed import _filters as native  # type: ignore[attr-defined]

RULES = [
    C4Rules(1000, True, False, 3, True, True),
    C4Rules(5, False, True, 0, False, False),
    C4Rules(None, True, False, None, True, False),
]
ENDS = spacy_data()["sentence_ends"]
# Few chunks fit, so that the memo is thrown away again and again.
LEXICONS = [
    kind.Lexicon(english().chunk, english().within, ENDS, max_chunks=300, guarded=frozenset(english().rules.exceptions))
    for kind in (native, twin)
]
any_text = st.one_of(
    documents(),
    st.text(max_size=40),
    st.text(st.characters(), max_size=12).map(lambda part: f"{part}\n" * 3),
    st.text(st.sampled_from("aA.…#-•\n\r\x0b\x1c\x85\u2028 \u00a0\t\"'?{}[]1٣\ud800\x00😀"), max_size=60),
)


CLASSES = bytes(ODD * (code % 5 == 0) | code % 3 for code in range(1 << 12))


def assert_equal(text: str) -> None:
    ours, oracle = (lexicon.read(text) for lexicon in LEXICONS)
    assert ours.words == oracle.words
    assert ours.repeats() == oracle.repeats()
    for stop_words in (frozenset(STOP_WORDS), frozenset({"a", ".", "lorem", "\ud800"}), frozenset[str]()):
        assert ours.tally(stop_words) == oracle.tally(stop_words)
    assert LEXICONS[0].sentences(text) == LEXICONS[1].sentences(text)
    for flag in (False, True):
        assert native.line_repeats(text, flag) == twin.line_repeats(text, flag)
        for ends in (frozenset(".!?"), frozenset("a😀。\u2028")):
            assert native.prose_lines(text, ends, 8, flag) == twin.prose_lines(text, ends, 8, flag)
    assert native.line_tally(text) == twin.line_tally(text)
    for table in (CLASSES, CLASSES[:100], b""):
        assert native.character_marks(text, table) == twin.character_marks(text, table)
    for rules in RULES:
        for count in (len, LEXICONS[1].sentences):
            assert native.c4_lines(text, rules, count) == twin.c4_lines(text, rules, count)
        assert native.c4_lines(text, rules, LEXICONS[0].sentences) == twin.c4_lines(text, rules, LEXICONS[1].sentences)


@needs_data
def test_equal_on_real_pages() -> None:
    for text in real_texts()[::3]:
        assert_equal(text)


@settings(max_examples=400, deadline=None)
@given(any_text)
def test_equal_on_any_text(text: str) -> None:
    assert_equal(text)


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**32))
def test_equal_where_words_join_to_the_same_characters(seed: int) -> None:
    rng = random.Random(seed)
    letters = rng.choice(["ab", "a", "aé", "a😀"])
    words = ["".join(rng.choices(letters, k=rng.randint(1, 3))) for _ in range(rng.randint(0, 80))]
    assert_equal(" ".join(words))


def test_a_language_without_chunks() -> None:
    def within(text: str, start: int, stop: int) -> list[str]:
        assert (start, stop) == (0, len(text))
        return text.split(",")  # words with spaces in them and around them, as Vietnamese has

    ours, oracle = (kind.Lexicon(None, within, ".") for kind in (native, twin))
    for text in ("a b,c,d,e,f, ,a,b c,d,e,f,.,x", "", ",", "x y,x y,x,y x,y"):
        assert ours.read(text).words == oracle.read(text).words
        assert ours.read(text).repeats() == oracle.read(text).repeats()
        assert ours.sentences(text) == oracle.sentences(text)


def test_a_reading_outlives_the_memo_that_made_it() -> None:
    lexicon = native.Lexicon(english().chunk, english().within, ENDS, max_chunks=1)
    early = lexicon.read("Here are some words to keep.")
    for number in range(50):
        lexicon.read(f"other{number} words{number}")
    assert early.words == ["Here", "are", "some", "words", "to", "keep", "."]
    assert early.tally(frozenset(["to"])).stop_words == 1


def fails(*_: object) -> object:
    raise LookupError("no tokens today")


@pytest.mark.parametrize(
    ("chunk", "error"),
    [
        (fails, LookupError),
        (lambda chunk: None, TypeError),
        (lambda chunk: (chunk, False), TypeError),
        (lambda chunk: ((1,), False), TypeError),
        (lambda chunk: ((chunk, b""), True), TypeError),
    ],
)
def test_a_tokenizer_that_fails_fails_its_text_alone(chunk: Callable[[str], object], error: type[Exception]) -> None:
    lexicon = native.Lexicon(chunk, fails, ".")
    for _ in range(3):
        with pytest.raises(error):
            lexicon.read("some words")
        with pytest.raises(error):
            lexicon.sentences("some words")
        with pytest.raises(error):
            native.c4_lines("some words here", RULES[0], lexicon.sentences)
    assert lexicon.read(" \n ").words == []


@pytest.mark.parametrize("wrong", [None, b"text", 3])
def test_what_is_no_text_is_a_type_error(wrong: object) -> None:
    for call in (
        LEXICONS[0].read,
        LEXICONS[0].sentences,
        native.line_tally,
        lambda text: native.character_marks(text, CLASSES),
        lambda text: native.line_repeats(text, True),
        lambda text: native.prose_lines(text, frozenset("."), 3, False),
        lambda text: native.c4_lines(text, RULES[0], len),
        lambda text: native.c4_lines("text", text, len),
        lambda text: native.prose_lines("text", [text], 3, False),
    ):
        with pytest.raises((TypeError, ValueError)):
            call(wrong)


def test_the_environment_forces_the_twin() -> None:
    code = "import pipeline.speed as speed; print(speed.ACTIVE, speed.Lexicon.__module__)"
    for value, expected in [("1", "python pipeline.speed.twin"), ("", "native pipeline.speed._filters")]:
        done = subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "GRISTMILL_PURE": value},
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout.strip() == expected
