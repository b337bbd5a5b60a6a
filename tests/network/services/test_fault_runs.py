"""Whole runs with faults on the real daemon: as many as CI has time for."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from simple_golem.background.cancellation import Deadline, Scope
from simple_golem.errors import YagnaError
from simple_golem.local import LocalGolem
from simple_golem.yagna.api.market import is_refused_by_provider
from simple_golem.yagna.client import Yagna
from tests.network.helpers.leftovers import left_on
from tests.soak.fault_runs.part import failures_of
from tests.soak.fault_runs.real_run import PROVIDERS, run_real_seeds

SEEDS = range(1, 11)
SETTLE_SECONDS = 15.0


@pytest.fixture
def own_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[LocalGolem]:
    """A network for this file alone: a fault may leave an agreement that no one can end any more."""
    with LocalGolem(providers=PROVIDERS, chain=False) as network:
        for name, value in network.environment.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("SIMPLE_GOLEM_STATE", str(tmp_path))
        yield network


def test_runs_end_well_though_requests_to_the_real_daemon_fail(
    own_network: LocalGolem, tmp_path: Path
) -> None:
    outcomes = list(run_real_seeds(own_network, SEEDS))
    assert failures_of(outcomes) == []
    assert any(one.hits for one in outcomes)
    assert list(tmp_path.glob("*.jsonl")) == []
    deadline, scope = Deadline(SETTLE_SECONDS), Scope()
    while (left := left_by_both(own_network)) and not deadline.passed:
        scope.wait(0.2)
    assert left == []


def left_by_both(network: LocalGolem) -> list[str]:
    return [one for one in left_on(network) if not ended_by_provider(network, one)]


def ended_by_provider(network: LocalGolem, left: str) -> bool:
    """Whether it is an agreement that the provider has ended: an aborted request does not tell this side."""
    kind, one_id, *_ = left.split()
    if kind != "agreement":
        return False
    yagna = Yagna(network.near.api_url, network.near.app_key)
    with contextlib.closing(yagna):
        try:
            yagna.market.terminate(one_id, "the test is over", "Cancelled")
        except YagnaError as error:
            return is_refused_by_provider(error)
    raise AssertionError(f"nobody has ended the {left}")
