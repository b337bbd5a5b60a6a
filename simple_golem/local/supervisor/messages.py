"""What the supervisor of a local network and its starter say to each other: one JSON document a line."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import IO, Any

from ..provider.habits import ProviderHabits


@dataclass(frozen=True, slots=True)
class Plan:
    """What a network is to be like; the first line to the supervisor.

    Attributes:
        starter: the process whose end is the network's end.
        habits: one entry for each provider.
        subnet: where the providers offer from the beginning.
        images: `TAG_OR_HASH=FOLDER`, each.
        daemon_settings: further environment variables of the requestor's daemon.
        funds: how much GLM the requestor has on the network's chain; None where there is no chain.
    """

    starter: int
    habits: Sequence[ProviderHabits]
    subnet: str
    images: Sequence[str]
    daemon_settings: Mapping[str, str] = field(default_factory=dict)
    funds: str | None = None

    def to_wire(self) -> Mapping[str, Any]:
        return {
            "starter": self.starter,
            "habits": [habits.to_wire() for habits in self.habits],
            "subnet": self.subnet,
            "images": list(self.images),
            "daemon_settings": dict(self.daemon_settings),
            "funds": self.funds,
        }

    @classmethod
    def from_wire(cls, wire: Mapping[str, Any]) -> Plan:
        habits = [ProviderHabits.from_wire(entry) for entry in wire["habits"]]
        return cls(
            wire["starter"],
            habits,
            wire["subnet"],
            wire["images"],
            wire["daemon_settings"],
            wire["funds"],
        )


@dataclass(frozen=True, slots=True)
class DaemonAddress:
    """Where a daemon's REST API is, and a key to it."""

    api_url: str
    app_key: str


@dataclass(frozen=True, slots=True)
class LocalProvider:
    """A provider of a local network.

    Attributes:
        name, node_id: as its offers show them.
        app_key: a key of its identity on the far daemon.
    """

    name: str
    node_id: str
    app_key: str


@dataclass(frozen=True, slots=True)
class Report:
    """What the supervisor says when the network is up."""

    near: DaemonAddress
    far: DaemonAddress
    registry_url: str
    journals: str
    providers: Sequence[LocalProvider]
    chain_url: str | None = None

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
            wire["chain_url"],
        )


def send(stream: IO[bytes], message: Mapping[str, Any]) -> None:
    """Write one message; `BrokenPipeError` if nobody listens any more."""
    stream.write(json.dumps(message).encode() + b"\n")
    stream.flush()
