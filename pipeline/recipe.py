"""The typed recipe of a run, to and from YAML; the presets lie in `recipes/`.

A recipe says everything that can change a published byte, and nothing else: not the inputs, not the output, not
how many workers there are.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from functools import cached_property
from hashlib import blake2b
from pathlib import Path
from typing import Annotated, Any

import orjson
import yaml
from pydantic import BaseModel, ConfigDict, Field, SerializeAsAny, ValidationError, model_validator

import pipeline
from pipeline.dedup.settings import DedupSettings
from pipeline.errors import GristmillError
from pipeline.settings import OWN_FILES
from pipeline.steps import STEPS, Step, step_class
from pipeline.tokens.settings import TokenizerSettings

PRESETS = Path(__file__).parent / "recipes"


class Limits(BaseModel):
    """What one page may cost before it is set aside. Measured in CPU time, so a busy machine changes nothing."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    page_cpu_seconds: float = Field(20, gt=0, description="CPU seconds a page may take in all steps; tried twice")
    worker_memory_mb: int = Field(4096, ge=0, description="Private memory of one worker in MiB; 0 for no limit")


class PublishSettings(BaseModel):
    """How the survivors are laid out in shards."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    shard_mb: int = Field(256, gt=0, description="Text a shard holds, in MiB before compression, about")
    validation_share: float = Field(0.01, ge=0, lt=1, description="Share of hosts whose pages are the validation part")
    seed: int = Field(0, description="Seed of the choice of validation hosts and of the samples in report and card")


class Recipe(BaseModel):
    """Everything that decides what is published."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(min_length=1, description="What the recipe is called; an output folder belongs to one name")
    about: str = Field("", description="One sentence on what it is for")
    split_mb: int = Field(64, gt=0, description="Stored bytes of an archive that one unit of work takes, in MiB")
    steps: Annotated[tuple[SerializeAsAny[Step], ...], Field(description="Each page goes through these in order")]
    limits: Limits = Limits()
    dedup: DedupSettings = DedupSettings()
    tokenizer: TokenizerSettings = TokenizerSettings()
    publish: PublishSettings = PublishSettings()

    @model_validator(mode="before")
    @classmethod
    def _build_steps(cls, data: Any) -> Any:
        """Steps come as Step objects, or as `name` or `{name: settings}`."""
        if isinstance(data, dict) and isinstance(data.get("steps"), (list, tuple)):
            return {**data, "steps": tuple(_build_step(entry) for entry in data["steps"])}
        return data

    @model_validator(mode="after")
    def _check_order(self) -> Recipe:
        if misplaced := _misplaced(self.steps):
            raise ValueError(misplaced[1])
        return self

    @property
    def measured(self) -> list[str]:
        """The ledger's columns of measured values, in the order of the steps."""
        return [column for step in self.steps for column in step.columns]

    def check_conflicts(self) -> None:
        """Raise GristmillError where two steps work against each other: asked before a run, not of what was published."""
        for i, step in enumerate(self.steps):
            if problem := step.conflict(self.steps[:i]):
                raise GristmillError(problem, f"recipe {self.name}", "Mend one of the two.")

    def step(self, label: str) -> Step | None:
        """The step with this label, None where the recipe has none."""
        return next((step for step in self.steps if step.label == label), None)

    def plain(self) -> dict[str, Any]:
        """The recipe as plain data, as it stands in YAML, defaults written out."""
        data = self.model_dump(mode="json")
        data["steps"] = [{step.name: step.model_dump(mode="json")} for step in self.steps]
        return data

    def yaml(self) -> str:
        return _yaml(self.plain())

    def published(self) -> str:
        """The recipe as it is published: of the user's own files only their names, not where they lay."""
        return _yaml(self._told[0])

    def key(self, *parts: str) -> str:
        """32 hex digits over the named parts of the recipe, what their steps' versions are, and Gristmill's version."""
        plain, versions = self._told
        chosen = {part: plain[part] for part in parts}
        versions = versions if "steps" in parts else []
        return digest("recipe", pipeline.__version__, chosen, versions)

    @cached_property
    def _told(self) -> tuple[dict[str, Any], list[str]]:
        """The recipe as it is published and the versions of its steps, once for the keys of all splits.

        What lies in the user's own files is part of the versions; where they lie changes nothing.
        """
        told = self.plain()
        parts = [(settings, told[name]) for name, settings in self if isinstance(settings, BaseModel)]
        parts += [(step, told["steps"][i][step.name]) for i, step in enumerate(self.steps)]
        for settings, plain in parts:
            for name, field in type(settings).model_fields.items():
                if field.json_schema_extra == OWN_FILES:
                    plain[name] = _names(plain[name])
        return told, [step.version for step in self.steps]

    def with_settings(self, settings: Iterable[str]) -> Recipe:
        """A copy with `gopher_quality.min_words=30`-like settings changed; the value is read as YAML.

        `early_language=off` leaves that step out. Raises GristmillError where a name is not in the recipe or a value is impossible.
        """
        data = self.plain()
        switches = {step.name for step in self.steps}
        for setting in settings:
            name, equals, value = setting.partition("=")
            if not equals:
                raise GristmillError(
                    "a setting is NAME=VALUE", setting, "For example --set gopher_quality.min_words=30"
                )
            name, parsed = name.strip(), _value(value, setting)
            if name in switches and parsed is False:
                data["steps"] = [entry for entry in data["steps"] if name not in entry]
            else:
                _set(data, name.split("."), parsed, setting)
        return _validated(data, "--set", None)


def _misplaced(steps: Sequence[Step]) -> tuple[int, str] | None:
    """Which step cannot stand where it stands, and why."""
    labels = [step.label for step in steps]
    for i, label in enumerate(labels):
        if label in labels[:i]:
            return i, f"the step {label} stands there twice"
    texts = [i for i, step in enumerate(steps) if step.takes == "text"]
    makers = [i for i, step in enumerate(steps) if "text" in step.gives and step.takes == "html"]
    if texts and makers and texts[0] < makers[0]:
        first, maker = labels[texts[0]], labels[makers[0]]
        return texts[0], f"the step {first} needs the text that {maker} makes: put it after {maker}"
    return None


def _value(text: str, setting: str) -> Any:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        raise GristmillError(
            "this value is not YAML", f"--set {setting}", "For example 30, true, null, [en, de], or 'quoted text'."
        ) from None


def _yaml(plain: dict[str, Any]) -> str:
    return str(yaml.safe_dump(plain, sort_keys=False, allow_unicode=True, width=110))


def _names(files: Any) -> Any:
    """The last part of a path, or of each of several."""
    if isinstance(files, list):
        return [_names(file) for file in files]
    return files.rstrip("/").rpartition("/")[2] if files else files


def digest(*parts: Any) -> str:
    """32 hex digits over JSON-like values: the key under which work is kept."""
    return blake2b(orjson.dumps(parts, option=orjson.OPT_SORT_KEYS), digest_size=16).hexdigest()


def preset_names() -> list[str]:
    return sorted(path.stem for path in PRESETS.glob("*.yaml"))


def load_recipe(source: str | Path) -> Recipe:
    """A preset by name or a YAML file by path.

    Raises GristmillError with the line of the mistake and, for a mistyped key, what was probably meant.
    """
    path = PRESETS / f"{source}.yaml" if str(source) in preset_names() else Path(source)
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise GristmillError(
            f"there is no such preset or recipe file{_perhaps(str(source), preset_names())}",
            str(source),
            f"Presets are {', '.join(preset_names())}. Or give a path to a YAML file.",
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise GristmillError(f"cannot be read ({error})", str(source), "Give a YAML file in UTF-8.") from error
    return parse_recipe(text, str(source))


def parse_recipe(text: str, where: str) -> Recipe:
    """A recipe from YAML text; `where` names it in errors."""
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        data = yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 0
        raise GristmillError(
            f"this is not YAML: {error.problem}", f"{where}, line {line}", "Mend that line."
        ) from error
    _check_keys(root, where)
    if not isinstance(data, dict):
        raise GristmillError("a recipe is a mapping", where, "See `gristmill recipe show default`.")
    return _validated(data, where, root)


def _check_keys(node: yaml.Node | None, where: str) -> None:
    """Refuse a key that stands twice in one mapping: YAML would take the last one without a word."""
    below = node.value if isinstance(node, (yaml.MappingNode, yaml.SequenceNode)) else []
    seen: dict[str, int] = {}
    for child in below:
        key, value = child if isinstance(child, tuple) else (None, child)
        if key is not None:
            name, line = str(key.value), key.start_mark.line + 1
            if name in seen:
                raise GristmillError(
                    f"{name} stands there twice, first in line {seen[name]}", f"{where}, line {line}", "Take one away."
                )
            seen[name] = line
        _check_keys(value, where)


def _build_step(entry: Any) -> Step:
    if isinstance(entry, Step):
        return entry
    name, settings = _name_and_settings(entry)
    return step_class(name).model_validate(settings)


def _name_and_settings(entry: Any) -> tuple[str, Any]:
    if isinstance(entry, str):
        return entry, {}
    if isinstance(entry, dict) and len(entry) == 1:
        name, settings = next(iter(entry.items()))
        return str(name), {} if settings is None else {"block": settings} if isinstance(settings, str) else settings
    raise ValueError("a step is `name` or `name: {settings}`")


def _validated(data: dict[str, Any], where: str, root: yaml.Node | None) -> Recipe:
    """The recipe, or a GristmillError that names line and mistake. Steps first: their errors know their place best."""
    steps: list[Step] = []
    for index, entry in enumerate(data.get("steps") or []):
        place: tuple[str | int, ...] = ("steps", index)
        try:
            name, settings = _name_and_settings(entry)
        except ValueError as error:
            raise GristmillError(
                str(error), _line(where, root, place), "See `gristmill recipe show default`."
            ) from None
        if name not in STEPS:
            raise GristmillError(
                f"there is no step named {name}{_perhaps(name, STEPS)}",
                _line(where, root, place),
                f"Steps are {', '.join(STEPS)}.",
            )
        cls = step_class(name)
        try:
            steps.append(cls.model_validate(settings))
        except ValidationError as error:
            raise _mistake(error, cls, where, root, (*place, name)) from None
    if misplaced := _misplaced(steps):
        raise GristmillError(misplaced[1], _line(where, root, ("steps", misplaced[0])), "Mend that step.")
    try:
        return Recipe.model_validate(data)
    except ValidationError as error:
        raise _mistake(error, Recipe, where, root, ()) from None


def _mistake(
    error: ValidationError, model: type[BaseModel], where: str, root: yaml.Node | None, above: tuple[str | int, ...]
) -> GristmillError:
    """The most telling of pydantic's errors as one of ours."""
    # A key that is not known explains one that is missing, so it is told first.
    first = min(error.errors(), key=lambda one: one["type"] != "extra_forbidden")
    loc = tuple(first["loc"])
    name = ".".join(str(part) for part in (*above[2:], *loc))
    place = _line(where, root, (*above, *loc))
    if first["type"] == "extra_forbidden":
        known = _fields(model, loc[:-1])
        meant = _perhaps(str(loc[-1]), known)
        return GristmillError(f"there is no setting {name}{meant}", place, f"Settings here are {', '.join(known)}.")
    if first["type"] == "missing":
        return GristmillError(f"{name} is missing", place, "See `gristmill recipe show default`.")
    value = "" if isinstance(first["input"], dict) else f" (it is {first['input']!r})"
    message = first["msg"].removeprefix("Value error, ")
    message = message[:1].lower() + message[1:]
    if first["type"] == "tuple_type":  # pydantic's word; in YAML it is a list
        message = "input should be a list, like [a, b]"
    return GristmillError(f"{name}: {message}{value}" if name else message, place, "Mend that setting.")


def _fields(model: type[BaseModel], loc: Sequence[str | int]) -> list[str]:
    for part in loc:
        field = model.model_fields.get(str(part))
        inner = field.annotation if field else None
        if not (isinstance(inner, type) and issubclass(inner, BaseModel)):
            return []
        model = inner
    return list(model.model_fields)


def _perhaps(name: str, known: Iterable[str]) -> str:
    close = get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f"; did you mean {close[0]}?" if close else ""


def _line(where: str, root: yaml.Node | None, loc: Sequence[str | int]) -> str:
    """`where, line N` for the deepest node on the way to `loc` that the YAML has."""
    if root is None:
        return where
    node, line = root, root.start_mark.line
    for part in loc:
        if isinstance(node, yaml.MappingNode):
            found = next(((k, v) for k, v in node.value if k.value == str(part)), None)
            if found is None:
                break
            line, node = found[0].start_mark.line, found[1]
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            node = node.value[part]
            line = node.start_mark.line
        else:
            break
    return f"{where}, line {line + 1}"


def _set(data: dict[str, Any], path: list[str], value: Any, setting: str) -> None:
    """Set `step.field`, `dedup.field` or `field` in a plain recipe."""
    steps = {next(iter(entry)): next(iter(entry.values())) for entry in data["steps"]}
    head, rest = path[0], path[1:]
    target = steps.get(head) if rest and head in steps else data.get(head) if rest else data
    leaf = rest or [head]
    for part in leaf[:-1]:
        target = target.get(part) if isinstance(target, dict) else None
    if not isinstance(target, dict):
        known = [*steps, *data]
        raise GristmillError(
            f"the recipe has no {head}{_perhaps(head, known)}", f"--set {setting}", f"It has {', '.join(known)}."
        )
    target[leaf[-1]] = value
