"""Parameters of the flows as typed models with help texts, and their results: small, and enough to go on with.

A flow's form in the UI is made from these models. Their fields are a contract: they are added to, not renamed.
"""

from __future__ import annotations

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


class Source(BaseModel):
    """Where the pages come from: files, or a crawl."""

    model_config = ConfigDict(extra="forbid")

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

    model_config = ConfigDict(extra="forbid")

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

    model_config = ConfigDict(extra="forbid")

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

    model_config = ConfigDict(extra="forbid")

    @model_serializer(mode="wrap")
    def _write(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {key: value for key, value in write(self).items() if value not in (None, {})}


def _section(name: str, model: type[BaseModel]) -> Any:
    """A model with the same fields, all of which may be left out; only what is given is set.

    Steps read null and 0 alike as "off", so a blank field of the form can mean "as in the preset".
    """
    fields: dict[str, Any] = {}
    schemas = model.model_json_schema()["properties"]
    for key, field in model.model_fields.items():
        told = " ".join(
            part for part in (field.description, "0 switches it off." if _can_be_off(field) else "") if part
        )
        schema = _bare({k: v for k, v in schemas[key].items() if k not in ("default", "description")})
        fields[key] = (
            Annotated[field.annotation | None, WithJsonSchema(schema)],
            Field(None, description=told or None, json_schema_extra=lambda schema: schema.pop("default", None)),
        )
    about = (model.__doc__ or "").strip().split("\n")[0]
    return create_model(name, __base__=_Given, __doc__=about, **fields)


def _can_be_off(field: Any) -> bool:
    return any(getattr(getattr(one, "func", None), "__name__", "") == "_off_if_zero" for one in field.metadata)


def _bare(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema without "or null": a field of the form that may be left empty shows one kind of input, not two."""
    kinds = [kind for kind in schema.get("anyOf", ()) if kind.get("type") != "null"]
    return {**{k: v for k, v in schema.items() if k != "anyOf"}, **kinds[0]} if len(kinds) == 1 else schema


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
        for section in [_section("".join(word.title() for word in name.split("_")), model)]
    },
)


class Approval(BaseModel):
    """What a person answers before a dataset is published."""

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
