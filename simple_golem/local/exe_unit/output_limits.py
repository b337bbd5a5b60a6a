"""What is kept of a command's output, as its `capture` asks for it."""

from __future__ import annotations

from array import array
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    # Bytes are numbers for who reads them; an array of them is encoded a thousand times faster than a list.
    Captured = str | array[int] | None

# What is kept of an output without a limit; the real exe-unit would fill the provider's memory.
MOST_BYTES = 64 * 1024 * 1024


class CapturedOutput:
    """The stdout or stderr of one command: the head and the tail that are kept, and their format.

    As in the real exe-unit, head and tail are kept independently of each other, so that what is shorter than
    both is in the result twice; and what is not UTF-8 becomes text one character a byte.
    """

    def __init__(self, mode: Mapping[str, Any] | None) -> None:
        """Args: mode: `{"atEnd": {…}}` or `{"stream": {…}}` as in an ExeScript; None keeps nothing."""
        kind, details = next(iter(mode.items())) if mode else ("", {})
        part = {**details, **(details.get("part") or {})}
        self.streamed = kind == "stream"
        self._binary = str(part.get("format") or "str").startswith("bin")
        self._head, self._tail = bytearray(), bytearray()
        self._head_limit, self._tail_limit = _limits(kind, part)

    @classmethod
    def whole(cls) -> CapturedOutput:
        """All of it, as it is kept of commands that have no `capture` of their own."""
        return cls({"stream": {}})

    def write(self, data: bytes) -> Captured:
        """Keep what is to be kept of the next piece of output; returns what of it is to be streamed."""
        kept = data[: self._head_limit - len(self._head)]
        self._head += kept
        if self._tail_limit:
            self._tail += data[-self._tail_limit :]
            del self._tail[: -self._tail_limit]
        if not (self.streamed and kept):
            return None
        return as_numbers(kept) if self._binary else kept.decode(errors="replace")

    def output(self) -> Captured:
        """What the command's result says; None for nothing."""
        output = bytes(self._head + self._tail)
        if not output:
            return None
        if self._binary:
            return as_numbers(output)
        return output.decode(errors="replace")


def as_numbers(data: bytes) -> array[int]:
    """Bytes as a result tells them; of a width that their number fits into, as flexbuffers want it."""
    return array("B" if len(data) < 1 << 8 else "H" if len(data) < 1 << 16 else "I", list(data))


def _limits(kind: str, part: Mapping[str, Any]) -> tuple[int, int]:
    """Bytes to keep of the beginning and of the end."""
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
