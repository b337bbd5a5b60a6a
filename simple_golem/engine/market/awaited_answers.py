"""Whose answers are awaited, and how long the first choice waits for them."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

# Offers arrive one after the other. If none arrives for this part of the collecting time, all are there.
_QUIET_PART = 0.05
# A provider that has not answered after this time is not relied on any more.
ANSWER_SECONDS = 1.0


class AwaitedAnswers:
    """Providers that have offered and whose answers are awaited; not thread-safe, its owner holds a lock.

    Args:
        collect_seconds: how long the first choice waits at most, counted from the first offer.
        clock: seconds that only grow.

    Attributes:
        are_collected: whether the first choice may have been made: from then on nothing is waited for.
    """

    def __init__(self, collect_seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._collect_seconds = collect_seconds
        self._clock = clock
        self._until: float | None = None
        self._last_offer_at = 0.0
        # By provider: the worth of its offer, and when it was countered.
        self._awaited: dict[str, tuple[float, float]] = {}
        self._provider_of_counter: dict[str, str] = {}
        self._rejected_counters: set[str] = set()
        self.are_collected = False

    def seconds_to_first_choice(self, best: float | None = None) -> float:
        """Return for how many seconds more answers are collected; 0 if a choice may be made.

        Args:
            best: the worth of the best answer so far. Offers that are worth less are not waited for.
        """
        now = self._clock()
        if self._until is None or self.are_collected:
            return 0.0
        latest = self._until - now
        quiet = self._last_offer_at + _QUIET_PART * self._collect_seconds - now
        better = [worth for worth, _ in self._awaited.values() if best is None or worth > best]
        self.are_collected = latest <= 0 or (quiet <= 0 and not self._awaited)
        return max(0.0, latest if better else min(latest, quiet))

    def expected(self) -> list[float]:
        """Return the worth of the offers whose answers can still be relied on, because they are not late."""
        latest = self._clock() - max(self._collect_seconds, ANSWER_SECONDS)
        return [worth for worth, countered_at in self._awaited.values() if countered_at > latest]

    def offer_received(self, provider_id: str) -> None:
        """Note an offer whose worth is not known yet."""
        self._last_offer_at = self._clock()
        if self._until is None:
            self._until = self._last_offer_at + self._collect_seconds
        self.countering(provider_id, math.inf)

    def countering(self, provider_id: str, worth: float) -> None:
        """Note that an offer of this worth is being countered: from now on its answer is awaited."""
        self._awaited[provider_id] = worth, self._clock()

    def countered(self, provider_id: str, counter_id: str) -> None:
        """Note the id of the counter-proposal; the provider may have rejected it already."""
        self._provider_of_counter[counter_id] = provider_id
        if counter_id in self._rejected_counters:
            self.settled(provider_id)

    def counter_rejected(self, counter_id: str) -> None:
        """Note that a provider has rejected a counter-proposal, whose id may be unknown as yet."""
        self._rejected_counters.add(counter_id)
        if counter_id in self._provider_of_counter:
            self.settled(self._provider_of_counter[counter_id])

    def settled(self, provider_id: str) -> None:
        """Note that no answer of this provider is awaited any more."""
        self._awaited.pop(provider_id, None)
