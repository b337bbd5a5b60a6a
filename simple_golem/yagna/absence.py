"""Says once that the daemon is away, and once that it answers again, however many threads ask it."""

from __future__ import annotations

import logging
import threading
import time

logger = logging.getLogger(__name__)

# A restarted daemon is back before this, and a single lost answer is no absence.
_WORTH_A_WARNING_SECONDS = 5.0


class Absence:
    """The time in which the threads that read events from the daemon have got nothing but errors."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._since: dict[object, float] = {}
        self._is_announced = False
        # Whether a reader was answered since the absence was announced.
        self._has_answered = False

    def failed(self, reader: object, error: BaseException) -> None:
        """Note that a request of `reader` has failed, and will be repeated."""
        now = time.monotonic()
        with self._lock:
            away = now - self._since.setdefault(reader, now)
            is_news = away >= _WORTH_A_WARNING_SECONDS and not self._is_announced
            if is_news:
                self._is_announced, self._has_answered = True, False
        logger.log(
            logging.WARNING if is_news else logging.DEBUG,
            "the daemon has given no usable answer for %.0f s, and is asked again until it does: %s",
            away,
            error,
        )

    def answered(self, reader: object) -> None:
        """Note that a request of `reader` was answered."""
        if self._since:
            self._forget(reader, is_answered=True)

    def asks_no_more(self, reader: object) -> None:
        """Forget `reader`, whose last request may have failed."""
        self._forget(reader, is_answered=False)

    def _forget(self, reader: object, *, is_answered: bool) -> None:
        with self._lock:
            since = self._since.pop(reader, None)
            self._has_answered = self._has_answered or is_answered
            is_over = since is not None and self._is_announced and not self._since
            is_news = is_over and self._has_answered
            if is_over:
                self._is_announced = self._has_answered = False
        if is_news and since is not None:
            logger.warning("the daemon answers again, after %.0f s", time.monotonic() - since)
