"""The network API: private networks of the daemon, their nodes, and connections to ports in them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ...background.cancellation import Scope
from ..transport.http import NO_BODY, Http
from ..transport.retry import Repeat
from ..values import PrivateNetworkInfo

if TYPE_CHECKING:
    from ..transport.kept_connection import KeptConnection
    from ..transport.web_socket import WebSocket

_DAEMON_SECONDS = 10.0
# A longer message, or one in parts, has the daemon drop the connection without a reason (tried).
MOST_MESSAGE_BYTES = 65536
# The daemon does not know the network.
LOST_STATUSES = (403, 404)


class NetworkApi:
    """`/net-api/v2/vpn`: see the module. Networks live in the daemon's memory: a restart ends them."""

    def __init__(self, http: Http, app_key: str, url: str = "/net-api/v2/vpn") -> None:
        self._http = http
        self._app_key = app_key
        self._url = url

    def create(
        self, ip: str, gateway: str | None = None, *, scope: Scope | None = None
    ) -> PrivateNetworkInfo:
        """`POST /net`: make a network of a range of addresses, such as `192.168.0.0/24`.

        Nothing uses the gateway. The daemon lists it as it was given, whatever address it is.
        """
        body = {"ip": ip} if gateway is None else {"ip": ip, "gateway": gateway}
        answer = self._request("POST", "/net", body, scope, Repeat.UNSENT)
        return PrivateNetworkInfo.from_wire(answer)

    def networks(self, *, scope: Scope | None = None) -> list[PrivateNetworkInfo]:
        """`GET /net`: all networks of this identity."""
        return [PrivateNetworkInfo.from_wire(one) for one in self._request("GET", "/net", None, scope)]

    def delete(self, network_id: str, *, scope: Scope | None = None) -> None:
        """`DELETE /net/{id}`: end a network and its connections; one that is not there is no error."""
        self._request("DELETE", f"/net/{network_id}", None, scope, done=LOST_STATUSES)

    def add_address(self, network_id: str, ip: str, *, scope: Scope | None = None) -> None:
        """`POST /net/{id}/addresses`: give this side an address in the network; can be repeated."""
        self._request("POST", f"/net/{network_id}/addresses", {"ip": ip}, scope)

    def add_node(self, network_id: str, node_id: str, ip: str, *, scope: Scope | None = None) -> None:
        """`POST /net/{id}/nodes`: tell all nodes of a node and its address.

        It can be repeated. A node that is not deployed yet does not hear of it, and nobody says so.
        """
        self._request("POST", f"/net/{network_id}/nodes", {"id": node_id, "ip": ip}, scope)

    def remove_node(self, network_id: str, node_id: str, *, scope: Scope | None = None) -> None:
        """`DELETE /net/{id}/nodes/{node}`: remove a node; one that is not there is no error."""
        self._request("DELETE", f"/net/{network_id}/nodes/{node_id}", None, scope, done=LOST_STATUSES)

    def connect(self, network_id: str, ip: str, port: int) -> WebSocket:
        """Ask for a TCP connection to a port in a network; blocks for the connection to the daemon only.

        The daemon accepts the WebSocket when the TCP connection is established. Its bytes are the messages,
        in both directions; one that is sent may have 65,536 bytes. The end of the other side is not shown.

        Raises:
            SocketLost: there was no connection to the daemon.
        """
        # `websockets` takes long to load, and few sessions need it.
        from ..transport.web_socket import WebSocket

        url = f"{self._http.api_url}{self._url}/net/{network_id}/tcp/{ip}/{port}"
        return WebSocket(url, self._app_key)

    def order_questions(self) -> KeptConnection:
        """A connection for `order_question_path`."""
        # `h11` takes time to load, and few sessions need it.
        from ..transport.kept_connection import KeptConnection

        return KeptConnection(self._http.api_url, self._app_key)

    def order_question_path(self, network_id: str, ip: str) -> str:
        """`GET /net/{id}/tcp/{ip}/0`: answered when all messages that were taken are in their queues.

        There is no port 0, so nothing is sent. The daemon finds that out in a task that runs after those
        which put messages into the queues of their connections, and then refuses.
        """
        return f"{self._url}/net/{network_id}/tcp/{ip}/0"

    def confirms_order(self, status: int) -> bool:
        """Whether a status is the refusal that was asked for by `order_question_path`."""
        return status == 400

    def _request(
        self,
        method: str,
        path: str,
        body: Mapping[str, object] | None,
        scope: Scope | None,
        repeat: Repeat = Repeat.SAFE,
        done: tuple[int, ...] = (),
    ) -> Any:
        return self._http.request(
            method,
            f"{self._url}{path}",
            body=NO_BODY if body is None else body,
            timeout=_DAEMON_SECONDS,
            scope=scope,
            repeat=repeat,
            done=done,
        )
