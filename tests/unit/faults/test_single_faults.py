"""Every request of a whole small run is hit once by every fault, and each run ends well.

There is only one provider: no other one helps out when it is lost.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
import tenacity

from simple_golem import Golem, Service
from simple_golem.command_line.main import main
from simple_golem.errors import AllocationRefused, ServiceFailed, YagnaError
from simple_golem.testing import FakeProvider, FakeYagna
from simple_golem.yagna.transport import http
from simple_golem.yagna.transport.retry import made_once
from tests.faults.adapter import FaultyAdapter
from tests.faults.plan import NOT_BEGUN, Fault, Hit, OnceEach, Plan
from tests.faults.small_run import run_once
from tests.helpers.side_by_side import side_by_side

# Those of a run without faults, and the nth request of it that is hit.
ENDPOINTS = {
    "DELETE /gsb-api/v1/services/*": 1,
    "DELETE /market-api/v1/demands/*": 1,
    "DELETE /payment-api/v1/allocations/*": 1,
    "GET /activity-api/v1/activity/*/exec/*": 1,
    "GET /activity-api/v1/activity/*/state": 1,
    "GET /market-api/v1/agreementEvents": 1,
    "GET /market-api/v1/demands/*/events": 1,
    "GET /me": 1,
    "GET /payment-api/v1/debitNoteEvents": 1,
    "GET /payment-api/v1/debitNotes/*": 1,
    "GET /payment-api/v1/demandDecorations": 1,
    "GET /payment-api/v1/invoiceEvents": 1,
    "GET /payment-api/v1/invoices/*": 1,
    "POST /activity-api/v1/activity": 1,
    # The third one is the command of `run()`.
    "POST /activity-api/v1/activity/*/exec": 2,
    "POST /gsb-api/v1/services": 1,
    "POST /market-api/v1/agreements": 1,
    "POST /market-api/v1/agreements/*/confirm": 1,
    "POST /market-api/v1/agreements/*/terminate": 1,
    "POST /market-api/v1/agreements/*/wait": 1,
    "POST /market-api/v1/demands": 1,
    "POST /market-api/v1/demands/*/proposals/*": 1,
    "POST /payment-api/v1/allocations": 1,
    "POST /payment-api/v1/debitNotes/*/accept": 1,
    "POST /payment-api/v1/invoices/*/accept": 1,
}
# These are read beside the run, which must not end before.
READERS = tuple(one for one in ENDPOINTS if one.endswith("Events"))
BATCHES = "POST /activity-api/v1/activity/*/exec"
DEMANDS = "POST /market-api/v1/demands"
COUNTERS = "POST /market-api/v1/demands/*/proposals/*"
EVENTS = "GET /market-api/v1/demands/*/events"
# Asked for where an invoice comes before the debit notes that it follows, as it sometimes does.
NOTES = "GET /payment-api/v1/debitNotes"
ALLOCATIONS = "POST /payment-api/v1/allocations"
# Runs mostly wait, so that many go at the same time.
AT_ONCE = 5


def with_one_provider() -> FakeYagna:
    """A daemon with one provider."""
    return FakeYagna([FakeProvider(answers=lambda command: "hello\n", debit_note_interval=0.03)])


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[FakeYagna]:
    """A daemon with one provider, and a folder of journals of its own."""
    with with_one_provider() as fake:
        for name, value in fake.environment.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("SIMPLE_GOLEM_STATE", str(tmp_path))
        yield fake


@pytest.fixture
def between(fake: FakeYagna, monkeypatch: pytest.MonkeyPatch) -> Callable[..., OnceEach]:
    """Puts faults between the daemon, or another one, and the clients that the calling thread makes."""
    chosen = threading.local()
    # Invoices are heard of by their events: a list of them is not asked for a moment later.
    monkeypatch.setattr("simple_golem.engine.payment.expected_invoices._PAUSES", tenacity.wait_fixed(5.0))
    monkeypatch.setattr(
        http,
        "AbandonableAdapter",
        lambda most_idle: FaultyAdapter(chosen.daemon.adapter(), chosen.plan),
    )

    def put(*hits: Hit, on: FakeYagna = fake) -> OnceEach:
        chosen.daemon, chosen.plan = on, OnceEach(*hits)
        return chosen.plan

    return put


def test_a_run_without_faults_asks_for_these_endpoints(
    fake: FakeYagna, between: Callable[..., OnceEach]
) -> None:
    plan = between()
    outcome = run_once(with_note=True, until=lambda: all(plan.seen[one] for one in READERS))
    assert outcome.went_well, outcome
    assert (outcome.demands, outcome.agreements, outcome.activities) == (1, 1, 1)
    assert plan.seen.keys() - {NOTES} == ENDPOINTS.keys()
    assert all(plan.seen[endpoint] >= nth for endpoint, nth in ENDPOINTS.items())


@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_a_run_ends_well_though_one_request_fails(between: Callable[..., OnceEach], endpoint: str) -> None:
    def case(fault: Fault) -> None:
        with with_one_provider() as daemon:
            plan = between(hit := Hit(fault, endpoint, ENDPOINTS[endpoint]), on=daemon)
            golem = Golem(1, api_url=daemon.url, app_key=daemon.app_key)
            outcome = run_once(
                golem=golem,
                with_note="debitNote" in endpoint,
                until=lambda: endpoint not in READERS or plan.done == [hit],
                respawn_wait=tenacity.wait_none(),
            )
            assert plan.done == [hit]
            assert outcome.went_well, outcome
            assert daemon.leftovers() == []
        # Only an activity or a batch that may have begun needs another agreement.
        unsure = fault not in NOT_BEGUN
        assert outcome.agreements <= (2 if unsure and "/activity" in endpoint else 1)
        # An error of the daemon uses the proposal up that was to be answered.
        renewing = (EVENTS, COUNTERS) if fault is Fault.FAILED else (EVENTS,)
        assert outcome.demands <= (2 if unsure and endpoint in renewing else 1)

    side_by_side({fault.name: partial(case, fault) for fault in Fault}, AT_ONCE)


@pytest.mark.parametrize("fault", Fault, ids=lambda fault: fault.name)
def test_an_invoice_without_notes_is_paid_though_the_list_of_notes_fails(
    fake: FakeYagna, between: Callable[..., OnceEach], fault: Fault
) -> None:
    fake.provider.sends_notes = False
    plan = between(hit := Hit(fault, NOTES))
    outcome = run_once()
    assert plan.done == [hit]
    assert outcome.went_well, outcome
    assert fake.leftovers() == []


def test_three_failures_of_one_step_do_not_burn_the_only_provider(
    fake: FakeYagna, between: Callable[..., OnceEach]
) -> None:
    steps = ("proposals/*", "agreements", "agreements/*/confirm", "agreements/*/wait")
    endpoints = [one for one in ENDPOINTS if one.startswith("POST") and one.endswith(steps)]
    assert len(endpoints) == len(steps)
    plan = between(*(Hit(Fault.RESET, endpoint, nth) for endpoint in endpoints for nth in (1, 2, 3)))
    outcome = run_once()
    assert len(plan.done) == 12
    assert outcome.went_well, outcome
    assert fake.leftovers() == []


def test_proposals_that_are_lost_again_and_again_are_asked_for_anew(
    fake: FakeYagna, between: Callable[..., OnceEach]
) -> None:
    plan = between(Hit(Fault.LOST, EVENTS, 1), Hit(Fault.LOST, EVENTS, 3))
    outcome = run_once()
    assert len(plan.done) == 2
    assert outcome.went_well, outcome
    assert outcome.demands == 3
    assert fake.leftovers() == []


@pytest.mark.parametrize("fault", [Fault.RESET, Fault.LOST, Fault.CUT], ids=lambda fault: fault.name)
def test_a_command_that_may_have_run_is_told_of_and_not_run_twice(
    fake: FakeYagna, between: Callable[..., OnceEach], fault: Fault
) -> None:
    between(Hit(fault, BATCHES, 3))
    outcome = run_once()
    assert isinstance(outcome.error, ServiceFailed)
    assert "BatchLost: nobody can know whether" in str(outcome.error)
    # The provider begins it at any time after it has the batch.
    most = 0 if fault is Fault.RESET else 1
    assert sum("run" in command for command in fake.provider.commands) <= most
    assert fake.leftovers() == []


@pytest.mark.parametrize("fault", [Fault.REFUSED, Fault.UNAVAILABLE], ids=lambda fault: fault.name)
def test_a_command_that_can_not_have_run_is_sent_again(
    fake: FakeYagna, between: Callable[..., OnceEach], fault: Fault
) -> None:
    plan = between(hit := Hit(fault, BATCHES, 3))
    outcome = run_once()
    assert plan.done == [hit]
    assert outcome.went_well, outcome
    assert outcome.agreements == 1


# --- what can't be mended -------------------------------------------------------------------------


class Always:
    """A plan in which each request to some endpoints is hit, until a test sets `is_over`."""

    def __init__(self, fault: Fault, *endpoints: str) -> None:
        self.is_over = False
        self._fault = fault
        self._endpoints = endpoints

    def fault(self, method: str, path: str) -> Fault | None:
        is_hit = f"{method} {path}" in self._endpoints and not self.is_over
        return self._fault if is_hit else None


@pytest.fixture
def quickly_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """What fails is repeated for a moment only."""
    monkeypatch.setitem(http.Http.request.__kwdefaults__, "within", 0.1)
    for module in ("engine.payment.allocation", "engine.market.demand_properties"):
        monkeypatch.setattr(
            f"simple_golem.{module}.made_once", lambda make, find, *_: made_once(make, find, None, 0.1)
        )


def put_always(fake: FakeYagna, monkeypatch: pytest.MonkeyPatch, plan: Plan) -> None:
    monkeypatch.setattr(http, "AbandonableAdapter", lambda most_idle: FaultyAdapter(fake.adapter(), plan))


def clean_up(fake: FakeYagna, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Run `simple-golem cleanup` without faults; returns what is left after it."""
    put_always(fake, monkeypatch, OnceEach())
    assert main(["cleanup"]) == 0
    return fake.leftovers()


@pytest.mark.usefixtures("quickly_given_up")
def test_an_allocation_whose_answers_are_all_lost_is_no_lack_of_funds_and_is_cleaned_up(
    fake: FakeYagna, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The looks for it fail, too.
    put_always(fake, monkeypatch, Always(Fault.LOST, ALLOCATIONS, ALLOCATIONS.replace("POST", "GET")))
    with pytest.raises(AllocationRefused, match=r"not known, since it gave no answer .*cleanup") as caught:
        Golem(1).open()
    assert "fund" not in str(caught.value)
    assert [what.split()[0] for what in fake.leftovers()] == ["allocation"]
    assert clean_up(fake, monkeypatch) == []


@pytest.mark.usefixtures("quickly_given_up")
def test_a_demand_whose_answers_are_all_lost_is_withdrawn_by_its_mark(
    fake: FakeYagna, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_always(fake, monkeypatch, plan := Always(Fault.LOST, DEMANDS, DEMANDS.replace("POST", "GET")))
    with Golem(1) as golem:
        with pytest.raises(YagnaError, match="no answer"):
            golem.run_service(Service)
        plan.is_over = True
    assert fake.leftovers() == []


@pytest.mark.usefixtures("quickly_given_up")
def test_a_demand_that_the_session_could_not_withdraw_is_withdrawn_by_the_clean_up(
    fake: FakeYagna, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_always(fake, monkeypatch, Always(Fault.LOST, DEMANDS, DEMANDS.replace("POST", "GET")))
    with pytest.raises(YagnaError, match="no answer"), Golem(1) as golem:
        golem.run_service(Service)
    assert {what.split()[0] for what in fake.leftovers()} == {"demand"}
    assert clean_up(fake, monkeypatch) == []
