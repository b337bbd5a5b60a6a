"""What a real network does to one provider: time that passes, and misfortune."""

from __future__ import annotations

import random
import threading

from ..control.as_real import AsReal

# Seconds, at a real network's pace.
_OFFER = (2.0, 180.0)
_DOWNLOAD = (5.0, 60.0)
_BOOT = (10.0, 14.0)
_ANSWER = (0.03, 0.2)
_VANISHES = (20.0, 300.0)
_REJECTION_PROBABILITY = 0.1
_VANISHING_PROBABILITY = 0.1


class Fortune:
    """Draws the fortune of one provider; used by several threads.

    Each kind of event has random numbers of its own: the same seed brings the same fortune, in whatever order
    threads come.
    """

    def __init__(self, as_real: AsReal | None, name: str) -> None:
        """Args:
        as_real: how much there is; None: no time passes, and nothing goes wrong.
        name: the provider's name.
        """
        self._as_real = as_real
        self._name = name
        self._lock = threading.Lock()
        self._random: dict[str, random.Random] = {}

    def offer_seconds(self) -> float:
        """How long its offer takes to be heard."""
        return self._seconds("offer", _OFFER)

    def download_seconds(self) -> float:
        """How long it downloads an image."""
        return self._seconds("download", _DOWNLOAD)

    def boot_seconds(self) -> float:
        """How long an image takes to boot."""
        return self._seconds("boot", _BOOT)

    def answer_seconds(self) -> float:
        """How long an answer is under way."""
        return self._seconds("answer", _ANSWER)

    def rejects(self) -> bool:
        """Whether it rejects what is proposed to it now."""
        return self._happens("rejection", _REJECTION_PROBABILITY)

    def vanishes_after(self) -> float | None:
        """After how many seconds of an activity it vanishes; None: it stays."""
        vanishes = self._happens("vanishing", _VANISHING_PROBABILITY)
        return self._seconds("life", _VANISHES) if vanishes else None

    def _seconds(self, kind: str, between: tuple[float, float]) -> float:
        if self._as_real is None:
            return 0.0
        with self._lock:
            return self._numbers(kind).uniform(*between) * self._as_real.pace

    def _happens(self, kind: str, probability: float) -> bool:
        if self._as_real is None:
            return False
        with self._lock:
            return self._numbers(kind).random() < probability

    def _numbers(self, kind: str) -> random.Random:
        if kind not in self._random:
            seed = self._as_real.seed if self._as_real is not None else 0
            self._random[kind] = random.Random(f"{seed} {self._name} {kind}")
        return self._random[kind]
