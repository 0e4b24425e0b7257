"""Records: what stands in a text one after another, with the stretches between them in which nothing could be read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from pipeline.sources.digests import claims_fit
from pipeline.sources.heads import LONGEST, Head, find_head, first_head, is_head, newlines, read_head
from pipeline.sources.text import Text

_EMPTY = memoryview(b"")


@dataclass(slots=True)
class Found:
    """The stretch [start, end) of a text: a record, or with a `problem` what could not be read as one."""

    start: int
    end: int
    head: Head | None = None
    block: memoryview = _EMPTY  # what stands behind the head
    vouched: bool = False  # a checksum of the archive's says that the bytes are those that were written
    problem: str = ""  # the rule under which it is set aside
    detail: str = ""
    notes: dict[str, Any] = field(default_factory=dict)


def read_records(text: Text, start: int, max_record: int) -> Iterator[Found]:
    """Every record from `start` on, and every stretch between, without gap or overlap up to the text's end.

    `start` is 0 or where a record begins. A block of more than `max_record` bytes is passed over and not held.
    """
    at = first_head(text) if start == 0 else start
    while text.view(start, 1):
        if at is None:
            end = find_head(text, start)
            found = Found(start, end, problem="garbage_between_records", detail=_first_bytes(text, start))
        else:
            found = _read_record(text, start, at, max_record)
        yield found
        start = found.end
        at = start if text.view(start, 1) and is_head(text, start) else None


def _read_record(text: Text, start: int, at: int, max_record: int) -> Found:
    head = read_head(text, at)
    if head is None:
        return _damaged(text, start, at, None, "the header has no end")
    block_at = at + head.size
    if not head.closed:
        return _damaged(text, start, at, head, "the header has no end")
    if head.length is None:
        return _read_unmeasured(text, start, block_at, head, max_record)
    block_end = block_at + head.length
    if head.length > max_record:
        if not text.view(block_end - 1, 1):
            return _damaged(text, start, at, head, "ends before its Content-Length")
        return _pass_over(text, start, block_at, head)
    window = text.view(at, head.size + head.length + LONGEST)
    block = window[head.size : head.size + head.length]
    if len(block) < head.length:
        return _read_short(text, start, at, head, block)
    end = newlines(text, block_end)
    if not text.view(end, 1):
        if text.error:
            return _damaged(text, start, at, head, text.error)
        return Found(start, end, head, block, text.vouched)
    if end - block_end >= (1 if head.arc else 2) or is_head(text, end):
        return Found(start, end, head, block, text.vouched)
    return _read_overrun(text, start, block_at, head, block)


def _damaged(text: Text, start: int, at: int, head: Head | None, detail: str) -> Found:
    """A record that cannot be whole: what the head says of it is kept, its bytes are given up."""
    end = find_head(text, at + 1)
    if text.error and not text.view(end, 1):
        rule = "truncated_file" if text.truncated else "damaged_member"
        return Found(start, end, head, problem=rule, detail=text.error)
    ends = not text.view(end, 1) and not text.vouched
    return Found(start, end, head, problem="truncated_file" if ends else "damaged_record", detail=detail)


def _read_unmeasured(text: Text, start: int, block_at: int, head: Head, max_record: int) -> Found:
    """A record without a (readable) Content-Length reaches to the next one."""
    end = find_head(text, block_at)
    if text.error and not text.view(end, 1):
        return _damaged(text, start, block_at - head.size, head, text.error)
    if end - block_at > max_record:
        return Found(start, end, head, problem="record_too_large", detail=f"{end - block_at} bytes")
    block = _trimmed(text.view(block_at, end - block_at))
    return Found(start, end, head, block, text.vouched, notes={"record_length": "missing"})


def _pass_over(text: Text, start: int, block_at: int, head: Head) -> Found:
    """A record too large to hold: only its end is looked at."""
    assert head.length is not None
    block_end = block_at + head.length
    end = newlines(text, block_end)
    if text.view(end, 1) and end - block_end < (1 if head.arc else 2) and not is_head(text, end):
        end = find_head(text, block_at)
        return Found(start, end, head, problem="length_mismatch", detail=f"Content-Length {head.length}")
    return Found(start, end, head, problem="record_too_large", detail=f"{head.length} bytes")


def _read_short(text: Text, start: int, at: int, head: Head, block: memoryview) -> Found:
    """The text ends before the record's Content-Length: cut off, or the length is wrong."""
    if text.error:
        return _damaged(text, start, at, head, text.error)
    end = find_head(text, at + head.size)
    if text.view(end, 1):
        detail = f"Content-Length {head.length}, but another record begins after {end - at - head.size} bytes"
        return Found(start, end, head, problem="length_mismatch", detail=detail)
    trimmed = _trimmed(block)
    if claims_fit(head, trimmed):
        return Found(start, end, head, trimmed, text.vouched, notes={"record_length": head.length})
    detail = f"Content-Length {head.length}, but {len(trimmed)} bytes stand there"
    rule = "length_mismatch" if text.vouched else "truncated_file"
    return Found(start, end, head, problem=rule, detail=detail)


def _read_overrun(text: Text, start: int, block_at: int, head: Head, block: memoryview) -> Found:
    """Something follows that is neither a line end nor a record: the length is wrong, or garbage follows."""
    end = find_head(text, block_at)
    if end < block_at + len(block):
        detail = f"Content-Length {head.length}, but another record begins after {end - block_at} bytes"
        return Found(start, end, head, problem="length_mismatch", detail=detail)
    whole = _trimmed(text.view(block_at, end - block_at))
    if not claims_fit(head, block) and claims_fit(head, whole):
        return Found(start, end, head, whole, text.vouched, notes={"record_length": head.length})
    return Found(start, block_at + len(block), head, block, text.vouched)


def _trimmed(block: memoryview) -> memoryview:
    """The block without the two line ends that stand behind it in the archive."""
    tail = bytes(block[-4:])
    for ending in (b"\r\n\r\n", b"\n\n", b"\r\n", b"\n"):
        if tail.endswith(ending):
            return block[: len(block) - len(ending)]
    return block


def _first_bytes(text: Text, start: int) -> str:
    return f"begins with {bytes(text.view(start, 24))!r}"
