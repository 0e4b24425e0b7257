"""Parameters of the flows as typed models with help texts, and their results: small, and enough to go on with.

A flow's form in the UI is made from these models. Their fields are a contract: they are added to, not renamed.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal

import orjson
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    WithJsonSchema,
    create_model,
    model_serializer,
)

import pipeline
from pipeline.dedup.settings import DedupSettings
from pipeline.errors import GristmillError
from pipeline.recipe import Limits, PublishSettings, Recipe, load_recipe, preset_names
from pipeline.steps import STEPS, step_class
from pipeline.tokens.settings import TokenizerSettings

SAMPLE = Path(pipeline.__file__).parent / "sample" / "crawl"


def _in_order(schema: dict[str, Any]) -> None:
    """Number the fields, for a form that shows them as they stand here: a database keeps no order of keys."""
    for position, field in enumerate(schema.get("properties", {}).values()):
        field["position"] = position


_FORM = ConfigDict(extra="forbid", json_schema_extra=_in_order)


class Source(BaseModel):
    """Where the pages come from: files, or a crawl."""

    model_config = _FORM

    files: list[str] = Field(
        [],
        description="Files, folders, globs, https:// or s3:// URLs, as the workers see them; gristmill:sample for the "
        "bundled sample crawl. Empty for a crawl.",
    )
    crawl: str = Field("", description="A Common Crawl release, e.g. CC-MAIN-2026-43. Empty for files.")
    number: int = Field(1, ge=0, description="How many of the crawl's files; 0 for all.")
    seed: int = Field(0, description="Seed of the choice among the crawl's files.")

    @property
    def name(self) -> str:
        """How the source is called in the names of runs."""
        return self.crawl or (self.files[0].rstrip("/").rpartition("/")[2] if self.files else "nothing")

    def patterns(self) -> list[str]:
        """What `plan_inputs` takes. Raises GristmillError where neither or both are named."""
        if bool(self.files) == bool(self.crawl):
            raise GristmillError(
                "name either files or a crawl", "source", "Give source.files, or source.crawl and source.number."
            )
        if self.files:
            return [str(SAMPLE) if file == "gristmill:sample" else file for file in self.files]
        from pipeline.sources.commoncrawl import crawl_files

        return crawl_files(self.crawl, self.number, self.seed)


class Output(BaseModel):
    """Where the dataset goes."""

    model_config = _FORM

    folder: str = Field(min_length=1, description="Folder or s3:// URL of the dataset, as the workers see it.")
    work: str = Field(
        "", description="Folder for unfinished work; empty for run/work in the dataset's. All workers must share it."
    )
    ask_before_publishing: bool = Field(
        False, description="Suspend the run before publishing until a person has approved it here."
    )
    accept_changed_inputs: bool = Field(False, description="Refine inputs again that changed since the run began.")


class Machines(BaseModel):
    """What the work is done on. Nothing here changes a published byte."""

    model_config = _FORM

    processes: int = Field(0, ge=0, description="Worker processes of a flow run; 0 for one a core of its machine.")
    flow_runs: int = Field(
        1, ge=1, le=1000, description="Refine in so many flow runs, spread over all workers of the pool."
    )
    chunk_minutes: float = Field(
        1.0, gt=0, description="Minutes of work, about, that one task run owns and that its bar moves by."
    )
    engine: Literal["pool", "ray"] = Field("pool", description="pool: processes of this machine. ray: a Ray cluster.")
    address: str = Field("", description="Address of the Ray cluster; empty to start Ray on this machine.")


class _Given(BaseModel):
    """A model that is written without what was left empty."""

    model_config = _FORM

    @model_serializer(mode="wrap")
    def _write(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {key: value for key, value in write(self).items() if value not in (None, {})}


# What a step says of an empty setting holds in a recipe; in the form an empty field is as in the preset.
_EMPTY = re.compile(r"[;,] empty .*?(?=\.(?:\s|$))")
_LANGUAGE = "Language whose words and sentences are counted, e.g. en; the page's own where none is named."
# Settings that their steps describe by name and source alone.
_HELP = {
    "extract.engine": "Extracts the main text from HTML.",
    "gopher_repetition.lines": "Lines end at newlines, or at every line break that Unicode knows.",
    "gopher_repetition.language": _LANGUAGE,
    "gopher_quality.stop_words": "Words of which a page must hold some.",
    "gopher_quality.count_stop_words": "Count each word once, or each time that it stands there.",
    "gopher_quality.language": _LANGUAGE,
    "c4_quality.min_sentences": "Fewest sentences of a page.",
    "c4_quality.max_lorem_ipsum_lines": "More lines with lorem ipsum drop the page.",
    "c4_quality.max_curly_bracket_lines": "More lines with a curly bracket drop the page.",
    "c4_quality.max_word_length": "Lines with a longer word, in characters, are removed.",
    "c4_quality.min_words_per_line": "Lines with fewer words are removed.",
    "c4_quality.remove_citations": "Remove [1], [edit] and [citation needed].",
    "c4_quality.require_terminal_punctuation": "Remove lines that do not end as a sentence does: . ? ! or a quotation mark.",
    "c4_quality.drop_javascript": "Remove lines that ask for JavaScript.",
    "c4_quality.drop_policy": "Remove lines of terms of use, privacy policies and cookie notices.",
    "c4_quality.language": _LANGUAGE,
    "fineweb_quality.min_lines": "Fewest lines that are not blank.",
    "fineweb_quality.min_line_punct_ratio": "Smallest share of lines that end a sentence.",
    "fineweb_quality.allow_no_line_punct": "Keep a page of which no line ends a sentence.",
    "fineweb_quality.line_ends": "The characters that end a sentence.",
    "fineweb_quality.max_short_line_ratio": "Largest share of short lines.",
    "fineweb_quality.short_line_length": "Characters up to which a line is short.",
    "fineweb_quality.max_char_dup_ratio": "Largest share of characters that stand in repeated lines.",
    "fineweb_quality.max_newlines_per_word": "Most newlines a word: with more the page is a list.",
    "fineweb_quality.drop_at_limit": "Drop at the limits of the first three ratios too, as FineWeb v1 did.",
    "fineweb_quality.count_blank_lines": "Count blank lines in the first two ratios, as FineWeb v1 did.",
    "fineweb_quality.language": _LANGUAGE,
    "pii.entities": "Kinds of personal data to replace.",
    "pii.style": "What stands in their place: a name of the kind, or an invented value that looks like one.",
    "pii.placeholder": "The text put in their place where the style is a placeholder.",
    "pii.seed": "Seed of invented values.",
    "pii.phone_regions": "Regions (US, DE, …) in whose manner telephone numbers are read.",
    "pii.public_ips_only": "Leave addresses of private networks as they are.",
    "pii.hidden_emails": "Also find addresses written to be hidden: name (at) host.",
}


def _section(name: str, model: type[BaseModel]) -> Any:
    """A model with the same fields, all of which may be left out; only what is given is set.

    Steps read null and 0 alike as "off", so a blank field of the form can mean "as in the preset".
    """
    fields: dict[str, Any] = {}
    schemas = model.model_json_schema()["properties"]
    for key, field in model.model_fields.items():
        told = _EMPTY.sub("", field.description or _HELP.get(f"{name}.{key}", ""))
        told = " ".join(part for part in (told, "0 switches it off." if _can_be_off(field) else "") if part)
        schema = _bare({k: v for k, v in schemas[key].items() if k not in ("default", "description")})
        fields[key] = (
            Annotated[field.annotation | None, WithJsonSchema(schema)],
            Field(None, description=told or None, json_schema_extra=lambda schema: schema.pop("default", None)),
        )
    about = (model.__doc__ or "").strip().split("\n")[0]
    return create_model("".join(word.title() for word in name.split("_")), __base__=_Given, __doc__=about, **fields)


def _can_be_off(field: Any) -> bool:
    return any(getattr(getattr(one, "func", None), "__name__", "") == "_off_if_zero" for one in field.metadata)


def _bare(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema of a field of the form that may be left empty.

    Without "or null", so that it shows one kind of input, not two; and a choice for yes or no, since the form's
    switch knows no third state: left alone it would say no to everything that a preset has switched on.
    """
    kinds = [kind for kind in schema.get("anyOf", ()) if kind.get("type") != "null"]
    if len(kinds) == 1:
        schema = {**{k: v for k, v in schema.items() if k != "anyOf"}, **kinds[0]}
    if schema.get("type") == "boolean":
        schema = {**{k: v for k, v in schema.items() if k != "type"}, "enum": [True, False]}
    return schema


_SECTIONS: dict[str, type[BaseModel]] = {
    **{name: step_class(name) for name in STEPS if name != "datatrove"},
    "limits": Limits,
    "dedup": DedupSettings,
    "tokenizer": TokenizerSettings,
    "publish": PublishSettings,
}


class _RecipeBase(_Given):
    """A preset, and what is changed in it. A field that is left empty is as in the preset."""

    preset: str = Field(
        "default", description=f"A preset ({', '.join(preset_names())}), or a recipe file (YAML) that the workers see."
    )
    split_mb: int = Field(
        0, ge=0, description="Stored MiB of an archive that one unit of work takes; 0 as in the preset."
    )

    def recipe(self) -> Recipe:
        """The recipe that is meant. Raises GristmillError for what it does not have."""
        recipe = load_recipe(self.preset)
        settings = [f"split_mb={self.split_mb}"] if self.split_mb else []
        for section in _SECTIONS:
            given = getattr(self, section)
            for key, value in (given.model_dump(mode="json") if given else {}).items():
                settings.append(f"{section}.{key}={orjson.dumps(value).decode()}")
        return recipe.with_settings(settings) if settings else recipe


RecipeForm: Any = create_model(
    "RecipeForm",
    __base__=_RecipeBase,
    __doc__=_RecipeBase.__doc__,
    **{
        name: (section, Field(default_factory=section))
        for name, model in _SECTIONS.items()
        for section in [_section(name, model)]
    },
)


class Approval(BaseModel):
    """What a person answers before a dataset is published."""

    model_config = _FORM

    publish: bool = Field(True, description="Publish the dataset; no leaves all work as it is and ends the run.")
    note: str = Field("", description="Why; it is kept in the run's log.")


class Published(BaseModel):
    """The result of `curate`: where the dataset lies and what is in it. Enough for the next flow to start from."""

    dataset: str = Field(description="Folder or URL of the dataset")
    recipe: str = Field(description="Name of the recipe")
    recipe_key: str = Field(description="32 hex digits over the recipe's content")
    records: int = Field(description="Records that came in")
    documents: int = Field(description="Documents published")
    tokens: int = Field(description="Tokens published")
    shards: int = Field(description="Text shards published")
    tasks_done: int = Field(description="Engine tasks that this run had to do; 0 where everything stood")
    seconds: float = Field(description="Wall seconds of this run")
