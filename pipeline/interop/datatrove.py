"""datatrove blocks in a recipe, Gristmill steps in a datatrove pipeline, and refining under datatrove's executors."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from functools import cache
from importlib import import_module
from importlib.metadata import version as installed_version
from typing import Any, ClassVar

import orjson
from datatrove.data import Document, DocumentsPipeline
from datatrove.pipeline.base import PipelineStep
from datatrove.pipeline.filters.base_filter import BaseFilter
from datatrove.pipeline.formatters.base import BaseFormatter
from pydantic import Field, model_validator

from pipeline.errors import GristmillError
from pipeline.pool import Serial
from pipeline.recipe import Recipe
from pipeline.record import Drop, Page
from pipeline.refine import RefineTask, judge, refine_key, refine_split
from pipeline.sources import plan_inputs
from pipeline.steps.step import Step

_HOMES = ("datatrove.pipeline.filters", "datatrove.pipeline.formatters")


class DatatroveStep(Step):
    """A datatrove filter or formatter, by class name or dotted path, with its own arguments.

    The block sees the page as a Document: text, id, and metadata `url`, `language`, `language_score`, `date`. What it
    does to the text stands; the reason that it gives is the rule in the ledger. It measures nothing that we can see,
    so `what-if` cannot answer for it.
    """

    name: ClassVar[str] = "datatrove"

    block: str = Field(description="Class name (C4QualityFilter) or dotted path of a datatrove filter or formatter")
    args: dict[str, Any] = Field(default_factory=dict, description="Keyword arguments of the block")

    @model_validator(mode="after")
    def _exists(self) -> DatatroveStep:
        _block(self.block, orjson.dumps(self.args, option=orjson.OPT_SORT_KEYS))
        return self

    @property
    def label(self) -> str:
        return f"datatrove.{self.block.rpartition('.')[2]}"

    @property
    def version(self) -> str:
        return f"datatrove {installed_version('datatrove')}"

    def check(self, page: Page) -> Drop | None:
        block = _block(self.block, orjson.dumps(self.args, option=orjson.OPT_SORT_KEYS))
        if isinstance(block, BaseFormatter):
            page.text = block.format(page.text)
            return None
        document = _document(page)
        verdict = block.filter(document)
        page.text = document.text
        kept, reason = verdict if isinstance(verdict, tuple) else (verdict, "")
        return None if kept else Drop(reason or "filtered")


class GristmillFilter(BaseFilter):  # type: ignore[misc]  # datatrove ships no types
    """A Gristmill step in a datatrove pipeline; what it measures goes to the document's metadata."""

    name = "🌾 Gristmill"

    def __init__(self, step: Step, exclusion_writer: Any = None) -> None:
        super().__init__(exclusion_writer)
        self.step = step

    def filter(self, doc: Document) -> bool | tuple[bool, str]:
        """Keep the document unless the step drops or quarantines it; the reason is the rule."""
        page = Page(
            doc.id,
            str(doc.metadata.get("file_path", "")),
            0,
            0,
            "document",
            url=str(doc.metadata.get("url", "")),
            mime="text/html" if self.step.takes == "html" else "text/plain",
            charset="utf-8",
            status=200,
            payload=doc.text.encode("utf-8", "surrogatepass") if self.step.takes == "html" else b"",
            given_text=None if self.step.takes == "html" else doc.text,
            language=str(doc.metadata.get("language", "")),
        )
        judge(page, (self.step,))
        if page.has_text:
            doc.text = page.text
        if page.language:
            doc.metadata |= {"language": page.language, "language_score": page.language_score}
        doc.metadata |= page.values
        fate = page.fate
        return True if fate is None or fate.state == "kept" or fate.drop is None else (False, fate.drop.rule)


class RefineSplits(PipelineStep):  # type: ignore[misc]  # datatrove ships no types
    """The refine phase for datatrove's executors: task `rank` of `world_size` refines every world_size-th split.

    `gristmill run` over the same inputs and `--work` then finds the splits refined and goes on from there.
    """

    name = "🌾 Gristmill refine"
    type = "📖 - READER"

    def __init__(self, recipe: Recipe, inputs: Sequence[str], work: str) -> None:
        super().__init__()
        self.recipe, self.inputs, self.work = recipe, tuple(inputs), work

    def run(self, data: DocumentsPipeline, rank: int = 0, world_size: int = 1) -> DocumentsPipeline:
        """Refine this rank's splits; yields no documents, since they lie in the work folder."""
        splits = plan_inputs(self.inputs, self.recipe.split_mb << 20)[rank::world_size]
        tasks = [RefineTask(split, self.recipe, self.work, refine_key(split, self.recipe)) for split in splits]
        for _, about in Serial().run(refine_split, tasks):
            for state, count in about["states"].items():
                self.stat_update(state, value=count)
        yield from data or ()


@cache
def _block(name: str, args: bytes) -> Any:
    """The datatrove block, made once per process."""
    home, _, cls = name.rpartition(".")
    for module in (home,) if home else _HOMES:
        found = getattr(import_module(module), cls, None)
        if inspect.isclass(found) and issubclass(found, (BaseFilter, BaseFormatter)):
            return found(**orjson.loads(args))
    raise GristmillError(
        "datatrove has no such filter or formatter", name, "Give a class of datatrove.pipeline.filters or .formatters."
    )


def _document(page: Page) -> Document:
    metadata = {
        "url": page.url,
        "date": page.date,
        "language": page.language,
        "language_score": page.language_score,
        "file_path": page.file,
    }
    return Document(text=page.text, id=page.record_id, metadata=metadata)
