"""The subnets in which the providers offer, because a demand names them."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any, cast

import pytest

from simple_golem.background.cancellation import Scope
from simple_golem.errors import NoDaemon
from simple_golem.local.supervisor import subnets as subnets_module
from simple_golem.local.supervisor.subnets import SubnetWatch
from simple_golem.yagna.client import Yagna


class Demands:
    """Stands for the near daemon: the demands that it lists, or the error it answers with."""

    def __init__(self) -> None:
        self.market = self
        self.subnets: list[Any] = []
        self.error: Exception | None = None
        self._asked = threading.Semaphore(0)

    def demands(self, *, scope: Scope) -> list[Any]:
        self._asked.release()
        if self.error is not None:
            raise self.error
        return [{"properties": {"golem.node.debug.subnet": name}} for name in self.subnets] + [
            {"properties": {}}
        ]

    def wait_until_followed(self) -> None:
        """Wait until what the demands are now was seen and acted on."""
        while self._asked.acquire(blocking=False):
            pass
        for _ in range(2):
            assert self._asked.acquire(timeout=5)


@pytest.fixture
def near(monkeypatch: pytest.MonkeyPatch) -> Demands:
    monkeypatch.setattr(subnets_module, "_DEMAND_POLL_SECONDS", 0.01)
    return Demands()


@pytest.fixture
def changes(near: Demands) -> Iterator[list[str]]:
    changes: list[str] = []
    scope = Scope()
    watch = SubnetWatch(
        cast(Yagna, near),
        "local",
        scope=scope,
        open_subnet=lambda name: changes.append(f"+{name}"),
        close_subnet=lambda name: changes.append(f"-{name}"),
    )
    yield changes
    scope.cancel()
    assert watch.join(5)


def test_the_own_subnet_is_opened_at_once(near: Demands, changes: list[str]) -> None:
    assert changes == ["+local"]


def test_a_subnet_that_is_asked_for_is_opened_once(near: Demands, changes: list[str]) -> None:
    near.subnets = ["public", "public", "local"]
    near.wait_until_followed()
    near.wait_until_followed()
    assert changes == ["+local", "+public"]


def test_a_subnet_that_nobody_asks_for_any_more_is_closed_after_a_while(
    near: Demands, changes: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    near.subnets = ["public"]
    near.wait_until_followed()
    near.subnets = []
    near.wait_until_followed()
    assert changes == ["+local", "+public"]
    monkeypatch.setattr(subnets_module, "_UNUSED_SUBNET_SECONDS", 0.0)
    near.wait_until_followed()
    assert changes == ["+local", "+public", "-public"]


def test_an_invalid_subnet_name_is_ignored(near: Demands, changes: list[str]) -> None:
    near.subnets = ["a)(b=*", "", 7, None, "fine"]
    near.wait_until_followed()
    assert changes == ["+local", "+fine"]


def test_a_daemon_that_is_being_restarted_is_asked_again(near: Demands, changes: list[str]) -> None:
    near.error = NoDaemon("not there")
    near.wait_until_followed()
    near.error, near.subnets = None, ["public"]
    near.wait_until_followed()
    assert changes == ["+local", "+public"]
