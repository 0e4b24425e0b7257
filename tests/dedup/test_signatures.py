"""Signatures: what they fold away, what they keep, and that the C kernels, numpy and datatrove agree."""

from __future__ import annotations

import gzip
import json
import random
import sys
import unicodedata
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.dedup import DedupSettings, fold, shingles, signature_row, signatures
from pipeline.dedup.datatrove_words import _may_be_marks, simplify
from pipeline.dedup.identity import halves, texts
from pipeline.dedup.rows import may_repeat
from pipeline.dedup.shingles import overlaps, shingle_hashes, shingle_set, word_hashes
from tests.dedup.dedup_corpus import CURATION, edited, make_id, prose

DEFAULTS = DedupSettings()
needs_native = pytest.mark.skipif(shingles.native is None, reason="the C kernels are not built")
ARTICLES = CURATION / "near_duplicates/articles.jsonl.gz"
needs_articles = pytest.mark.skipif(not ARTICLES.exists(), reason="shared/data/curation is not beside the checkout")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Straße ÉTÉ naïve", "STRASSE ete nai\u0308ve"),
        ("paid 1,299.50 in 2024", "paid 7 in 1999"),
        ("٣٤ and ３４", "1 and 2"),
        ("soft\u00adhyphen zero\u200bwidth", "softhyphen zerowidth"),
        ("end. Of: line; (yes)", "end of line yes"),
        ("ﬁne ＦＵＬＬ ㎏", "fine full kg"),
        ("ΟΔΟΣ", "οδος"),
    ],
)
def test_words_that_fold_to_the_same(one: str, other: str) -> None:
    assert word_hashes(one).tolist() == word_hashes(other).tolist()


def test_scripts_without_spaces_have_a_word_for_each_character() -> None:
    assert word_hashes("漢字かな交じり文").size == 8
    assert word_hashes("สวัสดี").size == 4  # two of six are vowel marks
    assert word_hashes("한국어 문장").size == 2
    assert word_hashes("abc漢字def").tolist() == word_hashes("abc 漢 字 def").tolist()


def test_shingles_are_windows_over_words() -> None:
    assert shingle_hashes("a b c d", DEFAULTS).size == 0
    assert shingle_hashes("a b c d e f", DEFAULTS).size == 2
    assert shingle_hashes("a b c d e", DEFAULTS)[0] == shingle_hashes("x a b c d e", DEFAULTS)[1]
    assert shingle_hashes("a b c d e", DEFAULTS)[0] != shingle_hashes("b a c d e", DEFAULTS)[0]
    assert shingle_hashes("ab c d e f", DEFAULTS)[0] != shingle_hashes("a bc d e f", DEFAULTS)[0]


def test_the_frozen_table_is_what_this_unicode_gives() -> None:
    if unicodedata.unidata_version != fold.unicode_version():
        pytest.skip(f"this Python has Unicode {unicodedata.unidata_version}")
    built, frozen = fold.build(), fold.fold_table()
    assert np.array_equal(built.values, frozen.values)
    assert np.array_equal(built.expansions, frozen.expansions)


def test_folding_twice_is_folding_once() -> None:
    table = fold.fold_table()
    folded = np.concatenate([table.values[table.values < fold.EXPANDS], table.expansions])
    letters = np.unique(folded[folded > fold.IGNORED])
    assert np.array_equal(table.values[letters & ~np.uint32(fold.ALONE)], letters)


@needs_native
@given(st.text(max_size=80), st.integers(1, 7))
def test_native_and_numpy_agree_on_any_text(text: str, ngram: int) -> None:
    settings = DedupSettings(ngram=ngram)
    with pytest.MonkeyPatch.context() as patch:
        fast = signature_row(text, settings)
        patch.setattr(shingles, "native", None)
        assert signature_row(text, settings) == fast


@needs_native
@given(st.lists(st.one_of(st.integers(0, 1 << 20), st.integers(0, (1 << 64) - 1)), max_size=400))
def test_sets_and_repeats_agree_with_numpy(numbers: list[int]) -> None:
    hashes = np.array([number << 32 & (1 << 64) - 1 for number in numbers] + numbers[:9], np.uint64)
    with pytest.MonkeyPatch.context() as patch:
        fast, shared = shingle_set(hashes).tolist(), may_repeat(hashes)
        patch.setattr(shingles, "native", None)
        assert shingle_set(hashes).tolist() == fast == sorted({int(one) >> 32 for one in hashes})
        assert shared[may_repeat(hashes)].all()
        assert np.count_nonzero(may_repeat(hashes)) == sum(n for n in Counter(hashes.tolist()).values() if n > 1)


@needs_native
def test_few_keys_that_are_alone_seem_to_repeat() -> None:
    keys = np.random.default_rng(0).integers(0, 1 << 63, 10_000, np.uint64)
    assert np.count_nonzero(may_repeat(keys)) < 1_500  # one in eight at most


@needs_native
def test_native_and_numpy_agree_on_awkward_characters() -> None:
    draw = random.Random(0)
    awkward = [46, 44, 48, 57, 32, 0xBD, 0x2488, 0x661, 0xFDFA, 0x200B, 0x4E00, 0x301, 0xD800, 0x10FFFF, 97, 0xC9]
    for _ in range(2000):
        text = "".join(chr(draw.choice(awkward)) for _ in range(draw.randrange(40)))
        fast = shingle_hashes(text, DedupSettings(ngram=2)).tolist()
        words = word_hashes(text)
        assert shingles._combine(words, 2).tolist() == fast


def test_overlap_counts_common_members() -> None:
    draw = np.random.default_rng(1)
    sets = [np.unique(draw.integers(0, 50, n, dtype=np.uint32)) for n in (0, 1, 10, 40, 60)]
    offsets = np.concatenate([[0], np.cumsum([s.size for s in sets])])
    one, other = (grid.ravel() for grid in np.meshgrid(np.arange(5), np.arange(5)))
    values = np.concatenate(sets)
    wanted = [len(set(sets[i]) & set(sets[j])) for i, j in zip(one, other, strict=True)]
    assert overlaps(values, offsets, one, values, offsets, other).tolist() == wanted
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shingles, "native", None)
        assert overlaps(values, offsets, one, values, offsets, other).tolist() == wanted


def test_exact_hash_folds_whitespace_and_normal_form_only() -> None:
    base = signature_row("caf\u00e9 au lait", DEFAULTS).exact
    assert signature_row(" cafe\u0301\n\tau  lait ", DEFAULTS).exact == base
    assert signature_row("Caf\u00e9 au lait", DEFAULTS).exact != base
    assert signature_row("\ud800", DEFAULTS).exact != signature_row("", DEFAULTS).exact


def test_chance_of_a_common_band_follows_the_formula() -> None:
    """1 - (1 - s^8)^14 at the similarities that pairs really have, over 300 pairs each."""
    for edits in (6, 12, 24):
        found = expected = 0.0
        for number in range(300):
            words = prose(number, 300)
            one, other = " ".join(words), " ".join(edited(words, number, edits))
            sets = [set(shingle_set(shingle_hashes(text, DEFAULTS)).tolist()) for text in (one, other)]
            similarity = len(sets[0] & sets[1]) / len(sets[0] | sets[1])
            rows = [signature_row(text, DEFAULTS).bands for text in (one, other)]
            found += any(a == b for a, b in zip(*rows, strict=True))
            expected += 1 - (1 - similarity**8) ** 14
        assert abs(found - expected) < 4 * (300 * 0.25) ** 0.5


def test_a_settings_change_changes_the_signature() -> None:
    text = " ".join(prose(1))
    base = signature_row(text, DEFAULTS).bands
    assert signature_row(text, DedupSettings(seed=2)).bands != base
    assert signature_row(text, DedupSettings(ngram=4)).bands != base
    assert signature_row(text, DedupSettings(rows=7)).bands != base
    assert signature_row(text, DedupSettings(min_jaccard=0.5, memory=1 << 31)).bands == base


def test_ids_survive_the_round_trip() -> None:
    ids = [make_id(str(n)) for n in range(50)] + ["0" * 32, "f" * 32]
    high, low = halves(ids)
    assert texts(high, low) == ids
    assert [ids[n] for n in np.lexsort((low, high))] == sorted(ids)
    assert texts(*halves([])) == []


@given(
    st.one_of(
        st.text(max_size=60),
        st.text(st.sampled_from("aÉİß1٣½., 、’\u0301\u0345\U000101fd\U000e0100\x1c\x85\u2028水한"), max_size=30),
    )
)
@settings(max_examples=400, deadline=None)
def test_texts_are_simplified_as_datatrove_does(text: str) -> None:
    from datatrove.utils.text import simplify_text

    assert simplify(text) == simplify_text(text)


def test_every_non_spacing_mark_is_looked_for() -> None:
    marks = [point for point in range(sys.maxunicode + 1) if unicodedata.category(chr(point)) == "Mn"]
    assert set(marks) <= set(_may_be_marks())


@needs_native
@given(st.lists(st.text("abcé水", min_size=1, max_size=40), max_size=12), st.integers(1, 14))
def test_datatrove_mode_is_the_same_without_kernels(words: list[str], ngram: int) -> None:
    settings = DedupSettings(shingles="datatrove", datatrove_hash="sha1", ngram=ngram)
    text = " ".join(words)
    with pytest.MonkeyPatch.context() as patch:
        fast = signature_row(text, settings)
        patch.setattr(shingles, "native", None)
        assert signature_row(text, settings) == fast


@needs_articles
@pytest.mark.parametrize("hash_name", ["xxhash", "sha1"])
def test_datatrove_mode_is_bit_identical_to_datatrove(tmp_path: object, hash_name: str) -> None:
    from datatrove.pipeline.dedup.minhash import MinhashConfig, MinhashDedupSignature
    from datatrove.utils.hashing import HashConfig

    settings = DedupSettings(shingles="datatrove", datatrove_hash=hash_name)
    theirs = MinhashDedupSignature(str(tmp_path), MinhashConfig(hash_config=HashConfig(64, hash_name)))
    with gzip.open(ARTICLES, "rt") as lines:
        articles = [json.loads(line)["text"] for line in lines][:40]
    pairs = CURATION / "near_duplicates/cc2015_judged_pairs.jsonl.gz"
    with gzip.open(pairs, "rt") as lines:
        articles += [json.loads(line)["text_a"] for line in lines][:20]
    for text in [*articles, "too few words", ""]:
        wanted = theirs.get_shingles(text)
        mine = shingle_hashes(text, settings)
        assert mine.tolist() == wanted[:, 0].tolist()
        if mine.size:
            flat = [value for band in theirs.get_signature(wanted) for value in band]
            assert signatures.minima(mine, settings).tolist() == flat
