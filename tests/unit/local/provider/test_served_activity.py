"""The usage and the end of an activity, which several threads ask for at the same time."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from decimal import Decimal

from simple_golem.background.threads import EngineThread
from simple_golem.local.provider.served_activity import ServedActivity


class SlowExeUnit:
    """Its first count of the usage takes until `go_on`; each later one is higher."""

    def __init__(self) -> None:
        self.counts = 0
        self.closings = 0
        self.is_counting = threading.Event()
        self.go_on = threading.Event()
        self.is_closed = threading.Event()

    def usage(self) -> Sequence[float]:
        self.counts += 1
        count = self.counts
        if count == 1:
            self.is_counting.set()
            assert self.go_on.wait(20)
        return [float(count), 0.0]

    def close(self, *, report: bool = True) -> None:
        self.closings += 1
        self.is_closed.set()

    def shut_down(self) -> None:
        self.close()


def test_a_count_that_was_begun_before_the_end_does_not_replace_the_last_one() -> None:
    exe_unit = SlowExeUnit()
    activity = ServedActivity("a1", lambda usage: Decimal(usage[0]), exe_unit, 0.0)
    reporter = EngineThread("usage", activity.usage).start()
    assert exe_unit.is_counting.wait(20)
    end = EngineThread("end", activity.close).start()
    # If the end did not wait for the count, it would come now.
    exe_unit.is_closed.wait(0.3)
    exe_unit.go_on.set()
    assert reporter.join(20)
    assert end.join(20)
    assert activity.bill == (Decimal(2), [2.0, 0.0])


def test_of_two_threads_that_end_it_one_does_so() -> None:
    exe_unit = SlowExeUnit()
    exe_unit.go_on.set()
    activity = ServedActivity("a1", lambda usage: Decimal(usage[0]), exe_unit, 0.0)
    ends = [EngineThread("end", end).start() for end in (activity.close, activity.shut_down) * 10]
    assert all(end.join(20) and end.exception is None for end in ends)
    assert exe_unit.closings == 1
    assert not activity.open
