"""Orders to providers and to the chain, on their way to the supervisor."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, cast

import pytest

from simple_golem.errors import LocalNetworkError
from simple_golem.local.control.messages import LocalProvider
from simple_golem.local.control.provider_control import ProviderControl
from simple_golem.local.local_golem import LocalGolem
from simple_golem.local.provider.agent import ProviderAgent
from simple_golem.local.supervisor.orders import carry_out_provider_order


class ToldAgent:
    """Stands for a `ProviderAgent`, and notes what it was told."""

    def __init__(self) -> None:
        self.told: list[Any] = []

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *args, **details: self.told.append((name, *args, details))


@pytest.mark.parametrize(
    ("tell", "told"),
    [
        (lambda provider: provider.die(), ("die", {})),
        (lambda provider: provider.revive(), ("revive", {})),
        (lambda provider: provider.stop_reporting(), ("stop_reporting", {})),
        (lambda provider: provider.report_again(), ("report_again", {})),
        (
            lambda provider: provider.terminate_agreement("rain", keep_activity=True),
            ("terminate_agreements", "rain", {"keep_activity": True}),
        ),
    ],
)
def test_orders_to_a_provider_reach_its_agent(
    tell: Callable[[ProviderControl], None], told: tuple[Any, ...]
) -> None:
    agent = ToldAgent()

    def ask(message: Mapping[str, Any]) -> None:
        order = json.loads(json.dumps(message))
        assert (order["do"], order["name"]) == ("provider", "prov-2")
        carry_out_provider_order(cast(ProviderAgent, agent), order)

    tell(ProviderControl(LocalProvider("prov-2", "0x2", "key"), ask))
    assert agent.told == [told]


def test_an_order_that_nobody_knows_is_an_error() -> None:
    with pytest.raises(LocalNetworkError, match="can't be told to dance"):
        carry_out_provider_order(cast(ProviderAgent, ToldAgent()), {"order": "dance"})


def test_no_provider_can_be_told_anything_while_the_network_is_down() -> None:
    with pytest.raises(LocalNetworkError, match="not up"):
        LocalGolem(1).provider("prov-1")
