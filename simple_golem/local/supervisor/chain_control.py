"""The chain of a local network as its owner sees it: asked and changed from one process to the other."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from ...errors import BadSetting, LocalNetworkError
from ...model.settings import parse_amount
from ..chain.ledger import Transfer, to_glm, to_units

if TYPE_CHECKING:
    # Not at run time: the chain needs packages that are there only for whoever asks for one.
    from ..chain.server import Chain

Ask = Callable[[Mapping[str, Any]], Mapping[str, Any]]

# What everybody gets that is to pay for transactions: enough for some ten thousand of them.
GAS = Decimal(10)
_ADDRESS = re.compile(r"0x[0-9a-fA-F]{40}", re.ASCII)


class ChainControl:
    """Balances, funds and transfers; each call blocks until the answer is there, a moment.

    Attributes:
        url: where its JSON-RPC server listens.
    """

    def __init__(self, url: str, ask: Ask) -> None:
        """`ask` brings an order to the supervisor, and returns what it answers."""
        self.url = url
        self._ask = ask

    def balance(self, address: str) -> Decimal:
        """How much GLM an address owns, to the last of the 18 digits; a provider's is its node id."""
        return Decimal(self._order("balance", address=_checked(address)))

    def set_funds(self, address: str, glm: Decimal | int | str) -> None:
        """Have an address own so much GLM from now on, and gas money enough to move it.

        Raises:
            BadSetting: the address is none, or the amount is.
        """
        amount = parse_amount(glm, "glm", BadSetting, zero=True)
        self._order("set funds", address=_checked(address), glm=str(amount))

    def transfers(self) -> list[Transfer]:
        """Every transfer of GLM there was, in their order."""
        return [Transfer.from_wire(wire) for wire in self._order("transfers")]

    def stop(self) -> None:
        """Have it answer nobody, as if it were down, until `start`; what was paid stays paid."""
        self._order("stop")

    def start(self) -> None:
        """Have it answer again, at the same URL."""
        self._order("start")

    def _order(self, order: str, **details: str) -> Any:
        return self._ask({"do": "chain", "order": order, **details})["answer"]


def _checked(address: str) -> str:
    if not isinstance(address, str) or not _ADDRESS.fullmatch(address):
        raise BadSetting(f"{address!r} is no address: those are 0x and 40 digits from 0 to f")
    return address.lower()


def carry_out_chain_order(chain: Chain, order: Mapping[str, Any]) -> Any:
    """Carry out what a `ChainControl` has ordered, in the process of the chain; returns the answer."""
    ledger = chain.ledger
    if order["order"] == "balance":
        return str(to_glm(ledger.glm_of(order["address"])))
    if order["order"] == "set funds":
        ledger.set_funds(order["address"], to_units(Decimal(order["glm"])), to_units(GAS))
    elif order["order"] == "transfers":
        return [transfer.to_wire() for transfer in ledger.transfers()]
    elif order["order"] == "stop":
        chain.stop()
    elif order["order"] == "start":
        chain.start()
    else:
        raise LocalNetworkError(f"a chain can't be told to {order['order']}")
    return None
