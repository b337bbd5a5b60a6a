"""What one Golem knows about providers: which are occupied, have failed, or are banned."""

from __future__ import annotations

import copy
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from enum import Enum

_TRUST_AFTER_FAILURE = 0.5
# After commands have failed on it, a provider gets so much rest, and with each further time twice as much.
_FIRST_REST_SECONDS = 10.0
_LONGEST_REST_SECONDS = 300.0

# Compared as it is: a provider with a higher rank is taken first.
Rank = tuple[bool, float, float]


class Conduct(Enum):
    """How a provider has behaved; what is worse than fine lowers its rank from then on."""

    FINE = "it did what was agreed, or was not asked"
    AT_FAULT = "it has refused an agreement, or has lost its activity"
    COMMANDS_FAILED = "commands have failed on it"


class Providers:
    """The providers of all clusters; one object for each Golem, used by any thread.

    A provider is occupied while it has an agreement with this Golem, or is asked for one. So no provider is
    asked for two instances at the same time.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._occupied: set[str] = set()
        self._banned: set[str] = set()
        self._trust: dict[str, float] = {}
        # How often commands have failed on a provider, and until when it rests.
        self._command_failures: dict[str, int] = {}
        self._rests_until: dict[str, float] = {}
        self._is_avoided: Callable[[str], bool] = _none_is

    def without(self, is_avoided: Callable[[str], bool]) -> Providers:
        """Return the same providers, for one cluster that never occupies some of them.

        `is_avoided` is called with the lock held, and must not block.
        """
        view = copy.copy(self)  # the lock and the sets are shared
        view._is_avoided = is_avoided
        return view

    def ranks(self, worths: Mapping[str, float]) -> dict[str, Rank]:
        """Return the rank of each free provider among these; one that rests comes after all others.

        Args:
            worths: the strategy's score of each provider, by provider id.
        """
        now = time.monotonic()
        with self._lock:
            rests_until, trust = self._rests_until, self._trust
            # All that have answered are ranked for each instance: one function less for each counts.
            free = worths.keys() - self._occupied - self._banned
            if self._is_avoided is not _none_is:
                free = {one for one in free if not self._is_avoided(one)}
            return {
                one: (rests_until.get(one, now) <= now, *_scaled(worths[one], trust.get(one, 1.0)))
                for one in free
            }

    def occupy_if(self, provider_id: str, may_be_paid: Callable[[], bool]) -> bool:
        """Occupy a provider if it is free and `may_be_paid()`; return whether it is occupied now.

        `may_be_paid` is called with the lock held, so that nobody sees the provider occupied in vain.
        """
        with self._lock:
            if not self._is_free_locked(provider_id) or not may_be_paid():
                return False
            self._occupied.add(provider_id)
            return True

    def occupy(self, provider_id: str) -> None:
        """Occupy a provider that has an agreement with this Golem already."""
        with self._lock:
            self._occupied.add(provider_id)

    def release(self, provider_id: str, conduct: Conduct) -> None:
        """Note that a provider has no agreement with this Golem any more.

        Args:
            provider_id: the provider, which may be free already.
            conduct: how it has behaved.
        """
        with self._lock:
            self._occupied.discard(provider_id)
            if conduct is not Conduct.FINE:
                self._trust[provider_id] = self._trust.get(provider_id, 1.0) * _TRUST_AFTER_FAILURE
            if conduct is Conduct.COMMANDS_FAILED:
                failures = self._command_failures.get(provider_id, 0)
                self._command_failures[provider_id] = failures + 1
                rest = min(_FIRST_REST_SECONDS * 2**failures, _LONGEST_REST_SECONDS)
                self._rests_until[provider_id] = time.monotonic() + rest

    def rest(self, provider_ids: Iterable[str]) -> float:
        """Return for how many more seconds none of these can be chosen; 0 if one can, or without any."""
        now = time.monotonic()
        with self._lock:
            known = [one for one in provider_ids if one not in self._banned]
            return max(0.0, min((self._rests_until.get(one, now) - now for one in known), default=0.0))

    def ban(self, provider_id: str) -> None:
        """Never occupy this provider again."""
        with self._lock:
            self._banned.add(provider_id)

    def is_banned(self, provider_id: str) -> bool:
        """Return whether a provider was banned."""
        with self._lock:
            return provider_id in self._banned

    def count_occupied(self, provider_ids: Iterable[str]) -> int:
        """Return how many of these providers are occupied."""
        with self._lock:
            return sum(provider_id in self._occupied for provider_id in provider_ids)

    def _is_free_locked(self, provider_id: str) -> bool:
        return not (
            provider_id in self._occupied or provider_id in self._banned or self._is_avoided(provider_id)
        )


def _none_is(_provider_id: str) -> bool:
    return False


def _scaled(worth: float, trust: float) -> tuple[float, float]:
    return (worth * trust if worth > 0 else worth / trust), trust
