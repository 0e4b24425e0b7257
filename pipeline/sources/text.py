"""Text: what records are parsed from, addressed by position: a plain file, or one member as it inflates."""

from __future__ import annotations

from bisect import bisect_right
from typing import Protocol

from pipeline.sources.heads import first_head
from pipeline.sources.members import Codec, Member
from pipeline.sources.stored import Stored


class Text(Protocol):
    """A run of bytes that holds records one after another."""

    @property
    def error(self) -> str:
        """Why the text ends where it does, "" where it ends well; known once its end has been seen."""

    @property
    def truncated(self) -> bool:
        """It ends because the file ends too early."""

    @property
    def vouched(self) -> bool:
        """Its end has been seen and a checksum says that its bytes are those that were written."""

    def view(self, start: int, length: int) -> memoryview:
        """The bytes [start, start + length), fewer where the text ends. Cheap while `start` only grows."""

    def extend(self) -> bool:
        """Let the text go on in the next member, where that begins in the middle of a record."""

    def stored(self, position: int) -> int:
        """Where the text at `position` is stored, as near as can be told; exact at both ends of the text."""


class PlainText:
    """A file that is not compressed: the text is what is stored."""

    error = ""
    truncated = False
    vouched = False

    def __init__(self, stored: Stored) -> None:
        self.view = stored.view

    def extend(self) -> bool:
        return False

    def stored(self, position: int) -> int:
        return position


class MemberText:
    """The text of one member (or of several that were cut without regard to records), inflated as far as it is asked for and forgotten behind what is asked for."""

    def __init__(self, stored: Stored, codec: Codec, start: int) -> None:
        self.start = start
        self._stored, self._codec = stored, codec
        self._starts = [start]  # of its members: of one that was cut into blocks there are several
        self._open()

    def _open(self) -> None:
        self._member = Member(self._stored, self._codec, self.start)
        self._opened = 1  # how many of `_starts`
        self._base = 0  # position of the buffer's first byte
        self._buffer = b""
        self._marks = [(0, self.start)]  # from this position on, the text came from the bite stored there

    @property
    def last_start(self) -> int:
        """Stored position of its last member."""
        return self._starts[-1]

    @property
    def member_end(self) -> int:
        """Stored position behind its last member; of a damaged one, behind what was read of it."""
        return self._member.end

    def ends_at(self, position: int) -> bool:
        """Whether the text is known to end at `position` or in front of it."""
        return self._member.ended and position >= self._base + len(self._buffer)

    @property
    def error(self) -> str:
        return self._member.error

    @property
    def truncated(self) -> bool:
        return self._member.truncated

    @property
    def vouched(self) -> bool:
        return self._member.ended and not self._member.error and self._member.checked

    def view(self, start: int, length: int) -> memoryview:
        if start < self._base:
            self._open()
        if start + length > self._base + len(self._buffer) and not self._member.ended:
            self._inflate(start, start + length)
        at = min(start - self._base, len(self._buffer))
        return memoryview(self._buffer)[at : at + length]

    def extend(self) -> bool:
        end = self._member.end
        if not self._member.ended or self._member.error or not self._is_member(end):
            return False
        follower = MemberText(self._stored, self._codec, end)
        if first_head(follower) is not None or not follower.view(0, 1):
            return False
        self._starts.append(end)
        self._go_on()
        return True

    def _is_member(self, position: int) -> bool:
        return bool(self._codec.magic.match(self._stored.view(position, self._codec.longest)))

    def _go_on(self) -> None:
        self._member = Member(self._stored, self._codec, self._starts[self._opened])
        self._opened += 1

    def _more(self) -> bytes:
        while not (piece := self._member.more()) and self._opened < len(self._starts):
            self._go_on()
        return piece

    def _inflate(self, keep: int, until: int) -> None:
        parts, base = [self._buffer], self._base
        end = base + len(self._buffer)
        # One byte past `until`: that the text ends exactly there, and well, must come to light.
        while end <= until and (piece := self._more()):
            if self._member.bite_at != self._marks[-1][1]:
                self._marks.append((end, self._member.bite_at))
            parts.append(piece)
            end += len(piece)
            while len(parts) > 1 and base + len(parts[0]) <= keep:
                base += len(parts.pop(0))
        cut = max(0, min(keep - base, len(parts[0])))
        parts[0] = parts[0][cut:]
        self._base = base + cut
        self._buffer = parts[0] if len(parts) == 1 else b"".join(parts)
        del self._marks[: bisect_right(self._marks, self._base, key=lambda mark: mark[0]) - 1]

    def stored(self, position: int) -> int:
        if self.ends_at(position):
            return self._member.end
        mark = bisect_right(self._marks, position, key=lambda mark: mark[0]) - 1
        return self._marks[max(0, mark)][1]
