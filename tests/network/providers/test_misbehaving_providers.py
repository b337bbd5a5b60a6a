"""Every way in which a local provider can misbehave, as a requestor sees it by bare REST."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import datetime, timezone
from decimal import Decimal
from functools import partial
from typing import Any

import pytest

from simple_golem.background.cancellation import Deadline, Scope
from simple_golem.background.threads import EngineThread
from simple_golem.errors import LocalNetworkError, YagnaError
from simple_golem.local.control.habits import Answer, FailingCommands, Price, ProviderHabits
from simple_golem.local.control.provider_control import ProviderControl
from simple_golem.local.local_golem import LocalGolem
from simple_golem.yagna.transport.retry import Repeat
from simple_golem.yagna.values import ActivityStatus, Approval, Proposal, ProposalState
from tests.helpers.side_by_side import side_by_side
from tests.network.helpers.commands import LongCommand
from tests.network.helpers.processes import ROOT, TOOL, Family, environment
from tests.network.helpers.requestor import READY, Requestor, shell

# One provider for each, in this order.
HABITS = {
    "honest": ProviderHabits(),
    "never answers": ProviderHabits(proposals=Answer.NEVER),
    "rejects proposals": ProviderHabits(proposals=Answer.NO, reason="it rains"),
    "never approves": ProviderHabits(agreements=Answer.NEVER),
    "rejects agreements": ProviderHabits(agreements=Answer.NO, reason="you again"),
    "approves late": ProviderHabits(approves_after=2.0),
    "never creates": ProviderHabits(activities=Answer.NEVER),
    "refuses activities": ProviderHabits(activities=Answer.NO, reason="no virtual machines today"),
    "creates late": ProviderHabits(creates_after=2.0),
    "fails deploys": ProviderHabits(deploy_error="no disk left"),
    "fails commands": ProviderHabits(failing_commands=FailingCommands("date", 7, "no clock\n")),
    "delays commands": ProviderHabits(command_delay=0.5),
    "silent for a while": ProviderHabits(silent_after=0.5, silent_for=7.0),
    "terminates": ProviderHabits(terminates_after=2.0, reason="bought by another"),
    "terminates and goes on": ProviderHabits(terminates_after=0.5, keeps_activity=True),
    "dies": ProviderHabits(dies_after=2.0),
    "never destroys": ProviderHabits(destroys=False),
    "overcharges": ProviderHabits(
        price=Price(Decimal(0), Decimal(0), Decimal("0.01")), overcharge=Decimal("1.5")
    ),
    "hurries with debit notes": ProviderHabits(debit_note_interval=0.5),
    "never invoices": ProviderHabits(invoices=False),
    "invoices late": ProviderHabits(invoices_after=2.0),
    # These do what they are told.
    "mortal": ProviderHabits(),
    "immortal": ProviderHabits(),
    "mute": ProviderHabits(),
    "quiet": ProviderHabits(),
    "fickle": ProviderHabits(),
}
UNRESPONSIVE_SECONDS = 5.0
DESTROYED_SECONDS = 10.0
# The daemon looks about itself once a second or so, and the machine may be busy.
MARGIN_SECONDS = 15.0
SLEEP = LongCommand()


@pytest.fixture(scope="module")
def misbehaving() -> Iterator[LocalGolem]:
    with LocalGolem(list(HABITS.values()), chain=False) as network:
        yield network


@pytest.fixture
def buyer(misbehaving: LocalGolem) -> Iterator[Requestor]:
    requestor = Requestor(misbehaving)
    yield requestor
    requestor.close()


def the(network: LocalGolem, kind: str) -> ProviderControl:
    """The provider with these habits."""
    return network.provider(f"prov-{list(HABITS).index(kind) + 1}")


def offer_of(provider: ProviderControl, buyer: Requestor) -> tuple[Any, Proposal]:
    """A demand, and the first proposal of a provider."""
    demand = buyer.publish_demand()
    offers = buyer.offers(demand, len(HABITS))
    return demand, next(offer for offer in offers if offer.issuer_id == provider.node_id)


def agree(provider: ProviderControl, buyer: Requestor) -> str:
    return buyer.agreement(buyer.publish_demand(), provider.node_id)


def hire(provider: ProviderControl, buyer: Requestor) -> tuple[str, str]:
    """An agreement, and an activity that is ready."""
    agreement = agree(provider, buyer)
    activity = buyer.yagna.activity.create(agreement, timeout=20)
    assert [result["result"] for result in buyer.run(activity, *READY)] == ["Ok", "Ok"]
    return agreement, activity


def state_when(buyer: Requestor, activity: str, *states: str, seconds: float = 20.0) -> ActivityStatus:
    """Wait for an activity to be in one of these states."""
    deadline, scope = Deadline(seconds), Scope()
    while (status := buyer.yagna.activity.state(activity)).state not in states:
        assert not deadline.passed, f"{status} after {seconds} s, not {states}"
        scope.wait(0.1)
    return status


def terminated(buyer: Requestor, agreement: str) -> str:
    """Wait until an agreement has been terminated; returns why."""
    deadline, scope = Deadline(20.0), Scope()
    while buyer.yagna.market.agreement(agreement).state.value != "Terminated":
        assert not deadline.passed, "the provider did not terminate the agreement"
        scope.wait(0.05)
    return buyer.yagna.market.terminate_reason(agreement)


def destroy(buyer: Requestor, activity: str, timeout: float) -> None:
    """Ask once for an activity's end; YagnaError 408 if it does not come in time."""
    path = f"/activity-api/v1/activity/{activity}"
    buyer.yagna.http.request(
        "DELETE", path, params={"timeout": timeout}, timeout=timeout, repeat=Repeat.NEVER
    )


# --- proposals and agreements ----------------------------------------------------------------------


def test_a_provider_never_answers_a_proposal(misbehaving: LocalGolem, buyer: Requestor) -> None:
    silent, honest = the(misbehaving, "never answers"), the(misbehaving, "honest")
    assert who_answers(buyer, silent, honest) == [honest.node_id]


def who_answers(buyer: Requestor, *providers: ProviderControl) -> list[str]:
    """Counter the offers of these providers, in order; who answers first, or in the same moment."""
    demand = buyer.publish_demand()
    offers = {offer.issuer_id: offer for offer in buyer.offers(demand, len(HABITS))}
    for provider in providers:
        buyer.counter(demand, offers[provider.node_id])
    deadline = Deadline(20.0)
    while not deadline.passed:
        answers = [one for one in buyer.proposals(demand) if one.state is ProposalState.DRAFT]
        if answers:
            return [answer.issuer_id for answer in answers]
    return []


def test_a_provider_rejects_a_proposal_with_its_reason(misbehaving: LocalGolem, buyer: Requestor) -> None:
    demand, offer = offer_of(the(misbehaving, "rejects proposals"), buyer)
    assert buyer.rejection(demand, buyer.counter(demand, offer)) == "it rains"


def test_a_provider_never_approves_an_agreement(misbehaving: LocalGolem, buyer: Requestor) -> None:
    draft = buyer.draft(buyer.publish_demand(), the(misbehaving, "never approves").node_id)
    agreement, approval, _ = buyer.propose(draft, timeout=1.0)
    assert approval is Approval.UNDECIDED
    buyer.abandon(agreement)
    assert buyer.yagna.market.agreement(agreement).state.value == "Cancelled"


def test_a_provider_rejects_an_agreement_with_its_reason(misbehaving: LocalGolem, buyer: Requestor) -> None:
    draft = buyer.draft(buyer.publish_demand(), the(misbehaving, "rejects agreements").node_id)
    begun = datetime.now(timezone.utc)
    agreement, approval, _ = buyer.propose(draft)
    assert approval is Approval.REFUSED
    events = buyer.yagna.market.agreement_events(begun, timeout=5.0)
    rejected = [(event.kind, event.reason) for event in events if event.agreement_id == agreement]
    assert rejected == [("AgreementRejectedEvent", "you again")]


def test_a_provider_approves_an_agreement_late(misbehaving: LocalGolem, buyer: Requestor) -> None:
    draft = buyer.draft(buyer.publish_demand(), the(misbehaving, "approves late").node_id)
    begun = time.monotonic()
    _, approval, _ = buyer.propose(draft)
    assert approval is Approval.APPROVED
    assert time.monotonic() - begun >= 2.0


# --- activities ------------------------------------------------------------------------------------


def test_a_provider_never_creates_an_activity(misbehaving: LocalGolem, buyer: Requestor) -> None:
    agreement = agree(the(misbehaving, "never creates"), buyer)
    with pytest.raises(YagnaError) as failed:
        buyer.yagna.activity.create(agreement, timeout=1.5)
    assert failed.value.status == 408
    buyer.abandon(agreement)


def test_a_provider_refuses_to_create_an_activity(misbehaving: LocalGolem, buyer: Requestor) -> None:
    agreement = agree(the(misbehaving, "refuses activities"), buyer)
    with pytest.raises(YagnaError, match="no virtual machines today") as failed:
        buyer.yagna.activity.create(agreement, timeout=10)
    assert failed.value.status == 500
    buyer.abandon(agreement)


def test_a_provider_creates_an_activity_late(misbehaving: LocalGolem, buyer: Requestor) -> None:
    agreement = agree(the(misbehaving, "creates late"), buyer)
    begun = time.monotonic()
    buyer.yagna.activity.create(agreement, timeout=20)
    assert time.monotonic() - begun >= 2.0


def test_a_provider_destroys_no_activity(misbehaving: LocalGolem, buyer: Requestor) -> None:
    agreement, activity = hire(the(misbehaving, "never destroys"), buyer)
    with pytest.raises(YagnaError) as failed:
        destroy(buyer, activity, 1.5)
    assert failed.value.status == 408
    assert buyer.run(activity, shell("echo still here"))[0]["stdout"] == "still here\n"
    buyer.yagna.market.terminate(agreement, "then the whole agreement")
    state_when(buyer, activity, "Terminated")


# --- commands --------------------------------------------------------------------------------------


def test_a_provider_fails_every_deploy(misbehaving: LocalGolem, buyer: Requestor) -> None:
    agreement = agree(the(misbehaving, "fails deploys"), buyer)
    activity = buyer.yagna.activity.create(agreement, timeout=20)
    batch = buyer.yagna.activity.execute(activity, READY)
    results = buyer.yagna.activity.results(activity, batch, timeout=10, command_index=0)
    assert results is not None
    assert [(result["result"], result["message"]) for result in results] == [("Error", "no disk left")]


def test_a_provider_fails_some_commands(misbehaving: LocalGolem, buyer: Requestor) -> None:
    _, activity = hire(the(misbehaving, "fails commands"), buyer)
    assert buyer.run(activity, shell("echo fine"))[0]["stdout"] == "fine\n"
    (result,) = buyer.run(activity, shell("date"))
    assert (result["result"], result["stderr"]) == ("Error", "no clock\n")
    assert result["message"].endswith("exited with code 7")


def test_a_provider_delays_every_command(misbehaving: LocalGolem, buyer: Requestor) -> None:
    agreement = agree(the(misbehaving, "delays commands"), buyer)
    activity = buyer.yagna.activity.create(agreement, timeout=20)
    begun = time.monotonic()
    results = buyer.run(activity, *READY, shell("echo at last"))
    assert results[-1]["stdout"] == "at last\n"
    assert time.monotonic() - begun >= 3 * 0.5


# --- silence ---------------------------------------------------------------------------------------


def a_provider_that_is_silent_for_a_while_is_unresponsive_meanwhile(
    misbehaving: LocalGolem, buyer: Requestor
) -> None:
    _, activity = hire(the(misbehaving, "silent for a while"), buyer)
    state_when(buyer, activity, "Unresponsive", seconds=UNRESPONSIVE_SECONDS + MARGIN_SECONDS)
    assert buyer.run(activity, shell("echo I am here"))[0]["stdout"] == "I am here\n"
    state_when(buyer, activity, "Ready", seconds=MARGIN_SECONDS)


def a_provider_that_reports_no_more_is_made_to_destroy_its_activity(
    misbehaving: LocalGolem, buyer: Requestor
) -> None:
    provider = the(misbehaving, "mute")
    _, activity = hire(provider, buyer)
    stopped = time.monotonic()
    provider.stop_reporting()
    state_when(buyer, activity, "Unresponsive", seconds=UNRESPONSIVE_SECONDS + MARGIN_SECONDS)
    assert time.monotonic() - stopped >= UNRESPONSIVE_SECONDS - 1.0
    state_when(buyer, activity, "Terminated", seconds=DESTROYED_SECONDS + MARGIN_SECONDS)
    provider.report_again()


def a_provider_that_reports_again_in_time_is_responsive_again(
    misbehaving: LocalGolem, buyer: Requestor
) -> None:
    provider = the(misbehaving, "quiet")
    _, activity = hire(provider, buyer)
    provider.stop_reporting()
    state_when(buyer, activity, "Unresponsive", seconds=UNRESPONSIVE_SECONDS + MARGIN_SECONDS)
    provider.report_again()
    state_when(buyer, activity, "Ready", seconds=MARGIN_SECONDS)


# --- the end of an agreement -----------------------------------------------------------------------


def test_a_provider_terminates_the_agreement_and_ends_the_activity(
    misbehaving: LocalGolem, buyer: Requestor
) -> None:
    agreement, activity = hire(the(misbehaving, "terminates"), buyer)
    assert terminated(buyer, agreement) == "bought by another"
    state_when(buyer, activity, "Terminated")


def test_a_provider_terminates_the_agreement_and_leaves_the_activity(
    misbehaving: LocalGolem, buyer: Requestor
) -> None:
    agreement, activity = hire(the(misbehaving, "terminates and goes on"), buyer)
    terminated(buyer, agreement)
    assert buyer.run(activity, shell("echo still here"))[0]["stdout"] == "still here\n"
    assert buyer.yagna.activity.state(activity).state == "Ready"
    destroy(buyer, activity, 10.0)
    assert not buyer.yagna.activity.state(activity).alive
    assert buyer.invoice(agreement).activity_ids == (activity,)


def test_a_provider_terminates_the_agreement_when_it_is_told_to(
    misbehaving: LocalGolem, buyer: Requestor
) -> None:
    provider = the(misbehaving, "fickle")
    agreement, activity = hire(provider, buyer)
    provider.terminate_agreement("an order is an order")
    assert terminated(buyer, agreement) == "an order is an order"
    state_when(buyer, activity, "Terminated")
    with pytest.raises(LocalNetworkError, match="has no agreement to terminate"):
        provider.terminate_agreement()


def test_a_provider_leaves_the_activity_when_it_is_told_to(misbehaving: LocalGolem, buyer: Requestor) -> None:
    provider = the(misbehaving, "fickle")
    agreement, activity = hire(provider, buyer)
    provider.terminate_agreement(keep_activity=True)
    terminated(buyer, agreement)
    assert buyer.run(activity, shell("echo still here"))[0]["stdout"] == "still here\n"
    destroy(buyer, activity, 10.0)


# --- death -----------------------------------------------------------------------------------------


def test_a_provider_dies_and_nothing_of_it_answers(misbehaving: LocalGolem, buyer: Requestor) -> None:
    agreement, activity = hire(the(misbehaving, "dies"), buyer)
    deadline, scope = Deadline(20.0), Scope()
    while True:
        try:
            buyer.run(activity, shell("echo still here"))
        except (YagnaError, AssertionError):
            break
        assert not deadline.passed, "the provider is still alive"
        scope.wait(0.1)
    with pytest.raises(YagnaError, match="the provider is gone") as failed:
        buyer.yagna.activity.execute(activity, [shell("echo again")])
    assert failed.value.status == 500
    assert "endpoint address not found" in failed.value.detail
    assert buyer.yagna.activity.state(activity).alive
    assert buyer.yagna.market.agreement(agreement).state.value == "Approved"
    with pytest.raises(YagnaError) as unheard:
        destroy(buyer, activity, 1.0)
    assert unheard.value.status == 408
    buyer.abandon(agreement)


def a_provider_that_dies_takes_its_processes_and_its_answers_with_it(
    misbehaving: LocalGolem, buyer: Requestor
) -> None:
    provider = the(misbehaving, "mortal")
    agreement, activity = hire(provider, buyer)
    batch = buyer.yagna.activity.execute(activity, [shell(SLEEP.line)])
    SLEEP.wait_until_running(1)
    asking = EngineThread("asking", result_of, buyer, activity, batch).start()
    provider.die()
    SLEEP.wait_until_running(0)
    assert asking.join(30.0)
    # The daemon's time was up, or it had found nobody to ask: in no case has it been told anything.
    assert asking.exception is None
    assert asking.result in (None, 500)
    state_when(buyer, activity, "Unresponsive", seconds=UNRESPONSIVE_SECONDS + MARGIN_SECONDS)
    buyer.abandon(agreement)


def test_providers_fall_silent_and_die(misbehaving: LocalGolem) -> None:
    """All at the same time: most of it is waiting for the daemon to notice."""

    def tried(case: Callable[[LocalGolem, Requestor], None]) -> None:
        with closing(Requestor(misbehaving)) as buyer:
            case(misbehaving, buyer)

    cases = (
        a_provider_that_is_silent_for_a_while_is_unresponsive_meanwhile,
        a_provider_that_reports_no_more_is_made_to_destroy_its_activity,
        a_provider_that_reports_again_in_time_is_responsive_again,
        a_provider_that_dies_takes_its_processes_and_its_answers_with_it,
    )
    side_by_side({case.__name__: partial(tried, case) for case in cases})


def result_of(buyer: Requestor, activity: str, batch: str) -> object:
    """What came of a command; None if nothing does in time, the daemon's status if it knows that."""
    try:
        return buyer.yagna.activity.results(activity, batch, timeout=3.0, command_index=0)
    except YagnaError as error:
        return error.status


def test_a_dead_provider_answers_nobody_until_it_is_revived(
    misbehaving: LocalGolem, buyer: Requestor
) -> None:
    provider, honest = the(misbehaving, "immortal"), the(misbehaving, "honest")
    provider.die()
    provider.die()
    assert who_answers(buyer, provider, honest) == [honest.node_id]
    provider.revive()
    provider.revive()
    assert buyer.run(hire(provider, buyer)[1], shell("echo as new"))[0]["stdout"] == "as new\n"


def test_a_network_with_dead_providers_goes_down_in_time_and_leaves_nothing() -> None:
    with LocalGolem(
        [ProviderHabits(), ProviderHabits(destroys=False), ProviderHabits()], chain=False
    ) as network:
        requestor = Requestor(network)
        for name in ("prov-1", "prov-2", "prov-3"):
            _, activity = hire(network.provider(name), requestor)
            requestor.yagna.activity.execute(activity, [shell(f"{SLEEP.line} & {SLEEP.line}")])
        SLEEP.wait_until_running(6)
        assert network._process is not None
        family = Family(network._process.pid)
        network.provider("prov-1").die()
        network.provider("prov-3").die()
        SLEEP.wait_until_running(2)
        requestor.yagna.close()
        begun = time.monotonic()
    assert time.monotonic() - begun < 5.0
    assert family.survivors() == []
    assert SLEEP.processes() == 0


def test_providers_whose_daemon_is_frozen_are_not_reachable_until_it_thaws() -> None:
    with LocalGolem(1, chain=False) as network:
        requestor = Requestor(network)
        _, activity = hire(network.provider("prov-1"), requestor)
        network.freeze_providers_daemon()
        with pytest.raises(YagnaError) as unheard:
            requestor.yagna.activity.state(activity, timeout=0.5, repeat=Repeat.NEVER)
        assert unheard.value.status == 408
        network.thaw_providers_daemon()
        state_when(requestor, activity, "Ready")
        assert requestor.run(activity, shell("echo here again"))[0]["stdout"] == "here again\n"
        network.freeze_providers_daemon()
        requestor.yagna.close()


# --- money -----------------------------------------------------------------------------------------


def test_a_provider_charges_more_than_agreed(misbehaving: LocalGolem, buyer: Requestor) -> None:
    agreement, _ = hire(the(misbehaving, "overcharges"), buyer)
    coefficients = buyer.yagna.market.agreement(agreement).offer_properties[
        "golem.com.pricing.model.linear.coeffs"
    ]
    assert coefficients == [0.0, 0.0, 0.01]
    buyer.yagna.market.terminate(agreement, "done")
    assert buyer.invoice(agreement).amount == Decimal("0.015")


def test_a_provider_sends_more_debit_notes_than_agreed(misbehaving: LocalGolem, buyer: Requestor) -> None:
    _, activity = hire(the(misbehaving, "hurries with debit notes"), buyer)
    deadline, scope, notes = Deadline(20.0), Scope(), []
    while len(notes) < 3:
        assert not deadline.passed, f"{len(notes)} debit notes in 20 s"
        scope.wait(0.2)
        everything = buyer.yagna.http.request("GET", "/payment-api/v1/debitNotes")
        notes = [note for note in everything if note["activityId"] == activity]


def test_a_provider_sends_no_invoice(misbehaving: LocalGolem, buyer: Requestor) -> None:
    silent, _ = hire(the(misbehaving, "never invoices"), buyer)
    honest, _ = hire(the(misbehaving, "honest"), buyer)
    buyer.abandon(silent)
    buyer.yagna.market.terminate(honest, "done")
    buyer.invoice(honest)
    assert silent not in {invoice.agreement_id for invoice in buyer.yagna.payment.invoices()}


def test_a_provider_sends_its_invoice_late(misbehaving: LocalGolem, buyer: Requestor) -> None:
    agreement, _ = hire(the(misbehaving, "invoices late"), buyer)
    begun = time.monotonic()
    buyer.yagna.market.terminate(agreement, "done")
    buyer.invoice(agreement)
    assert time.monotonic() - begun >= 2.0


# --- how they are asked for ------------------------------------------------------------------------


def test_an_unknown_provider_is_an_error_that_names_those_there_are(misbehaving: LocalGolem) -> None:
    with pytest.raises(
        LocalNetworkError, match=f"no provider 'prov-99': it has prov-1 to prov-{len(HABITS)}"
    ):
        misbehaving.provider("prov-99")


PRICES = """
import os, time
from simple_golem.yagna.client import Yagna
yagna = Yagna(os.environ["YAGNA_API_URL"], os.environ["YAGNA_APPKEY"])
properties = {
    "golem.node.debug.subnet": os.environ["YAGNA_SUBNET"],
    "golem.srv.comp.expiration": int(time.time() * 1000) + 60_000,
}
demand = yagna.market.publish_demand(properties, "(golem.runtime.name=vm)")
prices = {}
while len(prices) < 2:
    for offer in yagna.market.demand_events(demand, timeout=5):
        name = offer.properties["golem.node.id.name"]
        prices[name] = offer.properties["golem.com.pricing.model.linear.coeffs"][0]
yagna.close()
print(sorted(prices.items()))
"""


def test_habits_can_be_given_on_the_command_line() -> None:
    habit = ("--providers", "2", "--habit", "prov-2=price-per-second:0.5")
    run = subprocess.run(
        [*TOOL, "local", "run", *habit, "-c", PRICES],
        env=environment(),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.strip() == "[('prov-1', 0.0001), ('prov-2', 0.5)]"
