"""Sessions that are killed at random moments: as many as CI has time for; and that a mistake is noticed."""

from __future__ import annotations

import pytest

from tests.soak.kills.one_kill import KINDS, KillOutcome
from tests.soak.kills.part import failures_of, kill_seeds, table

FIRST = 1
PER_TEST = 5


@pytest.mark.parametrize(
    "seeds", [range(first, first + PER_TEST) for first in (FIRST, FIRST + PER_TEST)], ids=str
)
def test_nothing_is_left_of_a_session_that_was_killed(seeds: range) -> None:
    assert failures_of(list(kill_seeds(seeds, PER_TEST))) == []


def test_a_cleanup_that_does_nothing_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.soak.kills.one_kill._clean_up", lambda *_: None)
    monkeypatch.setattr("tests.soak.kills.one_kill.LATEST_KILL_SECONDS", 5.0)
    outcomes = list(kill_seeds(range(0, 12, 4)))
    assert any("left after cleanup: allocation" in one for one in failures_of(outcomes))


def test_what_is_left_is_told_with_a_command_and_counted() -> None:
    outcomes = [
        KillOutcome(7, KINDS[0], 0.5, ["allocation", "demand"], ["left after cleanup: demand d1"]),
        KillOutcome(8, KINDS[1], 0.5, ["allocation"]),
    ]
    assert failures_of(outcomes) == [
        "seed 7 (a session, killed after 0.50 s): left after cleanup: demand d1; "
        "`python -m tests.soak kills --only 7`"
    ]
    rows = table(outcomes)
    assert [row["with allocation"] for row in rows] == [1, 1, 0, 0]
    assert [row["something left"] for row in rows] == [1, 0, 0, 0]
