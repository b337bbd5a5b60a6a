"""The wallet of a fake daemon's requestor, as its payment service tells of it."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from ...request import Call, FakeAnswer, FakeRequest
from ..wire import json_body
from .allocations import Allocations

_TOKENS = {
    "amoy": "tGLM",
    "holesky": "tGLM",
    "hoodi": "tGLM",
    "mainnet": "GLM",
    "polygon": "GLM",
    "sepolia": "tGLM",
}
# What it has where its funds have no bound.
_MUCH = Decimal(1000)
_GAS = Decimal(10)


class Wallet:
    """Answers requests on the bridge to the service bus; the same funds are on each payment network."""

    def __init__(self, allocations: Allocations) -> None:
        self._allocations = allocations

    def get_drivers(self, request: FakeRequest, call: Call) -> FakeAnswer:
        json_body(request)
        networks = {
            network: {"default_token": token, "tokens": {token: f"erc20-{network}-{token.lower()}"}}
            for network, token in _TOKENS.items()
        }
        driver = {"default_network": "holesky", "networks": networks, "recv_init_required": False}
        return FakeAnswer.of_json({"Ok": {"erc20": driver}})

    def get_status(self, request: FakeRequest, call: Call) -> FakeAnswer:
        network = json_body(request).get("network") or "holesky"
        if network not in _TOKENS:
            return FakeAnswer.of_json({"Err": {"inner": f"Invalid network name: {network}"}})
        token = _TOKENS[network]
        funds = _MUCH if self._allocations.funds is None else self._allocations.funds
        reserved = sum(
            (one.remaining for one in self._allocations.alive() if f"-{network}-" in one.platform), Decimal(0)
        )
        gas = "ETH" if token == "GLM" else "tETH"
        return FakeAnswer.of_json(
            {
                "Ok": {
                    "amount": f"{funds:f}",
                    "reserved": f"{reserved:f}",
                    "incoming": _no_notes(),
                    "outgoing": _no_notes(),
                    "driver": "erc20",
                    "network": network,
                    "token": token,
                    "gas": {
                        "balance": f"{_GAS:f}",
                        "currency_long_name": f"{network.title()} Ether",
                        "currency_short_name": gas,
                    },
                    "block_number": 0,
                    "block_datetime": "1970-01-01T00:00:00Z",
                }
            }
        )


def _no_notes() -> dict[str, Any]:
    none = {"agreementsCount": 0, "totalAmount": "0"}
    return {"accepted": none, "confirmed": none, "requested": none}
