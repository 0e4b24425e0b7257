"""Limits by language: FineWeb2's, decided as datatrove decides with FineWeb2's settings."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import pytest
from datatrove.data import Document
from datatrove.pipeline.filters import FineWebQualityFilter, GopherQualityFilter, GopherRepetitionFilter

from pipeline.ledger import Dataset, explain, what_if
from pipeline.pool import Serial
from pipeline.recipe import load_recipe
from pipeline.record import Page
from pipeline.run import Run
from pipeline.sources import plan_inputs
from pipeline.steps.by_language import _table
from pipeline.store import Folder
from tests.conftest import SAMPLE, SETTINGS
from tests.steps.quality_texts import DATA, needs_data

LANGUAGES = {"fr": "fra_Latn", "de": "deu_Latn", "el": "ell_Grek", "pl": "pol_Latn", "ru": "rus_Cyrl", "tr": "tur_Latn"}
QUALITY, REPETITION, LINES = "gopher_quality", "gopher_repetition", "fineweb_quality"


def of_preset(name: str) -> Any:
    step = load_recipe("multilingual").step(name)
    assert step is not None
    return step


def in_language(text: str, language: str) -> Page:
    return Page("0" * 32, "", 0, 0, "document", given_text=text, language=language)


def theirs(code: str) -> dict[str, Any]:
    """datatrove's filters with this language's settings, as FineWeb2's pipeline sets them."""
    own = _table()[0][code]
    repetition, lines, quality = own[REPETITION], own[LINES], own[QUALITY]
    return {
        REPETITION: GopherRepetitionFilter(
            language=LANGUAGES[code],
            dup_para_frac=0,
            dup_line_char_frac=0,
            dup_para_char_frac=0,
            dup_line_frac=repetition["max_dup_line_frac"],
            top_n_grams=[(n, repetition[f"max_top_{n}_gram"]) for n in (2, 3, 4)],
            dup_n_grams=[(n, repetition[f"max_dup_{n}_gram"]) for n in range(5, 11)],
        ),
        LINES: FineWebQualityFilter(
            language=LANGUAGES[code],
            short_line_thr=999,
            char_duplicates_ratio=0.1,
            line_punct_thr=lines["min_line_punct_ratio"],
            new_line_ratio=lines["max_newlines_per_word"],
        ),
        QUALITY: GopherQualityFilter(
            language=LANGUAGES[code],
            max_avg_word_length=quality["max_mean_word_length"],
            min_avg_word_length=quality["min_mean_word_length"],
            stop_words=quality["stop_words"],
            max_non_alpha_words_ratio=quality["min_alphabetic_words"],
            min_stop_words=2,
        ),
    }


def texts_in(language: str) -> list[str]:
    """Articles of human rights, whole, and cut into short lines, lists and repetitions."""
    with gzip.open(Path(DATA) / "lid/udhr_documents.tsv.gz", "rt", encoding="utf-8") as rows:
        found = [line.rstrip("\n").split("\t") for line in rows]
    whole = [row[-1] for row in found if row[0] == LANGUAGES[language][:3]]
    assert whole, f"no text in {language}"
    words = whole[0].split()
    lines = [" ".join(words[i : i + 12]) for i in range(0, len(words), 12)]
    return [
        *whole,
        " ".join(words[:40]),
        "\n".join(f"{line}." for line in lines[:60]),
        "\n".join(lines[:60]),
        "\n".join(lines[:8] * 6),
        "\n".join(words[:120]),
        " ".join([*words[:60], *"1 2 3 4 5 6 7 8 9".split() * 9]),
    ]


@needs_data
@pytest.mark.parametrize("language", LANGUAGES)
def test_pages_are_judged_as_fineweb2_does(language: str) -> None:
    kept = dropped = 0
    for name, filter_ in theirs(language).items():
        for text in texts_in(language):
            verdict = filter_.filter(Document(text=text, id="0")) is True
            page = in_language(text, language)
            drop = of_preset(name).check(page)
            assert (drop is None) == verdict, (name, text[:200], page.values, drop)
            kept, dropped = kept + verdict, dropped + (not verdict)
    assert kept > 3
    assert dropped > 3


def test_a_language_without_limits_of_its_own_has_the_recipes() -> None:
    step = of_preset(LINES)
    (rule,) = (rule for rule in step.rules if rule.name == "line_punct_ratio")
    assert step.limit(rule, "fr") == step.limit(rule, "fr_Latn") == 0.1
    assert step.limit(rule, "tl") == step.limit(rule, "") == step.min_line_punct_ratio
    quality = of_preset(QUALITY)
    (stop,) = (rule for rule in quality.rules if rule.name == "too_few_stop_words")
    assert (quality.limit(stop, "fr"), quality.limit(stop, "tl")) == (2, None)


def test_what_if_and_explain_ask_the_limits_of_the_pages_language(tmp_path: Path) -> None:
    recipe = load_recipe("multilingual").with_settings(SETTINGS)
    Run(recipe, plan_inputs([str(SAMPLE)], 1 << 30), Folder(tmp_path / "ds"), Serial())()
    dataset = Dataset.open(Folder(tmp_path / "ds"))
    (story, *_) = explain(dataset, "https://www.wortwerkstatt.example/reisen/mit-dem-nachtzug")
    (told,) = (step for step in story["steps"] if step["step"] == LINES)
    assert told["limits"]["newlines_per_word"] == [f"<= {_table()[0]['de'][LINES]['max_newlines_per_word']}"]
    answer = what_if(dataset, [f"{LINES}.max_newlines_per_word=0.000001", f"{QUALITY}.min_words=120"])
    assert set(answer.go) == {f"{QUALITY}/too_few_words"}  # the other limit holds for languages without their own
