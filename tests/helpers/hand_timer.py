"""A timer without a thread: the test rings what is due."""

from __future__ import annotations

import time

from simple_golem.background.timer import Action, TimedCall, Timer


class HandTimer(Timer):
    """Keeps the calls that were asked for, until the test rings them."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[TimedCall] = []

    def call_at(self, at: float, action: Action) -> TimedCall:
        call = TimedCall(at, action)
        self.calls.append(call)
        return call

    def ring_due(self) -> None:
        """Make all calls whose time has come, in order; what was cancelled does nothing."""
        now = time.monotonic()
        due = sorted((call for call in self.calls if call.at <= now), key=lambda call: call.at)
        self.calls = [call for call in self.calls if call.at > now]
        for call in due:
            call.make()

    def ring_all(self) -> None:
        """Make all calls now, whatever their time is."""
        calls, self.calls = self.calls, []
        for call in calls:
            call.make()
