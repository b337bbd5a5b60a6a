"""The daemon's bridge from REST to its service bus, for services without an endpoint of their own."""

from __future__ import annotations

from typing import Any

from ...background.cancellation import Scope
from ...errors import YagnaError
from ..transport.http import Http
from ..transport.retry import Repeat


class BridgeApi:
    def __init__(self, http: Http) -> None:
        self._http = http

    def call(
        self, service: str, message: Any, *, scope: Scope | None = None, repeat: Repeat = Repeat.UNSENT
    ) -> Any:
        """`POST /_gsb/<service>`, such as `local/identity/List`; returns the service's answer.

        Raises:
            YagnaError: the bus, or the service, answered with an error.
        """
        path = f"/_gsb/{service}"
        answer = self._http.request("POST", path, body=message, scope=scope, repeat=repeat)
        if isinstance(answer, dict) and "Err" in answer:
            raise YagnaError("POST", path, 200, str(answer["Err"]))
        return answer["Ok"] if isinstance(answer, dict) and "Ok" in answer else answer
