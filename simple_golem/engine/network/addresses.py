"""The addresses of one private network: which are taken, and which come next."""

from __future__ import annotations

import ipaddress
import threading
from collections.abc import Sequence

from ...errors import BadNetwork

_LONGEST_PREFIX = 30


class Addresses:
    """Gives out addresses; used by any thread.

    Attributes:
        whole: the range of addresses.
        own: the address of this side. The daemon always sends from the first address of a network.
    """

    def __init__(self, ip: str) -> None:
        """Args: ip: the range, such as `192.168.0.0/24`; raises `BadNetwork` if it is none."""
        self.whole = _checked(ip)
        self.own = str(self.whole[1])
        self._lock = threading.Lock()
        self._taken = {self.own}

    def take(self, count: int, wanted: Sequence[str] | None = None) -> list[str]:
        """Take addresses: those that are wanted, or the next ones that are free.

        Args:
            count: how many.
            wanted: the addresses, one for each.

        Raises:
            BadNetwork: one is taken, is outside of the network, or is named twice, or there are too few; none
                is taken then.
        """
        with self._lock:
            chosen = self._free(count) if wanted is None else self._checked(count, wanted)
            self._taken.update(chosen)
            return chosen

    def release(self, address: str) -> None:
        """Give an address back."""
        with self._lock:
            self._taken.discard(address)

    def _free(self, count: int) -> list[str]:
        free: list[str] = []
        for host in self.whole.hosts():
            if len(free) == count:
                break
            if str(host) not in self._taken:
                free.append(str(host))
        if len(free) < count:
            raise BadNetwork(
                f"the network {self.whole} has {len(free)} free addresses, and {count} instances need one: "
                "make a larger one with golem.create_network"
            )
        return free

    def _checked(self, count: int, wanted: Sequence[str]) -> list[str]:
        if isinstance(wanted, str) or len(wanted) != count:
            raise BadNetwork(
                f"network_addresses is {wanted!r}: give a list of {count}, one for each instance"
            )
        chosen = [self._one(address) for address in wanted]
        if len(set(chosen)) < count:
            raise BadNetwork(f"network_addresses is {wanted!r}: each address can be given once")
        return chosen

    def _one(self, address: str) -> str:
        try:
            parsed = ipaddress.IPv4Address(address)
        except ValueError as error:
            raise BadNetwork(f"{address!r} is no IPv4 address: write one such as {self.whole[2]}") from error
        if parsed not in self.whole or parsed in (self.whole[0], self.whole[-1]):
            raise BadNetwork(f"{address} is no address of an instance in {self.whole}")
        if str(parsed) == self.own:
            raise BadNetwork(f"{address} is the address of the requestor, always the first one of a network")
        if str(parsed) in self._taken:
            raise BadNetwork(f"{address} is taken by another instance in this network")
        return str(parsed)


def _checked(ip: str) -> ipaddress.IPv4Network:
    try:
        whole = ipaddress.IPv4Network(ip)
    except ValueError as error:
        raise BadNetwork(f"ip is {ip!r}: give a range such as '192.168.0.0/24' ({error})") from error
    if whole.prefixlen > _LONGEST_PREFIX:
        raise BadNetwork(
            f"ip is {ip!r}, which has no room for an instance: give a /{_LONGEST_PREFIX} or larger"
        )
    return whole
