"""The C kernel for language identification against fastText itself, bit for bit."""

from __future__ import annotations

import gzip
import importlib.util
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

if importlib.util.find_spec("pipeline.speed._lid") is None:
    pytest.skip("the C extension is not built: no compiler at install", allow_module_level=True)

from fasttext.FastText import _FastText

from pipeline.steps.lid import Identifier, identifier, model_file
from pipeline.steps.lid_model import Kernel, load_kernel

TEXTS = Path(__file__).parents[2].parent / "shared/data/curation/lid"
needs_texts = pytest.mark.skipif(not TEXTS.exists(), reason="the labelled texts lie beside the checkout only")
PREDICT = _FastText(str(model_file())).f.predict


@pytest.fixture(scope="module")
def kernel() -> Kernel:
    found = load_kernel(model_file(), PREDICT)
    assert found is not None, "fastText was compiled for another arithmetic here"
    return found


@given(
    st.one_of(
        st.text(max_size=60),
        st.text(st.sampled_from("aeé<>_ \n\r\t\x0b\x0c\x00\x1c\xa0水😀"), max_size=60),
        st.lists(st.sampled_from(["</s>", "__label__en", "__label__", "the", "der", "水", "", "e" * 40, "é" * 33])).map(
            " ".join
        ),
        st.text(st.sampled_from("abcdefghij水磨"), min_size=40, max_size=200),
    )
)
@settings(deadline=None, max_examples=300)
def test_every_probability_is_fasttexts(kernel: Kernel, text: str) -> None:
    for line in (text, text + "\n", text + " tail\nof another line\n"):
        assert kernel.agrees(PREDICT, line)


@needs_texts
@pytest.mark.parametrize("name", ["udhr_documents", "lingua_sentences", "tatoeba_short"])
def test_every_probability_is_fasttexts_on_labelled_texts(kernel: Kernel, name: str) -> None:
    for text in sampled(name, 700):
        assert kernel.agrees(PREDICT, text + "\n")


def test_a_memo_that_overflows_forgets_and_stays_right(kernel: Kernel) -> None:
    for start in range(0, 150_000, 50_000):
        words = [f"w{number}" for number in range(start, start + 50_000)]
        random.Random(start).shuffle(words)
        assert kernel.agrees(PREDICT, " ".join(words) + "\n")
    assert kernel.agrees(PREDICT, "the words that were known before\n")


def test_the_identifier_says_the_same_with_and_without_the_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRISTMILL_PURE", "1")
    pure, fast = Identifier(model_file()), identifier()
    labels = [
        frozenset({"__label__en"}),
        frozenset({"__label__de", "__label__nl", "__label__fr"}),
        frozenset(pure.tongues),
    ]
    for text in ("", "The mill\nstands", "Die Mühle steht am Fluss", "\ud800 broken \udfff", "水车在河边", "a</s> b"):
        assert pure.best(text) == fast.best(text)
        assert pure.best(text, "") == fast.best(text, "")
        for some in labels:
            assert pure.probability(text, some) == fast.probability(text, some)


def test_a_model_of_another_make_is_left_to_fasttext(tmp_path: Path) -> None:
    data = model_file().read_bytes()
    for name, content in (
        ("empty", b""),
        ("short", data[:200]),
        ("cut", data[:600_000]),
        ("other", b"x" * 4 + data[4:]),
    ):
        file = tmp_path / name
        file.write_bytes(content)
        assert load_kernel(file, PREDICT) is None
    bigrams = bytearray(data)
    bigrams[8 + 4 * 5] = 2  # wordNgrams
    (tmp_path / "bigrams").write_bytes(bigrams)
    assert load_kernel(tmp_path / "bigrams", PREDICT) is None


def test_a_kernel_that_differs_from_fasttext_is_not_used() -> None:
    def fused(line: str, k: int, threshold: float, errors: str) -> list[tuple[float, str]]:
        return [(score + 1e-7, label) for score, label in PREDICT(line, k, threshold, errors)]

    assert load_kernel(model_file(), fused) is None


def sampled(name: str, count: int) -> Iterator[str]:
    with gzip.open(TEXTS / f"{name}.tsv.gz", "rt", encoding="utf-8") as file:
        lines = file.read().split("\n")
    random.Random(5).shuffle(lines)
    for line in lines[:count]:
        yield line.split("\t")[-1]
