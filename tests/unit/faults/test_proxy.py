"""The proxy that injects faults: between the library and a daemon in memory, on real sockets."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import tenacity

from simple_golem.testing import FakeProvider, FakeYagna
from tests.faults.plan import Fault, Hit, OnceEach
from tests.faults.proxy import FaultProxy
from tests.faults.small_run import run_once

WORST = [
    "GET /me",
    "POST /market-api/v1/demands",
    "GET /market-api/v1/demands/*/events",
    "POST /market-api/v1/agreements/*/confirm",
    "DELETE /payment-api/v1/allocations/*",
]


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[FakeYagna]:
    with FakeYagna([FakeProvider(answers=lambda command: "hello\n")]) as fake:
        for name, value in fake.environment.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("SIMPLE_GOLEM_STATE", str(tmp_path))
        yield fake


@pytest.mark.parametrize("fault", Fault, ids=lambda fault: fault.name)
@pytest.mark.parametrize("endpoint", WORST)
def test_a_run_on_real_sockets_ends_well_though_one_request_fails(
    fake: FakeYagna, monkeypatch: pytest.MonkeyPatch, endpoint: str, fault: Fault
) -> None:
    plan = OnceEach(hit := Hit(fault, endpoint))
    with FaultProxy(fake.url, plan) as proxy:
        monkeypatch.setenv("YAGNA_API_URL", proxy.url)
        outcome = run_once(respawn_wait=tenacity.wait_none())
    assert plan.done == [hit]
    assert outcome.went_well, outcome
    assert fake.leftovers() == []
