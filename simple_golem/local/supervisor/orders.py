"""Carries out the orders that the owner of a local network sends: in the supervisor's process."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from ...errors import LocalNetworkError
from ..chain.ledger import Ledger, to_glm, to_units
from ..provider.agent import ProviderAgent

if TYPE_CHECKING:
    # Only for types: the chain's packages are not installed for every user.
    from ..chain.server import Chain

# Gas money for about ten thousand transactions.
GAS = Decimal(10)

Order = Mapping[str, Any]


def carry_out_provider_order(agent: ProviderAgent, order: Order) -> None:
    """Carry out an order of a `ProviderControl`; blocks until it is done.

    Raises:
        LocalNetworkError: the order is unknown, or could not be carried out.
    """
    carry_out = _PROVIDER_ORDERS.get(order["order"])
    if carry_out is None:
        raise LocalNetworkError(f"a provider can't be told to {order['order']}")
    carry_out(agent, order)


def carry_out_chain_order(chain: Chain, order: Order) -> Any:
    """Carry out an order of a `ChainControl`.

    Returns:
        The answer as a JSON value.

    Raises:
        LocalNetworkError: the order is unknown.
    """
    carry_out = _CHAIN_ORDERS.get(order["order"])
    if carry_out is None:
        raise LocalNetworkError(f"a chain can't be told to {order['order']}")
    return carry_out(chain, order)


def _terminate(agent: ProviderAgent, order: Order) -> None:
    agent.terminate_agreements(order["reason"], keep_activity=order["keep_activity"])


def set_funds(ledger: Ledger, address: str, glm: str) -> None:
    """Set the GLM of an address, and give it gas money."""
    ledger.set_funds(address, to_units(Decimal(glm)), to_units(GAS))


_PROVIDER_ORDERS: Mapping[str, Callable[[ProviderAgent, Order], None]] = {
    "die": lambda agent, order: agent.die(),
    "kill exe-unit": lambda agent, order: agent.kill_exe_units(),
    "kill agent": lambda agent, order: agent.die_alone(),
    "shut down": lambda agent, order: agent.shut_down(),
    "revive": lambda agent, order: agent.revive(),
    "terminate": _terminate,
    "stop reporting": lambda agent, order: agent.stop_reporting(),
    "report again": lambda agent, order: agent.report_again(),
}
_CHAIN_ORDERS: Mapping[str, Callable[[Chain, Order], Any]] = {
    "balance": lambda chain, order: str(to_glm(chain.ledger.glm_of(order["address"]))),
    "set funds": lambda chain, order: set_funds(chain.ledger, order["address"], order["glm"]),
    "transfers": lambda chain, order: [transfer.to_wire() for transfer in chain.ledger.transfers()],
    "stop": lambda chain, order: chain.stop(),
    "start": lambda chain, order: chain.start(),
}
