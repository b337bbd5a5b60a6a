"""The demands of a session: published, withdrawn, and none published any more once it is closed."""

from __future__ import annotations

import threading

import pytest
import responses

from simple_golem.background.cancellation import Scope, ScopeEnded
from simple_golem.background.threads import WorkerPool
from simple_golem.engine.published_demands import PublishedDemands
from simple_golem.errors import NotRunning, YagnaError
from simple_golem.yagna.client import Yagna
from tests.helpers.recorded_services import SECONDS
from tests.helpers.written_answers.fake_market import FakeMarket
from tests.helpers.written_answers.sample_offers import demand_of
from tests.unit.conftest import eventually


@pytest.fixture
def left() -> list[str]:
    return []


@pytest.fixture
def demands(yagna: Yagna, workers: WorkerPool, scope: Scope, left: list[str]) -> PublishedDemands:
    return PublishedDemands(yagna, "s1", workers, scope, scope, on_left=lambda: left.append("a demand"))


def test_all_demands_are_withdrawn_and_no_other_is_published(
    daemon: responses.RequestsMock, yagna: Yagna, workers: WorkerPool, demands: PublishedDemands
) -> None:
    FakeMarket(daemon)
    first, second, late = (demand_of(yagna, workers) for _ in range(3))
    demands.publish(first)
    demands.publish(second)
    demands.withdraw(first)
    eventually(lambda: first.finished)
    demands.withdraw_all()
    eventually(lambda: second.finished)
    with pytest.raises(NotRunning, match="is being closed"):
        demands.publish(late)
    demands.close()
    assert demands.join(20) == []
    assert not late.published


def test_a_demand_that_is_withdrawn_while_it_is_published_says_why(
    daemon: responses.RequestsMock, yagna: Yagna, workers: WorkerPool, demands: PublishedDemands
) -> None:
    FakeMarket(daemon)
    demand = demand_of(yagna, workers)
    demand.close()
    with pytest.raises(NotRunning, match="is being closed") as caught:
        demands.publish(demand)
    assert isinstance(caught.value.__cause__, ScopeEnded)


def test_a_withdrawal_that_is_under_way_at_the_closing_and_fails_after_it_is_told(
    yagna: Yagna,
    workers: WorkerPool,
    demands: PublishedDemands,
    left: list[str],
    daemon: responses.RequestsMock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    FakeMarket(daemon)
    demand = demand_of(yagna, workers)
    demands.publish(demand)
    reached, goes_on = threading.Event(), threading.Event()
    unsubscribe = yagna.market.unsubscribe

    def hang(demand_id: str, scope: Scope | None = None) -> None:
        reached.set()
        assert goes_on.wait(SECONDS)
        unsubscribe(demand_id, scope=scope)
        raise YagnaError("DELETE", "/demands", None, "the answer is lost")

    monkeypatch.setattr(yagna.market, "unsubscribe", hang)
    demands.withdraw(demand)
    assert reached.wait(SECONDS)
    demands.close()
    demands.tell_of_withdrawals()  # its worker has not ended
    assert left == ["a demand"]
    goes_on.set()
    assert demands.join(SECONDS) == []
    eventually(lambda: demand.may_be_left)
    demands.tell_of_withdrawals()
    assert left == ["a demand"] * 2


def test_a_withdrawal_that_is_under_way_at_the_closing_and_succeeds_is_not_told(
    yagna: Yagna,
    workers: WorkerPool,
    demands: PublishedDemands,
    left: list[str],
    daemon: responses.RequestsMock,
) -> None:
    FakeMarket(daemon)
    demand = demand_of(yagna, workers)
    demands.publish(demand)
    demands.withdraw(demand)
    demands.close()
    eventually(lambda: demand.finished and not demand.is_being_withdrawn)
    demands.tell_of_withdrawals()
    assert left == []


def test_after_closing_nothing_is_withdrawn_any_more(
    daemon: responses.RequestsMock, yagna: Yagna, workers: WorkerPool, demands: PublishedDemands
) -> None:
    demands.close()
    demand = demand_of(yagna, workers)
    demands.withdraw(demand)
    assert not demand.closed
