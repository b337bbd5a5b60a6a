"""A local network as a requestor finds it, by bare REST."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from decimal import Decimal
from functools import partial
from pathlib import Path

import pytest
import requests

from simple_golem.background.cancellation import Deadline, Scope
from simple_golem.errors import LocalNetworkError, YagnaError
from simple_golem.local.local_golem import LocalGolem
from simple_golem.yagna.values import Approval, ProposalState
from tests.helpers.side_by_side import side_by_side
from tests.network.helpers.requestor import DEPLOY, READY, Requestor, shell

NAMES = ["prov-1", "prov-2", "prov-3", "prov-4"]


def test_every_provider_offers_in_the_own_subnet(network: LocalGolem, requestor: Requestor) -> None:
    offers = requestor.offers(requestor.publish_demand(), 4)
    assert sorted(offer.properties["golem.node.id.name"] for offer in offers) == NAMES
    assert {offer.issuer_id for offer in offers} == {provider.node_id for provider in network.providers}


def test_a_provider_is_paid_on_two_test_networks(requestor: Requestor) -> None:
    [offer, *_] = requestor.offers(requestor.publish_demand(), 1)
    platforms = [name for name in offer.properties if name.startswith("golem.com.payment.platform.")]
    assert sorted(name.split(".")[4] for name in platforms) == ["erc20-holesky-tglm", "erc20-hoodi-tglm"]


def test_a_service_goes_from_demand_to_invoice(requestor: Requestor) -> None:
    agreement = requestor.agreement(requestor.publish_demand())
    activity = requestor.yagna.activity.create(agreement, timeout=20)
    results = requestor.run(activity, *READY, shell("echo hello; ls /golem"))
    assert results[-1]["stdout"].splitlines()[0] == "hello"
    assert requestor.yagna.activity.state(activity).state == "Ready"
    requestor.yagna.activity.destroy(activity, timeout=10)
    assert not requestor.yagna.activity.state(activity).alive
    requestor.yagna.market.terminate(agreement, "done")
    invoice = requestor.invoice(agreement)
    assert invoice.activity_ids == (activity,)
    assert Decimal(0) < invoice.amount < Decimal("0.01")


def test_the_last_debit_note_says_what_the_invoice_says(requestor: Requestor) -> None:
    agreement = requestor.agreement(requestor.publish_demand())
    activity = requestor.yagna.activity.create(agreement, timeout=20)
    requestor.yagna.market.terminate(agreement, "done")
    invoice = requestor.invoice(agreement)
    notes = requestor.yagna.http.request("GET", "/payment-api/v1/debitNotes")
    amounts = [Decimal(note["totalAmountDue"]) for note in notes if note["activityId"] == activity]
    assert amounts == [invoice.amount]


def test_an_agreement_that_ends_takes_its_activity_with_it(requestor: Requestor) -> None:
    agreement = requestor.agreement(requestor.publish_demand())
    activity = requestor.yagna.activity.create(agreement, timeout=20)
    requestor.yagna.market.terminate(agreement, "done")
    requestor.invoice(agreement)
    assert not requestor.yagna.activity.state(activity).alive


def test_an_agreement_without_activity_brings_no_invoice(requestor: Requestor) -> None:
    agreement = requestor.agreement(requestor.publish_demand())
    requestor.yagna.market.terminate(agreement, "done")
    Scope().wait(1.0)
    assert [one for one in requestor.yagna.payment.invoices() if one.agreement_id == agreement] == []


def test_activities_can_follow_each_other_in_one_agreement(requestor: Requestor) -> None:
    agreement = requestor.agreement(requestor.publish_demand())
    activities = []
    for _ in range(2):
        activity = requestor.yagna.activity.create(agreement, timeout=20)
        requestor.run(activity, *READY)
        requestor.yagna.activity.destroy(activity, timeout=10)
        activities.append(activity)
    requestor.yagna.market.terminate(agreement, "done")
    assert set(requestor.invoice(agreement).activity_ids) == set(activities)


def test_negotiable_terms_are_as_the_demand_has_them(requestor: Requestor) -> None:
    terms = {
        "golem.com.payment.debit-notes.accept-timeout?": 77,
        "golem.com.scheme.payu.debit-note.interval-sec?": 99,
    }
    draft = requestor.draft(requestor.publish_demand(**terms))
    assert terms.items() <= draft.properties.items()
    assert "golem.com.scheme.payu.payment-timeout-sec?" not in draft.properties


def debit_notes_come_at_the_interval_that_was_agreed(requestor: Requestor, provider_id: str) -> None:
    interval = {"golem.com.scheme.payu.debit-note.interval-sec?": 1}
    agreement = requestor.agreement(requestor.publish_demand(**interval), provider_id)
    activity = requestor.yagna.activity.create(agreement, timeout=20)
    deadline, notes = Deadline(20.0), []
    while len(notes) < 2:
        assert not deadline.passed, f"{len(notes)} debit notes in 20 s"
        everything = requestor.yagna.http.request("GET", "/payment-api/v1/debitNotes")
        notes = [note for note in everything if note["activityId"] == activity]
    first, second = (Decimal(note["totalAmountDue"]) for note in notes[:2])
    assert Decimal("0.00005") < abs(second - first) < Decimal("0.001")
    assert all("paymentDueDate" not in note for note in notes)


def an_agreement_ends_when_its_debit_notes_are_not_accepted(requestor: Requestor, provider_id: str) -> None:
    terms = {
        "golem.com.scheme.payu.debit-note.interval-sec?": 1,
        "golem.com.payment.debit-notes.accept-timeout?": 5,
    }
    agreement = requestor.agreement(requestor.publish_demand(**terms), provider_id)
    requestor.yagna.activity.create(agreement, timeout=20)
    deadline, scope = Deadline(30.0), Scope()
    while requestor.yagna.market.agreement(agreement).state.value != "Terminated":
        assert not deadline.passed, "the provider did not end it"
        scope.wait(0.2)
    reason = requestor.yagna.market.terminate_reason(agreement)
    assert "Requestor isn't accepting DebitNotes in time (5s)" in reason


def test_one_agreement_has_one_activity_at_a_time(requestor: Requestor) -> None:
    agreement = requestor.agreement(requestor.publish_demand())
    first = requestor.yagna.activity.create(agreement, timeout=20)
    with pytest.raises(YagnaError, match="Can't create 2 simultaneous Activities"):
        requestor.yagna.activity.create(agreement, timeout=20)
    assert requestor.yagna.activity.state(first).state != "Terminated"


def test_a_busy_provider_turns_others_away_and_comes_back_when_it_is_free(requestor: Requestor) -> None:
    first = requestor.draft(requestor.publish_demand())
    agreement, approval, _ = requestor.propose(first)
    assert approval is Approval.APPROVED
    waiting = requestor.publish_demand()
    offer = next(one for one in requestor.offers(waiting, 4) if one.issuer_id == first.issuer_id)
    refused = requestor.counter(waiting, offer)
    requestor.rejection(waiting, refused)
    requestor.yagna.market.terminate(agreement, "done")
    again = requestor.draft(waiting, first.issuer_id)
    assert again.state is ProposalState.DRAFT
    assert again.previous_id != refused
    assert requestor.propose(again)[1] is Approval.APPROVED


def test_a_provider_has_one_agreement_over_all_demands(requestor: Requestor) -> None:
    local = requestor.draft(requestor.publish_demand())
    elsewhere = requestor.draft(requestor.publish_demand(), local.issuer_id)
    assert requestor.propose(local)[1] is Approval.APPROVED
    assert requestor.propose(elsewhere)[1] is Approval.REFUSED


@pytest.mark.long
@pytest.mark.timeout(500)
def test_an_agreement_ends_when_it_expires(requestor: Requestor) -> None:
    agreement = requestor.agreement(requestor.publish_demand(seconds=310))
    activity = requestor.yagna.activity.create(agreement, timeout=20)
    deadline, scope = Deadline(330.0), Scope()
    while requestor.yagna.market.agreement(agreement).state.value != "Terminated":
        assert not deadline.passed, "the provider did not end it"
        scope.wait(1)
    assert requestor.invoice(agreement).activity_ids == (activity,)
    assert "expired" in requestor.yagna.market.terminate_reason(agreement)


def test_a_demand_that_real_providers_refuse_is_refused_in_their_words(requestor: Requestor) -> None:
    demand = requestor.publish_demand(seconds=4 * 60)
    reason = requestor.refusal(demand)["message"]
    assert reason.startswith("Proposal expires at: ")
    assert reason.endswith(" UTC which is less than 5m or more than 100years from now")


def usage_is_reported_while_an_activity_lives(requestor: Requestor, provider_id: str) -> None:
    agreement = requestor.agreement(requestor.publish_demand(), provider_id)
    activity = requestor.yagna.activity.create(agreement, timeout=20)
    deadline, usage = Deadline(30.0), ()
    # Longer than the five seconds after which the daemon takes a silent activity for unresponsive.
    while not usage or usage[0] < 6.0:
        assert not deadline.passed, f"usage after 30 s: {usage}"
        usage = requestor.yagna.activity.usage(activity)
    assert requestor.yagna.activity.state(activity).state == "Initialized"


def test_what_a_provider_tells_while_time_passes(network: LocalGolem) -> None:
    """Each on a provider of its own, at the same time."""
    cases = (
        debit_notes_come_at_the_interval_that_was_agreed,
        an_agreement_ends_when_its_debit_notes_are_not_accepted,
        usage_is_reported_while_an_activity_lives,
    )

    def tried(case: Callable[[Requestor, str], None], provider_id: str) -> None:
        with closing(Requestor(network)) as requestor:
            case(requestor, provider_id)

    side_by_side(
        {
            case.__name__: partial(tried, case, provider.node_id)
            for case, provider in zip(cases, network.providers, strict=False)
        }
    )


def test_an_image_nobody_has_fails_the_deploy(requestor: Requestor) -> None:
    agreement = requestor.agreement(requestor.publish_demand(image="0" * 56))
    activity = requestor.yagna.activity.create(agreement, timeout=20)
    (result,) = requestor.run(activity, DEPLOY)
    assert result["result"] == "Error"
    assert "0" * 56 in result["message"]


def test_the_registry_knows_the_built_in_images(network: LocalGolem) -> None:
    url = f"{network.environment['GOLEM_REGISTRY_URL']}/v1/image/info"
    answer = requests.get(url, params={"tag": "golem/alpine:latest", "count": "true"}, timeout=5)
    assert answer.status_code == 200
    assert {"http", "https", "sha3", "size"} <= answer.json().keys()


def test_the_requestors_daemon_comes_back_with_its_state_after_being_killed() -> None:
    with LocalGolem(1) as network:
        requestor = Requestor(network)
        agreement = requestor.agreement(requestor.publish_demand())
        activity = requestor.yagna.activity.create(agreement, timeout=20)
        requestor.run(activity, *READY)
        network.kill_requestor_daemon()
        network.restart_requestor_daemon()
        assert requestor.run(activity, shell("echo still here"))[0]["stdout"] == "still here\n"
        requestor.close()


def test_a_folder_given_as_image_is_laid_over_golem(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "greeting.txt").write_text("good morning")
    with LocalGolem(1, images={"me/greeting:1": tmp_path}) as network:
        url = f"{network.environment['GOLEM_REGISTRY_URL']}/v1/image/info"
        image = requests.get(url, params={"tag": "me/greeting:1"}, timeout=5).json()["sha3"]
        requestor = Requestor(network)
        agreement = requestor.agreement(requestor.publish_demand(image=image))
        activity = requestor.yagna.activity.create(agreement, timeout=20)
        results = requestor.run(activity, *READY, shell("cat /golem/run/greeting.txt"))
        assert results[-1]["stdout"] == "good morning"
        requestor.close()


def test_a_process_that_has_ended_can_not_be_guarded(network: LocalGolem) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    with pytest.raises(LocalNetworkError, match="No such process"):
        network.guard(ended.pid)
    network.thaw_providers_daemon()  # the supervisor still answers


def test_two_networks_at_once_know_nothing_of_each_other() -> None:
    with LocalGolem(1) as one, LocalGolem(2) as other:
        requestors = [Requestor(network) for network in (one, other)]
        demands = [requestor.publish_demand() for requestor in requestors]
        requestors[0].offers(demands[0], 1)
        requestors[1].offers(demands[1], 2)
        assert requestors[0].proposals(demands[0]) == []
        for requestor in requestors:
            requestor.close()


def test_a_network_can_be_described_again_after_its_end() -> None:
    network = LocalGolem(1)
    with network:
        # By chance one port may be the same.
        first = dict(network.environment)
        with pytest.raises(LocalNetworkError, match="started already"):
            network.start()
    with pytest.raises(LocalNetworkError, match="not up"):
        assert network.environment
    with network:
        assert network.environment != first
