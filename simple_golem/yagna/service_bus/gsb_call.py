"""A request that a service's WebSocket brings.

Apart from `gsb_socket`, so that a session without transfers of files does not load `websockets`.
"""

from __future__ import annotations

from typing import Any, NamedTuple


class GsbRequest(NamedTuple):
    """A request from the bus for a service of this process.

    Attributes:
        call_id: identifies the request in its answer.
        component: the last part of the address that was called, such as `GetChunk`.
        payload: the arguments.
    """

    call_id: str
    component: str
    payload: Any
