"""The messages between a network's owner and its supervisor: one JSON document on each line."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import IO, Any

from .habits import ProviderHabits

# On the test networks a provider is paid on these; the first is ours, the second that of yapapi.
DEFAULT_PAYMENT_NETWORKS = ("hoodi", "holesky")

# Sends an order to the supervisor and blocks for its answer.
Ask = Callable[[Mapping[str, Any]], Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Plan:
    """What the network consists of; the first message to the supervisor.

    Attributes:
        starter: the id of the process that owns the network. The network ends when this process ends.
        habits: one entry for each provider.
        subnets: those in which the providers offer.
        payment_networks: those on which the providers are paid.
        images: the additional images, each as `TAG_OR_HASH=PATH`.
        daemon_settings: additional environment variables of the requestor's daemon.
        funds: the requestor's GLM on the chain; None: the network has no chain.
        runtimes: the runtimes of the user's own, each as `NAME=PROGRAM`.
    """

    starter: int
    habits: Sequence[ProviderHabits]
    subnets: Sequence[str]
    payment_networks: Sequence[str]
    images: Sequence[str]
    daemon_settings: Mapping[str, str] = field(default_factory=dict)
    funds: str | None = None
    runtimes: Sequence[str] = ()

    def to_wire(self) -> Mapping[str, Any]:
        return {
            "starter": self.starter,
            "habits": [habits.to_wire() for habits in self.habits],
            "subnets": list(self.subnets),
            "payment_networks": list(self.payment_networks),
            "images": list(self.images),
            "daemon_settings": dict(self.daemon_settings),
            "funds": self.funds,
            "runtimes": list(self.runtimes),
        }

    @classmethod
    def from_wire(cls, wire: Mapping[str, Any]) -> Plan:
        habits = [ProviderHabits.from_wire(entry) for entry in wire["habits"]]
        return cls(
            wire["starter"],
            habits,
            wire["subnets"],
            wire["payment_networks"],
            wire["images"],
            wire["daemon_settings"],
            wire["funds"],
            tuple(wire["runtimes"]),
        )


@dataclass(frozen=True, slots=True)
class DaemonAddress:
    """How to reach a daemon.

    Attributes:
        api_url: the URL of its REST API.
        app_key: a valid app key.
    """

    api_url: str
    app_key: str


@dataclass(frozen=True, slots=True)
class LocalProvider:
    """A provider of a local network.

    Attributes:
        name: the provider's name, as in its offers.
        node_id: the provider's node id, as in its offers.
        app_key: an app key of the provider's identity on the far daemon.
    """

    name: str
    node_id: str
    app_key: str


@dataclass(frozen=True, slots=True)
class Report:
    """Describes a network that is ready; the supervisor's first message.

    Attributes:
        near: the requestor's daemon.
        far: the providers' daemon.
        registry_url: the URL of the image registry.
        journals: the folder for the journals of sessions on this network.
        providers: all providers, in the order of their numbers.
        strikes: the file with what rules have refused or changed.
        chain_url: the URL of the chain's JSON-RPC server; None: the network has no chain.
        no_vpn: why the providers offer no private networks; `""` if they do.
    """

    near: DaemonAddress
    far: DaemonAddress
    registry_url: str
    journals: str
    providers: Sequence[LocalProvider]
    strikes: str
    chain_url: str | None = None
    no_vpn: str = ""

    def to_wire(self) -> Mapping[str, Any]:
        return asdict(self)

    @classmethod
    def from_wire(cls, wire: Mapping[str, Any]) -> Report:
        return cls(
            DaemonAddress(**wire["near"]),
            DaemonAddress(**wire["far"]),
            wire["registry_url"],
            wire["journals"],
            tuple(LocalProvider(**entry) for entry in wire["providers"]),
            wire["strikes"],
            wire["chain_url"],
            wire["no_vpn"],
        )


def send(stream: IO[bytes], message: Mapping[str, Any]) -> None:
    """Write one message.

    Raises:
        BrokenPipeError: the other process no longer reads.
    """
    stream.write(json.dumps(message).encode() + b"\n")
    stream.flush()
