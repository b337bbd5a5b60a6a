"""The benchmarks run small: they do their work, are held to it, and read their figures right."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from statistics import median

import pytest

import simple_golem
from simple_golem.local.local_golem import LocalGolem

from . import measures
from .books import Books
from .imports import EVERYTHING, NoMeasure, import_milliseconds
from .measures import one_round, transfers, work
from .subject import FLOOR, SIMPLE_GOLEM, THE_FLOOR, THE_LIBRARY, YAPAPI, SubjectFailed
from .table import Goal, Row, markdown

INSTANCES, BATCHES, ITEMS = 2, 2, 20
SMALL_FILE = 300_001


def modules_after(statement: str) -> set[str]:
    """The modules that a new interpreter has after a statement."""
    code = f"{statement}; import json, sys; print(json.dumps(list(sys.modules)))"
    environment = {**os.environ, "PYTHONPATH": str(Path(simple_golem.__file__).parents[1])}
    run = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True, timeout=60
    )
    return set(json.loads(run.stdout))


def test_floor_and_library_do_the_same_work_and_leave_nothing_behind() -> None:
    with LocalGolem(providers=INSTANCES) as network:
        reports = one_round(network, [THE_FLOOR, THE_LIBRARY], INSTANCES, BATCHES)
        with pytest.raises(SubjectFailed, match="0 invoices accepted"):
            Books(network).check(INSTANCES)
    assert set(reports) == {FLOOR, SIMPLE_GOLEM}
    for report in reports.values():
        assert report["instances"] == INSTANCES
        assert len(report["round_trips"]) == INSTANCES * BATCHES
        assert 0 < report["first"] <= report["done"] <= report["closed"]
        assert report["cpu"] > 0
    assert set(reports[SIMPLE_GOLEM]["modules"]) <= modules_after(EVERYTHING)


def test_floor_and_pool_do_the_same_items_and_leave_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measures, "_PROVIDERS", INSTANCES)
    rows = work(measures.STANDARD, rounds=1, items=ITEMS)
    assert [row.unit for row in rows] == ["s"] * 3
    for row in rows:
        assert set(row.values) == {FLOOR, SIMPLE_GOLEM}
        assert all(value > 0 for value in row.values.values())


def test_floor_and_library_carry_the_same_file_and_leave_nothing_behind() -> None:
    rows = {row.measure: row for row in transfers(rounds=1, size=SMALL_FILE)}
    assert len(rows) == 3
    for row in rows.values():
        assert set(row.values) == {FLOOR, SIMPLE_GOLEM}
    assert all(row.values[FLOOR] > 0 for measure, row in rows.items() if "load of" in measure)


def test_a_subject_that_fails_is_an_error_and_no_figure() -> None:
    with pytest.raises(SubjectFailed, match="ended with 1"):
        THE_FLOOR.run({"YAGNA_PAYMENT_NETWORK": "hoodi", "YAGNA_SUBNET": "none"}, "not a number", 1)


def test_the_price_of_a_statement_is_its_processor_time_without_that_of_a_bare_interpreter() -> None:
    # Real imports differ by less than the noise of a busy machine.
    burn = "import time\nwhile time.process_time() < {}: pass"
    statements = {"nothing": "pass", "little": burn.format(0.5), "much": burn.format(1.0)}
    programs = {name: (sys.executable, statement) for name, statement in statements.items()}
    took = import_milliseconds(programs, sys.executable, rounds=3)
    assert {name: len(of_one) for name, of_one in took.items()} == dict.fromkeys(statements, 3)
    nothing, little, much = (median(took[name]) for name in statements)
    assert nothing < little < much
    # The process has no more than its 500 and 1000, and a start of less than 300 is subtracted.
    assert nothing < 200 < little < 600 < much < 1100


def test_an_import_that_fails_is_an_error_and_no_figure() -> None:
    with pytest.raises(NoMeasure, match="no_such_module"):
        import_milliseconds({"none": (sys.executable, "import no_such_module")}, sys.executable, rounds=1)


def test_a_ratio_is_the_median_of_those_of_the_rounds() -> None:
    rounds = {FLOOR: [1.0, 2.0, 10.0], SIMPLE_GOLEM: [1.0, 4.0, 15.0], YAPAPI: [2.0, 4.0, 20.0]}
    row = Row.of("work", "s", rounds, Goal(1.4, FLOOR), Goal(0.75, YAPAPI), Goal(4.5))
    assert row.values == {FLOOR: 2.0, SIMPLE_GOLEM: 4.0, YAPAPI: 4.0}
    assert row.ratios == {FLOOR: 1.5, YAPAPI: 0.75}
    assert [row.reached(goal) for goal in row.goals] == [False, True, True]


def test_a_goal_may_be_a_least_one() -> None:
    row = Row.of("speed", "MB/s", {FLOOR: [10.0], SIMPLE_GOLEM: [8.5]}, Goal(0.8, FLOOR, at_least=True))
    assert [str(goal) for goal in row.goals] == ["≥ 0.8 x floor"]
    assert row.reached(row.goals[0]) is True
    assert row.reached(Goal(9.0, at_least=True)) is False


def test_a_goal_against_what_was_not_measured_is_neither_reached_nor_missed() -> None:
    row = Row.of("work", "s", {FLOOR: [1.0], SIMPLE_GOLEM: [1.0]}, Goal(0.75, YAPAPI))
    assert row.reached(row.goals[0]) is None
    assert "| work    | s    | 1     | 1            | -      | 1       | -        | ≤ 0.75 x yapapi | -" in (
        markdown([row])
    )
