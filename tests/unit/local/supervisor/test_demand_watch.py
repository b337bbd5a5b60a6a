"""The demands that no local provider can answer are reported."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any, cast

import pytest

from simple_golem.background.cancellation import Scope
from simple_golem.errors import NoDaemon
from simple_golem.local.supervisor import demand_watch
from simple_golem.local.supervisor.demand_watch import DemandWatch
from simple_golem.yagna.client import Yagna

HOODI = "(golem.com.payment.platform.erc20-hoodi-tglm.address=*)"
POLYGON = "(&(golem.runtime.name=vm)(golem.com.payment.platform.erc20-polygon-glm.address=*))"
BOTH = f"(|{HOODI}{POLYGON})"


class Demands:
    """Stands for the near daemon: the demands that it lists, or the error it answers with."""

    def __init__(self) -> None:
        self.market = self
        self.listed: list[Any] = []
        self.error: Exception | None = None
        self._asked = threading.Semaphore(0)

    def add(self, demand_id: str, subnet: str | None = "local", constraints: str = HOODI) -> None:
        properties = {} if subnet is None else {"golem.node.debug.subnet": subnet}
        self.listed = [
            *self.listed,
            {"demandId": demand_id, "properties": properties, "constraints": constraints},
        ]

    def demands(self, *, scope: Scope) -> list[Any]:
        self._asked.release()
        if self.error is not None:
            raise self.error
        return self.listed

    def wait_until_followed(self) -> None:
        """Wait until what the demands are now was seen and acted on."""
        while self._asked.acquire(blocking=False):
            pass
        for _ in range(2):
            assert self._asked.acquire(timeout=20)


@pytest.fixture
def near(monkeypatch: pytest.MonkeyPatch) -> Demands:
    monkeypatch.setattr(demand_watch, "_DEMAND_POLL_SECONDS", 0.01)
    return Demands()


@pytest.fixture
def strikes(near: Demands) -> Iterator[list[tuple[int, str, str]]]:
    strikes: list[tuple[int, str, str]] = []
    scope = Scope()
    watch = DemandWatch(
        cast(Yagna, near),
        ["local"],
        ["hoodi", "holesky"],
        scope=scope,
        on_strike=lambda rule, what, text: strikes.append((rule.row, what, text)),
    )
    yield strikes
    scope.cancel()
    assert watch.join(20)


def test_a_demand_for_what_is_offered_is_not_reported(near: Demands, strikes: list[Any]) -> None:
    near.add("fine")
    near.add("either", constraints=BOTH)
    near.add("unpaid", constraints="()")
    near.wait_until_followed()
    assert strikes == []


def test_a_demand_in_another_subnet_is_reported_once(near: Demands, strikes: list[Any]) -> None:
    near.add("0123456789", "public")
    near.wait_until_followed()
    near.wait_until_followed()
    assert strikes == [
        (
            55,
            "demand 01234567",
            "the demand is in the subnet 'public'; the local providers offer in 'local'. "
            "To add it: simple-golem local run --subnet public",
        )
    ]


def test_a_demand_for_another_payment_network_is_reported(near: Demands, strikes: list[Any]) -> None:
    near.add("a", constraints=POLYGON)
    near.wait_until_followed()
    assert strikes == [
        (
            56,
            "demand a",
            "the demand is paid on 'polygon'; the local providers are paid on 'hoodi' and 'holesky'. "
            "To add it: simple-golem local run --payment-network polygon",
        )
    ]


def test_a_demand_without_a_subnet_is_reported_too(near: Demands, strikes: list[Any]) -> None:
    near.add("a", None)
    near.wait_until_followed()
    assert [row for row, *_ in strikes] == [55]


def test_a_daemon_that_is_being_restarted_is_asked_again(near: Demands, strikes: list[Any]) -> None:
    near.error = NoDaemon("not there")
    near.wait_until_followed()
    near.add("a", "public")
    near.error = None
    near.wait_until_followed()
    assert [row for row, *_ in strikes] == [55]
