"""How fast the daemon carries data to one instance, as far as that can be known.

The daemon takes all data at once, and tells nobody when it has arrived. It puts what does not fit into the
128 KiB of its TCP connection into an order of its own: what waits there in several messages arrives mixed up
(seen with yagna 0.17.6). So no more is sent than it can hold. It sends one packet after the other, each when
the one before was answered. The time of a connect, which takes more than one such round trip, gives a speed
that is reached for certain.
"""

from __future__ import annotations

import threading
import time

# Of a packet in a private network, with the smallest MTU that was seen.
_PACKET_BYTES = 1166
# A connect takes two to three times as long as a packet and its answer: so this is on the safe side.
_PACKETS_IN_A_CONNECT = 1.0
_FIRST_CONNECT_SECONDS = 0.1
# How much a slower connect counts: many at once are slow because of each other.
_WEIGHT_IF_SLOWER = 0.05


class Drain:
    """The way to one instance, which all connections to it share; used by any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._connect_seconds: float | None = None
        self._free_at = 0.0

    @property
    def bytes_per_second(self) -> float:
        """The speed that is reached for certain."""
        seconds = self._connect_seconds or _FIRST_CONNECT_SECONDS
        return _PACKETS_IN_A_CONNECT * _PACKET_BYTES / seconds

    def connected_in(self, seconds: float) -> None:
        """Learn from a connect that took so long; from a quick one at once, from slow ones bit by bit."""
        with self._lock:
            before = self._connect_seconds
            if before is None or seconds < before:
                self._connect_seconds = seconds
            else:
                self._connect_seconds = before + _WEIGHT_IF_SLOWER * (seconds - before)

    def carried_at(self, count: int) -> float:
        """Add data to what is under way; returns when it will have arrived, on the monotonic clock."""
        with self._lock:
            self._free_at = max(self._free_at, time.monotonic()) + count / self.bytes_per_second
            return self._free_at
