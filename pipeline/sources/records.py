"""Records: what stands in a text one after another, and the stretches between in which nothing could be read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from pipeline.sources.digests import claims_fit
from pipeline.sources.heads import (
    LONGEST,
    Head,
    find_head,
    head_follows,
    is_findable,
    newlines,
    read_head,
)
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
    findable: bool = False  # a reader that comes from the middle of the text would find that it begins here


def read_records(text: Text, start: int, at: int | None, max_record: int) -> Iterator[Found]:
    """Every record from `start` on, and every stretch between, without gap or overlap to the text's end.

    `at` is where the first record begins, behind some line ends perhaps; None where none does at `start`. A block
    of more than `max_record` bytes is passed over and not held.
    """
    findable = at is not None
    while text.view(start, 1):
        if at is None:
            end = find_head(text, start)
            detail = f"begins with {bytes(text.view(start, 24))!r}"
            found = Found(start, end, problem="garbage_between_records", detail=detail)
        else:
            found = _read_record(text, start, at, max_record)
            found.findable = findable
        yield found
        start = found.end
        at, findable = _next(text, start)


def _next(text: Text, start: int) -> tuple[int | None, bool]:
    """Where the next record begins, if at `start` one does, and whether it could be found from elsewhere."""
    while not head_follows(text, start):
        # Half a header at the end of a member goes on in the next, where the archive was cut into blocks.
        rest = len(text.view(start, LONGEST))
        if rest in (0, LONGEST) or not text.extend():
            return None, False
    return start, is_findable(text, start)


def _read_record(text: Text, start: int, at: int, max_record: int) -> Found:
    head = read_head(text, at)
    while head and not head.closed and text.extend():
        head = read_head(text, at)
    if head is None or not head.closed:
        return _damaged(text, start, at, head, "the header has no end")
    if head.length is None:
        return _read_unmeasured(text, start, at + head.size, head, max_record)
    if head.length > max_record:
        return _pass_over(text, start, at, head, head.length)
    window = text.view(at, head.size + head.length + LONGEST)
    while len(window) < head.size + head.length and text.extend():
        window = text.view(at, head.size + head.length + LONGEST)
    block = window[head.size : head.size + head.length]
    if len(block) < head.length:
        return _read_short(text, start, at, head, block)
    block_end = at + head.size + head.length
    end = newlines(text, block_end)
    if not text.view(end, 1):
        if text.error:
            return _damaged(text, start, at, head, text.error)
        return Found(start, end, head, block, text.vouched)
    if _terminated(head, end - block_end) or head_follows(text, end):
        return Found(start, end, head, block, text.vouched)
    return _read_overrun(text, start, at + head.size, head, block, max_record)


def _terminated(head: Head, line_ends: int) -> bool:
    """Whether what separates records stands behind a block: two line ends in WARC, one in ARC."""
    return line_ends >= (1 if head.arc else 2)


def _damaged(text: Text, start: int, at: int, head: Head | None, detail: str) -> Found:
    """A record that cannot be whole: what the head says of it is kept, its bytes are given up."""
    end = find_head(text, at + 1)
    if text.view(end, 1):
        return Found(start, end, head, problem="damaged_record", detail=detail)
    if text.error and not text.truncated:
        return Found(start, end, head, problem="damaged_member", detail=text.error)
    rule = "damaged_record" if text.vouched else "truncated_file"
    return Found(start, end, head, problem=rule, detail=detail)


def _read_unmeasured(text: Text, start: int, block_at: int, head: Head, max_record: int) -> Found:
    """A record without a (readable) Content-Length reaches to the next one."""
    end = find_head(text, block_at)
    if text.error and not text.view(end, 1):
        return _damaged(text, start, block_at - head.size, head, text.error)
    if end - block_at > max_record:
        return Found(start, end, head, problem="record_too_large", detail=f"{end - block_at} bytes")
    block = text.view(block_at, end - block_at)
    block = block[: min(_ends(block))]
    return Found(start, end, head, block, text.vouched, notes={"record_length": "missing"})


def _pass_over(text: Text, start: int, at: int, head: Head, length: int) -> Found:
    """A record too large to hold: only its end is looked at."""
    block_end = at + head.size + length
    while not text.view(block_end - 1, 1):
        if not text.extend():
            return _damaged(text, start, at, head, text.error or f"ends before its Content-Length {length}")
    end = newlines(text, block_end)
    if text.view(end, 1) and not _terminated(head, end - block_end) and not head_follows(text, end):
        return _mismatch(text, start, at, head)
    return Found(start, end, head, problem="record_too_large", detail=f"{length} bytes")


def _mismatch(text: Text, start: int, at: int, head: Head) -> Found:
    """A Content-Length behind which no record ends, and nothing that says where this one does."""
    end = find_head(text, at + head.size)
    detail = f"Content-Length {head.length}, but the next record begins after {end - at - head.size} bytes"
    return Found(start, end, head, problem="length_mismatch", detail=detail)


def _read_short(text: Text, start: int, at: int, head: Head, block: memoryview) -> Found:
    """The text ends before the record's Content-Length: cut off, or the length is wrong."""
    if text.error:
        return _damaged(text, start, at, head, text.error)
    end = find_head(text, at + head.size)
    if text.view(end, 1):
        return _claimed(text, start, end, head, block[: end - at - head.size]) or _mismatch(text, start, at, head)
    if found := _claimed(text, start, end, head, block):
        return found
    detail = f"Content-Length {head.length}, but {len(block)} bytes stand there"
    rule = "length_mismatch" if text.vouched else "truncated_file"
    return Found(start, end, head, problem=rule, detail=detail)


def _read_overrun(text: Text, start: int, block_at: int, head: Head, block: memoryview, max_record: int) -> Found:
    """Something follows that is neither a line end nor a record: the length is wrong, or garbage follows."""
    end = find_head(text, block_at)
    if end - block_at > max_record:
        return Found(start, block_at + len(block), head, block, text.vouched)
    whole = text.view(block_at, end - block_at)
    if len(whole) < len(block):  # another record begins inside the block
        at = block_at - head.size
        return _claimed(text, start, end, head, whole) or _mismatch(text, start, at, head)
    if not claims_fit(head, block) and (found := _claimed(text, start, end, head, whole)):
        return found
    return Found(start, block_at + len(block), head, block, text.vouched)


def _claimed(text: Text, start: int, end: int, head: Head, block: memoryview) -> Found | None:
    """The record [start, end) with as much of `block` as its digest or HTTP length says is its own, if any.

    An ARC's own first record is no page: all of it is taken.
    """
    for size in _ends(block):
        if claims_fit(head, block[:size]):
            return Found(start, end, head, block[:size], text.vouched, notes={"record_length": head.length})
    if head.type != "warcinfo":
        return None
    return Found(start, end, head, block, text.vouched, notes={"record_length": head.length})


def _ends(block: memoryview) -> list[int]:
    """Where a block may end if line ends of the archive's are counted to it: none, one or two of them."""
    tail = bytes(block[-4:])
    return [len(block)] + [
        len(block) - len(ending) for ending in (b"\n", b"\r\n", b"\n\n", b"\r\n\r\n") if tail.endswith(ending)
    ]
