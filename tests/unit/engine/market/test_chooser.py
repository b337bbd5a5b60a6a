"""Choosing providers: the best one first, and none for two instances at the same time."""

from __future__ import annotations

import threading
import time

import pytest

from simple_golem.background.cancellation import Scope, ScopeEnded
from simple_golem.background.threads import EngineThread, WorkerPool
from simple_golem.engine.market.chooser import Chooser
from simple_golem.engine.market.demand import Demand
from simple_golem.engine.market.offer_book import Pause
from simple_golem.engine.market.providers import Conduct, Providers
from simple_golem.errors import OutOfBudget
from simple_golem.model.offers.strategy import Strategy
from simple_golem.yagna.client import Yagna
from simple_golem.yagna.values import Proposal
from tests.helpers.written_answers.sample_offers import Purse, demand_of, rated, rules_of
from tests.unit.conftest import eventually

# The wrong ways take ten seconds and more.
AT_ONCE = 5.0
# Long enough for a thread that could choose to have chosen.
A_WHILE = 0.03


@pytest.fixture
def providers() -> Providers:
    return Providers()


@pytest.fixture
def chooser(providers: Providers) -> Chooser:
    return Chooser(providers)


@pytest.fixture
def demand(yagna: Yagna, workers: WorkerPool, providers: Providers) -> Demand:
    return demand_of(yagna, workers, providers=providers)


def answered(demand: Demand, *providers: str, worth: float = 1.0) -> None:
    for provider in providers:
        demand.offers.add_draft(rated(provider, worth))


def choosing(chooser: Chooser, demand: Demand, scope: Scope) -> EngineThread:
    def choose() -> str | None:
        try:
            return chooser.choose(demand, scope).issuer_id
        except ScopeEnded:
            return None

    return EngineThread("choosing", choose).start()


def test_a_provider_that_has_answered_is_chosen(chooser: Chooser, demand: Demand, scope: Scope) -> None:
    answered(demand, "p1")
    chosen = chooser.choose(demand, scope)
    assert isinstance(chosen, Proposal)
    assert (chosen.issuer_id, chosen.proposal_id) == ("p1", "R-p1")
    assert demand.offers.drafts() == {}


def test_choosing_waits_for_the_first_answer(chooser: Chooser, demand: Demand, scope: Scope) -> None:
    thread = choosing(chooser, demand, scope)
    assert not thread.join(A_WHILE)
    answered(demand, "p1")
    assert thread.join(20)
    assert thread.result == "p1"


def test_no_provider_is_chosen_twice_at_once(chooser: Chooser, demand: Demand, scope: Scope) -> None:
    answered(demand, "p1")
    chooser.choose(demand, scope)
    answered(demand, "p1")
    thread = choosing(chooser, demand, scope)
    assert not thread.join(A_WHILE)
    answered(demand, "p2")
    assert thread.join(20)
    assert thread.result == "p2"


def test_many_choose_side_by_side_and_none_the_same(chooser: Chooser, demand: Demand, scope: Scope) -> None:
    threads = [choosing(chooser, demand, scope) for _ in range(10)]
    names = [f"p{number}" for number in range(10)]
    for name in names:
        answered(demand, name)
    assert all(thread.join(20) for thread in threads)
    assert sorted(str(thread.result) for thread in threads) == names


def test_many_clusters_that_choose_side_by_side_share_providers_and_budget(
    yagna: Yagna, workers: WorkerPool, chooser: Chooser, providers: Providers
) -> None:
    """Each has the same ten answers; there are GLM for five agreements in all."""
    purse, scope = Purse("5.5"), Scope()
    rules = rules_of(Strategy(collect_seconds=0))
    demands = [demand_of(yagna, workers, providers=providers, purse=purse, rules=rules) for _ in range(8)]
    for demand in demands:
        demand.offers.offer_received("unrated")  # it may be cheap: so the search goes on
        for number in range(10):
            demand.offers.add_draft(rated(f"p{number}", needs="1"))
    threads = [choosing(chooser, demand, scope) for demand in demands for _ in range(2)]
    eventually(lambda: sum(not thread.alive for thread in threads) == 5)
    assert len(purse.reserved) == 5
    assert not any(thread.join(A_WHILE) for thread in threads if thread.alive)
    scope.cancel("the test is over")
    assert all(thread.join(20) for thread in threads)
    chosen = [thread.result for thread in threads if thread.result is not None]
    assert len(set(chosen)) == len(chosen) == 5
    assert set(chosen) == purse.reserved.keys()


def test_a_provider_busy_for_one_demand_is_busy_for_another(
    yagna: Yagna, workers: WorkerPool, chooser: Chooser, demand: Demand, providers: Providers, scope: Scope
) -> None:
    other = demand_of(yagna, workers, providers=providers)
    answered(demand, "p1")
    answered(other, "p1", "p2")
    assert chooser.choose(demand, scope).issuer_id == "p1"
    assert chooser.choose(other, scope).issuer_id == "p2"
    assert (demand.offers.summary().occupied, other.offers.summary().occupied) == (1, 2)


def test_a_provider_that_is_released_is_chosen_again(chooser: Chooser, demand: Demand, scope: Scope) -> None:
    answered(demand, "p1")
    chooser.choose(demand, scope)
    answered(demand, "p1")
    thread = choosing(chooser, demand, scope)
    assert not thread.join(A_WHILE)
    chooser.release("p1", Conduct.FINE)
    assert thread.join(20)
    assert thread.result == "p1"


def test_a_provider_whose_agreement_goes_on_is_not_chosen(
    chooser: Chooser, demand: Demand, scope: Scope
) -> None:
    chooser.occupy("p1")
    answered(demand, "p1", worth=9.0)
    answered(demand, "p2")
    assert chooser.choose(demand, scope).issuer_id == "p2"


def test_a_provider_that_failed_comes_later(chooser: Chooser, demand: Demand, scope: Scope) -> None:
    chooser.release("p1", Conduct.AT_FAULT)
    for _ in range(20):
        answered(demand, "p1", "p2")
        assert chooser.choose(demand, scope).issuer_id == "p2"
        chooser.release("p2", Conduct.FINE)


def test_a_provider_that_failed_is_better_than_none_and_one_failure_better_than_two(
    chooser: Chooser, demand: Demand, scope: Scope
) -> None:
    for provider in ("p1", "p1", "p2"):
        chooser.release(provider, Conduct.AT_FAULT)
    answered(demand, "p1", "p2")
    assert [chooser.choose(demand, scope).issuer_id for _ in range(2)] == ["p2", "p1"]


def test_equal_providers_are_chosen_at_random(chooser: Chooser, demand: Demand, scope: Scope) -> None:
    chosen = set()
    for _ in range(200):
        answered(demand, "p1", "p2", "p3")
        provider = chooser.choose(demand, scope).issuer_id
        chooser.release(provider, Conduct.FINE)
        chosen.add(provider)
    assert chosen == {"p1", "p2", "p3"}


def test_the_best_is_chosen_first(chooser: Chooser, demand: Demand, scope: Scope) -> None:
    for provider, worth in (("p1", 1.0), ("p2", 3.0), ("p3", 2.0)):
        answered(demand, provider, worth=worth)
    assert [chooser.choose(demand, scope).issuer_id for _ in range(3)] == ["p2", "p3", "p1"]


def test_a_banned_provider_is_never_chosen_again(
    chooser: Chooser, demand: Demand, providers: Providers, scope: Scope
) -> None:
    providers.ban("p1")
    answered(demand, "p1", worth=9.0)
    thread = choosing(chooser, demand, scope)
    assert not thread.join(A_WHILE)
    answered(demand, "p2")
    assert thread.join(20)
    assert thread.result == "p2"


def test_the_choice_waits_until_the_first_offers_are_answered(
    chooser: Chooser, yagna: Yagna, workers: WorkerPool, scope: Scope
) -> None:
    demand = demand_of(yagna, workers, rules=rules_of(Strategy(collect_seconds=10)))
    for provider in ("p1", "p2"):
        demand.offers.offer_received(provider)
    answered(demand, "p1")
    thread = choosing(chooser, demand, scope)
    assert not thread.join(0.1)
    answered(demand, "p2", worth=2.0)
    assert thread.join(AT_ONCE)
    assert thread.result == "p2"


def test_the_choice_waits_for_the_first_offers_no_longer_than_it_was_told(
    chooser: Chooser, yagna: Yagna, workers: WorkerPool, scope: Scope
) -> None:
    demand = demand_of(yagna, workers, rules=rules_of(Strategy(collect_seconds=0.2)))
    began = time.monotonic()
    for provider in ("p1", "silent"):
        demand.offers.offer_received(provider)
    answered(demand, "p1")
    assert chooser.choose(demand, scope).issuer_id == "p1"
    assert 0.2 <= time.monotonic() - began < 0.2 + AT_ONCE


def test_cancelling_ends_the_choosing_at_once(chooser: Chooser, demand: Demand) -> None:
    scope = Scope()
    thread = choosing(chooser, demand, scope)
    assert not thread.join(A_WHILE)
    began = time.monotonic()
    scope.cancel()
    assert thread.join(20)
    assert time.monotonic() - began < AT_ONCE
    assert thread.result is None
    assert (chooser._books, demand.offers._queue, scope._callbacks) == ([], [], {})


def test_an_answer_between_the_look_and_the_wait_is_not_missed(
    chooser: Chooser, demand: Demand, scope: Scope, monkeypatch: pytest.MonkeyPatch
) -> None:
    take_best = demand.offers.take_best

    def look_then_answer(buyer: threading.Event) -> Proposal | Pause:
        choice = take_best(buyer)
        monkeypatch.undo()
        answered(demand, "p1")
        return choice

    monkeypatch.setattr(demand.offers, "take_best", look_then_answer)
    thread = choosing(chooser, demand, scope)
    assert thread.join(20)
    assert thread.result == "p1"


def test_a_cancellation_right_before_the_look_is_not_missed(
    chooser: Chooser, demand: Demand, monkeypatch: pytest.MonkeyPatch
) -> None:
    scope = Scope()
    check = scope.check

    def check_then_cancel() -> None:
        check()
        scope.cancel()

    monkeypatch.setattr(scope, "check", check_then_cancel)
    thread = choosing(chooser, demand, scope)
    assert thread.join(20)
    assert thread.result is None


def test_nobody_is_taken_in_a_scope_that_has_ended(chooser: Chooser, demand: Demand) -> None:
    answered(demand, "p1")
    scope = Scope()
    scope.cancel()
    with pytest.raises(ScopeEnded):
        chooser.choose(demand, scope)
    assert list(demand.offers.drafts()) == ["p1"]
    assert demand.offers.summary().occupied == 0


def test_the_lock_of_the_book_may_be_held_while_another_thread_cancels(
    chooser: Chooser, demand: Demand
) -> None:
    scope = Scope()
    thread = choosing(chooser, demand, scope)
    eventually(lambda: scope._callbacks)
    canceller = threading.Thread(target=scope.cancel)
    with demand.offers._lock:
        canceller.start()
    canceller.join(20)
    assert not canceller.is_alive()
    assert thread.join(20)


def test_a_provider_that_was_too_expensive_is_taken_after_a_top_up(
    chooser: Chooser, yagna: Yagna, workers: WorkerPool, scope: Scope
) -> None:
    purse = Purse("0.05")
    demand = demand_of(yagna, workers, purse=purse, rules=rules_of(Strategy(collect_seconds=0)))
    demand.offers.offer_received("unrated")  # it may be cheap: so the search goes on
    demand.offers.add_draft(rated("p1", needs="0.1"))
    thread = choosing(chooser, demand, scope)
    assert not thread.join(A_WHILE)
    purse.amount += 1
    chooser.look_again()
    assert thread.join(20)
    assert thread.result == "p1"


def test_one_cluster_that_takes_the_last_glm_ends_the_search_of_another(
    chooser: Chooser, yagna: Yagna, workers: WorkerPool, providers: Providers, scope: Scope
) -> None:
    purse = Purse("1")
    one, other = (demand_of(yagna, workers, providers=providers, purse=purse) for _ in range(2))
    chooser.occupy("p1")
    other.offers.add_draft(rated("p1", needs="1"))
    errors: list[OutOfBudget] = []

    def search() -> None:
        with pytest.raises(OutOfBudget, match="1 GLM, and 0 GLM of the budget are left") as caught:
            chooser.choose(other, scope)
        errors.append(caught.value)

    thread = EngineThread("choosing", search).start()
    assert not thread.join(A_WHILE)
    one.offers.add_draft(rated("p2", needs="1"))
    assert chooser.choose(one, scope).issuer_id == "p2"
    assert thread.join(20)
    assert len(errors) == 1


def test_a_provider_on_which_commands_failed_is_not_taken_while_a_better_one_is_busy(
    chooser: Chooser, demand: Demand, scope: Scope
) -> None:
    answered(demand, "p1", "p2")
    busy, bad = chooser.choose(demand, scope).issuer_id, chooser.choose(demand, scope).issuer_id
    chooser.release(bad, Conduct.COMMANDS_FAILED)
    answered(demand, bad)
    thread = choosing(chooser, demand, scope)
    assert not thread.join(A_WHILE)
    answered(demand, busy)
    chooser.release(busy, Conduct.FINE)
    assert thread.join(20)
    assert thread.result == busy


def test_it_is_taken_at_once_where_no_better_one_is_known(
    chooser: Chooser, demand: Demand, scope: Scope
) -> None:
    for provider in ("p1", "p2"):
        chooser.release(provider, Conduct.COMMANDS_FAILED)
    answered(demand, "p1", "p2")
    chosen = {chooser.choose(demand, scope).issuer_id for _ in range(2)}
    assert chosen == {"p1", "p2"}


def test_it_is_taken_after_its_rest_though_a_better_one_is_busy(
    chooser: Chooser, demand: Demand, scope: Scope, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("simple_golem.engine.market.providers._FIRST_REST_SECONDS", 0.05)
    answered(demand, "p1", "p2")
    chooser.choose(demand, scope)
    bad = chooser.choose(demand, scope).issuer_id
    chooser.release(bad, Conduct.COMMANDS_FAILED)
    answered(demand, bad)
    assert chooser.choose(demand, scope).issuer_id == bad
