"""`gristmill step NAME`: one step as a filter over JSON lines."""

from __future__ import annotations

import base64
from typing import IO, Any

import orjson

from pipeline.errors import GristmillError
from pipeline.recipe import Recipe
from pipeline.record import Drop, Page, record_id
from pipeline.refine import judge
from pipeline.steps import STEPS, Step, step_class


def run_step(name: str, recipe: Recipe, settings: list[str], source: IO[bytes], sink: IO[bytes]) -> int:
    """Read `{"id", "url", "html" | "html_base64" | "text"}` lines; write `{"id", "text", …, "drop"}` lines in order.

    A line that is no such object is answered by one with its number as `line` and the reason as `error`, and the
    rest goes on. Returns how many there were.
    """
    step = _chosen(name, recipe, settings)
    refused = 0
    for number, line in enumerate(source, 1):
        if line.strip():
            answer = _answer(step, line, number)
            refused += "line" in answer
            sink.write(orjson.dumps(answer, default=str) + b"\n")
            sink.flush()
    return refused


def _chosen(name: str, recipe: Recipe, settings: list[str]) -> Step:
    """The step as the recipe has it, or with its defaults where the recipe has none."""
    if name not in STEPS:
        raise GristmillError("there is no such step", name, f"Steps are {', '.join(STEPS)}.")
    recipe = recipe.model_copy(update={"steps": (recipe.step(name) or step_class(name)(),)})
    changed = [s if s.startswith(f"{name}.") else f"{name}.{s}" for s in settings]
    step = (recipe.with_settings(changed) if changed else recipe).step(name)
    assert step is not None
    return step


def _answer(step: Step, line: bytes, number: int) -> dict[str, Any]:
    try:
        row = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        return _refusal(None, number, f"not JSON: {error}")
    try:
        page = _page(row, number)
    except (ValueError, TypeError) as error:
        return _refusal(row.get("id") if isinstance(row, dict) else None, number, f"not a page: {error}")
    if step.takes == "text" and not page.has_text:
        return _refusal(row.get("id", page.record_id), number, _NEEDS_TEXT.format(step.label))
    judge(page, (step,))
    fate = page.fate
    answer: dict[str, Any] = {"id": row.get("id", page.record_id), "text": page.text if page.has_text else None}
    if page.language:
        answer |= {"language": page.language, "language_score": page.language_score}
    answer |= page.notes
    answer["values"] = {key.split(".", 1)[1]: value for key, value in page.values.items()}
    answer["drop"] = None
    if fate and fate.state == "quarantined" and fate.drop:
        answer["error"] = f"{fate.drop.rule}: {fate.drop.detail}"
    elif fate and fate.drop:
        answer["drop"] = _told(fate.drop)
    return answer


def _refusal(name: Any, number: int, error: str) -> dict[str, Any]:
    return {"id": name, "text": None, "drop": None, "line": number, "error": error}


def _page(row: Any, number: int) -> Page:
    if not isinstance(row, dict):
        raise TypeError("a line is an object")
    text = row.get("text")
    html = row.get("html")
    if isinstance(html, str):
        payload, charset = html.encode("utf-8", "surrogatepass"), "utf-8"
    elif "html_base64" in row:
        payload, charset = base64.b64decode(row["html_base64"], validate=True), str(row.get("charset", ""))
    elif isinstance(text, str):
        payload, charset = b"", ""
    else:
        raise ValueError("it needs html, html_base64 or text")
    return Page(
        record_id("stdin", number, str(row.get("id", ""))),
        "stdin",
        number,
        len(payload),
        "document",
        url=str(row.get("url") or ""),
        status=200,
        mime="text/html" if payload else "text/plain",
        charset=charset,
        payload=payload,
        given_text=text if isinstance(text, str) and not payload else None,
        language=str(row.get("language") or ""),
    )


_NEEDS_TEXT = "{} needs text, and here is HTML: send it through `gristmill step extract` first"


def _told(drop: Drop) -> dict[str, Any]:
    told = {"rule": drop.rule, "value": drop.value, "limit": drop.limit}
    return {**told, "detail": drop.detail} if drop.detail else told
