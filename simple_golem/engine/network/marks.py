"""A private network is made once, also where the daemon's answer is lost.

Its mark is a gateway that no other network has: the daemon lists it, and nothing else uses it.
"""

from __future__ import annotations

import ipaddress
import secrets

from ...background.cancellation import Scope
from ...yagna.api.network import NetworkApi
from ...yagna.transport.retry import made_once
from ...yagna.values import PrivateNetworkInfo

# Addresses that are reserved, so that no instance and no host has them.
_RESERVED = ipaddress.IPv4Network("240.0.0.0/4")


def new_mark() -> str:
    """Return a mark for one network."""
    # Not the last one, which is the broadcast address of all networks.
    return str(_RESERVED[secrets.randbelow(_RESERVED.num_addresses - 1)])


def make_marked(api: NetworkApi, ip: str, mark: str, scope: Scope | None) -> PrivateNetworkInfo:
    """Have the daemon make a network; blocks for one request, or until a lost one was repeated.

    Raises:
        YagnaError, NoDaemon: the daemon refuses, or gave no answer for 30 seconds.
        ScopeEnded: `scope` was cancelled.
    """

    def find() -> PrivateNetworkInfo | None:
        return next(iter(marked(api, mark, scope)), None)

    return made_once(lambda: api.create(ip, mark, scope=scope), find, scope)


def marked(api: NetworkApi, mark: str, scope: Scope | None) -> list[PrivateNetworkInfo]:
    """Return the networks that have this mark; blocks for one request."""
    return [one for one in api.networks(scope=scope) if one.gateway == mark]
