"""Runs behind a proxy that injects faults: as many as CI has time for; and that a mistake is noticed."""

from __future__ import annotations

import pytest

from simple_golem.engine.market.agreement import AgreementMaker
from tests.faults.plan import Fault
from tests.soak.fault_runs.one_run import RunOutcome
from tests.soak.fault_runs.part import MIXED, failures_of, run_seeds, table

RUNS = 300
PER_TEST = 30
# They mostly wait.
AT_ONCE = 10


@pytest.mark.parametrize("first", range(1, RUNS, PER_TEST))
def test_runs_end_well_and_leave_nothing_though_requests_fail(first: int) -> None:
    outcomes = list(run_seeds(range(first, first + PER_TEST), AT_ONCE))
    assert failures_of(outcomes) == []
    assert sum(bool(one.hits) for one in outcomes) > PER_TEST / 2


def test_an_agreement_that_is_never_ended_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(AgreementMaker, "terminate", lambda *_: True)
    monkeypatch.setattr("simple_golem.engine.cleanup.dead_session.DeadSession.end", lambda _: [])
    # Nobody sends an invoice before the end of an agreement.
    monkeypatch.setattr("simple_golem.engine.shutdown_times._INVOICE_SECONDS", 0.5)
    monkeypatch.setattr("tests.soak.fault_runs.one_run._CLEANUP_SECONDS", 0.5)
    (outcome,) = run_seeds([1])
    assert any("left after cleanup: agreement" in problem for problem in outcome.broken)


def outcome(seed: int, kind: str, ended: str = "well") -> RunOutcome:
    return RunOutcome(seed, kind, ["commands"], [("GET /me", Fault.CUT)], ended, "what it said")


@pytest.mark.parametrize("ended", ["error", "wrong", "hung"])
def test_one_fault_that_a_run_does_not_stand_is_a_failure_with_a_command(ended: str) -> None:
    (told,) = failures_of([outcome(7, "CUT", ended)])
    assert told.startswith("seed 7 (CUT; commands): ")
    assert told.endswith("what it said; hits: CUT at GET /me; `python -m tests.soak faults --only 7`")


def test_at_five_percent_one_of_twenty_runs_may_fail_with_a_clear_error_and_no_more() -> None:
    runs = [outcome(seed, MIXED) for seed in range(19)]
    assert failures_of([*runs, outcome(19, MIXED, "error")]) == []
    assert failures_of([*runs, outcome(19, MIXED, "batch lost")]) == []
    assert "at 5 %" in failures_of([*runs, outcome(19, MIXED, "error"), outcome(20, MIXED, "error")])[0]


def test_the_table_has_a_row_for_each_kind_of_fault() -> None:
    left = outcome(4, MIXED)
    left.broken = ["cleanup: the daemon did not end an agreement"]
    rows = table([outcome(1, "CUT"), outcome(2, "CUT", "batch lost"), outcome(3, MIXED), left])
    told = [(row["fault"], row["runs"], row["ended well"], row["left after cleanup"]) for row in rows]
    assert told == [("CUT", 2, 1, 0), (MIXED, 2, 2, 1)]
