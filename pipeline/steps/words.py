"""The words and sentences of a page, equal to datatrove 0.10.1's `split_into_words` and
`split_into_sentences`.

English and every language to which datatrove assigns a spaCy tokenizer goes through a memo of
whitespace-delimited chunks (`affixes.py` says why that is exact). Chinese, Japanese, Thai, Korean and others
use datatrove's own tokenizer where its package is installed. Elsewhere spaCy's multi-language tokenizer steps
in, as datatrove does for languages it does not know better, with each character of a script that writes no
spaces (Han, kana, Thai, Lao, Khmer, Myanmar, Tibetan) as a word of its own. Two agreed differences from
datatrove:

- A two-letter code means its default language and script ("hi" is Hindi in Devanagari); datatrove's table
  reads every `default_script` as true, so its "hi" gets a Kurdish tokenizer.
- Stanza is never used: it downloads its models while a run is under way.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Callable
from functools import cache
from importlib import metadata
from typing import NamedTuple

import regex

from pipeline.record import Page
from pipeline.speed import Lexicon, Reading
from pipeline.steps.affixes import AffixTokenizer, Tokens, from_spacy
from pipeline.steps.english import english, spacy_data

_UNSPACED = r"[\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}\p{Tibetan}]"
_UNSPACED_PARTS = regex.compile(rf"{_UNSPACED}\p{{M}}*|(?:(?!{_UNSPACED}).)+", regex.DOTALL)
_PACKAGES = (
    "jieba",
    "sudachipy",
    "pyvi",
    "pythainlp",
    "kiwipiepy",
    "indic-nlp-library",
    "khmer-nltk",
    "laonlp",
)


def page_words(page: Page) -> list[str]:
    """The words of the page's text, split as its language is ("" counts as English, as datatrove's
    default).
    """
    return reading(page).words


def reading(page: Page, language: str | None = None) -> Reading:
    """The page's words ready for counting, once per version of the text; `language` overrules the page's."""
    return page.from_text(_reading_as(page.language if language is None else language))


def split_into_words(text: str, language: str) -> list[str]:
    """The words of any text."""
    return segmenter(language).lexicon.read(text).words


def count_sentences(text: str, language: str) -> int:
    """The sentences of a text; never less than 1."""
    return segmenter(language).sentences(text)


def tokenizer_version() -> str:
    """Which packages decide how words are split, as far as they are installed."""
    found = [f"spacy-data {spacy_data()['spacy']}"]
    for package in ("datatrove", "spacy", *_PACKAGES):
        try:
            found.append(f"{package} {metadata.version(package)}")
        except metadata.PackageNotFoundError:
            continue
    return ", ".join(found)


class Segmenter(NamedTuple):
    """How one language is split."""

    lexicon: Lexicon
    sentences: Callable[[str], int]


@cache
def segmenter(language: str) -> Segmenter:
    """The segmenter of a language code: "en", "eng", "eng_Latn"; "" is English. Never fails: see the
    module.
    """
    kind, code, key = _assignments().get(language or "en", ("", "", ""))
    return _build(kind, code, key)


@cache
def _build(kind: str, code: str, key: str) -> Segmenter:
    if (kind, code) == ("SpaCyTokenizer", "en"):
        return _by_chunks(english(), frozenset(english().rules.exceptions))
    if kind == "SpaCyTokenizer" and code not in ("zh", "ja", "vi") and (tokenizer := from_spacy(code)):
        return _by_chunks(tokenizer)
    if kind and kind != "StanzaTokenizer" and (own := _by_datatrove(key)):
        return own
    return _by_characters()


def _by_chunks(tokenizer: AffixTokenizer, guarded: frozenset[str] | None = None) -> Segmenter:
    lexicon = Lexicon(tokenizer.chunk, tokenizer.within, spacy_data()["sentence_ends"], guarded=guarded)
    return Segmenter(lexicon, lexicon.sentences)


def _by_datatrove(key: str) -> Segmenter | None:
    """datatrove's own tokenizer object, None where the package behind it is missing."""
    from datatrove.utils.word_tokenizers import WhitespaceTokenizer, load_word_tokenizer

    try:
        tokenizer = load_word_tokenizer(key)
        tokenizer.word_tokenize("a")
    except ImportError:
        return None

    def sentences(text: str) -> int:
        return len(tokenizer.span_tokenize(text)) or 1

    if isinstance(tokenizer, WhitespaceTokenizer) and (multi := from_spacy("xx")):
        return Segmenter(_by_chunks(multi).lexicon, sentences)

    def words(text: str, start: int, stop: int) -> list[str]:
        return tokenizer.word_tokenize(text[start:stop])  # type: ignore[no-any-return]  # datatrove is untyped

    return Segmenter(Lexicon(None, words, ""), sentences)


def _by_characters() -> Segmenter:
    """spaCy's multi-language tokenizer, and one word a character where a script writes no spaces."""
    multi = from_spacy("xx")
    assert multi is not None, "spaCy's multi-language tokenizer works chunk by chunk"

    def chunk(text: str) -> tuple[Tokens, bool]:
        tokens, depends = multi.chunk(text)
        return tuple(part for token in tokens for part in _UNSPACED_PARTS.findall(token)), depends

    def within(text: str, start: int, stop: int) -> list[str]:
        return [part for token in multi.within(text, start, stop) for part in _UNSPACED_PARTS.findall(token)]

    lexicon = Lexicon(chunk, within, spacy_data()["sentence_ends"])
    return Segmenter(lexicon, lexicon.sentences)


@cache
def _reading_as(language: str) -> Callable[[Page], Reading]:
    """One function a language, so that a page keeps each reading of its text once."""
    lexicon = segmenter(language).lexicon

    def read(page: Page) -> Reading:
        return lexicon.read(page.text)

    return read


@cache
def _assignments() -> dict[str, tuple[str, str, str]]:
    """Language code → (datatrove's tokenizer class, its argument, datatrove's key), by datatrove's own
    table.
    """
    from datatrove.utils._import_utils import ASSETS_PATH

    found: dict[str, tuple[str, str, str]] = {}
    with open(os.path.join(ASSETS_PATH, "tokenizer_assignment.csv"), encoding="utf-8") as table:
        for row in csv.DictReader(table):
            if not row["type"]:
                continue
            key = f"{row['code_3']}_{row['script']}"
            entry = (row["type"], row["tok_code"], key)
            names = [key]
            if row["default_script"] == "TRUE":
                names.append(row["code_3"])
            if row["code_1"] and row["default_code_1"] == "TRUE":
                names.append(f"{row['code_1']}_{row['script']}")
                if row["default_script"] == "TRUE":
                    names.append(row["code_1"])
            for name in names:
                found.setdefault(name, entry)
    for two, three in (("no", "nor"), ("sh", "hbs"), ("als", "gsw")):
        found.setdefault(two, found.get(three, ("", "", "")))
    return found
