"""The end of a WebSocket; apart from `web_socket`, so that nothing loads `websockets` for it."""

from __future__ import annotations


class SocketLost(Exception):
    """A WebSocket has ended, or could not be opened; internal, users never see it.

    Attributes:
        status: the HTTP status by which the daemon refused it; None for any other reason.
        body: what the daemon said with it.
    """

    def __init__(self, message: str, status: int | None = None, body: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.body = body
