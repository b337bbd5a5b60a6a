"""The demands of a session: published, withdrawn, and none published any more once it is closed."""

from __future__ import annotations

import pytest
import responses

from simple_golem.background.cancellation import Scope, ScopeEnded
from simple_golem.background.threads import WorkerPool
from simple_golem.engine.published_demands import PublishedDemands
from simple_golem.errors import NotRunning
from simple_golem.yagna.client import Yagna
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
    assert demands.join(5) == []
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


def test_after_closing_nothing_is_withdrawn_any_more(
    daemon: responses.RequestsMock, yagna: Yagna, workers: WorkerPool, demands: PublishedDemands
) -> None:
    demands.close()
    demand = demand_of(yagna, workers)
    demands.withdraw(demand)
    assert not demand.closed
