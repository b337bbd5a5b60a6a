"""What the provider of a local network can be told to do while it runs, from one process to the other."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ...errors import LocalNetworkError
from ..provider.agent import ProviderAgent
from .messages import LocalProvider

Ask = Callable[[Mapping[str, Any]], object]


class ProviderControl:
    """One provider, to be told what to do; each call blocks until it is done.

    Attributes:
        name, node_id: the provider's.
    """

    def __init__(self, provider: LocalProvider, ask: Ask) -> None:
        """`ask` brings an order to the supervisor, and waits until it is carried out."""
        self.name = provider.name
        self.node_id = provider.node_id
        self._ask = ask

    def die(self) -> None:
        """Be gone without a word: its activities' processes end, nobody answers or sends anything any more.

        The daemon of the providers stays, and what it knows of this one: offers, agreements, activities.
        """
        self._order("die")

    def revive(self) -> None:
        """Offer again after its death; of the agreements and activities it had it knows nothing."""
        self._order("revive")

    def terminate_agreement(
        self, reason: str = "the provider has other plans", *, keep_activity: bool = False
    ) -> None:
        """Terminate the agreement that it has, and the activity with it.

        Args:
            reason: told to the requestor.
            keep_activity: go on serving the activity until it is to be destroyed.

        Raises:
            LocalNetworkError: it has no agreement, or the daemon refused.
        """
        self._order("terminate", reason=reason, keep_activity=keep_activity)

    def stop_reporting(self) -> None:
        """Tell the daemon nothing any more of its activities.

        The daemon finds them unresponsive after 5 seconds, and asks for their destruction after 10.
        """
        self._order("stop reporting")

    def report_again(self) -> None:
        """Tell the daemon of its activities again."""
        self._order("report again")

    def _order(self, order: str, **details: object) -> None:
        self._ask({"do": "provider", "name": self.name, "order": order, **details})


def carry_out_order(agent: ProviderAgent, order: Mapping[str, Any]) -> None:
    """Carry out what a `ProviderControl` has ordered, in the process of the agent."""
    carry_out = _ORDERS.get(order["order"])
    if carry_out is None:
        raise LocalNetworkError(f"a provider can't be told to {order['order']}")
    carry_out(agent, order)


def _terminate(agent: ProviderAgent, order: Mapping[str, Any]) -> None:
    agent.terminate_agreements(order["reason"], keep_activity=order["keep_activity"])


_ORDERS: Mapping[str, Callable[[ProviderAgent, Mapping[str, Any]], None]] = {
    "die": lambda agent, order: agent.die(),
    "revive": lambda agent, order: agent.revive(),
    "terminate": _terminate,
    "stop reporting": lambda agent, order: agent.stop_reporting(),
    "report again": lambda agent, order: agent.report_again(),
}
