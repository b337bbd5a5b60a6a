"""Two connected TCP sockets of this machine.

`socket.socketpair` makes sockets of another family, which can't tell their reader that a connection broke: it
would look like an orderly end of the data.
"""

from __future__ import annotations

import socket


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
