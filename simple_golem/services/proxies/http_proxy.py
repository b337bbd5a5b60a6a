"""A local port that leads to the web servers of instances."""

from __future__ import annotations

import contextlib
import socket

from ...background.cancellation import Deadline, checked_seconds
from ...background.forks import refused_in_children
from ...engine.network.tunnel import Limits
from ..cluster import Cluster
from ..instance import Instance
from .arguments import checked_count, checked_speed
from .http_exchange import HttpExchange, refusal
from .listener import Listener
from .local_proxy import LocalProxy
from .upstreams import Upstreams


@refused_in_children
class HttpProxy(LocalProxy):
    """A local port that leads to the web server of an instance, or to those of a cluster in turn.

    It listens as soon as it is made, until `close`, the end of its `with` statement, or the end of the Golem.
    Each request goes to the next instance that is running, and to another one if that refuses the connection.
    If none can be reached, the client gets status 502 or 504 and a sentence that says why. HTTP/1.1 is passed
    on with connections that are kept, chunked bodies and WebSockets, and `X-Forwarded-For` is added. Requests
    that can't be repeated, such as POST or an upload, use none that was idle for half a second. The
    daemon does not show the end of an answer that has no length: 5 seconds without a byte are taken for it,
    so such an answer is cut, without an error, where its server pauses longer.

    Args:
        target: an instance, or a cluster.
        port: of the instance.
        local_port: of this machine; 0: any that is free.
        host: the address of this machine to listen on; others than loopback can be reached by other machines.
        timeout: seconds to connect to an instance; meanwhile a port that refuses it is tried again.
        answer_timeout: seconds without a byte of the answer after which an instance has failed; an answer
            without a length is taken as complete after 5 seconds.
        max_connections: how many clients at once; further ones get status 503. Each has a thread.
        max_bytes_per_second: how fast each connection sends to the instance; what is sent faster than it can
            be carried waits in the memory of the daemon.

    Raises:
        BadNetwork: the target has no private network (`network=True`), or there is no such port.
        BadLocalPort: the local port is in use, or needs rights.
        BadSetting, BadWaitTime: a limit makes no sense.
        NotRunning: the Golem is closed.

    Example:
        with HttpProxy(cluster, 80) as proxy:
            print(requests.get(proxy.url).text)
    """

    def __init__(
        self,
        target: Instance | Cluster,
        port: int,
        *,
        local_port: int = 0,
        host: str = "127.0.0.1",
        timeout: float = 10.0,
        answer_timeout: float = 60.0,
        max_connections: int = 256,
        max_bytes_per_second: float | None = None,
    ) -> None:
        super().__init__(target, port)
        self._answer_timeout = checked_seconds(answer_timeout, "answer_timeout", allow_none=False)
        seconds = checked_seconds(timeout, "timeout")
        limits = Limits(max_bytes_per_second=checked_speed(max_bytes_per_second))
        most = checked_count(max_connections)
        self._listener = Listener(
            host,
            local_port,
            serve=self._serve,
            timeout=None,
            refusal=refusal(503, "This proxy has as many connections as max_connections allows."),
            most_connections=most,
            most_threads=most,
        )
        self._upstreams = Upstreams(self._targets, seconds, limits, self._listener.scope)
        self._begin()

    @property
    def url(self) -> str:
        """Where it listens, such as `http://127.0.0.1:40123`."""
        return f"http://{self._listener.address}"

    def close(self) -> None:
        """Take no more requests, and end the connections; blocks for 2 seconds at most."""
        super().close()
        self._upstreams.close()

    def __repr__(self) -> str:
        return f"<HttpProxy: {self.url} to {self._targets}>"

    def _serve(self, client: socket.socket, _: Deadline) -> None:
        try:
            with client, contextlib.suppress(OSError):
                host = client.getpeername()[0]
                HttpExchange(client, host, self._upstreams, self._answer_timeout).serve()
        finally:
            self._listener.release(client)
