"""The identity that the app key belongs to; asking for it also shows whether the daemon runs."""

from __future__ import annotations

from ...background.cancellation import Scope
from ..transport.http import Http
from ..transport.retry import RESTART_SECONDS, Repeat
from ..values import Identity


class IdentityApi:
    def __init__(self, http: Http) -> None:
        self._http = http

    def me(
        self,
        *,
        scope: Scope | None = None,
        repeat: Repeat = Repeat.SAFE,
        within: float = RESTART_SECONDS,
    ) -> Identity:
        """`GET /me`: the identity of the app key; the fastest check of the daemon and the key."""
        answer = self._http.request("GET", "/me", scope=scope, repeat=repeat, within=within)
        return Identity.from_wire(answer)
