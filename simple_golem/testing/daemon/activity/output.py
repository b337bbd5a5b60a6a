"""What is kept of a command's output, as its `capture` asks for it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# As the wire has it: nothing, text, or the bytes as numbers.
Captured = str | list[int] | None


class CapturedOutput:
    """The stdout or stderr of one command."""

    def __init__(self, mode: Mapping[str, Any] | None) -> None:
        """Args: mode: `{"atEnd": {…}}` or `{"stream": {…}}` as in an ExeScript; None keeps nothing."""
        kind, details = next(iter(mode.items())) if mode else ("", {})
        part = {**(details or {}), **((details or {}).get("part") or {})}
        self._streamed = kind == "stream"
        self._binary = str(part.get("format") or "str").startswith("bin")
        self._first, self._last = _limits(kind, part)
        self._head, self._tail = bytearray(), bytearray()

    @classmethod
    def whole(cls) -> CapturedOutput:
        """Keep all output, as for commands without a `capture`."""
        return cls({"stream": {}})

    def write(self, data: bytes) -> Captured:
        """Keep the next piece as far as `capture` wants; returns what the event stream gets of it."""
        kept = data if self._first is None else data[: max(0, self._first - len(self._head))]
        self._head += kept
        if self._last:
            self._tail = (self._tail + data)[-self._last :]
        return self._as_wire(kept) if self._streamed else None

    def output(self) -> Captured:
        """The output in the command's result."""
        return self._as_wire(bytes(self._head + self._tail))

    def _as_wire(self, data: bytes) -> Captured:
        if not data:
            return None
        return list(data) if self._binary else data.decode(errors="replace")


def _limits(kind: str, part: Mapping[str, Any]) -> tuple[int | None, int]:
    """Bytes to keep of the beginning (None: all) and of the end."""
    if not kind:
        return 0, 0
    if kind == "stream":
        return part.get("limit"), 0
    if (both := part.get("headTail")) is not None:
        return (both + 1) // 2, both // 2
    if (tail := part.get("tail")) is not None:
        return 0, tail
    return part.get("head"), 0
