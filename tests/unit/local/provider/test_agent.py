"""A provider's agent on a daemon that only remembers: negotiation, room for agreements, and what it sends."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from typing import Any, cast

import pytest

from simple_golem.background.cancellation import Deadline, Scope
from simple_golem.errors import LocalNetworkError, YagnaError
from simple_golem.local.control.habits import Price, ProviderHabits
from simple_golem.local.provider.agent import ProviderAgent
from simple_golem.local.provider.demand_rules import CHOSEN_PLATFORM
from simple_golem.local.provider.offer import (
    ACCEPT_TIMEOUT,
    DEBIT_NOTE_INTERVAL,
    EXPIRATION,
    MULTI_ACTIVITY,
    PAYMENT_TIMEOUT,
)
from simple_golem.local.provider.served_activity import StateReport
from simple_golem.local.provider.usage import UsageReporter
from simple_golem.yagna.api.provider import ActivityEvent
from simple_golem.yagna.client import Yagna
from simple_golem.yagna.values import AgreementEvent, AgreementProposed, DebitNote, Proposal, ProposalState

NOW = datetime(2030, 1, 1, tzinfo=timezone.utc)
Call = tuple[Any, ...]


class Inbox:
    """Events that come to whoever waits for them, in slices that notice a cancelled scope."""

    def __init__(self) -> None:
        self._events: queue.Queue[Any] = queue.Queue()

    def put(self, event: Any) -> None:
        self._events.put(event)

    def wait(self, timeout: float, scope: Scope) -> list[Any]:
        deadline = Deadline(timeout)
        while not deadline.passed:
            scope.check()
            try:
                event = self._events.get(timeout=0.01)
            except queue.Empty:
                continue
            if isinstance(event, Exception):
                raise event
            return [event]
        return []


class FakeDaemon:
    """Stands for `Yagna` with its `provider`, `market`, `bridge` and `http`; notes every call."""

    def __init__(self) -> None:
        self.provider = self.market = self.bridge = self.http = self
        self.market_inbox, self.activity_inbox, self.agreement_inbox = Inbox(), Inbox(), Inbox()
        self.calls: list[Call] = []
        self._changed = threading.Condition()
        self.failing: dict[str, Exception] = {}
        self._offers = 0
        self.payment = self
        self.note_status = "RECEIVED"
        # What rules have refused or ended: the rule's name, and the text.
        self.strikes: list[tuple[str, str]] = []

    def note(self, *call: Any) -> None:
        with self._changed:
            self.calls.append(call)
            self._changed.notify_all()
        if call[0] in self.failing:
            raise self.failing[call[0]]

    def expect(self, *start: Any, times: int = 1) -> Call:
        """Wait until a call that begins like this was made so often; returns the last."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.made(*start)) >= times, 20), (start, self.calls)
            return self.made(*start)[-1]

    def made(self, *start: Any) -> list[Call]:
        return [call for call in self.calls if call[: len(start)] == start]

    def close(self) -> None:
        self.note("close")

    # the market

    def publish_offer(self, properties: Mapping[str, Any], constraints: str, *, scope: Scope) -> str:
        self._offers += 1
        self.note("publish", properties["golem.node.debug.subnet"])
        return f"offer-{self._offers}"

    def withdraw_offer(self, offer_id: str, *, scope: Scope) -> None:
        scope.check()
        self.note("withdraw", offer_id)

    def offer_events(self, offer_id: str, *, timeout: float, scope: Scope) -> list[Any]:
        return self.market_inbox.wait(timeout, scope)

    def counter(
        self, offer_id: str, proposal_id: str, properties: Any, constraints: str, *, scope: Scope
    ) -> None:
        self.note("counter", offer_id, proposal_id, properties)

    def reject_proposal(
        self, offer_id: str, proposal_id: str, reason: str, *, is_final: bool, scope: Scope
    ) -> None:
        self.note("reject proposal", proposal_id, reason)

    def reject_agreement(self, agreement_id: str, reason: str, *, is_final: bool, scope: Scope) -> None:
        self.note("reject agreement", agreement_id, reason)

    def approve(self, agreement_id: str, *, app_session_id: str, scope: Scope) -> None:
        self.note("approve", agreement_id)

    def agreement_events(self, after: datetime, *, timeout: float, scope: Scope, **_: Any) -> list[Any]:
        self.note("agreement events", after)
        return self.agreement_inbox.wait(timeout, scope)

    def request(self, method: str, path: str, *, body: Any, **_: Any) -> None:
        self.note(method, path, body)

    # activities and payments

    def activity_events(self, after: datetime, *, timeout: float, scope: Scope) -> list[Any]:
        return self.activity_inbox.wait(timeout, scope)

    def set_activity_state(
        self,
        activity_id: str,
        state: Sequence[Any],
        *,
        reason: str | None,
        error_message: str | None,
        scope: Scope,
    ) -> None:
        self.note("state", activity_id, tuple(state), error_message)

    def call(self, service: str, message: Mapping[str, Any], *, scope: Scope) -> None:
        self.note("bridge", service, message["activityId"])

    def send_debit_note(
        self, activity_id: str, amount: Decimal, usage: Any, due: Any, *, scope: Scope
    ) -> str:
        scope.check()
        self.note("debit note", activity_id, amount, due)
        return "note"

    def debit_note(self, debit_note_id: str, *, scope: Scope) -> DebitNote:
        self.note("status", debit_note_id)
        return DebitNote(debit_note_id, "A", "a", "0x1", AMOUNT, self.note_status, NOW)

    def send_invoice(
        self, agreement_id: str, activity_ids: Any, amount: Decimal, due: Any, *, scope: Scope
    ) -> None:
        scope.check()
        self.note("invoice", agreement_id, activity_ids, amount)


class FakeExeUnit:
    def __init__(self, daemon: FakeDaemon, activity_id: str, on_state: StateReport) -> None:
        self._daemon, self._id, self._on_state = daemon, activity_id, on_state
        on_state(("Initialized", None))

    def usage(self) -> Sequence[float]:
        return [10.0, 1.0]

    def close(self, *, report: bool = True) -> None:
        self._daemon.note("closed", self._id)
        if report:
            self._on_state(("Terminated", None))

    def shut_down(self) -> None:
        self._on_state(("Ready", "Terminated"))
        self._on_state(("Terminated", None))


HABITS = ProviderHabits(price=Price(Decimal("0.1"), Decimal("0.2"), Decimal("0.3")))
# 0.3 to begin with, ten seconds, and one of the processor.
AMOUNT = Decimal("1.5")


@pytest.fixture
def daemon() -> FakeDaemon:
    return FakeDaemon()


@pytest.fixture
def agent(daemon: FakeDaemon) -> Iterator[ProviderAgent]:
    yield from running_agent(daemon, lambda id, package, on_state: FakeExeUnit(daemon, id, on_state))


@pytest.fixture
def paid_agent(daemon: FakeDaemon) -> Iterator[ProviderAgent]:
    """A provider on a network with a chain."""
    yield from running_agent(
        daemon, lambda id, package, on_state: FakeExeUnit(daemon, id, on_state), notes_are_paid=True
    )


def running_agent(
    daemon: FakeDaemon, make_exe_unit: Callable[..., Any], habits: ProviderHabits = HABITS, **settings: Any
) -> Iterator[ProviderAgent]:
    scope = Scope()
    yagna = cast(Yagna, daemon)
    reporter = UsageReporter(yagna, scope, providers=1)
    agent = ProviderAgent(
        "prov-1",
        "0x1",
        yagna,
        habits,
        make_exe_unit=make_exe_unit,
        reporter=reporter,
        scope=scope,
        on_strike=lambda rule, what, text: daemon.strikes.append((rule.name, text)),
        **settings,
    )
    agent.offer_in("local")
    yield agent
    scope.cancel()
    assert agent.join(20.0)
    assert reporter.join(20.0)


def demand(seconds: float) -> dict[str, Any]:
    """The properties of a demand that a provider accepts, if it is long enough."""
    expiration = datetime.now(timezone.utc) + timedelta(seconds=seconds)
    return {
        EXPIRATION: int(expiration.timestamp() * 1000),
        ACCEPT_TIMEOUT: 240,
        CHOSEN_PLATFORM: "erc20-hoodi-tglm",
        MULTI_ACTIVITY: True,
    }


def proposal(name: str, seconds: float = 3600, **properties: Any) -> Proposal:
    return Proposal(name, "0xrequestor", ProposalState.DRAFT, demand(seconds) | properties, "()", NOW)


def agreement(name: str, seconds: float = 3600, **terms: Any) -> AgreementProposed:
    properties = demand(seconds)
    return AgreementProposed(
        {"agreementId": name, "demand": {"properties": properties}, "offer": {"properties": terms}}
    )


def activity(kind: str, name: str, agreement_id: str) -> ActivityEvent:
    return ActivityEvent(kind, name, agreement_id, NOW)


def terminated(agreement_id: str) -> AgreementEvent:
    return AgreementEvent("AgreementTerminatedEvent", agreement_id, NOW, "done", "Requestor")


def buy(daemon: FakeDaemon, **terms: Any) -> None:
    """An agreement `A` with an activity `a`."""
    daemon.market_inbox.put(agreement("A", **terms))
    daemon.expect("approve", "A")
    daemon.activity_inbox.put(activity("CreateActivity", "a", "A"))
    daemon.expect("state", "a", ("Initialized", None))


def test_a_proposal_is_countered_with_the_offer(daemon: FakeDaemon, agent: ProviderAgent) -> None:
    daemon.market_inbox.put(proposal("P"))
    *_, properties = daemon.expect("counter", "offer-1", "P")
    assert properties["golem.node.id.name"] == "prov-1"


def test_each_subnet_has_one_offer(daemon: FakeDaemon, agent: ProviderAgent) -> None:
    daemon.expect("publish", "local")
    agent.offer_in("local")
    agent.offer_in("public")
    daemon.expect("publish", "public")
    assert len(daemon.made("publish", "local")) == 1


def test_an_offer_that_is_gone_is_made_anew(daemon: FakeDaemon, agent: ProviderAgent) -> None:
    daemon.market_inbox.put(YagnaError("GET", "/events", 404, "subscription expired"))
    daemon.expect("publish", "local", times=2)


def test_a_requestor_that_lost_interest_does_not_end_the_offer(
    daemon: FakeDaemon, agent: ProviderAgent
) -> None:
    daemon.failing["counter"] = YagnaError("POST", "/proposals", 410, "expired")
    daemon.market_inbox.put(proposal("P"))
    daemon.market_inbox.put(proposal("Q"))
    daemon.expect("counter", "offer-1", "Q")


def test_a_busy_provider_turns_others_away_and_offers_anew_when_it_is_free(
    daemon: FakeDaemon, agent: ProviderAgent
) -> None:
    daemon.market_inbox.put(agreement("A"))
    daemon.expect("approve", "A")
    daemon.market_inbox.put(proposal("P"))
    daemon.market_inbox.put(agreement("B"))
    assert "No capacity" in daemon.expect("reject proposal", "P")[2]
    assert "No capacity" in daemon.expect("reject agreement", "B")[2]
    assert [rule for rule, _ in daemon.strikes] == ["capacity"] * 2
    daemon.agreement_inbox.put(terminated("A"))
    daemon.expect("withdraw", "offer-1")
    daemon.expect("publish", "local", times=2)
    daemon.market_inbox.put(agreement("C"))
    daemon.expect("approve", "C")


def test_an_agreement_that_has_ended_keeps_nobody_away_though_its_invoice_is_due(daemon: FakeDaemon) -> None:
    habits = replace(HABITS, invoices_after=600)
    for agent in running_agent(
        daemon, lambda id, package, on_state: FakeExeUnit(daemon, id, on_state), habits
    ):
        buy(daemon)
        daemon.agreement_inbox.put(terminated("A"))
        daemon.expect("state", "a", ("Terminated", None))
        daemon.market_inbox.put(proposal("P"))
        daemon.expect("counter", "offer-1", "P")
        daemon.market_inbox.put(agreement("B"))
        daemon.expect("approve", "B")
        assert agent.busy


def test_an_offer_stays_when_nobody_was_turned_away(daemon: FakeDaemon, agent: ProviderAgent) -> None:
    buy(daemon)
    daemon.agreement_inbox.put(terminated("A"))
    daemon.expect("invoice", "A")
    while agent.busy:
        Scope().wait(0.01)
    daemon.market_inbox.put(proposal("P"))
    daemon.expect("counter", "offer-1", "P")
    assert daemon.made("withdraw") == []


def test_an_agreement_that_can_not_be_approved_leaves_the_provider_free(
    daemon: FakeDaemon, agent: ProviderAgent
) -> None:
    daemon.failing["approve"] = YagnaError("POST", "/approve", 410, "Cancelled")
    daemon.market_inbox.put(agreement("A"))
    daemon.expect("approve", "A")
    while agent.busy:
        Scope().wait(0.01)
    daemon.market_inbox.put(proposal("P"))
    daemon.expect("counter")


def test_each_agreement_event_is_asked_for_once(daemon: FakeDaemon, agent: ProviderAgent) -> None:
    daemon.market_inbox.put(agreement("A"))
    daemon.expect("approve", "A")
    daemon.agreement_inbox.put(AgreementEvent("AgreementApprovedEvent", "A", NOW, "", None))
    daemon.expect("agreement events", NOW)


def test_an_activity_is_made_used_and_charged_for(daemon: FakeDaemon, agent: ProviderAgent) -> None:
    buy(daemon)
    daemon.expect("bridge", "local/activity/SetActivityUsage", "a")
    daemon.activity_inbox.put(activity("DestroyActivity", "a", "A"))
    daemon.expect("state", "a", ("Terminated", None))
    daemon.expect("debit note", "a", AMOUNT, None)
    daemon.agreement_inbox.put(terminated("A"))
    daemon.expect("invoice", "A", ["a"], AMOUNT)
    assert len(daemon.made("closed", "a")) == 1


def test_a_second_order_to_destroy_is_answered_and_charged_no_more(
    daemon: FakeDaemon, agent: ProviderAgent
) -> None:
    buy(daemon)
    for _ in range(2):
        daemon.activity_inbox.put(activity("DestroyActivity", "a", "A"))
    daemon.expect("state", "a", ("Terminated", None), times=2)
    assert len(daemon.made("debit note")) == 1


def test_an_agreement_that_ends_closes_its_activities(daemon: FakeDaemon, agent: ProviderAgent) -> None:
    buy(daemon)
    daemon.agreement_inbox.put(terminated("A"))
    daemon.expect("invoice", "A", ["a"], AMOUNT)
    assert daemon.made("closed", "a")
    assert daemon.made("debit note", "a", AMOUNT)


def test_an_agreement_without_activity_is_not_charged_for(daemon: FakeDaemon, agent: ProviderAgent) -> None:
    daemon.market_inbox.put(agreement("A"))
    daemon.expect("approve", "A")
    daemon.agreement_inbox.put(terminated("A"))
    while agent.busy:
        Scope().wait(0.01)
    assert daemon.made("invoice") == []


def test_activities_of_another_agreement_are_left_alone(daemon: FakeDaemon, agent: ProviderAgent) -> None:
    daemon.market_inbox.put(agreement("A"))
    daemon.expect("approve", "A")
    daemon.activity_inbox.put(activity("CreateActivity", "x", "other"))
    daemon.activity_inbox.put(activity("CreateActivity", "a", "A"))
    daemon.expect("state", "a", ("Initialized", None))
    assert daemon.made("state", "x") == []


def test_debit_notes_come_at_the_agreed_interval_and_are_due_as_agreed(
    daemon: FakeDaemon, agent: ProviderAgent
) -> None:
    terms = {
        "golem.com.scheme.payu.debit-note.interval-sec?": 0.1,
        "golem.com.scheme.payu.payment-timeout-sec?": 60,
    }
    buy(daemon, **terms)
    *_, due = daemon.expect("debit note", "a", AMOUNT, times=2)
    assert timedelta(seconds=50) < due - datetime.now(timezone.utc) < timedelta(seconds=61)


def test_an_agreement_is_terminated_when_it_expires(
    daemon: FakeDaemon, agent: ProviderAgent, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Also one that has expired already is made.
    monkeypatch.setattr("simple_golem.local.provider.demand_rules._SHORTEST_AGREEMENT", -3600)
    daemon.activity_inbox.put(activity("CreateActivity", "a", "A"))
    daemon.market_inbox.put(agreement("A", seconds=0.3))
    *_, reason = daemon.expect("POST", "/market-api/v1/agreements/A/terminate")
    assert reason["golem.provider.code"] == "Expired"
    daemon.expect("invoice", "A", ["a"])


# --- debit notes must be accepted -----------------------------------------------------------------

TERMINATE = "/market-api/v1/agreements/A/terminate"
QUICK_NOTES = {DEBIT_NOTE_INTERVAL: 0.1, ACCEPT_TIMEOUT: 0.3}


def test_an_agreement_whose_debit_notes_are_not_accepted_is_terminated(
    daemon: FakeDaemon, agent: ProviderAgent
) -> None:
    buy(daemon, **QUICK_NOTES)
    daemon.expect("debit note", "a")
    *_, reason = daemon.expect("POST", TERMINATE)
    assert reason == {
        "message": "Requestor isn't accepting DebitNotes in time (0s)",
        "golem.provider.code": "DebitNotesDeadline",
    }
    assert daemon.strikes == [("accepted-in-time", reason["message"])]
    daemon.expect("closed", "a")
    daemon.expect("invoice", "A", ["a"])


def test_an_agreement_whose_debit_notes_are_accepted_goes_on(
    daemon: FakeDaemon, agent: ProviderAgent
) -> None:
    daemon.note_status = "ACCEPTED"
    buy(daemon, **QUICK_NOTES)
    daemon.expect("status", "note", times=3)
    assert daemon.made("POST", TERMINATE) == []


def test_notes_need_not_be_accepted_where_that_was_not_agreed(
    daemon: FakeDaemon, agent: ProviderAgent
) -> None:
    buy(daemon, **{DEBIT_NOTE_INTERVAL: 0.1})
    daemon.expect("debit note", "a", times=5)
    assert daemon.made("status") == daemon.made("POST", TERMINATE) == []


def test_an_agreement_whose_requestor_can_not_be_reached_is_terminated(
    daemon: FakeDaemon, agent: ProviderAgent
) -> None:
    daemon.failing["debit note"] = YagnaError("POST", "/debitNotes/note/send", 504, "GSB error")
    buy(daemon, **QUICK_NOTES)
    *_, reason = daemon.expect("POST", TERMINATE)
    assert reason["golem.provider.code"] == "RequestorUnreachable"
    assert reason["message"].startswith("Requestor is unreachable more than")
    assert daemon.strikes == [("reachable", reason["message"])]


PAID_SOON = {DEBIT_NOTE_INTERVAL: 0.1, PAYMENT_TIMEOUT: 0.3}


def test_an_agreement_whose_debit_notes_are_not_paid_is_terminated(
    daemon: FakeDaemon, paid_agent: ProviderAgent
) -> None:
    daemon.note_status = "ACCEPTED"
    buy(daemon, **PAID_SOON)
    *_, reason = daemon.expect("POST", TERMINATE)
    assert reason == {
        "message": "Requestor didn't pay for DebitNote in time (0s)",
        "golem.provider.code": "DebitNoteNotPaid",
    }
    assert daemon.strikes == [("paid-in-time", reason["message"])]


def test_an_agreement_whose_debit_notes_are_paid_goes_on(
    daemon: FakeDaemon, paid_agent: ProviderAgent
) -> None:
    daemon.note_status = "SETTLED"
    buy(daemon, **PAID_SOON)
    daemon.expect("status", "note", times=3)
    assert daemon.made("POST", TERMINATE) == []


def test_without_a_chain_nobody_waits_for_payments(daemon: FakeDaemon, agent: ProviderAgent) -> None:
    daemon.note_status = "ACCEPTED"
    buy(daemon, **PAID_SOON)
    daemon.expect("debit note", "a", times=6)
    assert daemon.made("status") == daemon.made("POST", TERMINATE) == []


def test_a_second_activity_at_the_same_time_is_refused_and_a_later_one_is_not(
    daemon: FakeDaemon, agent: ProviderAgent
) -> None:
    buy(daemon)
    daemon.activity_inbox.put(activity("CreateActivity", "b", "A"))
    *_, message = daemon.expect("state", "b", ("Terminated", None))
    assert message == "Can't create 2 simultaneous Activities."
    assert daemon.strikes == [("one-activity", message)]
    daemon.activity_inbox.put(activity("DestroyActivity", "a", "A"))
    daemon.expect("closed", "a")
    daemon.activity_inbox.put(activity("CreateActivity", "c", "A"))
    daemon.expect("state", "c", ("Initialized", None))


def test_a_demand_for_a_single_activity_ends_with_it(daemon: FakeDaemon, agent: ProviderAgent) -> None:
    proposed = agreement("A")
    del proposed.agreement["demand"]["properties"][MULTI_ACTIVITY]
    daemon.market_inbox.put(proposed)
    daemon.expect("approve", "A")
    daemon.activity_inbox.put(activity("CreateActivity", "a", "A"))
    daemon.expect("state", "a", ("Initialized", None))
    daemon.activity_inbox.put(activity("DestroyActivity", "a", "A"))
    *_, reason = daemon.expect("POST", TERMINATE)
    assert reason == {"message": "Finished with success.", "golem.provider.code": "Success"}
    assert daemon.strikes == [("single-activity", "Finished with success.")]


def test_an_agreement_in_which_nothing_happens_is_given_up(
    daemon: FakeDaemon, agent: ProviderAgent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("simple_golem.local.provider.agreement._IDLE_LIMIT_SECONDS", 0.2)
    daemon.market_inbox.put(agreement("A"))
    *_, reason = daemon.expect("POST", "/market-api/v1/agreements/A/terminate")
    assert reason["golem.provider.code"] == "NoActivity"
    assert daemon.strikes == [("no-activity", reason["message"])]


def test_an_activity_that_can_not_be_made_ends_with_the_reason(daemon: FakeDaemon) -> None:
    def fail(*_: object) -> None:
        raise LocalNetworkError("no room for it")

    for _ in running_agent(daemon, fail):
        daemon.market_inbox.put(agreement("A"))
        daemon.expect("approve", "A")
        daemon.activity_inbox.put(activity("CreateActivity", "a", "A"))
        daemon.expect("state", "a", ("Terminated", None), "no room for it")


def test_the_end_of_the_network_ends_agreements(daemon: FakeDaemon) -> None:
    for _ in running_agent(daemon, lambda id, package, on_state: FakeExeUnit(daemon, id, lambda state: None)):
        daemon.market_inbox.put(agreement("A"))
        daemon.expect("approve", "A")
        daemon.activity_inbox.put(activity("CreateActivity", "a", "A"))
        daemon.expect("bridge", "local/activity/SetActivityUsage", "a")
    assert daemon.made("closed", "a")
    assert daemon.made("invoice") == daemon.made("withdraw") == []


# --- ways to go away ------------------------------------------------------------------------------------


def test_its_exe_unit_is_killed_and_it_says_so_at_once(daemon: FakeDaemon, agent: ProviderAgent) -> None:
    buy(daemon)
    agent.kill_exe_units()
    assert daemon.made("state", "a")[-1] == ("state", "a", ("Terminated", None), "exit code None")
    assert daemon.made("closed", "a")
    assert daemon.made("debit note", "a")
    assert agent.busy
    daemon.agreement_inbox.put(terminated("A"))
    daemon.expect("invoice", "A")


def test_without_an_agreement_there_is_no_exe_unit_to_be_killed(agent: ProviderAgent) -> None:
    with pytest.raises(LocalNetworkError, match="has no agreement"):
        agent.kill_exe_units()


def test_one_that_dies_alone_leaves_its_activity_alive(daemon: FakeDaemon, agent: ProviderAgent) -> None:
    buy(daemon)
    agent.die_alone()
    assert not daemon.made("closed", "a")
    assert not daemon.made("state", "a", ("Terminated", None))
    assert not daemon.made("invoice")
    assert not agent.busy
    agent.revive()
    assert daemon.made("closed", "a")
    daemon.expect("publish", "local", times=2)


def test_one_that_is_shut_down_ends_its_activity_but_not_its_agreement(
    daemon: FakeDaemon, agent: ProviderAgent
) -> None:
    buy(daemon)
    agent.shut_down()
    assert [call[2] for call in daemon.made("state", "a")] == [
        ("Initialized", None),
        ("Ready", "Terminated"),
        ("Terminated", None),
    ]
    assert not daemon.made("invoice")
    assert not daemon.made("POST")
