"""Loses the last output of a command, as a VM does."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

# A VM tells at once that a program has ended, and drops what nobody has read from its pipe by then. What is
# older than this has been read.
MOMENT_SECONDS = 0.05
_SAFE_BYTES = 4096
_MOST_LOST_BYTES = 65536


class LostTail:
    """Passes on the output of one command, except for what a VM would lose of its last moment.

    Of the output of the last moment the first 4096 bytes are passed on, and at most 65536 bytes are lost.

    Args:
        on_output: called with each piece that is passed on.
        clock: returns monotonic seconds.
    """

    def __init__(
        self, on_output: Callable[[bytes], object], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._on_output = on_output
        self._clock = clock
        # The newest output, each piece with its time.
        self._held: deque[tuple[float, bytes]] = deque()
        self._held_bytes = 0

    def write(self, data: bytes) -> None:
        """Take the next piece of output, and pass on what can't be lost any more."""
        self._held.append((self._clock(), data))
        self._held_bytes += len(data)
        self.pass_on()

    def pass_on(self) -> None:
        """Pass on what is older than a moment, and what more than the rest of the output follows."""
        read_before = self._clock() - MOMENT_SECONDS
        while self._held:
            written, data = self._held[0]
            is_safe = self._held_bytes - len(data) >= _SAFE_BYTES + _MOST_LOST_BYTES
            if written > read_before and not is_safe:
                return
            self._held.popleft()
            self._held_bytes -= len(data)
            self._on_output(data)

    def end(self) -> int:
        """Pass on what is left after the loss; returns how many bytes are lost."""
        self.pass_on()
        lost = min(_MOST_LOST_BYTES, max(0, self._held_bytes - _SAFE_BYTES))
        left = b"".join(data for _, data in self._held)
        self._held.clear()
        self._held_bytes = 0
        if kept := left[: len(left) - lost]:
            self._on_output(kept)
        return lost
