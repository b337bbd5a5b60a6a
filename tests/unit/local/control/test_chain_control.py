"""The orders of a `ChainControl`, and the arguments that it refuses."""

from __future__ import annotations

import json
from collections.abc import Mapping
from decimal import Decimal
from types import SimpleNamespace
from typing import Any, cast

import pytest

from simple_golem.errors import BadSetting, LocalNetworkError
from simple_golem.local.chain.ledger import Ledger
from simple_golem.local.chain.server import Chain
from simple_golem.local.control.chain_control import ChainControl
from simple_golem.local.daemon.identities import REQUESTOR
from simple_golem.local.supervisor.orders import carry_out_chain_order

URL = "http://127.0.0.1:4567"


class Ways:
    """The way from a network's owner to its supervisor and back, as JSON carries it."""

    def __init__(self) -> None:
        self.ledger = Ledger()
        self.orders: list[str] = []

    def ask(self, order: Mapping[str, Any]) -> Mapping[str, Any]:
        order = json.loads(json.dumps(order))
        assert order.pop("do") == "chain"
        answer: Mapping[str, Any] = json.loads(
            json.dumps({"answer": carry_out_chain_order(self.chain, order)})
        )
        return answer

    @property
    def chain(self) -> Chain:
        stop, start = (lambda: self.orders.append("stop")), (lambda: self.orders.append("start"))
        return cast(Chain, SimpleNamespace(ledger=self.ledger, stop=stop, start=start))


@pytest.fixture
def ways() -> Ways:
    return Ways()


@pytest.fixture
def direction(ways: Ways) -> ChainControl:
    return ChainControl(URL, ways.ask)


def test_funds_are_set_and_told_to_the_last_digit(ways: Ways, direction: ChainControl) -> None:
    mixed = "0x" + REQUESTOR.node_id[2:].upper()
    direction.set_funds(mixed, "12345678.123456789012345678")
    assert direction.balance(REQUESTOR.node_id) == Decimal("12345678.123456789012345678")
    assert ways.ledger.gas_of(REQUESTOR.node_id) == 10 * 10**18
    direction.set_funds(REQUESTOR.node_id, 0)
    assert direction.balance(mixed) == 0
    assert direction.transfers() == []


def test_it_is_stopped_and_started(ways: Ways, direction: ChainControl) -> None:
    direction.stop()
    direction.start()
    assert ways.orders == ["stop", "start"]


@pytest.mark.parametrize(
    "address", ["", "0x12", REQUESTOR.node_id[2:], REQUESTOR.node_id + "0", "0x" + "g" * 40, 7]
)
def test_an_invalid_address_is_an_error_at_the_call(direction: ChainControl, address: Any) -> None:
    with pytest.raises(BadSetting, match="is no address"):
        direction.balance(address)
    with pytest.raises(BadSetting, match="is no address"):
        direction.set_funds(address, 1)


@pytest.mark.parametrize("glm", [-1, "1E-19", "NaN", "much", True, None])
def test_an_invalid_amount_is_an_error_at_the_call(direction: ChainControl, glm: Any) -> None:
    with pytest.raises(BadSetting, match="glm is"):
        direction.set_funds(REQUESTOR.node_id, glm)


def test_a_chain_does_not_do_just_anything(ways: Ways) -> None:
    with pytest.raises(LocalNetworkError, match="can't be told to fly"):
        carry_out_chain_order(ways.chain, {"order": "fly"})
