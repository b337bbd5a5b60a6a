"""The GSB API: services of this process on the daemon's bus, each with a WebSocket for its requests."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ...background.cancellation import Scope
from ...errors import YagnaError
from ..transport.http import Http
from ..transport.retry import Repeat

if TYPE_CHECKING:
    from ..service_bus.gsb_socket import GsbSocket

_DAEMON_SECONDS = 5.0
# A file that can't be withdrawn is not waited for any longer: its batch has ended.
_REPEAT_SECONDS = 0.5


class GsbApi:
    """`/gsb-api/v1`: see the module."""

    def __init__(self, http: Http, app_key: str, url: str = "/gsb-api/v1") -> None:
        self._http = http
        self._app_key = app_key
        self._url = url

    def publish(
        self,
        address: str,
        components: Sequence[str],
        *,
        scope: Scope | None = None,
        repeat: Repeat = Repeat.SAFE,
    ) -> str:
        """`POST /services`: register a service at an address of the bus; returns the id of the service.

        The daemon keeps the requests for it until the WebSocket is open. An address that is registered
        already is no error: the answer to an earlier try was lost.
        """
        body = {"listen": {"on": address, "components": list(components)}}
        try:
            self._http.request(
                "POST",
                f"{self._url}/services",
                body=body,
                timeout=_DAEMON_SECONDS,
                scope=scope,
                repeat=repeat,
            )
        except YagnaError as error:
            if error.status != 400 or "Duplicated service address" not in error.detail:
                raise
        return service_id(address)

    def withdraw(
        self, services_id: str, *, within: float = _DAEMON_SECONDS, scope: Scope | None = None
    ) -> None:
        """`DELETE /services/{id}`: take a service off the bus; calls under way fail at once.

        Blocks for `within` seconds, or half a second more where a request failed and is repeated.
        """
        self._http.request(
            "DELETE",
            f"{self._url}/services/{services_id}",
            timeout=within,
            margin=0.0,
            scope=scope,
            within=_REPEAT_SECONDS,
            done=(400, 404),
        )

    def connect(self, services_id: str) -> GsbSocket:
        """Open the WebSocket of a service; blocks for the connection only, 3 seconds at most.

        Raises:
            SocketLost: there was no connection.
        """
        # `websockets` takes long to load, and only transfers of files need it.
        from ..service_bus.gsb_socket import GsbSocket

        return GsbSocket(f"{self._http.api_url}{self._url}/services/{services_id}", self._app_key)


def service_id(address: str) -> str:
    """The daemon's id of a service at an address of the bus."""
    return base64.urlsafe_b64encode(address.encode()).decode().rstrip("=")
