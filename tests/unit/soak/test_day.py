"""Two sessions that are left alone: as long as CI has time for; and that a mistake is noticed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.soak.day.fast_clock import FastClock
from tests.soak.day.part import Lived, failures_of, lived


def test_sessions_that_are_left_alone_for_more_than_an_hour_go_on_and_pay() -> None:
    # A pause of a second, which a machine may make, is ten minutes of it.
    day = lived(hours=1.5, speed=600.0)
    assert failures_of(day, tolerance=0.7) == []
    assert day.end["DemandPublished"] > 2


def test_a_clock_that_is_sped_up_never_jumps(tmp_path: Path) -> None:
    FastClock.make(tmp_path / "clock")
    clock, of_another_process = FastClock(tmp_path / "clock"), FastClock(tmp_path / "clock")
    before = clock.now()
    clock.set_speed(0.001)
    assert before <= of_another_process.now() < before + 60
    assert of_another_process.speed == 0.001
    clock.set_speed(1e6)
    then = of_another_process.now()
    while of_another_process.now() < then + 3600:
        pass
    assert clock.real_slice(clock.now() + 1e5) <= 0.1
    assert clock.real_slice(clock.now() - 1.0) == 0.0


def hour(number: float, **other: Any) -> dict[str, Any]:
    demands, notes = int(number), round(60 * number)
    row = {"hour": number, "DemandPublished": 1 + demands, "DebitNoteAccepted": notes}
    return {**row, "covered": 3.0, "threads": 20, "blocks": 100_000, **other}


END = {"AgreementMade": 4, "InvoiceAccepted": 4, "InstanceFailed": 0}
GOOD = Lived([hour(one) for one in range(1, 25)], [True] * 4, END, [])


@pytest.mark.parametrize(
    ("last", "told"),
    [
        (hour(24, DebitNoteAccepted=700), "700 debit notes were accepted, and 1440 were due"),
        (hour(24, DemandPublished=5), "the demand was published 5 times, and not 22"),
        (hour(24, covered=0.5), "the budget was allocated for 0.5 hours only"),
        (hour(24, blocks=106_000), "blocks has grown from 100000 to 106000"),
        (hour(24, threads=25), "threads has grown from 20 to 25"),
    ],
    ids=["notes", "demands", "budget", "memory", "threads"],
)
def test_what_does_not_go_on_is_told(last: dict[str, Any], told: str) -> None:
    assert failures_of(GOOD) == []
    assert failures_of(replace(GOOD, hours=[*GOOD.hours[:-1], last])) == [told]


def test_what_goes_wrong_after_the_day_is_told() -> None:
    bad = replace(GOOD, batches=[True] * 3, end={**END, "AgreementMade": 5}, left=["demand d1"])
    assert failures_of(bad) == [
        "the batches after it went so: [True, True, True]",
        "5 agreements, 0 instances failed",
        "left: demand d1",
    ]
