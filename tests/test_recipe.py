"""Recipes: what is right round-trips, what is wrong is told with its line and a suggestion."""

import pytest

from pipeline.errors import GristmillError
from pipeline.recipe import Recipe, load_recipe, parse_recipe, preset_names

SMALL = """\
name: mine
steps:
  - record_gate
  - extract: {engine: resiliparse}
  - gopher_quality:
      min_words: 30
"""


@pytest.mark.parametrize("name", preset_names())
def test_a_preset_survives_the_way_to_yaml_and_back(name: str) -> None:
    recipe = load_recipe(name)
    assert parse_recipe(recipe.yaml(), name) == recipe
    assert recipe.name == name
    assert recipe.about


def test_the_published_presets_say_what_the_papers_say() -> None:
    published = load_recipe("fineweb-v1")
    assert published.step("language").min_score == 0.65  # type: ignore[union-attr]
    assert published.step("fineweb_quality").max_char_dup_ratio == 0.01  # type: ignore[union-attr]
    assert published.step("pii").entities == ("email", "ip")  # type: ignore[union-attr]
    assert load_recipe("multilingual").step("c4_quality") is None


def test_a_step_by_name_alone_has_its_defaults() -> None:
    recipe = parse_recipe(SMALL, "mine.yaml")
    assert [step.label for step in recipe.steps] == ["record_gate", "extract", "gopher_quality"]
    assert recipe.step("gopher_quality").min_words == 30  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("before", "after", "line", "told"),
    [
        ("min_words: 30", "min_word: 30", 6, "did you mean min_words?"),
        ("min_words: 30", "min_words: thirty", 6, "gopher_quality.min_words"),
        ("  - gopher_quality:", "  - gopher_qualty:", 5, "did you mean gopher_quality?"),
        ("name: mine", "nmae: mine", 1, "did you mean name?"),
        ("engine: resiliparse", "engine: beautifulsoup", 4, "extract.engine"),
        ("name: mine", "name: mine\ndedup: {bands: 0}", 2, "dedup.bands"),
        ("name: mine", "name: mine\ndedup: {banks: 3}", 2, "did you mean bands?"),
        ("name: mine", "name: [mine", 2, "not YAML"),
        ("  - record_gate\n", "  - record_gate\n  - record_gate\n", 4, "the step record_gate stands there twice"),
        ("  - record_gate\n", "  - gopher_repetition\n", 3, "put it after extract"),
        ("min_words: 30", "min_words: 30\n      min_words: 40", 7, "min_words stands there twice, first in line 6"),
        ("name: mine", "name: mine\nname: yours", 2, "name stands there twice"),
        ("min_words: 30", "max_words: 30", 5, "is above max_words (30.0): no page could pass"),
        ("name: mine", "name: mine\ndedup: {against: here}", 2, "a list, like [a, b]"),
    ],
)
def test_a_mistake_is_told_with_its_line(before: str, after: str, line: int, told: str) -> None:
    with pytest.raises(GristmillError) as caught:
        parse_recipe(SMALL.replace(before, after), "mine.yaml")
    assert told in str(caught.value)
    assert caught.value.where == f"mine.yaml, line {line}"


def test_steps_that_work_against_each_other_are_refused_before_a_run() -> None:
    recipe = load_recipe("default").with_settings(["language.other=publish"])
    with pytest.raises(GristmillError, match=r"early_language drops what language\.other=publish"):
        recipe.check_conflicts()
    for mended in ("early_language=off", "early_language.min_probability=0", "early_language.languages=null"):
        recipe.with_settings([mended]).check_conflicts()


def test_an_unknown_preset_names_the_nearest() -> None:
    with pytest.raises(GristmillError, match="did you mean fineweb-v1"):
        load_recipe("fineweb_v1")


def test_settings_from_the_command_line() -> None:
    recipe = parse_recipe(SMALL, "mine.yaml")
    changed = recipe.with_settings(["gopher_quality.min_words=7", "dedup.exact=false", "publish.shard_mb=1"])
    assert changed.step("gopher_quality").min_words == 7  # type: ignore[union-attr]
    assert changed.dedup.exact is False
    assert changed.publish.shard_mb == 1
    for wrong, told in (
        ("gopher.min_words=1", "did you mean gopher_quality"),
        ("gopher_quality.min=1", "no setting"),
        ("x", "NAME=VALUE"),
    ):
        with pytest.raises(GristmillError, match=told):
            recipe.with_settings([wrong])


def test_a_step_can_be_left_out_from_the_command_line() -> None:
    recipe = parse_recipe(SMALL, "mine.yaml")
    assert [step.name for step in recipe.with_settings(["record_gate=off"]).steps] == [
        step.name for step in recipe.steps if step.name != "record_gate"
    ]
    for wrong in ("record_gat=off", "dedup=off", "record_gate=on"):
        with pytest.raises(GristmillError):
            recipe.with_settings([wrong])


def test_the_key_of_a_part_changes_with_that_part_alone() -> None:
    recipe = load_recipe("default")
    other = recipe.with_settings(["dedup.min_jaccard=0.9"])
    assert recipe.key("steps", "limits") == other.key("steps", "limits")
    assert recipe.key("dedup") != other.key("dedup")
    looser = recipe.with_settings(["gopher_quality.min_words=30"])
    assert recipe.key("steps") != looser.key("steps")
    assert Recipe.model_validate(recipe.plain()).key("steps") == recipe.key("steps")


def test_a_setting_that_is_no_yaml_is_told() -> None:
    with pytest.raises(GristmillError, match="not YAML"):
        load_recipe("default").with_settings(["gopher_quality.min_words=["])


@pytest.mark.parametrize("value", ["-5", ".nan"])
def test_a_limit_that_no_page_can_meet_is_refused(value: str) -> None:
    with pytest.raises(GristmillError, match="min_words cannot be"):
        load_recipe("default").with_settings([f"gopher_quality.min_words={value}"])
