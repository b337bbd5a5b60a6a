"""How long the parts of an end may take: design's table, line by line."""

from __future__ import annotations

import math
import time

import pytest

from simple_golem.engine.payment.budget import RESERVE_SECONDS
from simple_golem.engine.shutdown_times import Ending, Part, earliest

NEAR = 0.2


def left(ending: Ending, part: Part) -> float:
    return ending.limit(part) - time.monotonic()


@pytest.mark.parametrize(
    ("ending", "seconds"),
    [
        (Ending.ordinary(), (10.0, 5.0, 30.0, 10.0, 15.0)),
        (Ending.ordinary(stop_grace=3.0), (3.0, 5.0, 30.0, 10.0, 15.0)),
        (Ending.by_provider(), (0.0, 1.0, 5.0, 10.0, 15.0)),
        (Ending.interrupted(), (1.0, 1.0, 2.0, 3.5, 4.5)),
        (Ending.aborted(), (0.0, 0.0, 0.0, 1.5, 0.0)),
    ],
    ids=["ordinary", "with a grace", "by provider", "interrupted", "aborted"],
)
def test_each_end_has_its_times(ending: Ending, seconds: tuple[float, ...]) -> None:
    begun = {part: ending.limit(part) - ending.begun for part in Part}
    # Counted from the part's beginning, which is now, a few milliseconds after the ending's.
    late = 0.0 if ending.is_hurried else time.monotonic() - ending.begun
    assert [begun[part] - late for part in Part] == pytest.approx(list(seconds), abs=NEAR)


def test_the_end_of_a_budget_is_over_before_what_was_kept_back_of_it_is() -> None:
    ending = Ending.out_of_budget(stop_grace=10.0)
    assert [left(ending, part) for part in Part] == pytest.approx([4.0, 2.0, 8.0, 10.0, 12.0], abs=NEAR)
    assert left(Ending.out_of_budget(stop_grace=3.0), Part.BATCH) == pytest.approx(3.0, abs=NEAR)
    assert ending.last_moment - ending.begun < RESERVE_SECONDS - 2


def test_only_what_a_signal_decided_is_hurried() -> None:
    assert [ending.is_hurried for ending in (Ending.ordinary(), Ending.by_provider())] == [False, False]
    assert [ending.is_hurried for ending in (Ending.interrupted(), Ending.aborted())] == [True, True]


def test_an_ordinary_part_is_counted_from_its_beginning() -> None:
    ending = Ending.ordinary()
    first = ending.limit(Part.SHUTDOWN)
    time.sleep(0.02)
    assert ending.limit(Part.SHUTDOWN) >= first + 0.02


def test_a_hurried_part_is_counted_from_the_signal() -> None:
    ending = Ending.interrupted()
    first = ending.limit(Part.SHUTDOWN)
    time.sleep(0.02)
    assert ending.limit(Part.SHUTDOWN) == first == ending.begun + 2.0


def test_a_timeout_cuts_the_whole_and_keeps_time_for_the_release() -> None:
    ending = Ending.ordinary(timeout=4.0)
    for part in (Part.BATCH, Part.METHOD, Part.SHUTDOWN):
        assert left(ending, part) == pytest.approx(2.5, abs=NEAR)
    for part in (Part.RELEASE, Part.INVOICES):
        assert left(ending, part) == pytest.approx(4.0, abs=NEAR)


def test_a_long_timeout_cuts_nothing() -> None:
    assert left(Ending.ordinary(timeout=1000.0), Part.BATCH) == pytest.approx(10.0, abs=NEAR)


def test_of_several_endings_the_earliest_counts() -> None:
    endings = [Ending.ordinary(), Ending.interrupted()]
    assert earliest(endings, Part.SHUTDOWN) == endings[1].begun + 2.0
    assert earliest([], Part.SHUTDOWN) == math.inf
