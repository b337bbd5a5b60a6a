"""Golem's own properties, and the types of their values; properties of other names may have any value."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from ...errors import BadPayload
from ..base.frozen import FrozenDict, freeze

NAME = re.compile(r"[\w.!?:@$\[\]-]+")

GPU = "golem.!exp.gap-35.v1.inf.gpu"
MANIFEST = "golem.srv.comp.payload"
NODE_DESCRIPTOR = "golem.!exp.gap-31.v0.node.descriptor"


@dataclass(frozen=True, slots=True)
class Kind:
    """A type of values.

    Attributes:
        name: for messages.
        example: a value of this type.
        fits: returns whether a value has this type.
    """

    name: str
    example: object
    fits: Callable[[object], bool]


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


TEXT = Kind("text", "linux", lambda value: isinstance(value, str))
FLAG = Kind("True or False", True, lambda value: isinstance(value, bool))
NUMBER = Kind("a number", 2.5, _is_number)
WHOLE = Kind("a whole number", 2, lambda value: isinstance(value, int) and not isinstance(value, bool))
TEXTS = Kind(
    "a list of texts",
    ["vpn"],
    lambda value: isinstance(value, tuple) and all(isinstance(item, str) for item in value),
)
NUMBERS = Kind(
    "a list of numbers",
    [0.1, 0.2, 0.0],
    lambda value: isinstance(value, tuple) and all(map(_is_number, value)),
)

# From Golem's standards, and the proposals 31 and 35. A `*` stands for one or more parts of a name.
_KINDS: Mapping[str, Kind] = {
    "golem.activity.caps.transfer.protocol": TEXTS,
    "golem.com.payment.debit-notes.accept-timeout": NUMBER,
    "golem.com.payment.platform.*.address": TEXT,
    "golem.com.pricing.model": TEXT,
    "golem.com.pricing.model.linear.coeffs": NUMBERS,
    "golem.com.scheme": TEXT,
    "golem.com.scheme.payu.debit-note.interval-sec": NUMBER,
    "golem.com.scheme.payu.payment-timeout-sec": NUMBER,
    "golem.com.usage.vector": TEXTS,
    "golem.inf.cpu.architecture": TEXT,
    "golem.inf.cpu.brand": TEXT,
    "golem.inf.cpu.capabilities": TEXTS,
    "golem.inf.cpu.cores": WHOLE,
    "golem.inf.cpu.model": TEXT,
    "golem.inf.cpu.threads": WHOLE,
    "golem.inf.cpu.vendor": TEXT,
    "golem.inf.mem.gib": NUMBER,
    "golem.inf.storage.gib": NUMBER,
    "golem.node.geo.country_code": TEXT,
    "golem.node.id.name": TEXT,
    "golem.node.net.is-public": FLAG,
    "golem.runtime.capabilities": TEXTS,
    "golem.runtime.name": TEXT,
    "golem.runtime.version": TEXT,
    "golem.srv.app.eth.network": TEXT,
    "golem.srv.caps.multi-activity": FLAG,
    "golem.srv.caps.payload-manifest": FLAG,
    "golem.srv.comp.manifest.net.inet.out.protocols": TEXTS,
    "golem.srv.comp.manifest.net.inet.out.unrestricted.urls": FLAG,
    "golem.srv.comp.manifest.net.inet.out.urls": TEXTS,
    "golem.srv.comp.manifest.script.commands": TEXTS,
    "golem.srv.comp.manifest.script.match": TEXT,
    "golem.srv.comp.manifest.version": TEXT,
    MANIFEST: TEXT,
    f"{MANIFEST}.cert": TEXT,
    f"{MANIFEST}.sig": TEXT,
    f"{MANIFEST}.sig.algorithm": TEXT,
    "golem.srv.comp.task_package": TEXT,
    "golem.srv.comp.vm.package_format": TEXT,
    "golem.srv.comp.wasm.wasi.version": TEXT,
    f"{GPU}.*.clocks.*.mhz": NUMBER,
    f"{GPU}.*.cuda.compute-capability": TEXT,
    f"{GPU}.*.cuda.cores": WHOLE,
    f"{GPU}.*.cuda.enabled": FLAG,
    f"{GPU}.*.cuda.version": TEXT,
    f"{GPU}.*.memory.bandwidth.gib": NUMBER,
    f"{GPU}.*.memory.total.gib": NUMBER,
    f"{GPU}.*.model": TEXT,
    f"{GPU}.*.quantity": WHOLE,
}

# These have arguments of their own: with two values it would not be clear which one counts.
_ELSEWHERE: Mapping[str, str] = {
    "golem.srv.comp.expiration": "run_service(…, expiration=…)",
    "golem.node.debug.subnet": "Golem(subnet_tag=…)",
    "golem.com.payment.chosen-platform": "Golem(payment_driver=…, payment_network=…)",
    "golem.com.payment.debit-notes.accept-timeout": "Terms(debit_note_accept_timeout=…)",
    "golem.com.scheme.payu.debit-note.interval-sec": "Terms(debit_note_interval=…)",
    "golem.com.scheme.payu.payment-timeout-sec": "Terms(payment_timeout=…)",
}

_PATTERNS = [
    # The GPU's number, if a machine has several: `….gpu.d0.model`, else `….gpu.model`.
    (re.compile(re.escape(name).replace(r"gpu\.\*", r"gpu(\.d\d+)?").replace(r"\*", ".+")), kind)
    for name, kind in _KINDS.items()
    if "*" in name
]


def kind_of(name: str) -> Kind | None:
    """Return the type of a property's values; None if the property is not Golem's own."""
    plain = name.rstrip("?")  # marks a property that can be negotiated
    if plain in _KINDS:
        return _KINDS[plain]
    return next((kind for pattern, kind in _PATTERNS if pattern.fullmatch(plain)), None)


def checked_properties(value: object) -> FrozenDict:
    """Check the properties of a demand, and return them; a datetime becomes milliseconds since 1970.

    Args:
        value: JSON values by dotted names. A mapping as a value adds further parts to its name.

    Raises:
        BadPayload: a value is not JSON, or does not have the type of its property.
    """
    if not isinstance(value, Mapping):
        raise BadPayload(f"properties are {value!r}: give a dict, e.g. {{'golem.srv.comp.x': 1}}")
    frozen = FrozenDict((name, _frozen(_checked_name(name), item)) for name, item in value.items())
    _check_kinds("", frozen)
    return frozen


def _checked_name(name: object) -> str:
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise BadPayload(f"properties: {name!r} is not a name such as 'golem.inf.mem.gib'")
    return name


def _frozen(name: str, value: object) -> Any:
    kind = kind_of(name)
    expected = "" if kind is None else f": {kind.name} is expected, e.g. {kind.example!r}"
    if isinstance(value, datetime):
        if value.utcoffset() is None:
            raise BadPayload(f"{name} is {value!r}, which has no time zone: use datetime.now(timezone.utc)")
        return int(value.timestamp() * 1000)
    if isinstance(value, Decimal) and value.is_finite():
        raise BadPayload(f"{name} is {value!r}: JSON has no decimals, give float({str(value)!r})")
    try:
        return freeze(value)
    except TypeError as error:
        raise BadPayload(f"the property {name}: {error}{expected}") from error


def _check_kinds(prefix: str, properties: Mapping[str, Any]) -> None:
    for part, value in properties.items():
        name = prefix + part
        if name.rstrip("?") in _ELSEWHERE:
            raise BadPayload(f"the property {name} is set by {_ELSEWHERE[name.rstrip('?')]}: leave it out")
        kind = kind_of(name)
        if isinstance(value, Mapping):
            _check_kinds(f"{name}.", value)
        elif kind is not None and not kind.fits(value):
            raise BadPayload(
                f"the property {name} is {value!r}: {kind.name} is expected, e.g. {kind.example!r}"
            )
