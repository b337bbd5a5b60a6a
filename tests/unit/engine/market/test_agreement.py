"""Choosing providers and making agreements: nobody twice at once, nothing left half made."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Iterator

import pytest
import requests
import responses

from simple_golem.background.cancellation import Scope, ScopeEnded
from simple_golem.background.threads import EngineThread, WorkerPool
from simple_golem.engine.event_dispatcher import EventDispatcher
from simple_golem.engine.market.agreement import Agreement, AgreementMaker, Chooser
from simple_golem.engine.market.demand import Demand, RatedProposal
from simple_golem.model.offers.strategy import Strategy
from simple_golem.yagna.client import Yagna
from simple_golem.yagna.values import Proposal
from tests.helpers.sample_offers import demand_of, judge, proposal_of
from tests.unit.conftest import API, eventually, posted

AT_ONCE = 0.3
AGREEMENTS = "/market-api/v1/agreements"
LOST = requests.exceptions.ConnectionError("Remote end closed connection without response")


def draft(provider: str) -> Proposal:
    return proposal_of(provider, {"golem.node.id.name": f"the {provider}"})


@pytest.fixture
def chooser() -> Chooser:
    return Chooser()


@pytest.fixture
def demand(yagna: Yagna, workers: WorkerPool, chooser: Chooser) -> Demand:
    return demand_of(yagna, workers, chooser.changed)


def answered(demand: Demand, chooser: Chooser, *providers: str, worth: float = 1.0) -> None:
    """As the demand's reader does it."""
    with chooser.changed:
        for provider in providers:
            demand.seen.add(provider)
            demand.drafts[provider] = RatedProposal(draft(provider), worth)
        chooser.changed.notify_all()


def choosing(chooser: Chooser, demand: Demand, scope: Scope) -> EngineThread:
    def choose() -> Proposal | None:
        try:
            return chooser.choose(demand, scope)
        except ScopeEnded:
            return None

    return EngineThread("choosing", choose).start()


# choosing


def test_a_provider_that_has_answered_is_chosen(chooser: Chooser, demand: Demand, scope: Scope) -> None:
    answered(demand, chooser, "p1")
    assert chooser.choose(demand, scope) == draft("p1")
    assert demand.drafts == {}


def test_choosing_waits_for_the_first_answer(chooser: Chooser, demand: Demand, scope: Scope) -> None:
    thread = choosing(chooser, demand, scope)
    assert not thread.join(0.03)
    answered(demand, chooser, "p1")
    assert thread.join(5)
    assert thread.result == draft("p1")


def test_no_provider_is_chosen_twice_at_once(chooser: Chooser, demand: Demand, scope: Scope) -> None:
    answered(demand, chooser, "p1")
    chooser.choose(demand, scope)
    answered(demand, chooser, "p1")
    thread = choosing(chooser, demand, scope)
    assert not thread.join(0.03)
    answered(demand, chooser, "p2")
    assert thread.join(5)
    assert thread.result == draft("p2")


def test_many_choose_side_by_side_and_none_the_same(chooser: Chooser, demand: Demand, scope: Scope) -> None:
    threads = [choosing(chooser, demand, scope) for _ in range(10)]
    names = [f"p{number}" for number in range(10)]
    for name in names:
        answered(demand, chooser, name)
    chosen = []
    for thread in threads:
        assert thread.join(5)
        assert isinstance(thread.result, Proposal)
        chosen.append(thread.result.issuer_id)
    assert sorted(chosen) == names


def test_a_provider_busy_for_one_demand_is_busy_for_another(
    chooser: Chooser, demand: Demand, yagna: Yagna, workers: WorkerPool, scope: Scope
) -> None:
    other = demand_of(yagna, workers, chooser.changed, name="2")
    answered(demand, chooser, "p1")
    answered(other, chooser, "p1", "p2")
    assert chooser.choose(demand, scope).issuer_id == "p1"
    assert chooser.choose(other, scope).issuer_id == "p2"
    assert (chooser.busy(demand), chooser.busy(other)) == (1, 2)


def test_a_provider_given_back_is_chosen_again(chooser: Chooser, demand: Demand, scope: Scope) -> None:
    answered(demand, chooser, "p1")
    chooser.choose(demand, scope)
    answered(demand, chooser, "p1")
    thread = choosing(chooser, demand, scope)
    assert not thread.join(0.03)
    chooser.give_back("p1", failed=False)
    assert thread.join(5)
    assert thread.result == draft("p1")


def test_a_provider_that_failed_comes_later(chooser: Chooser, demand: Demand, scope: Scope) -> None:
    chooser.give_back("p1", failed=True)
    for _ in range(20):
        answered(demand, chooser, "p1", "p2")
        assert chooser.choose(demand, scope).issuer_id == "p2"
        chooser.give_back("p2", failed=False)


def test_a_provider_that_failed_is_better_than_none_and_one_failure_better_than_two(
    chooser: Chooser, demand: Demand, scope: Scope
) -> None:
    for provider in ("p1", "p1", "p2"):
        chooser.give_back(provider, failed=True)
    answered(demand, chooser, "p1", "p2")
    assert [chooser.choose(demand, scope).issuer_id for _ in range(2)] == ["p2", "p1"]


def test_equals_are_chosen_by_chance(chooser: Chooser, demand: Demand, scope: Scope) -> None:
    chosen = set()
    for _ in range(200):
        answered(demand, chooser, "p1", "p2", "p3")
        provider = chooser.choose(demand, scope).issuer_id
        chooser.give_back(provider, failed=False)
        chosen.add(provider)
    assert chosen == {"p1", "p2", "p3"}


def test_the_best_is_chosen_first(chooser: Chooser, demand: Demand, scope: Scope) -> None:
    for provider, worth in (("p1", 1.0), ("p2", 3.0), ("p3", 2.0)):
        answered(demand, chooser, provider, worth=worth)
    assert [chooser.choose(demand, scope).issuer_id for _ in range(3)] == ["p2", "p3", "p1"]


def test_a_failure_halves_what_a_provider_is_worth(chooser: Chooser, demand: Demand, scope: Scope) -> None:
    chooser.give_back("p1", failed=True)
    answered(demand, chooser, "p1", worth=3.0)
    answered(demand, chooser, "p2", worth=2.0)
    answered(demand, chooser, "p3", worth=1.0)
    assert [chooser.choose(demand, scope).issuer_id for _ in range(3)] == ["p2", "p1", "p3"]


def test_a_failure_makes_a_negative_score_worse(chooser: Chooser, demand: Demand, scope: Scope) -> None:
    chooser.give_back("p1", failed=True)
    answered(demand, chooser, "p1", worth=-1.0)
    answered(demand, chooser, "p2", worth=-1.5)
    answered(demand, chooser, "p3", worth=-3.0)
    assert [chooser.choose(demand, scope).issuer_id for _ in range(3)] == ["p2", "p1", "p3"]


def test_a_failure_counts_also_where_all_scores_are_zero(
    chooser: Chooser, demand: Demand, scope: Scope
) -> None:
    chooser.give_back("p1", failed=True)
    for _ in range(20):
        answered(demand, chooser, "p1", "p2", worth=0.0)
        assert chooser.choose(demand, scope).issuer_id == "p2"
        chooser.give_back("p2", failed=False)


def test_a_banned_provider_is_never_chosen_again(chooser: Chooser, demand: Demand, scope: Scope) -> None:
    chooser.ban("p1")
    answered(demand, chooser, "p1", worth=9.0)
    thread = choosing(chooser, demand, scope)
    assert not thread.join(0.03)
    answered(demand, chooser, "p2")
    assert thread.join(5)
    assert thread.result == draft("p2")
    assert (chooser.is_banned("p1"), chooser.is_banned("p2")) == (True, False)


def test_the_choice_waits_until_the_first_offers_are_answered(
    chooser: Chooser, yagna: Yagna, workers: WorkerPool, scope: Scope
) -> None:
    demand = demand_of(yagna, workers, chooser.changed, rules=judge(Strategy(collect_seconds=2)))
    for provider in ("p1", "p2"):
        demand._collecting.offered(provider)
    answered(demand, chooser, "p1")
    demand._collecting.answered("p1")
    thread = choosing(chooser, demand, scope)
    assert not thread.join(0.1)
    with chooser.changed:
        demand._collecting.answered("p2")
    answered(demand, chooser, "p2", worth=2.0)
    assert thread.join(AT_ONCE)
    assert thread.result == draft("p2")


def test_the_choice_waits_for_the_first_offers_no_longer_than_it_was_told(
    chooser: Chooser, yagna: Yagna, workers: WorkerPool, scope: Scope
) -> None:
    demand = demand_of(yagna, workers, chooser.changed, rules=judge(Strategy(collect_seconds=0.2)))
    for provider in ("p1", "silent"):
        demand._collecting.offered(provider)
    answered(demand, chooser, "p1")
    began = time.monotonic()
    assert chooser.choose(demand, scope) == draft("p1")
    assert 0.15 < time.monotonic() - began < 0.2 + AT_ONCE


def test_cancelling_ends_the_choosing_at_once(chooser: Chooser, demand: Demand) -> None:
    scope = Scope()
    thread = choosing(chooser, demand, scope)
    assert not thread.join(0.03)
    began = time.monotonic()
    scope.cancel()
    assert thread.join(5)
    assert time.monotonic() - began < AT_ONCE
    assert thread.result is None


def test_nobody_is_taken_in_a_scope_that_has_ended(chooser: Chooser, demand: Demand) -> None:
    answered(demand, chooser, "p1")
    scope = Scope()
    scope.cancel()
    with pytest.raises(ScopeEnded):
        chooser.choose(demand, scope)
    assert list(demand.drafts) == ["p1"]
    assert chooser.busy(demand) == 0


# making an agreement


@pytest.fixture
def maker(daemon: responses.RequestsMock, yagna: Yagna) -> AgreementMaker:
    daemon.post(f"{API}{AGREEMENTS}", json="a1")
    return AgreementMaker(yagna, "s1", EventDispatcher().emit)


@pytest.fixture
def release() -> Iterator[Scope]:
    scope = Scope()
    yield scope
    scope.cancel()


def said(daemon: responses.RequestsMock, what: str, status: int, message: str | None = None) -> None:
    body = "" if message is None else json.dumps({"message": message})
    daemon.post(f"{API}{AGREEMENTS}/a1/{what}", status=status, body=body)


def state_is(daemon: responses.RequestsMock, state: str) -> None:
    wire = {
        "agreementId": "a1",
        "state": state,
        "offer": {"providerId": "p1", "properties": {}},
        "demand": {"requestorId": "0xreq", "properties": {}},
        "validTo": "2026-01-31T12:00:00Z",
        "timestamp": "2026-01-31T11:00:00Z",
    }
    daemon.get(f"{API}{AGREEMENTS}/a1", json=wire)


def calls(daemon: responses.RequestsMock) -> list[str]:
    urls = [(call.request.url or "").partition("?")[0] for call in daemon.calls]
    return [url.rpartition("/")[2] for url in urls]


def test_an_approved_agreement_says_whom_it_is_with(
    daemon: responses.RequestsMock, maker: AgreementMaker, scope: Scope, release: Scope
) -> None:
    said(daemon, "confirm", 204)
    said(daemon, "wait", 204)
    agreement = maker.make(draft("p1"), "Hello-1", scope, release)
    assert agreement == Agreement("a1", "p1", "the p1", {"golem.node.id.name": "the p1"})
    assert str(agreement) == "the p1 (p1)"
    assert calls(daemon) == ["agreements", "confirm", "wait"]
    assert "appSessionId=s1" in (daemon.calls[1].request.url or "")
    (body,) = posted(daemon, AGREEMENTS)
    assert isinstance(body, dict)
    assert body["proposalId"] == "R-p1"


def test_a_refused_agreement_is_none(
    daemon: responses.RequestsMock, maker: AgreementMaker, scope: Scope, release: Scope
) -> None:
    said(daemon, "confirm", 204)
    said(daemon, "wait", 410, "Rejected")
    assert maker.make(draft("p1"), "Hello-1", scope, release) is None
    assert calls(daemon) == ["agreements", "confirm", "wait"]


def test_a_proposal_that_is_no_more_is_none(
    daemon: responses.RequestsMock, yagna: Yagna, scope: Scope, release: Scope
) -> None:
    daemon.post(f"{API}{AGREEMENTS}", status=410, json={"message": "countered"})
    assert (
        AgreementMaker(yagna, "s1", EventDispatcher().emit).make(draft("p1"), "Hello-1", scope, release)
        is None
    )


def test_an_agreement_nobody_answers_is_cancelled(
    daemon: responses.RequestsMock, maker: AgreementMaker, scope: Scope, release: Scope
) -> None:
    said(daemon, "confirm", 204)
    said(daemon, "wait", 408, "timeout")
    said(daemon, "cancel", 200)
    assert maker.make(draft("p1"), "Hello-1", scope, release) is None
    assert calls(daemon) == ["agreements", "confirm", "wait", "cancel"]


def test_an_approval_at_the_last_moment_counts(
    daemon: responses.RequestsMock, maker: AgreementMaker, scope: Scope, release: Scope
) -> None:
    said(daemon, "confirm", 204)
    said(daemon, "wait", 408, "timeout")
    said(daemon, "wait", 204)
    said(daemon, "cancel", 410, "approved")
    agreement = maker.make(draft("p1"), "Hello-1", scope, release)
    assert agreement is not None
    assert agreement.agreement_id == "a1"
    assert calls(daemon) == ["agreements", "confirm", "wait", "cancel", "wait"]


@pytest.mark.parametrize("state", ["Pending", "Approved"])
def test_a_confirmation_whose_answer_was_lost_is_read_from_the_agreement(
    daemon: responses.RequestsMock, maker: AgreementMaker, scope: Scope, release: Scope, state: str
) -> None:
    daemon.post(f"{API}{AGREEMENTS}/a1/confirm", body=LOST)
    state_is(daemon, state)
    said(daemon, "wait", 204)
    assert maker.make(draft("p1"), "Hello-1", scope, release) is not None
    assert calls(daemon) == ["agreements", "confirm", "a1", "wait"]


def test_an_agreement_that_was_not_confirmed_is_cancelled(
    daemon: responses.RequestsMock, maker: AgreementMaker, scope: Scope, release: Scope
) -> None:
    said(daemon, "confirm", 400, "no")
    state_is(daemon, "Proposal")
    said(daemon, "cancel", 200)
    assert maker.make(draft("p1"), "Hello-1", scope, release) is None
    assert calls(daemon) == ["agreements", "confirm", "a1", "cancel"]


@pytest.mark.parametrize(("status", "ended"), [(200, ["cancel"]), (410, ["cancel", "terminate"])])
def test_an_agreement_given_up_half_way_is_cancelled_or_terminated(
    daemon: responses.RequestsMock, maker: AgreementMaker, release: Scope, status: int, ended: list[str]
) -> None:
    stop = Scope()

    def stopped(request: requests.PreparedRequest) -> tuple[int, dict[str, str], str]:
        stop.cancel("stop")
        raise LOST

    said(daemon, "confirm", 204)
    daemon.add_callback(responses.POST, f"{API}{AGREEMENTS}/a1/wait", stopped)
    said(daemon, "cancel", status)
    said(daemon, "terminate", 200)
    with pytest.raises(ScopeEnded):
        maker.make(draft("p1"), "Hello-1", stop, release)
    assert calls(daemon)[3:] == ended


def test_an_agreement_is_given_up_also_where_the_daemon_fails(
    daemon: responses.RequestsMock, maker: AgreementMaker, scope: Scope, release: Scope
) -> None:
    said(daemon, "confirm", 204)
    said(daemon, "wait", 500, "broken")
    said(daemon, "cancel", 200)
    assert maker.make(draft("p1"), "Hello-1", scope, release) is None
    assert calls(daemon)[-1] == "cancel"


def test_nothing_is_made_in_a_scope_that_has_ended(
    daemon: responses.RequestsMock, maker: AgreementMaker, release: Scope
) -> None:
    stop = Scope()
    stop.cancel()
    with pytest.raises(ScopeEnded):
        maker.make(draft("p1"), "Hello-1", stop, release)
    assert calls(daemon) == []


def test_an_agreement_is_terminated_with_reason_and_code(
    daemon: responses.RequestsMock, maker: AgreementMaker, release: Scope
) -> None:
    said(daemon, "terminate", 200)
    maker.terminate(Agreement("a1", "p1", "prov", {}), "Done", "Success", release)
    assert posted(daemon, f"{AGREEMENTS}/a1/terminate") == [
        {"message": "Done", "golem.requestor.code": "Success"}
    ]


def test_an_agreement_that_is_not_terminated_is_told_of(
    daemon: responses.RequestsMock, maker: AgreementMaker, release: Scope, caplog: pytest.LogCaptureFixture
) -> None:
    said(daemon, "terminate", 500, "no way")
    with caplog.at_level(logging.WARNING, "simple_golem"):
        maker.terminate(Agreement("a1", "p1", "prov", {}), "Done", "Success", release)
    for words in ("a1", "prov (p1)", "no way"):
        assert words in caplog.text


def test_the_choosers_condition_may_be_held_by_who_cancels(chooser: Chooser, demand: Demand) -> None:
    scope = Scope()
    thread = choosing(chooser, demand, scope)
    eventually(lambda: scope._callbacks)
    canceller = threading.Thread(target=scope.cancel)
    with chooser.changed:
        canceller.start()
    canceller.join(5)
    assert not canceller.is_alive()
    assert thread.join(5)
