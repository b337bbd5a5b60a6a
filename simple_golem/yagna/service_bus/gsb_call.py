"""What a service's WebSocket brings: a request, or its end.

Apart from `gsb_socket`, so that a session without transfers of files does not load `websockets`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


class SocketLost(Exception):
    """A WebSocket has ended, or could not be opened; internal, users never see it.

    Attributes:
        status: the HTTP status by which the daemon refused it; None for any other reason.
    """

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, slots=True)
class GsbRequest:
    """A request from the bus for a service of this process.

    Attributes:
        call_id: identifies the request in its answer.
        component: the last part of the address that was called, such as `GetChunk`.
        payload: the arguments.
    """

    call_id: str
    component: str
    payload: Any
