"""Cleaning up where not all can be done: what fails keeps nothing else from being done."""

from __future__ import annotations

import time
from dataclasses import asdict
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import responses

from simple_golem.background.cancellation import Deadline, Scope
from simple_golem.background.threads import EngineThread
from simple_golem.engine.cleanup.clean_up import clean_up
from simple_golem.engine.payment.account import Account
from simple_golem.engine.payment.journal import (
    FOLDER_VARIABLE,
    Journal,
    journal_path,
    read_journal,
)
from simple_golem.engine.payment.journal_record import JournalOwner, Record
from simple_golem.engine.payment.ledger import Ledger
from simple_golem.engine.payment.session_journals import SessionJournals
from simple_golem.model.events.cleanup import CleanedUp
from simple_golem.model.events.event import Event
from simple_golem.model.offers.offer import Offer
from simple_golem.model.service.suspended import SuspendedInstance
from simple_golem.yagna.client import Yagna
from tests.helpers.written_answers.fake_payments import ALLOCATION
from tests.helpers.written_answers.sample_offers import offered
from tests.unit.conftest import API, posted

WHOSE = JournalOwner("http://127.0.0.1:7465", "0xreq", "erc20-hoodi-tglm")
MARKET, ACTIVITY, PAYMENT = f"{API}/market-api/v1", f"{API}/activity-api/v1", f"{API}/payment-api/v1"
NETWORKS = f"{API}/net-api/v2/vpn/net"
NOW = datetime.now(timezone.utc)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path))
    return tmp_path


def died(
    session: str, *agreements: str, budget: str = "1", ago: timedelta = timedelta(minutes=1)
) -> SessionJournals:
    """A session with agreements, as its journal says at this moment; closing it is its death."""
    books = SessionJournals()
    books.create(WHOSE, session)
    ledger = Ledger(books)
    books.write("budget", amount=budget)
    books.write("allocation", id=f"al-{session}")
    for name in agreements:
        offer = Offer.of("0xp", offered())
        ledger.add_agreement(
            Account.made(name, offer, "Hello", f"Hello-{name}", datetime.now(timezone.utc) - ago)
        )
        ledger.activity_created(name, f"act-{name}", time.monotonic() - ago.total_seconds())
    return books


class Market:
    """A daemon with nothing but agreements and invoices."""

    def __init__(self, daemon: responses.RequestsMock) -> None:
        self.daemon = daemon
        self.invoices: list[dict[str, Any]] = []
        daemon.get(f"{MARKET}/demands", json=[])
        daemon.get(f"{MARKET}/agreements", json=[])
        daemon.get(f"{ACTIVITY}/activity", json=[])
        daemon.get(f"{PAYMENT}/invoices", json=self.invoices)
        daemon.get(NETWORKS, json=[])
        daemon.delete(f"{PAYMENT}/allocations/al-dead", json=None)

    def agreement(self, name: str, state: str, terminating: int = 200, message: str = "no way") -> None:
        side = {"properties": offered(), "constraints": "", "timestamp": "2026-11-25T00:00:00Z"}
        wire = {
            "agreementId": name,
            "demand": {**side, "demandId": "d1", "requestorId": "0xreq"},
            "offer": {**side, "offerId": "o1", "providerId": "0xp"},
            "validTo": "2026-11-25T00:00:00Z",
            "approvedDate": "2026-11-25T00:00:00Z",
            "state": state,
            "timestamp": "2026-11-25T00:00:00Z",
        }
        self.daemon.get(f"{MARKET}/agreements/{name}", json=wire)
        self.daemon.post(
            f"{MARKET}/agreements/{name}/terminate", status=terminating, json={"message": message}
        )

    def invoice(self, name: str, agreement: str, amount: str, status: str = "RECEIVED") -> None:
        self.invoices.append(
            {
                "invoiceId": name,
                "agreementId": agreement,
                "issuerId": "0xp",
                "activityIds": [],
                "amount": amount,
                "status": status,
                "timestamp": "2026-11-25T00:00:00Z",
                "paymentPlatform": WHOSE.platform,
            }
        )
        self.daemon.replace(responses.GET, f"{PAYMENT}/invoices", json=self.invoices)


@pytest.fixture
def market(daemon: responses.RequestsMock) -> Market:
    return Market(daemon)


@pytest.fixture
def told() -> list[Event]:
    return []


def record_of(session: str) -> Record:
    found = read_journal(journal_path(session))
    assert found is not None
    return found


def cleaned(yagna: Yagna, told: list[Event], wait: float = 0.0) -> tuple[list[str], list[str]]:
    suspended, problems, *_ = clean_up(yagna, WHOSE, Scope(), told.append, wait=wait)
    return suspended, problems


def test_a_provider_whose_invoice_has_not_come_is_named(
    market: Market, yagna: Yagna, told: list[Event]
) -> None:
    died("dead", "a1").close()
    market.agreement("a1", "Terminated")
    (creditor,) = clean_up(yagna, WHOSE, Scope(), told.append, wait=0.0).creditors
    assert creditor == record_of("dead").accounts["a1"].provider
    market.invoice("i1", "a1", "0.04", status="SETTLED")
    assert clean_up(yagna, WHOSE, Scope(), told.append, wait=0.0).creditors == []


def test_an_agreement_that_can_not_be_ended_keeps_nothing_else_open(
    market: Market, yagna: Yagna, told: list[Event]
) -> None:
    died("dead", "a1", "a2").close()
    market.agreement("a1", "Approved", terminating=400)
    market.agreement("a2", "Approved")
    _, troubles = cleaned(yagna, told)
    assert len(troubles) == 1
    assert "no way" in troubles[0]
    assert len(posted(market.daemon, "/market-api/v1/agreements/a2/terminate")) == 1
    record = record_of("dead")
    assert (record.open, record.allocations) == ({"a1"}, [])


ENDED_THERE = (
    "Protocol error while terminating: Remote Terminate: Can't finish operation on Agreement [P-a1] due to "
    "internal error."
)


@pytest.mark.parametrize(
    ("activity", "message", "open_"),
    [
        ("Terminated", ENDED_THERE, set()),
        ("Ready", ENDED_THERE, {"a1"}),
        ("Terminated", "no way", {"a1"}),
    ],
    ids=["ended by the provider", "something runs", "another error"],
)
def test_an_agreement_that_only_its_provider_has_ended_is_no_trouble_unless_something_runs(
    market: Market, yagna: Yagna, told: list[Event], activity: str, message: str, open_: set[str]
) -> None:
    died("dead", "a1").close()
    market.agreement("a1", "Approved", terminating=500, message=message)
    market.daemon.replace(responses.GET, f"{ACTIVITY}/activity", json=["act-a1"])
    market.daemon.get(f"{ACTIVITY}/activity/act-a1/state", json={"state": [activity, None]})
    _, troubles = cleaned(yagna, told)
    assert len(troubles) == len(open_)
    assert record_of("dead").open == open_


def test_a_suspended_agreement_that_has_ended_is_not_kept(
    market: Market, yagna: Yagna, told: list[Event]
) -> None:
    books = died("dead", "a1", "a2")
    for name in ("a1", "a2"):
        kept = SuspendedInstance(f"Hello-{name}", name, f"act-{name}", "dead", "al-dead")
        books.write("suspended", **asdict(kept))
    books.close()
    market.agreement("a1", "Terminated")
    market.agreement("a2", "Approved")
    assert cleaned(yagna, told) == (["Hello-a2"], [])
    record = record_of("dead")
    assert (record.open, record.allocations) == ({"a2"}, ["al-dead"])
    assert posted(market.daemon, "/market-api/v1/agreements/a2/terminate") == []


@pytest.fixture
def refusing(market: Market) -> Market:
    """A daemon that sets nothing aside."""
    died("dead", "a1").close()
    market.agreement("a1", "Terminated")
    market.invoice("i1", "a1", "0.001")
    market.daemon.post(f"{PAYMENT}/allocations", status=400, json={"detail": "Insufficient funds"})
    return market


def test_an_invoice_that_can_not_be_paid_leaves_nothing_to_look_for(
    refusing: Market,
    yagna: Yagna,
    told: list[Event],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def tries() -> int:
        return len(posted(refusing.daemon, "/payment-api/v1/allocations"))

    class TwoTries(Deadline):
        @property
        def passed(self) -> bool:
            return tries() >= 2

    monkeypatch.setattr("simple_golem.engine.cleanup.clean_up.Deadline", TwoTries)
    _, troubles = cleaned(yagna, told, wait=60.0)
    assert "Insufficient funds" in troubles[0]
    assert tries() >= 2
    assert record_of("dead").planned == []
    assert record_of("dead").owed == {"a1"}
    assert len([one for one in caplog.records if "Insufficient funds" in one.message]) == 1


def test_an_invoice_above_the_sessions_budget_is_told_of_and_keeps_no_other_from_being_paid(
    market: Market, yagna: Yagna, told: list[Event]
) -> None:
    died("dead", "a1", "a2", budget="0.015").close()
    for name in ("a1", "a2"):
        market.agreement(name, "Terminated")
    market.invoice("i1", "a1", "0.016")
    market.invoice("i2", "a2", "0.001")
    market.daemon.post(f"{PAYMENT}/allocations", status=400, json={"detail": "tried to pay"})
    _, (above, tried) = cleaned(yagna, told)
    assert "0.016 tGLM is not paid" in above
    assert "--above-budget" in above
    assert "tried to pay" in tried
    all_tried = clean_up(yagna, WHOSE, Scope(), told.append, wait=0.0, above_budget=True).problems
    assert ["tried to pay" in one for one in all_tried] == [True, True]


def test_an_old_debt_is_forgotten(market: Market, yagna: Yagna, told: list[Event]) -> None:
    died("dead", "a1", budget="0.0001", ago=timedelta(days=31)).close()
    market.agreement("a1", "Terminated")
    market.invoice("i1", "a1", "0.04")
    cleaned(yagna, told)
    assert not journal_path("dead").exists()


def test_between_two_looks_a_journal_can_be_taken_over(
    market: Market, yagna: Yagna, told: list[Event]
) -> None:
    died("dead", "a1").close()
    market.agreement("a1", "Terminated")
    scope = Scope()
    cleaner = EngineThread("cleaner", lambda: clean_up(yagna, WHOSE, scope, told.append, wait=None)).start()
    until = time.monotonic() + 30
    while (
        read_journal(journal_path("dead")) is None or record_of("dead").open or record_of("dead").allocations
    ):
        assert time.monotonic() < until
        time.sleep(0.01)
    journal = None
    while journal is None:
        assert time.monotonic() < until
        journal = Journal.open_dead(journal_path("dead"))
    journal.close()
    assert cleaner.alive
    scope.cancel()
    assert cleaner.join(20)


def test_a_session_that_lives_is_left_alone(market: Market, yagna: Yagna, told: list[Event]) -> None:
    books = died("alive", "a1")
    assert cleaned(yagna, told) == ([], [])
    assert told == []
    assert record_of("alive").open == {"a1"}
    assert record_of("alive").budget == Decimal(1)
    books.close()


# what the daemon does not know, and what nobody owes any more


def test_an_agreement_that_a_new_daemon_does_not_know_is_forgotten(
    market: Market, yagna: Yagna, told: list[Event]
) -> None:
    died("dead", "a1").close()
    market.daemon.get(f"{MARKET}/agreements/a1", status=404, json={"message": None})
    assert cleaned(yagna, told) == ([], [])
    assert not journal_path("dead").exists()


def test_a_suspended_agreement_that_the_daemon_does_not_know_is_forgotten(
    market: Market, yagna: Yagna, told: list[Event]
) -> None:
    books = died("dead", "a1")
    kept = SuspendedInstance("Hello-a1", "a1", "act-a1", "dead", "al-dead")
    books.write("suspended", **asdict(kept))
    books.close()
    market.daemon.get(f"{MARKET}/agreements/a1", status=404, json={"message": None})
    assert cleaned(yagna, told) == ([], [])
    assert not journal_path("dead").exists()


def test_suspended_instances_are_ended_if_that_is_asked_for(
    market: Market, yagna: Yagna, told: list[Event]
) -> None:
    books = died("dead", "a1")
    kept = SuspendedInstance("Hello-a1", "a1", "act-a1", "dead", "al-dead")
    books.write("suspended", **asdict(kept))
    books.close()
    market.agreement("a1", "Approved")
    result = clean_up(yagna, WHOSE, Scope(), told.append, wait=0.0, end_suspended=True)
    assert (result.suspended, result.problems) == ([], [])
    assert len(posted(market.daemon, "/market-api/v1/agreements/a1/terminate")) == 1
    assert record_of("dead").allocations == []


def test_an_agreement_that_its_journal_does_not_have_is_found_by_its_session(
    market: Market, yagna: Yagna, told: list[Event]
) -> None:
    """The kill came between the daemon's answer and the line in the journal."""
    died("dead").close()
    row = {"id": "a9", "timestamp": "2026-11-25T00:00:00Z", "approvedDate": None, "role": "Requestor"}
    market.daemon.replace(responses.GET, f"{MARKET}/agreements", json=[row])
    market.daemon.replace(responses.GET, f"{ACTIVITY}/activity", json=["act9"])
    market.agreement("a9", "Pending")
    market.daemon.post(f"{MARKET}/agreements/a9/cancel", json=None)
    assert cleaned(yagna, told)[1] == []
    for step in ("cancel", "terminate"):
        assert len(posted(market.daemon, f"/market-api/v1/agreements/a9/{step}")) == 1
    record = record_of("dead")
    assert (record.open, record.owed) == (set(), {"a9"})
    assert record.accounts["a9"].instance == "a session that was killed"


def test_a_network_whose_answer_was_lost_is_ended_by_its_mark(
    market: Market, yagna: Yagna, told: list[Event]
) -> None:
    books = died("dead", "a1")
    for mark in ("240.0.0.1", "240.0.0.2", "240.0.0.3"):
        books.write("network planned", mark=mark)
    books.write("network", id="net-2", mark="240.0.0.2")
    books.write("network ended", id="net-2")
    books.write("network not made", mark="240.0.0.3")
    books.close()
    market.agreement("a1", "Terminated")
    others = [{"id": f"net-{one}", "ip": "10.0.0.0/24", "gateway": f"240.0.0.{one}"} for one in (1, 4)]
    market.daemon.replace(responses.GET, NETWORKS, json=others)
    market.daemon.delete(f"{NETWORKS}/net-1", json=None)
    assert cleaned(yagna, told)[1] == []
    assert "network net-1 ended" in [one.what for one in told if isinstance(one, CleanedUp)]
    assert record_of("dead").planned_networks == set()


def test_a_journal_that_can_not_be_opened_is_told_of(
    market: Market, yagna: Yagna, told: list[Event], folder: Path
) -> None:
    died("dead", "a1").close()
    (lock,) = folder.glob("*.lock")
    lock.unlink()
    # As in a folder that is read-only, also for a user who may do everything.
    lock.mkdir()
    (problem,) = cleaned(yagna, told)[1]
    assert str(journal_path("dead")) in problem
    assert "stays on the daemon" in problem
    assert record_of("dead").open == {"a1"}


def test_private_networks_are_ended_but_not_those_of_suspended_instances(
    market: Market, yagna: Yagna, told: list[Event]
) -> None:
    books = died("dead", "a1")
    books.write("network", id="net-1")
    books.write("network", id="net-2")
    books.write("network ended", id="net-2")
    books.write("suspended", **asdict(SuspendedInstance("Hello-a1", "a1", "act-a1", "dead", "al-dead")))
    books.close()
    market.agreement("a1", "Approved")
    assert cleaned(yagna, told) == (["Hello-a1"], [])
    assert record_of("dead").networks == {"net-1"}
    market.daemon.delete(f"{NETWORKS}/net-1", json=None)
    clean_up(yagna, WHOSE, Scope(), told.append, wait=0.0, end_suspended=True)
    assert record_of("dead").networks == set()
    assert "network net-1 ended" in [one.what for one in told if isinstance(one, CleanedUp)]


def test_an_allocation_that_was_planned_is_known_by_its_end(
    market: Market, yagna: Yagna, told: list[Event]
) -> None:
    books = died("dead")
    books.write("allocation planned", until="2026-11-25T04:00:00.123456+00:00")
    books.close()
    wire = {**ALLOCATION, "timeout": "2026-11-25T04:00:00.123456Z", "allocationId": "al-planned"}
    other = {**ALLOCATION, "timeout": "2026-11-25T05:00:00Z"}
    market.daemon.get(f"{PAYMENT}/allocations", json=[other, wire])
    market.daemon.delete(f"{PAYMENT}/allocations/al-planned", json=None)
    cleaned(yagna, told)
    assert len(posted(market.daemon, "/payment-api/v1/allocations/al-planned", "DELETE")) == 1
    assert not journal_path("dead").exists()


@pytest.mark.parametrize(("status", "paid"), [("ACCEPTED", "0.001"), ("REJECTED", "0")])
def test_an_invoice_that_was_answered_before_is_not_answered_again(
    market: Market, yagna: Yagna, told: list[Event], status: str, paid: str
) -> None:
    books = died("dead", "a1")
    books.write("suspended", **asdict(SuspendedInstance("Hello-a2", "a2", "act", "dead", "al-dead")))
    books.close()
    market.agreement("a1", "Terminated")
    market.agreement("a2", "Approved")
    market.invoice("i1", "a1", "0.001", status)
    assert cleaned(yagna, told) == (["Hello-a2"], [])
    assert (record_of("dead").owed, record_of("dead").paid) == (set(), Decimal(paid))


def test_an_invoice_for_more_than_was_agreed_is_rejected(
    market: Market, yagna: Yagna, told: list[Event]
) -> None:
    died("dead", "a1").close()
    market.agreement("a1", "Terminated")
    market.invoice("i1", "a1", "0.9")
    market.daemon.post(f"{PAYMENT}/invoices/i1/reject", body="")
    assert cleaned(yagna, told) == ([], [])
    assert len(posted(market.daemon, "/payment-api/v1/invoices/i1/reject")) == 1
    assert "invoice of" in str(told[-1])
    assert "refused: it asks for 0.9 GLM" in str(told[-1])
    assert not journal_path("dead").exists()


def test_a_daemon_that_lists_nothing_is_a_problem_that_is_named(
    market: Market, yagna: Yagna, told: list[Event]
) -> None:
    died("dead", "a1").close()
    market.daemon.replace(responses.GET, f"{MARKET}/agreements", status=400, json={"message": "no list"})
    market.daemon.replace(responses.GET, f"{PAYMENT}/invoices", status=400, json={"message": "no invoices"})
    _, problems = cleaned(yagna, told)
    assert ["no list" in problems[0], "no invoices" in problems[1]] == [True, True]
