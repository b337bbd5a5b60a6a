"""An offer on the market."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..base.printable import printable
from ..cost import plain
from .prices import Prices

PROVIDER_NAME = "golem.node.id.name"
# No machine has more of anything. Infinity and NaN are excluded, too.
MOST = 1e12
_LONGEST_NAME = 80


@dataclass(frozen=True, slots=True)
class Offer:
    """What a provider offers.

    Attributes:
        provider_id: its node id.
        provider_name: the name that it gives itself.
        prices: its prices, in GLM; None if its price model is not the linear one.
        properties: all properties of the offer, by their names.
    """

    provider_id: str
    provider_name: str
    prices: Prices | None
    properties: Mapping[str, Any] = field(repr=False, hash=False)

    @classmethod
    def of(cls, provider_id: str, properties: Mapping[str, Any]) -> Offer:
        """Return the offer that `properties` describe."""
        return cls(provider_id, provider_name(properties), Prices.of(properties), properties)

    @property
    def runtime(self) -> str:
        """The name of its runtime, e.g. `vm`."""
        return str(self.properties.get("golem.runtime.name", ""))

    @property
    def cpu_threads(self) -> int:
        """Threads of its processor; 1 if it does not say."""
        threads = _number(self.properties.get("golem.inf.cpu.threads"))
        return int(threads) if threads >= 1 and threads == int(threads) else 1

    @property
    def mem_gib(self) -> float:
        """Memory, GiB; 0 if it does not say."""
        return _number(self.properties.get("golem.inf.mem.gib"))

    @property
    def storage_gib(self) -> float:
        """Disk, GiB; 0 if it does not say."""
        return _number(self.properties.get("golem.inf.storage.gib"))

    @property
    def capabilities(self) -> tuple[str, ...]:
        """The capabilities of its runtime, e.g. `("inet", "vpn")`; sorted."""
        names = self.properties.get("golem.runtime.capabilities")
        return tuple(sorted(map(str, names))) if isinstance(names, (list, tuple)) else ()

    def to_json(self) -> Mapping[str, Any]:
        """Return it as JSON values, with exact amounts as text."""
        prices = self.prices
        return {
            "provider_id": self.provider_id,
            "provider_name": self.provider_name,
            "runtime": self.runtime,
            "capabilities": list(self.capabilities),
            "cpu_threads": self.cpu_threads,
            "mem_gib": self.mem_gib,
            "storage_gib": self.storage_gib,
            "start_price": plain(prices.start) if prices else None,
            "price_per_hour": plain(prices.per_hour) if prices else None,
            "price_per_cpu_hour": plain(prices.per_cpu_hour) if prices else None,
            "properties": dict(self.properties),
        }


def _number(value: object) -> float:
    usable = isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= MOST
    return float(value) if usable else 0.0  # type: ignore[arg-type]


def provider_name(properties: Mapping[str, Any]) -> str:
    """Return the name that a provider gives itself, as a terminal may show it."""
    return printable(properties.get(PROVIDER_NAME) or "", _LONGEST_NAME) or "unnamed"
