"""What comes over a service's WebSocket: a call of it, or its end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


class SocketLost(Exception):
    """A WebSocket has ended or was never opened; the engine's own, never seen by a user.

    Attributes:
        status: the HTTP status the daemon refused it with, None if it was another reason.
    """

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, slots=True)
class GsbRequest:
    """Somebody on the bus calls a service of ours.

    Attributes:
        call_id: what the answer has to name.
        component: the last part of the address that was called, such as `GetChunk`.
        payload: what was sent.
    """

    call_id: str
    component: str
    payload: Any
