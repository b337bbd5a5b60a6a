"""What the daemon tells of itself: its version, its connections, and the funds of an identity."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...errors import YagnaError
from ..transport.http import Http
from ..transport.retry import Repeat
from ..values import DaemonVersion, Funds

# The payment driver asks a node of the chain, which may be slow.
_FUNDS_SECONDS = 10.0
_CENTRAL_NETWORK = "central network"


class StatusApi:
    """Each call is one request, which is not repeated: the answer of this moment is wanted."""

    def __init__(self, http: Http) -> None:
        self._http = http

    def version(self) -> DaemonVersion:
        """`GET /version/get`, which needs no app key.

        Raises:
            NoDaemon: nothing listens there.
            YagnaError: what answers is no yagna, or gave no answer.
        """
        return DaemonVersion.from_wire(self._http.request("GET", "/version/get", repeat=Repeat.NEVER))

    def connections(self) -> int | None:
        """`Status` of the network service: how many nodes are connected; None for a central network."""
        try:
            answer = self._ask("net/Status", {})
            return int(answer["sessions"])
        except YagnaError as error:
            if _CENTRAL_NETWORK in error.detail:
                return None
            raise
        except (LookupError, TypeError, ValueError) as error:
            raise YagnaError("POST", "/_gsb/local/net/Status", 200, "there are no sessions") from error

    def payment_networks(self) -> Mapping[str, str]:
        """`GetDrivers`: the name of the token, by the payment network that the daemon knows."""
        answer = self._ask("payment/GetDrivers", {"ignore_legacy_networks": True})
        try:
            networks = answer["erc20"]["networks"]
            return {str(name): str(one["default_token"]) for name, one in networks.items()}
        except (AttributeError, LookupError, TypeError) as error:
            raise YagnaError("POST", "/_gsb/local/payment/GetDrivers", 200, "no networks") from error

    def funds(self, node_id: str, network: str) -> Funds:
        """`GetStatus` of the payment service: the funds of an identity; the chain is asked.

        Raises:
            YagnaError: no node of the chain has answered.
        """
        message = {
            "address": node_id,
            "driver": "erc20",
            "network": network,
            "token": None,
            "after_timestamp": 0,
        }
        return Funds.from_wire(self._ask("payment/GetStatus", message, _FUNDS_SECONDS))

    def _ask(self, service: str, message: Mapping[str, Any], timeout: float = 5.0) -> Any:
        path = f"/_gsb/local/{service}"
        answer = self._http.request(
            "POST", path, body=message, timeout=timeout, margin=1.0, repeat=Repeat.NEVER
        )
        if isinstance(answer, Mapping) and "Ok" in answer:
            return answer["Ok"]
        error = answer.get("Err", answer) if isinstance(answer, Mapping) else answer
        inner = next(iter(error.values()), "") if isinstance(error, Mapping) else error
        # The rest is a place in the daemon's source.
        raise YagnaError("POST", path, 200, str(inner).partition(", /")[0])
