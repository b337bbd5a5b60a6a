"""Whom the app key acts for, and whether the daemon is there at all."""

from __future__ import annotations

from ...background.cancellation import Scope
from ..transport.http import Http
from ..transport.retry import Repeat
from ..values import Identity


class IdentityApi:
    def __init__(self, http: Http) -> None:
        self._http = http

    def me(self, *, scope: Scope | None = None, repeat: Repeat = Repeat.NEVER) -> Identity:
        """`GET /me`: the identity behind the app key; the cheapest proof that daemon and key are good."""
        return Identity.from_wire(self._http.request("GET", "/me", scope=scope, repeat=repeat))
