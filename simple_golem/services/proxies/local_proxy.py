"""What all proxies have in common: a local port that they listen on, and its end."""

from __future__ import annotations

from types import TracebackType
from typing import TypeVar

from ...background.forks import current_process, refused_in_children
from ...errors import NotRunning
from ..cluster import Cluster
from ..instance import Instance
from .listener import Listener
from .targets import Targets

P = TypeVar("P", bound="LocalProxy")


@refused_in_children
class LocalProxy:
    """A local port that leads to a port of instances; a subclass makes `_listener`, then calls `_begin`."""

    _listener: Listener

    def __init__(self, target: Instance | Cluster, port: int) -> None:
        self._made_in = current_process()
        self._targets = Targets(target, port)

    def _begin(self) -> None:
        """Take connections, until the end of the Golem at most; raises `NotRunning` if that is closed."""
        # Not before all of the subclass is there: a client that knows the port may come at once.
        self._listener.start()
        try:
            self._targets.connections.proxies.add(self)
        except NotRunning:
            self.close()
            raise

    @property
    def local_port(self) -> int:
        """The local port."""
        return self._listener.port

    @property
    def address(self) -> str:
        """Host and local port, such as `127.0.0.1:40123`."""
        return self._listener.address

    def close(self) -> None:
        """Take no more connections, and end those that are open; blocks for 2 seconds at most."""
        self._listener.close()
        self._targets.connections.proxies.discard(self)

    def __enter__(self: P) -> P:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
