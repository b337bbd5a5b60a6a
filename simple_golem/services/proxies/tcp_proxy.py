"""A local port that leads to a port of instances, for any protocol."""

from __future__ import annotations

import logging
import socket

from ...background.cancellation import Deadline, checked_seconds
from ...background.forks import refused_in_children
from ...engine.network.place import Place
from ...engine.network.tunnel import Limits
from ...errors import NetworkError, NotRunning
from ...yagna.transport.tcp_pair import reset_on_close
from ..cluster import Cluster
from ..instance import Instance
from .arguments import checked_count, checked_speed
from .listener import Listener
from .local_proxy import LocalProxy

logger = logging.getLogger(__name__)

# They only open connections: the pump serves them.
_OPENING_THREADS = 32


@refused_in_children
class TcpProxy(LocalProxy):
    """A local port that leads to a port of an instance; to those of a cluster in turn.

    It listens as soon as it is made, until `close`, the end of its `with` statement, or the end of the Golem.
    A connection that can't be made is reset, and a warning says why.

    Args:
        target: an instance, or a cluster. Only instances that are running are connected to.
        port: of the instance.
        local_port: of this machine; 0: any that is free.
        host: the address of this machine to listen on; others than loopback can be reached by other machines.
        timeout: seconds for each connection; meanwhile a port that refuses it is tried again, and so are the
            other instances of a cluster.
        max_connections: how many connections at once; further ones are reset.
        max_bytes_per_second: how fast each connection sends to the instance; what is sent faster than it can
            be carried waits in the memory of the daemon.

    Raises:
        BadNetwork: the target has no private network (`network=True`), or there is no such port.
        BadLocalPort: the local port is in use, or needs rights.
        BadSetting, BadWaitTime: a limit makes no sense.
        NotRunning: the Golem is closed.

    Example:
        with TcpProxy(cluster.instances[0], 22) as ssh:
            print(f"ssh -p {ssh.local_port} root@127.0.0.1")
    """

    def __init__(
        self,
        target: Instance | Cluster,
        port: int,
        *,
        local_port: int = 0,
        host: str = "127.0.0.1",
        timeout: float = 10.0,
        max_connections: int = 512,
        max_bytes_per_second: float | None = None,
    ) -> None:
        super().__init__(target, port)
        seconds = checked_seconds(timeout, "timeout")
        self._limits = Limits(max_bytes_per_second=checked_speed(max_bytes_per_second))
        self._listener = Listener(
            host,
            local_port,
            serve=self._open,
            timeout=seconds,
            refusal=b"",
            most_connections=checked_count(max_connections),
            most_threads=_OPENING_THREADS,
        )
        self._begin()

    def __repr__(self) -> str:
        return f"<TcpProxy: {self.address} to {self._targets}>"

    # --- on a thread of the pool -----------------------------------------------------------------------

    def _open(self, client: socket.socket, deadline: Deadline) -> None:
        scope = self._listener.scope

        def connect(place: Place) -> bool:
            return place.attach(
                lambda: client,
                self._targets.port,
                deadline,
                self._limits,
                on_end=lambda _: self._listener.release(client),
                stop=scope,
                repeats=False,
            )

        is_open = False
        try:
            self._targets.reach(connect, deadline, scope)
            is_open = True
        except (NetworkError, NotRunning) as error:
            if not scope.cancelled:
                logger.warning("%r: %s", self, error)
        finally:
            if not is_open:
                self._listener.release(client)
                reset_on_close(client)
                client.close()
