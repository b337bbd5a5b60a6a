"""`ChainControl`: the user's handle of the chain of a local network."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any

from ...errors import BadSetting
from ...model.settings import parse_amount
from ..chain.ledger import Transfer
from .messages import Ask

_ADDRESS = re.compile(r"0x[0-9a-fA-F]{40}", re.ASCII)


class ChainControl:
    """Reads and changes balances on the chain of a local network, and stops the chain.

    Each method blocks until the network's supervisor has answered, for milliseconds.
    Each raises `LocalNetworkError` if the network is not up.

    Attributes:
        url: the URL of the chain's JSON-RPC server.
    """

    def __init__(self, url: str, ask: Ask) -> None:
        """Make the handle; sends nothing.

        Args:
            url: the URL of the chain's JSON-RPC server.
            ask: sends an order to the supervisor and blocks for its answer.
        """
        self.url = url
        self._ask = ask

    def balance(self, address: str) -> Decimal:
        """Return the GLM that an address owns.

        Args:
            address: `0x` and 40 hexadecimal digits. The address of a provider is its node id.

        Returns:
            GLM, exact to all 18 digits after the point.

        Raises:
            BadSetting: the address is not valid.
        """
        return Decimal(self._order("balance", address=_checked(address)))

    def set_funds(self, address: str, glm: Decimal | int | str) -> None:
        """Set the GLM that an address owns, and give it enough gas money to send transactions.

        Args:
            address: `0x` and 40 hexadecimal digits.
            glm: the new balance in GLM, 0 or more.

        Raises:
            BadSetting: the address or the amount is not valid.
        """
        amount = parse_amount(glm, "glm", BadSetting, zero=True)
        self._order("set funds", address=_checked(address), glm=str(amount))

    def transfers(self) -> list[Transfer]:
        """Return all transfers of GLM so far, the oldest first."""
        return [Transfer.from_wire(wire) for wire in self._order("transfers")]

    def stop(self) -> None:
        """Stop the chain's server until `start`; the balances stay."""
        self._order("stop")

    def start(self) -> None:
        """Start the chain's server again, at the same URL."""
        self._order("start")

    def _order(self, order: str, **details: str) -> Any:
        return self._ask({"do": "chain", "order": order, **details})["answer"]


def _checked(address: str) -> str:
    if not isinstance(address, str) or not _ADDRESS.fullmatch(address):
        raise BadSetting(f"{address!r} is no address: an address is 0x and 40 digits from 0 to f")
    return address.lower()
