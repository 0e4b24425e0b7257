"""Language and EarlyLanguage: decisions, codes, models, and the measured loss of the early gate."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pydantic import ValidationError

from pipeline.errors import GristmillError
from pipeline.record import Drop, Page
from pipeline.steps.language import EarlyLanguage, Language
from pipeline.steps.language_codes import LID176, Tongue, tongue
from pipeline.steps.language_loss import LanguageLoss, language_loss
from pipeline.steps.lid import identifier, model_file

TEXTS = Path(__file__).parents[2].parent / "shared/data/curation/lid"
needs_texts = pytest.mark.skipif(not TEXTS.exists(), reason="the labelled texts lie beside the checkout only")

ENGLISH = (
    "The mill stands by the river, and in spring the water is high enough to turn both of its stones. "
    "Farmers from the valley bring their corn in the early morning and wait for the flour. "
) * 3
GERMAN = (
    "Die Mühle steht am Fluss, und im Frühjahr reicht das Wasser, um beide Steine zu drehen. "
    "Die Bauern aus dem Tal bringen am frühen Morgen ihr Korn und warten auf das Mehl. "
) * 3
SERBIAN = "Млин стоји поред реке, а у пролеће је вода довољно висока да окреће оба камена. " * 3


def text_page(text: str) -> Page:
    page = Page("0" * 32, "a.jsonl", 0, 1, "document")
    page.text = text
    return page


def html_page(body: str, record_id: str = "0" * 32) -> Page:
    page = Page(record_id, "a.warc.gz", 0, 1, "response")
    page.html = f"<html><body><script>var the_words = 'in English and nothing else';</script>{body}</body></html>"
    return page


def test_english_is_kept_with_its_language_and_score() -> None:
    page = text_page(ENGLISH)
    assert Language().check(page) is None
    assert page.language == "en"
    assert page.language_score > 0.9
    assert page.values == {"language.score": page.language_score}


def test_another_language_is_dropped_under_its_name() -> None:
    drop = Language().check(text_page(GERMAN))
    assert drop is not None
    assert (drop.rule, drop.limit, drop.detail) == ("language", 0.65, "de")


def test_a_kept_language_below_its_score_is_another_rule() -> None:
    drop = Language(min_score=0.999).check(text_page("The mill, die Mühle, le moulin, el molino."))
    assert drop is not None
    assert drop.rule in {"language", "language_score"}
    assert Language(min_score=1.0).verdict("en", 0.8) == Drop("language_score", 0.8, 1.0, "en")


def test_comparison_at_the_limit_is_a_setting() -> None:
    assert Language().verdict("en", 0.65) is None
    assert Language(strict=True).verdict("en", 0.65) == Drop("language_score", 0.65, 0.65, "en")


def test_no_list_of_languages_keeps_all_of_sure_language() -> None:
    page = text_page(GERMAN)
    assert Language(languages=None).check(page) is None
    assert page.language == "de"


def test_thresholds_by_language() -> None:
    step = Language(languages=("deu_Latn", "en"), min_score_by_language={"deu_Latn": 0.9, "eng": 0.4})
    assert step.verdict("de", 0.8) is None  # the ledger does not say in which script
    german = text_page(GERMAN)
    assert step.check(german) is None
    assert german.language_score > 0.9
    assert step.verdict("en", 0.5) is None
    assert Language(languages=("de",), min_score_by_language={"deu": 0.9}).verdict("de", 0.8) == Drop(
        "language_score", 0.8, 0.9, "de"
    )


def test_the_first_characters_decide_where_that_is_set() -> None:
    text = ENGLISH[:200] + GERMAN * 20
    assert Language().check(text_page(text)) is not None
    assert Language(max_chars=200).check(text_page(text)) is None


def test_newlines_count_as_spaces_as_in_datatrove() -> None:
    model = identifier()
    lines = ENGLISH.replace(". ", ".\n")
    assert model.best(lines) == model.best(lines.replace("\n", " "))
    assert model.best("") == model.best("\n")
    assert model.best(lines, "") == model.best(lines.replace("\n", ""))  # FineWeb v1


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("en", Tongue("en")),
        ("ENG", Tongue("en")),
        ("eng_Latn", Tongue("en", "Latn")),
        ("zh-hans", Tongue("zh", "Hans")),
        ("arb_Arab", Tongue("ar", "Arab")),
        ("ger", Tongue("de")),
        ("als_Latn", Tongue("sq", "Latn")),
        ("ceb", Tongue("ceb")),
    ],
)
def test_codes_have_one_canonical_form(code: str, expected: Tongue) -> None:
    assert tongue(code) == expected


def test_every_label_of_the_model_is_a_code_that_settings_accept() -> None:
    codes = {t.code for t in identifier().tongues.values()}
    assert codes == LID176
    assert {tongue(code).code for code in codes} == codes


@pytest.mark.parametrize("code", ["english", "xx", "e", "en_Latin"])
def test_unknown_codes_are_refused_with_what_to_write(code: str) -> None:
    for step in (Language, EarlyLanguage):
        with pytest.raises(ValidationError, match="en, eng"):
            step(languages=(code,))
    with pytest.raises(ValidationError, match="en, eng"):
        Language(min_score_by_language={code: 0.5})


def test_a_model_of_the_users_own(tmp_path: Path) -> None:
    own = tmp_path / "own.ftz"
    own.write_bytes(model_file().read_bytes())
    step = Language(model=str(own))
    step.load()
    assert step.check(text_page(ENGLISH)) is None
    assert step.version == Language().version  # the same bytes, wherever they lie


def test_faults_of_a_model_are_told(tmp_path: Path) -> None:
    with pytest.raises(GristmillError, match="no such file"):
        Language(model=str(tmp_path / "none.bin")).load()
    (tmp_path / "text.bin").write_text("not a model")
    with pytest.raises(GristmillError, match="no fastText model"):
        Language(model=str(tmp_path / "text.bin")).load()
    own = tmp_path / "own.ftz"
    own.write_bytes(model_file().read_bytes())
    with pytest.raises(GristmillError, match="knows no language 'tpi'"):
        Language(model=str(own), languages=("tpi",)).load()


def test_scripts_are_told_apart_where_a_label_names_them() -> None:
    assert Tongue("sr").covers(Tongue("sr", "Cyrl"))
    assert not Tongue("sr", "Latn").covers(Tongue("sr", "Cyrl"))
    assert Language(languages=("srp_Latn",)).check(text_page(SERBIAN)) is None  # lid.176 says no scripts


# --- the early gate


def test_the_early_gate_drops_what_is_certain_and_measures_all() -> None:
    foreign, native = html_page(f"<p>{GERMAN}"), html_page(f"<p>{ENGLISH}")
    gate = EarlyLanguage(audit_share=0)
    drop = gate.check(foreign)
    assert drop is not None
    assert (drop.rule, drop.limit) == ("certainly_other_language", 0.1)
    assert drop.value == foreign.values["early_language.probability"] < 0.1
    assert gate.check(native) is None
    assert native.values["early_language.probability"] > 0.9


def test_too_little_text_is_never_dropped_early() -> None:
    page = html_page(f"<p>{GERMAN[:150]}")
    assert EarlyLanguage(audit_share=0).check(page) is None
    assert "early_language.probability" not in page.values


def test_a_foreign_menu_does_not_condemn_the_page() -> None:
    page = html_page(f"<nav>{GERMAN * 6}</nav><article>{ENGLISH * 20}</article>")
    assert EarlyLanguage(audit_share=0).check(page) is None


def test_text_that_comes_with_its_page_is_asked_instead_of_html() -> None:
    assert EarlyLanguage(audit_share=0).check(text_page(GERMAN)) is not None
    assert EarlyLanguage(audit_share=0).check(text_page(ENGLISH)) is None


def test_a_table_that_grids_would_blow_up_costs_nothing() -> None:
    wide = "<tr><td>" + "w" * 100_000 + "</td></tr>" + "<tr><td>a</td></tr>" * 20_000
    page = html_page(f"<table>{wide}</table><p>{ENGLISH * 200}")
    assert EarlyLanguage(audit_share=0).check(page) is None


def test_lone_surrogates_are_no_fault() -> None:
    assert Language().check(text_page(f"{ENGLISH} \ud800 {ENGLISH}")) is None


def test_several_kept_languages_count_together() -> None:
    page = html_page(f"<p>{GERMAN}")
    assert EarlyLanguage(languages=("eng", "deu"), audit_share=0).check(page) is None
    assert EarlyLanguage(languages=None).check(html_page(f"<p>{GERMAN}")) is None


def test_the_audit_is_a_sample_by_record_that_never_changes() -> None:
    gate = EarlyLanguage(audit_share=0.25)
    pages = [html_page(f"<p>{GERMAN}", record_id=f"{n:032x}") for n in range(400)]
    through = [gate.check(page) is None for page in pages]
    assert 60 < sum(through) < 140
    assert through == ["early_language.audit" in page.values for page in pages]
    again = [gate.check(html_page(f"<p>{GERMAN}", record_id=f"{n:032x}")) is None for n in range(400)]
    assert again == through


def test_the_ledger_tells_what_the_gate_cost() -> None:
    rows = [
        # state, step, language, probability, audit
        ("kept", "", "en", 0.9, None),
        ("dropped", "language", "de", 0.3, None),
        ("dropped", "gopher_quality", "en", 0.9, None),
        ("dropped", "early_language", None, 0.01, None),
        ("dropped", "language", "de", 0.01, 1.0),
        ("kept", "", "en", 0.05, 1.0),
        ("dropped", "extract", None, 0.05, 1.0),  # the late gate never saw it
        ("dropped", "record_gate", None, None, None),
    ]
    names = ("state", "step", "language", "early_language.probability", "early_language.audit")
    table = pa.table(dict(zip(names, zip(*rows, strict=True), strict=True)))
    account = language_loss(table)
    assert account == LanguageLoss(1, 3, 2, 1, 3, 1)
    assert account.loss == 0.5
    assert LanguageLoss(0, 0, 0, 0, 0, 0).loss is None
    nothing_lost = LanguageLoss(0, 300, 300, 0, 0, 0).upper_bound
    assert nothing_lost == pytest.approx(0.00994, abs=1e-4)  # the rule of three: 3 / 300


def datatroves_prediction(model: Any, text: str) -> tuple[str, float]:
    """What datatrove 0.10.1's FastTextLID.predict does with the loaded model."""
    labels, scores = model.predict(text.replace("\n", " "), k=-1)
    pairs = {label.split("__")[2]: score.item() for label, score in zip(labels, scores, strict=True)}
    return max(pairs.items(), key=lambda pair: pair[1])


@needs_texts
@pytest.mark.parametrize(("name", "every"), [("lingua_sentences", 10), ("udhr_documents", 4)])
def test_on_labelled_texts_label_score_and_decision_are_datatroves(name: str, every: int) -> None:
    """One difference, agreed: lid.176's label `als` is Alemannic, which ISO 639-3 calls gsw."""
    from fasttext.FastText import _FastText

    model = _FastText(str(model_file()))
    step = Language(strict=True)
    with gzip.open(TEXTS / f"{name}.tsv.gz", "rt") as lines:
        texts = [line.rstrip("\n").split("\t")[2] for line in lines][::every]
    for text in texts:
        page = text_page(text)
        label, score = datatroves_prediction(model, text)
        kept = step.check(page) is None
        assert (page.language, page.language_score) == ({"als": "gsw"}.get(label, label), score)
        assert kept == (label == "en" and score > 0.65)
