"""The time of the engine's payment code, moved by hand."""

from __future__ import annotations

import contextlib
import heapq
import itertools
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from types import ModuleType
from typing import Any
from unittest import mock

from simple_golem.background.timer import Action, TimedCall, Timer
from simple_golem.engine.payment import account, budget, budget_watch, ledger

_START = datetime(2026, 1, 31, 12, tzinfo=timezone.utc)
_CODE: tuple[ModuleType, ...] = (account, budget, budget_watch, ledger)


class HandTime(Timer):
    """A clock and a timer that stand still until `advance`, which makes all calls that are due."""

    def __init__(self) -> None:
        self._passed = 0.0
        self._calls: list[tuple[float, int, TimedCall]] = []
        self._numbers = itertools.count()

    def monotonic(self) -> float:
        return self._passed

    def time(self) -> float:
        return self.now().timestamp()

    def now(self) -> datetime:
        return _START + timedelta(seconds=self._passed)

    def call_at(self, at: float, action: Action) -> TimedCall:
        call = TimedCall(at, action)
        heapq.heappush(self._calls, (at, next(self._numbers), call))
        return call

    def call_in(self, seconds: float, action: Action) -> TimedCall:
        return self.call_at(self._passed + seconds, action)

    def advance(self, seconds: float) -> None:
        until = self._passed + seconds
        while self._calls and self._calls[0][0] <= until:
            self._passed, _, call = heapq.heappop(self._calls)
            call.make()
        self._passed = until


@contextlib.contextmanager
def moved_by(clock: HandTime) -> Iterator[None]:
    """Have the payment code see `clock` alone."""

    class HandDatetime(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> datetime:  # type: ignore[override]
            return clock.now()

    with contextlib.ExitStack() as patches:
        for module in _CODE:
            for name, stand_in in (("time", clock), ("datetime", HandDatetime)):
                if hasattr(module, name):
                    patches.enter_context(mock.patch.object(module, name, stand_in))
        yield
