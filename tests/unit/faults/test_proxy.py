"""The proxy that injects faults: between the library and a daemon in memory, on real sockets."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
import tenacity

from simple_golem import Golem
from simple_golem.testing import FakeProvider, FakeYagna
from tests.faults.plan import Fault, Hit, OnceEach
from tests.faults.proxy import FaultProxy
from tests.faults.small_run import run_once
from tests.helpers.side_by_side import side_by_side

# Runs mostly wait, so that many go at the same time.
AT_ONCE = 5
WORST = [
    "GET /me",
    "POST /market-api/v1/demands",
    "GET /market-api/v1/demands/*/events",
    "POST /market-api/v1/agreements/*/confirm",
    "DELETE /payment-api/v1/allocations/*",
]


def with_one_provider() -> FakeYagna:
    return FakeYagna([FakeProvider(answers=lambda command: "hello\n")])


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[FakeYagna]:
    with with_one_provider() as fake:
        for name, value in fake.environment.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("SIMPLE_GOLEM_STATE", str(tmp_path))
        yield fake


@pytest.mark.usefixtures("fake")
@pytest.mark.parametrize("endpoint", WORST)
def test_a_run_on_real_sockets_ends_well_though_one_request_fails(endpoint: str) -> None:
    def case(fault: Fault) -> None:
        plan = OnceEach(hit := Hit(fault, endpoint))
        with with_one_provider() as daemon, FaultProxy(daemon.url, plan) as proxy:
            golem = Golem(1, api_url=proxy.url, app_key=daemon.app_key)
            outcome = run_once(golem=golem, respawn_wait=tenacity.wait_none())
            assert plan.done == [hit]
            assert outcome.went_well, outcome
            assert daemon.leftovers() == []

    side_by_side({fault.name: partial(case, fault) for fault in Fault}, AT_ONCE)
