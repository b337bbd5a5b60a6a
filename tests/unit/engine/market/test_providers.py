"""What a Golem knows about providers: ranks, and who is free."""

from __future__ import annotations

import threading
from types import SimpleNamespace

import pytest

from simple_golem.engine.market.providers import Conduct, Providers


@pytest.fixture
def providers() -> Providers:
    return Providers()


def order(providers: Providers, worths: dict[str, float]) -> list[str]:
    ranks = providers.ranks(worths)
    return sorted(ranks, key=lambda one: ranks[one], reverse=True)


def test_a_failure_halves_what_a_provider_is_worth(providers: Providers) -> None:
    providers.release("p1", Conduct.AT_FAULT)
    assert order(providers, {"p1": 3.0, "p2": 2.0, "p3": 1.0}) == ["p2", "p1", "p3"]


def test_a_failure_makes_a_negative_score_worse(providers: Providers) -> None:
    providers.release("p1", Conduct.AT_FAULT)
    assert order(providers, {"p1": -1.0, "p2": -1.5, "p3": -3.0}) == ["p2", "p1", "p3"]


def test_a_failure_counts_also_where_all_scores_are_zero(providers: Providers) -> None:
    providers.release("p1", Conduct.AT_FAULT)
    assert order(providers, {"p1": 0.0, "p2": 0.0}) == ["p2", "p1"]


def test_only_free_providers_have_a_rank(providers: Providers) -> None:
    providers.occupy("p1")
    providers.ban("p2")
    assert order(providers, {"p1": 1.0, "p2": 1.0, "p3": 1.0}) == ["p3"]
    providers.release("p1", Conduct.FINE)
    providers.release("p2", Conduct.FINE)
    assert sorted(order(providers, {"p1": 1.0, "p2": 1.0, "p3": 1.0})) == ["p1", "p3"]
    assert (providers.is_banned("p1"), providers.is_banned("p2")) == (False, True)


def test_a_provider_is_occupied_once_and_only_if_it_can_be_paid(providers: Providers) -> None:
    assert not providers.occupy_if("p1", lambda: False)
    assert providers.count_occupied(["p1"]) == 0
    assert providers.occupy_if("p1", lambda: True)
    assert not providers.occupy_if("p1", lambda: True)
    assert providers.count_occupied(["p1", "p2"]) == 1
    providers.ban("p2")
    assert not providers.occupy_if("p2", lambda: True)


def test_nobody_sees_a_provider_occupied_that_can_not_be_paid(providers: Providers) -> None:
    """Else the other cluster would wait for its release, which never comes."""
    asked, answer, seen = threading.Event(), threading.Event(), []

    def slowly_refused() -> bool:
        asked.set()
        answer.wait(20)
        return False

    first = threading.Thread(target=providers.occupy_if, args=("p1", slowly_refused))
    first.start()
    assert asked.wait(20)
    other = threading.Thread(target=lambda: seen.append(providers.ranks({"p1": 1.0})))
    other.start()
    answer.set()
    for thread in (first, other):
        thread.join(20)
    assert [list(ranks) for ranks in seen] == [["p1"]]


# --- providers on which commands have failed ---------------------------------------------------------


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time that the providers see; it stands still, and a test sets it."""
    now = [0.0]
    hand = SimpleNamespace(monotonic=lambda: now[0])
    monkeypatch.setattr("simple_golem.engine.market.providers.time", hand)
    return now


def test_where_commands_failed_a_provider_comes_last_until_it_has_rested(
    providers: Providers, clock: list[float]
) -> None:
    worths = {"p1": 100.0, "p2": 2.0, "p3": 1.0}
    providers.release("p1", Conduct.COMMANDS_FAILED)
    assert order(providers, worths) == ["p2", "p3", "p1"]
    clock[0] = 10.0
    assert order(providers, worths) == ["p1", "p2", "p3"]


def test_the_rest_grows_with_each_failure_and_has_an_end(providers: Providers, clock: list[float]) -> None:
    rests = []
    for _ in range(7):
        providers.release("p1", Conduct.COMMANDS_FAILED)
        rests.append(providers.rest(["p1"]))
    assert rests == [10.0, 20.0, 40.0, 80.0, 160.0, 300.0, 300.0]


def test_a_rest_is_that_of_the_first_who_is_ready_again(providers: Providers, clock: list[float]) -> None:
    assert providers.rest([]) == 0
    providers.release("p1", Conduct.COMMANDS_FAILED)
    clock[0] = 4.0
    providers.release("p2", Conduct.COMMANDS_FAILED)
    assert providers.rest(["p1", "p2"]) == 6.0
    assert providers.rest(["p1", "p3"]) == 0
    providers.ban("p3")
    assert providers.rest(["p1", "p3"]) == 6.0
