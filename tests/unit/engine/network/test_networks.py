"""The networks of a session, which several threads ask for."""

from __future__ import annotations

from typing import Any

import pytest

from simple_golem.background.cancellation import Scope
from simple_golem.background.threads import EngineThread
from simple_golem.engine.network.network import PrivateNetwork
from simple_golem.engine.network.networks import Networks
from simple_golem.model.service.suspended import SuspendedInstance

SUSPENDED = SuspendedInstance(
    "Hello-1", "a1", "act1", "s1", "al1", network_id="n1", network_ip="192.168.0.0/24", ip="192.168.0.2"
)


def test_the_network_of_suspended_instances_is_the_same_for_two_threads(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    none: Any = None
    networks = Networks(none, none, Scope(), Scope(), none, none, "0xme")
    others: list[EngineThread] = []

    def made_meanwhile(*args: Any) -> PrivateNetwork:
        """Another thread asks for the same network while this one makes it."""
        if not others:
            others.append(EngineThread("other", networks.of_suspended, SUSPENDED))
            others[0].start().join(0.3)
        return PrivateNetwork(*args)

    monkeypatch.setattr("simple_golem.engine.network.networks.PrivateNetwork", made_meanwhile)
    network = networks.of_suspended(SUSPENDED)
    assert others[0].join(20)
    assert others[0].result is network
    assert networks._networks == [network]
