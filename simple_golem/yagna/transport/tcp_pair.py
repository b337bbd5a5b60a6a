"""Two connected TCP sockets of this machine, and the end of a connection by a reset.

`socket.socketpair` makes sockets of another family, which can't tell their reader that a connection broke: it
would look like an orderly end of the data.
"""

from __future__ import annotations

import contextlib
import socket
import struct

# SO_LINGER of 0 seconds.
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


def reset_on_close(connection: socket.socket) -> None:
    """Have `close` send a reset (RST) instead of an end (FIN): the other side gets an error."""
    with contextlib.suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)


def tcp_pair() -> tuple[socket.socket, socket.socket]:
    """Return two sockets that are connected with each other; raises OSError if there are no more."""
    with socket.create_server(("127.0.0.1", 0), backlog=1) as listener:
        one = socket.create_connection(listener.getsockname())
        try:
            while True:
                other, peer = listener.accept()
                if peer == one.getsockname():
                    break
                other.close()  # another program of this machine was quicker
        except BaseException:
            one.close()
            raise
    for end in (one, other):
        end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return one, other
