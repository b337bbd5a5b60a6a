"""`Network`: a private network, as a script holds it."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING

from ...background.forks import current_process, refused_in_children

if TYPE_CHECKING:
    from .network import PrivateNetwork


@refused_in_children
class Network:
    """A private network: instances reach each other by address and name; made by `golem.create_network`.

    It ends with its Golem at the latest. Use it in a `with` statement, or call `close`, to end it earlier.
    """

    def __init__(self, network: PrivateNetwork) -> None:
        self._made_in = current_process()
        self._network = network

    @property
    def ip(self) -> str:
        """Its range of addresses, such as `192.168.0.0/24`."""
        return self._network.ip

    @property
    def hosts(self) -> dict[str, str]:
        """The addresses of all instances, by their host names."""
        return self._network.hosts

    def close(self) -> None:
        """End the network and all connections in it; instances go on. Blocks for a request to the daemon.

        A second call does nothing.
        """
        self._network.end(None)

    def __enter__(self) -> Network:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Network {self.ip}: {len(self._network)} instances>"

    def _when_open(self) -> PrivateNetwork:
        """Return what a new cluster uses; raises `BadNetwork` if it was closed."""
        self._network.require_open()
        return self._network
