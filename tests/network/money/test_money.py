"""What a script may cost, what it did cost, and what it does not pay."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from functools import partial
from pathlib import Path

import pytest

from simple_golem import Golem, Instance, Run, Service, ServiceFailed
from simple_golem.background.log_guard import drain_log
from simple_golem.errors import BadBudget, NotRunning, OutOfBudget, Overcharged
from simple_golem.local.control.habits import Price, ProviderHabits
from simple_golem.local.local_golem import LocalGolem
from simple_golem.model.events.budget import BudgetChanged, BudgetUsedUp
from simple_golem.model.events.documents import (
    DebitNoteAccepted,
    DebitNoteRefused,
    InvoiceAccepted,
    InvoiceRefused,
)
from simple_golem.model.offers.strategy import Strategy
from simple_golem.model.offers.terms import Terms
from simple_golem.yagna.client import Yagna
from tests.helpers.side_by_side import side_by_side
from tests.network.helpers.gate import Gate
from tests.network.helpers.leftovers import left_on

pytestmark = pytest.mark.usefixtures("golem_environment")
ROOT = Path(__file__).resolve().parents[3]
# Dear enough for a budget to be used up in seconds.
DEAR = Price(per_second=Decimal("0.01"), per_cpu_second=Decimal(0), start=Decimal("0.01"))
ONLY_CPU = Price(per_second=Decimal(0), per_cpu_second=Decimal("0.05"), start=Decimal(0))


@pytest.fixture(scope="module")
def network() -> Iterator[LocalGolem]:
    """Six providers that are dear, and honest."""
    with LocalGolem([ProviderHabits(price=DEAR)] * 6, chain=False) as network:
        yield network


@pytest.fixture
def yagna(network: LocalGolem) -> Iterator[Yagna]:
    client = Yagna(network.near.api_url, network.near.app_key)
    yield client
    client.close()


class Idle(Service):
    """Stays running until it is stopped."""


class Events(list):
    """What has happened, by its kind."""

    def of(self, *kinds):
        return [event for event in self if isinstance(event, kinds)]


def watched(golem: Golem) -> Events:
    events = Events()
    golem.on_event(events.append)
    return events


def eventually(fulfilled, seconds: float = 20.0) -> None:
    until = time.monotonic() + seconds
    while not fulfilled():
        assert time.monotonic() < until, "it did not happen"
        time.sleep(0.05)


# what it cost


def debit_notes_come_as_agreed_and_the_invoice_is_their_sum(yagna):
    class Long(Service):
        def run(self):
            # One batch that lasts as long as all of it.
            return [Run("/bin/sleep", "12")]

    with Golem(budget=5, terms=Terms(debit_note_interval=2)) as golem:
        events = watched(golem)
        long = golem.run_service(Long)
        idle = golem.run_service(Idle)
        idle.wait_until_running(timeout=60)
        assert long.wait(60)
        idle.stop()
        eventually(lambda: len(events.of(InvoiceAccepted)) == 2)
        entries = golem.cost_report.entries
    for entry in entries:
        notes = [one for one in events.of(DebitNoteAccepted) if one.agreement_id == entry.agreement_id]
        (invoice,) = [one for one in events.of(InvoiceAccepted) if one.agreement_id == entry.agreement_id]
        # One each two seconds of the time that is paid, and one at the end.
        seconds = float((entry.amount - DEAR.start) / DEAR.per_second)
        assert 5 <= len(notes) <= seconds / 2 + 2
        amounts = [note.amount for note in notes]
        assert len({note.activity_id for note in notes}) == 1
        assert max(amounts) == invoice.amount == entry.amount
        assert len(set(amounts)) >= 5
        on_daemon = [note for note in yagna.payment.debit_notes() if note.agreement_id == entry.agreement_id]
        assert {note.status for note in on_daemon} == {"ACCEPTED"}
        assert len(on_daemon) == len(notes)
    assert golem.cost.amount == sum(entry.amount for entry in entries)


def test_the_sum_of_the_invoices_is_the_cost_to_the_last_digit(yagna, network):
    before = {invoice.invoice_id for invoice in yagna.payment.invoices()}

    class Count(Service):
        def run(self):
            self.execute(Run.shell("i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done"))

    with Golem(budget=5) as golem:
        one = golem.run_service(Count, num_instances=2)
        other = golem.run_service(Idle)
        other.wait_until_running(timeout=60)
        assert one.wait(60)
    invoices = [one for one in yagna.payment.invoices() if one.invoice_id not in before]
    assert [invoice.status for invoice in invoices] == ["ACCEPTED"] * 3
    assert golem.cost.amount == sum(invoice.amount for invoice in invoices) > 0
    assert golem.cost.amount == one.cost.amount + other.cost.amount
    for cluster in (one, other):
        assert cluster.cost.amount == sum(instance.cost.amount for instance in cluster) > 0
    report = golem.cost_report
    assert report.total == golem.cost
    assert report.per_cluster() == {"Count": one.cost.amount, "Idle": other.cost.amount}
    assert report.per_instance() == {one.name: one.cost.amount for one in golem.instances}
    names = {one.provider_id: one.provider_name for one in report.entries}
    by_provider: dict[str, Decimal] = defaultdict(Decimal)
    for invoice in invoices:
        by_provider[names[invoice.issuer_id]] += invoice.amount
    assert report.per_provider() == by_provider
    assert str(golem.cost.amount.normalize()) in str(report).splitlines()[-1]
    read = json.loads(report.to_json())
    assert sum(Decimal(entry["amount"]) for entry in read["agreements"]) == Decimal(read["total"]["amount"])
    assert {entry["agreement_id"] for entry in read["agreements"]} == {one.agreement_id for one in invoices}
    assert all(entry.is_invoiced and entry.refused is None for entry in report.entries)


def test_a_provider_that_answers_an_accept_slowly_does_not_hold_up_the_others(yagna, network, monkeypatch):
    with Gate(network.near.api_url) as gate:
        monkeypatch.setenv("YAGNA_API_URL", gate.url)
        gate.hold_next_accept()
        with Golem(budget=5, terms=Terms(debit_note_interval=2)) as golem:
            events = watched(golem)
            cluster = golem.run_service(Idle, num_instances=3)
            cluster.wait_until_running(timeout=60)
            assert gate.held.wait(20)
            eventually(lambda: len(events.of(DebitNoteAccepted)) >= 6)
            told = {event.agreement_id for event in events.of(DebitNoteAccepted)}
            (slow,) = {entry.agreement_id for entry in golem.cost_report.entries} - told
            # Of one agreement they come in sequence.
            assert len(told) == 2
            gate.release()
            eventually(lambda: slow in {event.agreement_id for event in events.of(DebitNoteAccepted)})
        assert len(events.of(InvoiceAccepted)) == 3
        assert golem.cost.amount == sum(event.amount for event in events.of(InvoiceAccepted))


def test_usage_and_what_has_come_up_are_told_before_the_first_debit_note(yagna, network):
    with Golem(budget=5) as golem:
        machine = golem.rent(60)
        machine.shell("i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done")
        eventually(lambda: machine.usage.cpu_seconds > 0)
        usage, cost = machine.usage, machine.cost
        assert usage.seconds > 0
        assert cost.amount == 0
        # Its provider counts from the creation of the activity on, and reports once a second.
        assert cost.accrued >= DEAR.start + DEAR.per_second * Decimal(str(usage.seconds))
        machine.stop()
    assert golem.cost.accrued == 0
    # The price of all the time: within the second or two that its end has taken.
    assert float(golem.cost.amount) == pytest.approx(float(cost.accrued), abs=float(DEAR.per_second) * 15)


# what it may cost


class Worker(Service):
    ended: list[str] = []

    def start(self):
        return [Run("/bin/echo", "ready")]

    def shutdown(self):
        self.ended.append(self.name)
        return [Run("/bin/echo", "bye")]


class Helper(Worker):
    pass


def test_a_budget_that_runs_out_ends_all_clusters_in_good_order(yagna, network, caplog, monkeypatch):
    Worker.ended.clear()
    told_to_end = []
    cut_off = Instance._cut_off

    def noted(instance, *reason):
        told_to_end.append(instance.name)
        cut_off(instance, *reason)

    monkeypatch.setattr(Instance, "_cut_off", noted)
    # Two agreements cost 0.02 GLM a second; 15 seconds of that are kept to end them.
    with Golem(budget="0.46", raise_failures=False, terms=Terms(debit_note_interval=2)) as golem:
        events = watched(golem)
        clusters = [golem.run_service(Worker), golem.run_service(Helper)]
        for cluster in clusters:
            cluster.wait_until_running(timeout=60)
        for cluster in clusters:
            assert cluster.wait(60)
        assert told_to_end == ["Worker-1", "Helper-1"]
        assert sorted(Worker.ended) == ["Helper-1", "Worker-1"]
        for instance in golem.instances:
            assert [state.value for state, _ in instance.history][-2:] == ["stopping", "terminated"]
            assert isinstance(instance.failure, OutOfBudget)
        eventually(lambda: events.of(BudgetUsedUp))
        (told,) = events.of(BudgetUsedUp)
        assert told.budget == Decimal("0.46")
        assert drain_log(20)
        assert "budget of 0.46 tGLM is used up" in caplog.text
        with pytest.raises(OutOfBudget, match="top_up"):
            golem.run_service(Idle)
        assert len(golem.clusters) == 2
        # All that ran is paid from it.
        eventually(lambda: len(events.of(InvoiceAccepted)) == 2)
        assert 0 < golem.cost.amount <= Decimal("0.46")
        assert golem.top_up(1) == Decimal("1.46") == golem.budget
        eventually(lambda: events.of(BudgetChanged))
        (more,) = events.of(BudgetChanged)
        (allocation,) = [
            one for one in yagna.payment.allocations() if one.allocation_id == more.allocation_id
        ]
        assert allocation.total_amount == Decimal("1.46")
        assert allocation.spent_amount == golem.cost.amount
        golem.run_service(Idle).wait_until_running(timeout=60)
    assert golem.instances[-1].failure is None


def test_nothing_is_started_that_the_budget_can_not_end(yagna, network):
    """0.01 GLM to start, and 15 seconds of 0.01 GLM; there is enough for two."""
    before = len(yagna.market.agreements())
    with Golem(budget="0.35", raise_failures=False) as golem:
        cluster = golem.run_service(Worker, num_instances=3)
        failed = next(one for one, _ in cluster.state_changes(timeout=30) if one.failure is not None)
        assert isinstance(failed.failure, OutOfBudget)
        assert "would cost 0.16 tGLM" in str(failed.failure)
        # The others were chosen when it failed, and the requests for their agreements may be under way.
        eventually(lambda: len(yagna.market.agreements()) == before + 2)
        # They use the rest of the budget up.
        assert cluster.wait(60)
    assert len(yagna.market.agreements()) == before + 2


def a_shutdown_that_takes_too_long_for_the_rest_of_the_budget_is_cut():
    class Slow(Service):
        def shutdown(self):
            self.wait(25)

    with Golem(budget="0.2", raise_failures=False, terms=Terms(debit_note_interval=2)) as golem:
        events = watched(golem)
        cluster = golem.run_service(Slow)
        assert cluster.wait(60)
    assert [event.amount for event in events.of(InvoiceAccepted)] == [golem.cost.amount]
    assert Decimal("0.1") < golem.cost.amount <= Decimal("0.2")


def a_used_up_budget_is_a_failure_at_the_end_of_with():
    def script() -> None:
        with Golem(budget="0.18") as golem:
            assert golem.run_service(Idle).wait(60)

    with pytest.raises(ServiceFailed, match="budget is used up"):
        script()


def test_an_invoice_above_the_budget_is_paid_once_there_is_more(yagna, caplog, monkeypatch):
    # Nothing is kept back: it begins with less than it takes to end.
    for module in ("payment.budget", "payment.budget_watch", "market.proposal_rules"):
        monkeypatch.setattr(f"simple_golem.engine.{module}.RESERVE_SECONDS", Decimal(0))
    with Golem(budget="0.0125", raise_failures=False) as golem:
        events = watched(golem)
        cluster = golem.run_service(Idle)
        assert cluster.wait(60)
        eventually(lambda: "is not paid: " in caplog.text and "Not enough funds" in caplog.text)
        assert events.of(InvoiceAccepted) == []
        golem.top_up(1)
        eventually(lambda: events.of(InvoiceAccepted))
        (invoice,) = events.of(InvoiceAccepted)
        assert invoice.amount == golem.cost.amount > Decimal("0.0125")
        (allocation,) = yagna.payment.allocations()
        assert allocation.spent_amount == invoice.amount


def a_top_up_in_time_lets_everything_go_on():
    with Golem(budget="0.25", terms=Terms(debit_note_interval=2)) as golem:
        events = watched(golem)
        cluster = golem.run_service(Idle)
        cluster.wait_until_running(timeout=60)
        golem.top_up("0.75")
        # Without it, 0.09 GLM above the reserve would have lasted nine seconds.
        assert not cluster.wait(12)
        assert [one.state.value for one in cluster] == ["running"]
    assert events.of(BudgetUsedUp) == []
    assert golem.budget == Decimal(1)


def test_notes_and_budgets_over_some_time(yagna):
    """All at the same time: what is waited for is that time passes, or money is used up."""
    side_by_side(
        {
            "notes": partial(debit_notes_come_as_agreed_and_the_invoice_is_their_sum, yagna),
            "shutdown": a_shutdown_that_takes_too_long_for_the_rest_of_the_budget_is_cut,
            "used up": a_used_up_budget_is_a_failure_at_the_end_of_with,
            "top-up": a_top_up_in_time_lets_everything_go_on,
        }
    )


@pytest.mark.parametrize("amount", [0, -1, True, "much", float("nan"), None])
def test_a_top_up_that_is_no_amount_is_refused_and_changes_nothing(yagna, amount):
    with Golem(budget=1) as golem:
        with pytest.raises(BadBudget, match="amount"):
            golem.top_up(amount)
        assert golem.budget == Decimal(1)
        assert [one.total_amount for one in yagna.payment.allocations()] == [Decimal(1)]


def test_only_an_open_golem_can_be_topped_up():
    golem = Golem(budget=1)
    with pytest.raises(NotRunning):
        golem.top_up(1)
    with golem:
        pass
    with pytest.raises(NotRunning):
        golem.top_up(1)
    assert golem.budget == Decimal(1)


# what is not owed


@pytest.fixture(scope="module")
def cheats() -> Iterator[LocalGolem]:
    """The first is the cheapest by its offer and charges half as much again; the third is worse.

    The last is honest, and charges for nothing but processor time.
    """
    cheap = Price(Decimal("0.001"), Decimal(0), Decimal("0.01"))
    habits = [
        ProviderHabits(price=cheap, overcharge=Decimal("1.5")),
        ProviderHabits(price=DEAR),
        ProviderHabits(price=DEAR, overcharge=Decimal(150)),
        ProviderHabits(price=ONLY_CPU),
    ]
    with LocalGolem(habits, chain=False) as cheats:
        yield cheats


@pytest.fixture
def among_cheats(cheats: LocalGolem, monkeypatch: pytest.MonkeyPatch) -> Iterator[Yagna]:
    for name, value in cheats.environment.items():
        monkeypatch.setenv(name, value)
    client = Yagna(cheats.near.api_url, cheats.near.app_key)
    yield client
    client.close()


def test_a_provider_that_overcharges_is_not_paid_and_not_chosen_again(cheats, among_cheats, caplog):
    yagna, patient = among_cheats, Strategy(collect_seconds=10, block=["prov-3", "prov-4"])
    ended, before = [], set(left_on(cheats))

    class Kept(Service):
        def shutdown(self):
            ended.append(self.provider_name)

    with Golem(budget=5, strategy=patient, terms=Terms(debit_note_interval=2)) as golem:
        events = watched(golem)
        cluster = golem.run_service(Kept, respawn_running=True)
        (instance,) = cluster.wait_until_running(timeout=60)
        assert instance.provider_name == "prov-1"
        cheat, activity = instance.provider_id, instance.activity_id
        eventually(lambda: events.of(DebitNoteRefused))
        refused, *_ = events.of(DebitNoteRefused)
        assert (refused.provider_id, refused.activity_id) == (cheat, activity)
        # It goes on elsewhere; on the cheat's side nothing was there to be shut down in good order.
        eventually(lambda: instance.state == "running" and instance.provider_name == "prov-2")
        assert ended == []
        assert not yagna.activity.state(activity).alive
        (note,) = [
            one for one in yagna.payment.debit_notes() if one.debit_note_id and one.activity_id == activity
        ][:1]
        assert note.status == "RECEIVED"
        eventually(lambda: events.of(InvoiceRefused))
        (told,) = events.of(InvoiceRefused)
        (invoice,) = [one for one in yagna.payment.invoices() if one.invoice_id == told.invoice_id]
        assert (invoice.issuer_id, invoice.status) == (cheat, "REJECTED")
        # There is nobody else: it would rather wait for the honest one.
        other = golem.run_service(Idle)
        assert not other.wait(3)
        assert [one.state.value for one in other] == ["pending"]
        instance.stop()
        (second,) = other.wait_until_running(timeout=60)
        assert second.provider_name == "prov-2"
    assert f"a debit note of prov-1 ({cheat}) is not accepted" in caplog.text
    first, *others = golem.cost_report.entries
    assert (first.provider_id, first.amount) == (cheat, Decimal(0))
    assert first.refused is not None
    assert all(one.provider_name == "prov-2" and one.amount > 0 for one in others)
    assert golem.cost.amount == sum(one.amount for one in others)
    assert set(left_on(cheats)) - before == {f"invoice {invoice.invoice_id} REJECTED"}


def test_without_a_respawn_the_overcharge_is_the_instances_failure(cheats, among_cheats):
    strategy = Strategy(allow=["prov-1"])
    terms = Terms(debit_note_interval=2)
    with Golem(budget=5, strategy=strategy, terms=terms, raise_failures=False) as golem:
        cluster = golem.run_service(Idle)
        (instance,) = cluster.wait_until_running(timeout=60)
        assert cluster.wait(30)
        assert isinstance(instance.failure, Overcharged)
        assert "prov-1" in str(instance.failure)
    assert golem.cost.amount == instance.cost.amount == 0


def test_an_invoice_for_too_much_is_rejected_also_when_it_comes_after_the_end(cheats, among_cheats):
    yagna = among_cheats
    with Golem(budget=5, strategy=Strategy(allow=["prov-3"])) as golem:
        events = watched(golem)
        cluster = golem.run_service(Idle)
        (instance,) = cluster.wait_until_running(timeout=60)
        # Two minutes pass until its first debit note: nothing has shown what it is like.
        cluster.stop()
        assert instance.failure is None
    (refused,) = events.of(InvoiceRefused)
    (invoice,) = [one for one in yagna.payment.invoices() if one.invoice_id == refused.invoice_id]
    assert (invoice.status, invoice.amount) == ("REJECTED", refused.amount)
    assert invoice.amount > 1
    assert golem.cost.amount == 0
    (entry,) = golem.cost_report.entries
    assert "GLM" in str(entry.refused)


def test_a_budget_is_used_up_by_processor_time_too(cheats, among_cheats):
    class Busy(Service):
        def run(self):
            return [Run.shell("while true; do :; done")]

    # It ends 6 seconds after the start: until the first debit note one busy thread is foreseen, whatever
    # share of a processor the thread really has.
    strategy, terms = Strategy(allow=["prov-4"]), Terms(debit_note_interval=60)
    with Golem(budget="1.05", strategy=strategy, terms=terms, raise_failures=False, stop_grace=0) as golem:
        cluster = golem.run_service(Busy)
        assert cluster.wait(60)
        (instance,) = cluster
        assert isinstance(instance.failure, OutOfBudget)
    # 0.75 GLM were kept to end what runs: 15 seconds of one thread. Nothing but its time costs anything.
    assert 0 < golem.cost.amount < Decimal("1.05")


def test_a_session_that_idles_for_longer_than_its_allocation_lasts_keeps_it(yagna, monkeypatch):
    monkeypatch.setattr("simple_golem.engine.payment.budget._FIRST_ALLOCATION", timedelta(seconds=4))
    monkeypatch.setattr("simple_golem.engine.session._PROLONG_SECONDS", 2.0)
    with Golem(budget="0.5"):
        (allocation,) = yagna.payment.allocations()
        assert allocation.timeout is not None
        assert allocation.timeout < datetime.now(timezone.utc) + timedelta(minutes=1)
        hence = datetime.now(timezone.utc) + timedelta(minutes=180)
        eventually(lambda: [one.timeout > hence for one in yagna.payment.allocations()] == [True])


# side by side


def test_two_golems_with_one_key_do_not_touch_each_others_money(yagna):
    with Golem(budget="1.25") as one, Golem(budget="2.5") as other:
        events = [watched(golem) for golem in (one, other)]
        clusters = [golem.run_service(Idle, num_instances=2) for golem in (one, other)]
        for cluster in clusters:
            cluster.wait_until_running(timeout=60)
        for cluster in clusters:
            cluster.stop()
        for happened in events:
            eventually(lambda happened=happened: len(happened.of(InvoiceAccepted)) == 2)
        allocations = {one.total_amount: one for one in yagna.payment.allocations()}
        assert sorted(allocations) == [Decimal("1.25"), Decimal("2.5")]
        for golem, happened in ((one, events[0]), (other, events[1])):
            assert allocations[golem.budget].spent_amount == golem.cost.amount
            own = {entry.agreement_id for entry in golem.cost_report.entries}
            touched = {event.agreement_id for event in happened.of(InvoiceAccepted, DebitNoteAccepted)}
            assert touched == own
        # One that closes takes nothing of the other's with it.
        third = other.run_service(Idle)
        third.wait_until_running(timeout=60)
        one.close()
        assert not third.wait(1)
        assert [allocation.total_amount for allocation in yagna.payment.allocations()] == [Decimal("2.5")]
    assert one.cost.amount > 0
    assert other.cost.amount > 0


SCRIPT = """
import sys
from simple_golem import Golem, Service
from simple_golem.model.events.documents import InvoiceAccepted

class Other(Service):
    pass

answered = []
with Golem(budget="2.5") as golem:
    golem.on_event(lambda event: answered.append(event) if isinstance(event, InvoiceAccepted) else None)
    cluster = golem.run_service(Other, num_instances=2)
    cluster.wait_until_running(timeout=60)
    print("running", flush=True)
    sys.stdin.readline()
    cluster.stop()
    while len(answered) < 2:
        pass
    print(golem.cost.amount, *(event.agreement_id for event in answered), flush=True)
    sys.stdin.readline()
"""


def test_two_scripts_with_one_key_do_not_touch_each_others_money(yagna):
    script = subprocess.Popen(
        [sys.executable, "-c", SCRIPT],
        cwd=ROOT,
        env=dict(os.environ),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert script.stdin is not None
        assert script.stdout is not None
        with Golem(budget="1.25") as golem:
            events = watched(golem)
            cluster = golem.run_service(Idle, num_instances=2)
            cluster.wait_until_running(timeout=60)
            assert script.stdout.readline() == "running\n"
            print("stop", file=script.stdin, flush=True)
            cluster.stop()
            eventually(lambda: len(events.of(InvoiceAccepted)) == 2)
            amount, *agreements = script.stdout.readline().split()
            spent = {one.total_amount: one.spent_amount for one in yagna.payment.allocations()}
            assert spent == {Decimal("1.25"): golem.cost.amount, Decimal("2.5"): Decimal(amount)}
            own = {entry.agreement_id for entry in golem.cost_report.entries}
            assert {event.agreement_id for event in events.of(InvoiceAccepted)} == own
            assert own.isdisjoint(agreements)
            assert len(set(agreements)) == 2
        assert [one.total_amount for one in yagna.payment.allocations()] == [Decimal("2.5")]
        print("end", file=script.stdin, flush=True)
        assert script.wait(30) == 0
    finally:
        script.kill()
        script.communicate()
