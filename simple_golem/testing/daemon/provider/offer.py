"""What a fake provider offers, and what it makes of the terms a demand asks for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...fake_provider import FakeProvider

SUBNET = "golem.node.debug.subnet"
_PLATFORMS = (
    *(f"erc20-{net}-tglm" for net in ("hoodi", "holesky", "sepolia", "goerli", "amoy", "mumbai")),
    *(f"erc20-{net}-glm" for net in ("mainnet", "polygon")),
)
_ACCEPT_TIMEOUT = "golem.com.payment.debit-notes.accept-timeout?"
_NOTE_INTERVAL = "golem.com.scheme.payu.debit-note.interval-sec?"
_PAYMENT_TIMEOUT = "golem.com.scheme.payu.payment-timeout-sec?"
_NEGOTIABLE = (_ACCEPT_TIMEOUT, _NOTE_INTERVAL, _PAYMENT_TIMEOUT)
_DEFAULT_INTERVAL = 120.0


def offer_properties(provider: FakeProvider, subnet: str) -> dict[str, Any]:
    """A small Linux machine that takes any payment platform."""
    prices = provider.per_second, provider.per_cpu_second, provider.start
    return {
        "golem.node.id.name": provider.name,
        SUBNET: subnet,
        "golem.inf.cpu.architecture": "x86_64",
        "golem.inf.cpu.cores": 4,
        "golem.inf.cpu.threads": 4,
        "golem.inf.mem.gib": 8.0,
        "golem.inf.storage.gib": 64.0,
        "golem.runtime.name": "vm",
        "golem.runtime.version": "0.3.0",
        "golem.runtime.capabilities": ["manifest-support", "vpn"],
        "golem.activity.caps.transfer.protocol": ["gftp", "http", "https"],
        "golem.srv.caps.multi-activity": True,
        "golem.com.scheme": "payu",
        "golem.com.pricing.model": "linear",
        "golem.com.pricing.model.linear.coeffs": [float(price) for price in prices],
        "golem.com.usage.vector": ["golem.usage.duration_sec", "golem.usage.cpu_sec"],
        "golem.com.payment.protocol.version": "3",
        _ACCEPT_TIMEOUT: 240,
        _NOTE_INTERVAL: 120,
        _PAYMENT_TIMEOUT: 120,
        **{f"golem.com.payment.platform.{one}.address": provider.node_id for one in _PLATFORMS},
        **provider.properties,
    }


def offer_constraints(provider: FakeProvider, subnet: str) -> str:
    """What a demand must have: an end, the same subnet, and whatever else the provider asks for."""
    return f"(&(golem.srv.comp.expiration>0)({SUBNET}={subnet}){provider.constraints})"


def counter_properties(offer: Mapping[str, Any], demand: Mapping[str, Any]) -> dict[str, Any]:
    """The offer as an answer to a demand: what can be negotiated is as the demand has it, or left out."""
    terms = {name: demand[name] for name in _NEGOTIABLE if name in demand}
    return {name: value for name, value in offer.items() if name not in _NEGOTIABLE} | terms


def note_interval(provider: FakeProvider, agreed: Mapping[str, Any]) -> float:
    """Seconds between two debit notes."""
    if provider.debit_note_interval is not None:
        return provider.debit_note_interval
    return float(agreed.get(_NOTE_INTERVAL, _DEFAULT_INTERVAL))


def payment_timeout(agreed: Mapping[str, Any]) -> float | None:
    """Seconds after which a debit note is to be paid; None if only the invoice is."""
    seconds = agreed.get(_PAYMENT_TIMEOUT)
    return None if seconds is None else float(seconds)
