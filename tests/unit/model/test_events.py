"""Each event is one line for a log."""

from __future__ import annotations

from datetime import datetime, timezone
from decimal import Decimal

import pytest

from simple_golem import events
from simple_golem.model.commands.commands import Run
from simple_golem.model.commands.results import Result
from simple_golem.model.commands.transfers import Upload
from simple_golem.model.pool_stats import PoolStats
from simple_golem.model.service.states import ServiceState

ONE, TWO = Run("/bin/one"), Run("/bin/two")
GLM = Decimal("0.5")

LINES: list[tuple[events.Event, str]] = [
    (events.BudgetAllocated("al1", GLM, "erc20-hoodi-tglm"), "0.5 tGLM allocated on erc20-hoodi-tglm"),
    (events.BudgetReleased("al1"), "the rest of the budget is released"),
    (events.BudgetChanged("al1", GLM), "the budget was enlarged to 0.5 GLM"),
    (
        events.BudgetUsedUp(Decimal(1), GLM),
        "the budget of 1 GLM is used up, with 0.5 GLM accepted: all clusters are stopped",
    ),
    (events.DemandPublished("Service", "d1"), "Service: demand published"),
    (events.DemandWithdrawn("Service", "d1"), "Service: demand withdrawn"),
    (events.ProposalReceived("Service", "0x1", "prov", False), "Service: prov offers"),
    (
        events.ProposalReceived("Service", "0x1", "prov", True),
        "Service: prov is ready to make an agreement",
    ),
    (events.ProposalRejected("Service", "too expensive"), "Service: a proposal was rejected: too expensive"),
    (events.AgreementMade("Service-1", "a1", "0x1", "prov"), "Service-1: agreement with prov"),
    (
        events.AgreementNotMade("Service-1", "a1", "0x1", "prov", "busy"),
        "Service-1: no agreement with prov: busy",
    ),
    (
        events.AgreementEnded("Service-1", "a1", True, "no money"),
        "Service-1: agreement ended by the provider: no money",
    ),
    (events.AgreementEnded("Service-1", "a1", False, "done"), "Service-1: agreement ended by us: done"),
    (events.ActivityCreated("Service-1", "act1", "prov"), "Service-1: activity on prov created"),
    (events.ActivityDestroyed("Service-1", "act1", True), "Service-1: activity destroyed"),
    (
        events.ActivityDestroyed("Service-1", "act1", False),
        "Service-1: activity to be destroyed: the provider did not confirm it in time",
    ),
    (
        events.StateChanged("Service-1", ServiceState.starting, ServiceState.running),
        "Service-1 is running",
    ),
    (events.ConnectionOpened("Service-1", 80), "Service-1: connection to port 80 opened"),
    (
        events.ConnectionClosed("Service-1", 80, 5, 10),
        "Service-1: connection to port 80 closed after 5 bytes sent and 10 received",
    ),
    (events.BatchStarted("Service-1", [ONE, TWO]), "Service-1: Run('/bin/one') and 1 more begun"),
    (events.BatchStarted("Service-1", []), "Service-1: nothing begun"),
    (events.BatchEnded("Service-1", [ONE], [Result()], None), "Service-1: Run('/bin/one') done"),
    (events.BatchEnded("Service-1", [ONE], [], "failed"), "Service-1: Run('/bin/one') failed"),
    (
        events.TransferProgress("Service-1", Upload("a", "/b"), 5, 10),
        "Service-1: Upload('a', '/b'): 5 of 10 bytes",
    ),
    (
        events.TransferProgress("Service-1", Upload("a", "/b"), 5, None),
        "Service-1: Upload('a', '/b'): 5 bytes",
    ),
    (events.StartProgress("Service", 2, 3), "Service: 2 of 3 running"),
    (events.StartProgress("Service", 0, 0), "Service: all instances have ended"),
    (events.MethodCalled("Service-1", "run"), "Service-1: run()"),
    (events.InstanceFailed("Service-1", "lost", False), "Service-1 has failed: lost"),
    (
        events.InstanceFailed("Service-1", "lost", True),
        "Service-1 is started again on another provider, since lost",
    ),
    (
        events.DebitNoteAccepted("a1", "act1", "0x1", "prov", GLM, "tGLM"),
        "debit note of prov over 0.5 tGLM accepted",
    ),
    (
        events.InvoiceAccepted("a1", "i1", "0x1", "prov", GLM, "tGLM"),
        "invoice of prov over 0.5 tGLM accepted",
    ),
    (
        events.DebitNoteRefused("a1", "act1", "0x1", "prov", Decimal("5E-7"), "too much"),
        "debit note of prov over 0.0000005 GLM refused: too much",
    ),
    (
        events.InvoiceRefused("a1", "i1", "0x1", "prov", GLM, "too much"),
        "invoice of prov over 0.5 GLM refused: too much",
    ),
    (
        events.ItemStarted("pool-1", "pool", 3, PoolStats(), 1),
        "pool-1: item 3 of pool begun",
    ),
    (
        events.ItemStarted("pool-1", "pool", 3, PoolStats(), 2),
        "pool-1: item 3 of pool begun, attempt 2",
    ),
    (events.ItemDone("pool-1", "pool", 3, PoolStats(), None), "pool-1: item 3 of pool done"),
    (events.ItemDone("pool-1", "pool", 3, PoolStats(), "no"), "pool-1: item 3 of pool failed: no"),
    (
        events.ItemRetried("pool-1", "pool", 3, PoolStats(), "lost"),
        "pool-1: item 3 of pool is begun once more: lost",
    ),
    (events.CleanedUp("s1", "one agreement terminated"), "after the session s1: one agreement terminated"),
]


@pytest.mark.parametrize(("event", "line"), LINES, ids=lambda value: type(value).__name__)
def test_an_event_is_a_line_for_a_log(event: events.Event, line: str) -> None:
    time, _, text = str(event).partition(" ")
    assert time == f"{event.at.astimezone():%H:%M:%S}"
    assert text == line


def test_no_event_is_left_out_here() -> None:
    bases = {"Event", "InstanceEvent", "ItemEvent"}
    assert {type(event).__name__ for event, _line in LINES} == set(events.__all__) - bases


def test_events_that_say_the_same_are_equal_whenever_they_happened() -> None:
    noon = datetime(2026, 1, 31, 12, tzinfo=timezone.utc)
    assert events.BudgetReleased("al1", at=noon) == events.BudgetReleased("al1")
    assert events.BudgetReleased("al1", at=noon).at == noon
    assert events.BudgetReleased("al1") != events.BudgetReleased("al2")


def test_these_are_many_and_the_log_has_them_for_debugging_only() -> None:
    assert {type(event).__name__ for event, _line in LINES if event.is_frequent} == {
        "BatchEnded",
        "BatchStarted",
        "ItemDone",
        "ItemStarted",
        "MethodCalled",
        "ProposalReceived",
        "StartProgress",
        "TransferProgress",
    }
