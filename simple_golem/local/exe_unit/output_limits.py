"""Captures the output of a command, with the limits and formats of its `capture` field."""

from __future__ import annotations

from array import array
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    # The reader expects bytes as numbers. An array is encoded a thousand times faster than a list.
    Captured = str | array[int] | None

# The limit of an output without a limit of its own; the real exe-unit would fill the provider's memory.
MOST_BYTES = 64 * 1024 * 1024


class CapturedOutput:
    """The captured stdout or stderr of one command: its head, its tail, and their format.

    As in the real exe-unit, head and tail are captured independently of each other. A short output is in the
    result twice. Bytes that are not UTF-8 become replacement characters.
    """

    def __init__(self, mode: Mapping[str, Any] | None) -> None:
        """Args:
        mode: `{"atEnd": {…}}` or `{"stream": {…}}`, as in an ExeScript; None: nothing is captured.
        """
        kind, details = next(iter(mode.items())) if mode else ("", {})
        part = {**details, **(details.get("part") or {})}
        self.streamed = kind == "stream"
        self._binary = str(part.get("format") or "str").startswith("bin")
        self._head, self._tail = bytearray(), bytearray()
        self._head_limit, self._tail_limit = _limits(kind, part)

    @classmethod
    def whole(cls) -> CapturedOutput:
        """Capture everything, as for commands without a `capture` field."""
        return cls({"stream": {}})

    def write(self, data: bytes) -> Captured:
        """Capture the next piece of output; returns the part of it that is streamed."""
        kept = data[: self._head_limit - len(self._head)]
        self._head += kept
        if self._tail_limit:
            self._tail += data[-self._tail_limit :]
            del self._tail[: -self._tail_limit]
        if not (self.streamed and kept):
            return None
        return as_numbers(kept) if self._binary else kept.decode(errors="replace")

    def output(self) -> Captured:
        """Return the output for the command's result; None if it is empty."""
        output = bytes(self._head + self._tail)
        if not output:
            return None
        if self._binary:
            return as_numbers(output)
        return output.decode(errors="replace")


def as_numbers(data: bytes) -> array[int]:
    """Convert bytes to an array of numbers. Flexbuffers need items in which the array's length fits."""
    return array("B" if len(data) < 1 << 8 else "H" if len(data) < 1 << 16 else "I", list(data))


def _limits(kind: str, part: Mapping[str, Any]) -> tuple[int, int]:
    """The numbers of bytes to capture at the start and at the end."""
    if not kind:
        return 0, 0
    if kind == "stream":
        return _bounded(part.get("limit")), 0
    if (both := part.get("headTail")) is not None:
        return _bounded((both + 1) // 2), _bounded(both // 2)
    if (tail := part.get("tail")) is not None:
        return 0, _bounded(tail)
    return _bounded(part.get("head")), 0


def _bounded(limit: int | None) -> int:
    return MOST_BYTES if limit is None else min(limit, MOST_BYTES)
