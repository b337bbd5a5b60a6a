"""How often a provider side tells what its activities use."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import Any, cast

import pytest

from simple_golem.background.cancellation import Scope
from simple_golem.local.provider.usage import UsageReporter
from simple_golem.yagna.client import Yagna


class Rounds(Scope):
    """Each wait is over at once, after the first; some rounds later it ends."""

    def __init__(self, rounds: int) -> None:
        super().__init__()
        self.waited: list[float] = []
        self.begin = threading.Event()
        self._rounds = rounds

    def wait(self, timeout: float | None = None) -> bool:
        assert timeout is not None
        self.waited.append(timeout)
        assert self.begin.wait(20)
        return len(self.waited) > self._rounds


@pytest.mark.parametrize(
    ("activities", "providers", "pause"),
    [
        (1, 1, 1.0),
        (20, 20, 1.0),
        (32, 32, 1.6),
        (200, 200, 10.0),
        # The daemon is patient where there are many providers, not where few have many activities.
        (200, 5, 1.0),
        (5, 200, 1.0),
    ],
)
def test_with_many_subscribers_events_are_left_out(activities: int, providers: int, pause: float) -> None:
    told: list[str] = []

    def call(_address: str, message: dict[str, Any], scope: Scope) -> None:
        told.append(message["activityId"])

    rounds = Rounds(3)
    daemon = cast(Yagna, SimpleNamespace(bridge=SimpleNamespace(call=call)))
    reporter = UsageReporter(daemon, rounds, providers)
    names = [f"activity-{number}" for number in range(activities)]
    for name in names:
        reporter.add(name, lambda: [1.0, 0.0])
    rounds.begin.set()
    assert reporter.join(20)
    assert told == 3 * names
    assert rounds.waited == [1.0, pause, pause, pause]


def test_a_usage_that_can_not_be_counted_does_not_end_the_reports_of_the_others(
    caplog: pytest.LogCaptureFixture,
) -> None:
    told: list[str] = []

    def call(_address: str, message: dict[str, Any], scope: Scope) -> None:
        told.append(message["activityId"])

    def fails() -> list[float]:
        raise OSError("too many open files")

    rounds = Rounds(2)
    daemon = cast(Yagna, SimpleNamespace(bridge=SimpleNamespace(call=call)))
    reporter = UsageReporter(daemon, rounds, 2)
    reporter.add("broken", fails)
    reporter.add("whole", lambda: [1.0, 0.0])
    rounds.begin.set()
    assert reporter.join(20)
    assert told == 2 * ["whole"]
    assert "the usage of activity broken could not be reported" in caplog.text
