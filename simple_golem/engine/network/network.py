"""A private network of instances."""

from __future__ import annotations

import contextlib
import re
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from ...background.cancellation import Scope
from ...errors import BadNetwork, NetworkLost, YagnaError
from ...yagna.api.network import LOST_STATUSES, NetworkApi
from .addresses import Addresses
from .marks import make_marked, marked, new_mark

Write = Callable[..., object]
_LONGEST_NAME = 63
_NOT_IN_NAMES = re.compile("[^a-z0-9-]")
# A thread that waits for the requests of another one looks so often whether it is to end.
_LOOK_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class _Node:
    """An instance that has joined.

    Attributes:
        node_id: its provider.
        network_id: the daemon's network that it has joined.
        number: how many had joined before.
    """

    node_id: str
    network_id: str
    number: int


@dataclass(frozen=True, slots=True)
class Entry:
    """What an instance gets at its deploy.

    Attributes:
        network_id: the daemon's network.
        net: the network in the form of `Deploy`.
        number: that of the last node that it knows.
    """

    network_id: str
    net: dict[str, Any]
    number: int


class PrivateNetwork:
    """A private network of instances; a script holds it as a `Network`."""

    def __init__(self, api: NetworkApi, ip: str, own_node_id: str, journal: Write) -> None:
        """Make nothing yet.

        Args:
            api: the daemon's.
            ip: its range of addresses.
            own_node_id: the requestor's.
            journal: writes a line to the journal.
        """
        self._api = api
        self._own_node_id = own_node_id
        self._journal = journal
        self.addresses = Addresses(ip)
        self._making = threading.Lock()
        self._lock = threading.Lock()
        self._network_id: str | None = None
        # The daemon may have made a network with this mark, though it did not say so.
        self._mark: str | None = None
        self._has_own_address = False
        self._number = 0
        self._nodes: dict[str, _Node] = {}
        # Those whose addresses are free or have another one now: the daemon has not forgotten them.
        self._former: dict[str, _Node] = {}
        self._names: dict[str, tuple[object, str]] = {}
        # Suspended instances need the daemon's network after the end of this session.
        self._kept: set[str] = set()
        self._closed = False

    @property
    def ip(self) -> str:
        """Its range of addresses, such as `192.168.0.0/24`."""
        return str(self.addresses.whole)

    @property
    def hosts(self) -> dict[str, str]:
        """The addresses of all instances, by their host names."""
        return self.hosts_for(None)

    def hosts_for(self, group: object) -> dict[str, str]:
        """The same, for the instances of one cluster: its own names come first where two are equal."""
        with self._lock:
            names = list(self._names.items())
        others = {name: ip for ip, (owner, name) in names if owner is not group}
        return others | {name: ip for ip, (owner, name) in names if owner is group}

    def __len__(self) -> int:
        """How many instances are in it."""
        return len(self._names)

    # --- what clusters do ------------------------------------------------------------------------------

    def require_open(self) -> None:
        """Raise `BadNetwork` if it was closed."""
        if self._closed:
            raise BadNetwork(f"the network {self.ip} was closed: make another one with golem.create_network")

    def enter(self, names: Sequence[str], group: object, wanted: Sequence[str] | None = None) -> list[str]:
        """Give addresses to new instances; returns them.

        Args:
            names: the host names of the instances.
            group: the cluster.
            wanted: the addresses; None: the next ones that are free.

        Raises:
            BadNetwork: they can't have these addresses, or the network was closed.
        """
        self.require_open()
        taken = self.addresses.take(len(names), wanted)
        with self._lock:
            self._names.update((ip, (group, name)) for ip, name in zip(taken, names, strict=True))
        return taken

    def leave(self, ip: str) -> None:
        """Give the address of an instance back that has ended for good."""
        with self._lock:
            self._names.pop(ip, None)
            node = self._nodes.pop(ip, None)
            if node is not None:
                self._former.setdefault(ip, node)
        self.addresses.release(ip)

    def make(self, scope: Scope | None = None) -> str:
        """Have the daemon make the network, if that is not done; returns its id. Blocks for two requests."""
        # No second thread may make it meanwhile, so this lock is held during the requests.
        with self._alone(scope):
            if self._closed:
                raise NetworkLost(
                    f"the network {self.ip} was closed: make another one with golem.create_network"
                )
            network_id = self._network_id
            if network_id is None:
                network_id = self._make_once(scope)
                self._network_id, self._has_own_address = network_id, False
            if not self._has_own_address:
                self._api.add_address(network_id, self.addresses.own, scope=scope)
                self._has_own_address = True
            return network_id

    @contextlib.contextmanager
    def _alone(self, scope: Scope | None) -> Iterator[None]:
        """Hold the lock of those who make and end the network; `ScopeEnded` if `scope` is cancelled first."""
        while not self._making.acquire(timeout=_LOOK_SECONDS):
            if scope is not None:
                scope.check()
        try:
            yield
        finally:
            self._making.release()

    def _make_once(self, scope: Scope | None) -> str:
        if self._mark is None:
            self._mark = new_mark()
            self._journal("network planned", mark=self._mark)
        network_id = make_marked(self._api, self.ip, self._mark, scope).network_id
        self._journal("network", id=network_id, mark=self._mark)
        self._mark = None
        return network_id

    def adopt(self, network_id: str, agreement_ids: Sequence[str]) -> None:
        """Take over a network that an earlier session has left for these agreements."""
        for agreement_id in agreement_ids:
            self._journal("network ended", about=agreement_id, id=network_id)
        self._journal("network", id=network_id)
        self._network_id, self._has_own_address = network_id, True

    # --- what instances do, on their life threads --------------------------------------------------------

    def join(self, ip: str, node_id: str, group: object, scope: Scope) -> Entry:
        """Make the provider of an instance a node; blocks for requests.

        A network that the daemon has lost by a restart is made again.

        Raises:
            NetworkLost: the network was closed.
            ScopeEnded: `scope` was cancelled.
        """
        network_id = self.make(scope)
        try:
            self._replace(network_id, ip, node_id, scope)
        except YagnaError as error:
            if error.status not in LOST_STATUSES:
                raise
            self._forget(network_id, scope)
            network_id = self.make(scope)
            self._replace(network_id, ip, node_id, scope)
        with self._lock:
            number = self._number
            nodes = {ip: one.node_id for ip, one in self._nodes.items() if one.network_id == network_id}
        net = {
            "id": network_id,
            "ip": self.ip,
            "mask": str(self.addresses.whole.netmask),
            "gateway": None,
            "nodeIp": ip,
            "nodes": {self.addresses.own: self._own_node_id, **nodes},
        }
        return Entry(network_id, net, number)

    def _replace(self, network_id: str, ip: str, node_id: str, scope: Scope) -> None:
        """Add a node. The daemon keeps the first node of an address, so the one before is removed.

        That removes all addresses of its provider, so those it has for other instances are added again.
        """
        with self._lock:
            # Those of a network that the daemon has lost are gone with it.
            known = (self._former.pop(ip, None), self._nodes.get(ip))
            before = next((one for one in known if one is not None and one.network_id == network_id), None)
            # Noted first: who replaces another instance of this provider meanwhile has to know of it.
            self._number += 1
            self._nodes[ip] = _Node(node_id, network_id, self._number)
            if before is not None:
                self._former[ip] = before
        added = [(ip, node_id)]
        if before is not None:
            self._api.remove_node(network_id, before.node_id, scope=scope)
            with self._lock:
                self._former.pop(ip, None)
                added += [
                    (other, node.node_id)
                    for other, node in self._nodes.items()
                    if other != ip and node.node_id == before.node_id and node.network_id == network_id
                ]
        for address, one in added:
            self._api.add_node(network_id, one, address, scope=scope)

    def deployed(self, entry: Entry, scope: Scope) -> None:
        """Tell an instance that is deployed now of those that have joined since its `entry`.

        Before its deploy it could not hear of them. Blocks for a request for each.
        """
        with self._lock:
            later = [
                (ip, node.node_id)
                for ip, node in self._nodes.items()
                if node.number > entry.number and node.network_id == entry.network_id
            ]
        for ip, node_id in later:
            self._api.add_node(entry.network_id, node_id, ip, scope=scope)

    def _forget(self, network_id: str, scope: Scope) -> None:
        with self._alone(scope):
            if self._network_id == network_id:
                self._network_id = None
                self._journal("network ended", id=network_id)

    def keep(self, network_id: str, agreement_id: str) -> None:
        """Leave the daemon's network alive at the end of the session: a suspended instance needs it.

        From now on the journal that has its agreement says that the network is there.
        """
        self._kept.add(network_id)
        self._journal("network ended", id=network_id)
        self._journal("network", about=agreement_id, id=network_id)

    def end(self, scope: Scope | None) -> None:
        """End the network, unless suspended instances need it; blocks for a request."""
        with self._alone(scope):
            self._closed = True
            try:
                if self._mark is not None:
                    self._end_unsure(self._mark, scope)
                if self._network_id is not None and self._network_id not in self._kept:
                    self._api.delete(self._network_id, scope=scope)
                    self._journal("network ended", id=self._network_id)
            except YagnaError as error:
                reason = f"{error.reason}; the network {self.ip} goes on: close it again, or its Golem"
                raise YagnaError(error.method, error.path, error.status, reason) from error
            self._network_id = None

    def _end_unsure(self, mark: str, scope: Scope | None) -> None:
        for one in marked(self._api, mark, scope):
            self._api.delete(one.network_id, scope=scope)
        self._journal("network not made", mark=mark)
        self._mark = None


def host_name_of(name: str) -> str:
    """Return the host name of an instance: in lower case, with `-` in place of other signs."""
    return _NOT_IN_NAMES.sub("-", name.lower())[:_LONGEST_NAME]
