"""The properties of a provider's offer, and the terms of an agreement."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone
from typing import Any

from ...model.settings import REAL_NETWORKS
from ..control.habits import ProviderHabits
from ..control.messages import DEFAULT_PAYMENT_NETWORKS
from .package import Package

SUBNET = "golem.node.debug.subnet"
EXPIRATION = "golem.srv.comp.expiration"
MULTI_ACTIVITY = "golem.srv.caps.multi-activity"
CAPABILITIES = "golem.runtime.capabilities"
RUNTIME = "golem.runtime.name"

ACCEPT_TIMEOUT = "golem.com.payment.debit-notes.accept-timeout?"
DEBIT_NOTE_INTERVAL = "golem.com.scheme.payu.debit-note.interval-sec?"
PAYMENT_TIMEOUT = "golem.com.scheme.payu.payment-timeout-sec?"
_NEGOTIABLE = (ACCEPT_TIMEOUT, DEBIT_NOTE_INTERVAL, PAYMENT_TIMEOUT)

_GPU = "golem.!exp.gap-35.v1.inf.gpu"
# Every local provider enforces manifests. Private networks need rights that a machine may not give.
_MANIFESTS, _VPN = "manifest-support", "vpn"

_DEFAULT_INTERVAL = timedelta(seconds=120)
_INVOICE_DUE = timedelta(days=1)


def offer_properties(
    name: str,
    node_id: str,
    subnet: str,
    habits: ProviderHabits,
    *,
    payment_networks: Sequence[str] = DEFAULT_PAYMENT_NETWORKS,
    has_vpn: bool = True,
) -> dict[str, Any]:
    """Return the properties of an offer: a small Linux machine.

    Args:
        name: the provider's name.
        node_id: its node id.
        subnet: of the offer.
        habits: how it behaves.
        payment_networks: those on which it is paid.
        has_vpn: whether its activities can join private networks.
    """
    return {
        "golem.node.id.name": name,
        SUBNET: subnet,
        "golem.inf.cpu.architecture": platform.machine(),
        "golem.inf.cpu.cores": habits.cpu_threads,
        "golem.inf.cpu.threads": habits.cpu_threads,
        "golem.inf.mem.gib": habits.mem_gib,
        "golem.inf.storage.gib": habits.storage_gib,
        "golem.runtime.version": "0.3.0",
        **_runtime(habits, [_MANIFESTS, *([_VPN] if has_vpn else []), *habits.claims]),
        "golem.activity.caps.transfer.protocol": ["gftp", "http", "https"],
        MULTI_ACTIVITY: True,
        "golem.com.scheme": "payu",
        "golem.com.pricing.model": "linear",
        "golem.com.pricing.model.linear.coeffs": habits.price.coefficients,
        "golem.com.usage.vector": ["golem.usage.duration_sec", "golem.usage.cpu_sec"],
        "golem.com.payment.protocol.version": "3",
        ACCEPT_TIMEOUT: 240,
        DEBIT_NOTE_INTERVAL: 120,
        PAYMENT_TIMEOUT: 120,
        **{f"golem.com.payment.platform.{_platform(net)}.address": node_id for net in payment_networks},
    }


def _platform(network: str) -> str:
    return f"erc20-{network}-{'glm' if network in REAL_NETWORKS else 'tglm'}"


def _runtime(habits: ProviderHabits, capabilities: list[str]) -> dict[str, Any]:
    if habits.gpu is None:
        return {RUNTIME: habits.runtime, CAPABILITIES: capabilities}
    return {
        RUNTIME: "vm-nvidia",
        CAPABILITIES: [*capabilities, "!exp:gpu"],
        f"{_GPU}.model": habits.gpu,
        f"{_GPU}.memory.total.gib": habits.gpu_mem_gib,
        f"{_GPU}.cuda.enabled": False,
    }


def offer_constraints(subnet: str) -> str:
    """Return the constraints of an offer: the demand must expire, and name the same subnet."""
    return f"(&({EXPIRATION}>0)({SUBNET}={subnet}))"


def counter_properties(
    offer: Mapping[str, Any], demand: Mapping[str, Any], interval: float | None = None
) -> dict[str, Any]:
    """Return the properties of a counter-proposal: the offer's, with the negotiable ones of the demand.

    Args:
        offer: the properties of the offer.
        demand: the properties of the demand.
        interval: the debit note interval, in seconds; None: the demand's.
    """
    terms = {name: demand[name] for name in _NEGOTIABLE if name in demand}
    if interval is not None:
        terms[DEBIT_NOTE_INTERVAL] = interval
    return {name: value for name, value in offer.items() if name not in _NEGOTIABLE} | terms


@dataclass(frozen=True, slots=True)
class Terms:
    """The terms of an agreement.

    Attributes:
        expiration: when the agreement expires.
        package: the image, and its manifest.
        debit_note_interval: the time between two debit notes.
        payment_timeout: the time to pay a debit note; None: only the invoice is paid.
        accept_timeout: the time to accept a debit note; None: it need not be accepted.
        many_activities: whether the agreement goes on after its first activity.
    """

    expiration: datetime
    package: Package
    debit_note_interval: timedelta
    payment_timeout: timedelta | None
    accept_timeout: timedelta | None = None
    many_activities: bool = True

    @classmethod
    def of(cls, agreement: Mapping[str, Any]) -> Terms:
        """Read the terms of an agreement.

        Args:
            agreement: the agreement as the daemon returns it.

        Raises:
            BadPayload: its manifest is not valid, or has expired.
        """
        demand, offer = agreement["demand"]["properties"], agreement["offer"]["properties"]
        interval, payment = offer.get(DEBIT_NOTE_INTERVAL), offer.get(PAYMENT_TIMEOUT)
        accept = offer.get(ACCEPT_TIMEOUT)
        return cls(
            expiration=datetime.fromtimestamp(float(demand[EXPIRATION]) / 1000, timezone.utc),
            package=replace(Package.of(demand), runtime=str(offer.get(RUNTIME, "vm"))),
            debit_note_interval=_DEFAULT_INTERVAL if interval is None else timedelta(seconds=float(interval)),
            payment_timeout=None if payment is None else timedelta(seconds=float(payment)),
            accept_timeout=None if accept is None else timedelta(seconds=float(accept)),
            many_activities=demand.get(MULTI_ACTIVITY) is True,
        )

    def debit_note_due(self, now: datetime) -> datetime | None:
        return None if self.payment_timeout is None else now + self.payment_timeout

    def invoice_due(self, now: datetime) -> datetime:
        return now + _INVOICE_DUE
