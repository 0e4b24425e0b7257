"""Conversations from files: OpenAI messages, Alpaca, ShareGPT and UltraChat, as JSON lines, JSON or Parquet."""

from __future__ import annotations

import gzip
import json
import lzma
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from model.chat import ASSISTANT, Message
from pipeline.errors import GristmillError

# ShareGPT's, OpenAI's and LLaMA-Factory's names of the same parts.
_ROLES = {
    "human": "user", "user": "user", "prompter": "user",
    "gpt": ASSISTANT, "assistant": ASSISTANT, "chatgpt": ASSISTANT, "bing": ASSISTANT, "model": ASSISTANT,
    "tool_call": ASSISTANT, "function_call": ASSISTANT,
    "system": "system", "developer": "system",
    "tool": "tool", "function": "tool", "observation": "tool", "tool_response": "tool",
}  # fmt: skip
_CALLS = ("tool_call", "function_call")
_TODO = "Give OpenAI messages, Alpaca (instruction, input, output), ShareGPT (conversations) or UltraChat (data)."


@dataclass(frozen=True, slots=True)
class Conversation:
    """Messages, and where they came from (`file:line`) for whoever must find them again."""

    messages: tuple[Message, ...]
    origin: str


def read_conversations(paths: Iterable[str | Path]) -> Iterator[Conversation]:
    """Every conversation of `.jsonl`, `.json` or `.parquet` files, the first two also as `.gz` or `.xz`.

    Each row's form is told by its fields. Raises GristmillError with the file and the line (Parquet: the row)
    of what is no conversation: broken JSON, no messages, an unknown role, an empty answer.
    """
    for path in map(Path, paths):
        for number, row in read_rows(path):
            origin = f"{path.name}:{number}"
            try:
                yield Conversation(tuple(_messages(row)), origin)
            except ValueError as error:
                raise GristmillError(str(error), f"{path}, line {number}", _TODO) from error


def _messages(row: Any) -> list[Message]:
    if not isinstance(row, dict):
        raise ValueError("not a JSON object")
    turns = row.get("messages", row.get("conversations"))
    if turns is not None:
        messages = [_message(turn) for turn in _listed(turns)]
    elif "instruction" in row and "output" in row:
        question = "\n\n".join(part for part in (row["instruction"], row.get("input")) if part)
        messages = [Message("user", _text(question)), Message(ASSISTANT, _text(row["output"]))]
    elif "prompt" in row and ("completion" in row or "response" in row):
        answer = row["completion"] if "completion" in row else row["response"]
        messages = [Message("user", _text(row["prompt"])), Message(ASSISTANT, _text(answer))]
    elif "data" in row:  # UltraChat: turns without names, the user's first
        messages = [
            Message((ASSISTANT, "user")[i % 2 == 0], _text(turn)) for i, turn in enumerate(_listed(row["data"]))
        ]
    else:
        raise ValueError("no conversation: has the fields " + (", ".join(sorted(map(str, row))) or "none"))
    if not messages:
        raise ValueError("a conversation without messages")
    if isinstance(row.get("system"), str) and row["system"] and messages[0].role != "system":
        messages.insert(0, Message("system", row["system"]))
    return messages


def _message(turn: Any) -> Message:
    if not isinstance(turn, dict):
        raise ValueError("a message that is no object")
    named = turn.get("role", turn.get("from"))
    role = _ROLES.get(str(named).lower())
    if role is None:
        raise ValueError(f"the role {named!r} is not known")
    content = turn.get("content", turn.get("value"))
    if isinstance(content, list):  # OpenAI's content parts
        content = "".join(_text(part.get("text") if isinstance(part, dict) else part) for part in content)
    if content is None and turn.get("tool_calls"):
        calls = (call.get("function", call) for call in turn["tool_calls"])
        content = "\n".join(_call(json.dumps(call, ensure_ascii=False)) for call in calls)
    text = _text(content)
    return Message(role, _call(text) if str(named).lower() in _CALLS else text)


def _call(text: str) -> str:
    """A call as Qwen's and Hermes' templates write it, inside the assistant's turn."""
    return f"<tool_call>\n{text}\n</tool_call>"


def _listed(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise ValueError("the messages are no list")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"a message's content is {type(value).__name__}, not text")
    return value


def read_rows(path: Path) -> Iterator[tuple[int, Any]]:
    """What stands in each line or row of a `.jsonl`, `.json` or `.parquet` file, with its number from 1."""
    if path.suffix == ".parquet":
        yield from enumerate(_parquet(path), 1)
        return
    try:
        with _opened(path) as file:
            if Path(path.name.removesuffix(".gz").removesuffix(".xz")).suffix == ".json":
                yield from enumerate(_listed_file(file.read(), path), 1)
                return
            for number, line in enumerate(file, 1):
                if line.strip():
                    yield number, _parsed(line.strip(), path, number)
    except (OSError, EOFError, lzma.LZMAError) as error:
        raise GristmillError(
            f"cannot be read ({error})", str(path), "Check the path, or copy the file again."
        ) from error


def _listed_file(text: bytes, path: Path) -> list[Any]:
    rows = _parsed(text, path, 1)
    if not isinstance(rows, list):
        raise GristmillError("a .json file that holds no list", str(path), _TODO)
    return rows


def _parsed(text: bytes, path: Path, number: int) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        line = number + getattr(error, "lineno", 1) - 1
        raise GristmillError(f"not JSON ({error})", f"{path}, line {line}", "Mend or remove the line.") from error


def _opened(path: Path) -> IO[bytes]:
    if path.suffix == ".xz":
        return lzma.open(path)
    return gzip.open(path) if path.suffix == ".gz" else path.open("rb")


def _parquet(path: Path) -> Iterator[Any]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(1024, use_threads=False):
                yield from batch.to_pylist()
    except (OSError, pa.ArrowException) as error:
        what = f"not a whole Parquet file ({str(error).splitlines()[0]})"
        raise GristmillError(what, str(path), "Copy the file again.") from error
