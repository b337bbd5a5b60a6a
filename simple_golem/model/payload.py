"""What a provider must have to run a service: properties, constraints, and perhaps an image."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ..errors import BadPayload
from .frozen import FrozenDict, freeze

TASK_PACKAGE = "golem.srv.comp.task_package"

_HASH = re.compile(r"[0-9a-f]{56}", re.ASCII)


@dataclass(frozen=True)
class ImageRequest:
    """Names an image, by hash or tag; with a URL it need not be looked up in a registry."""

    hash: str | None = None
    tag: str | None = None
    url: str | None = None


@dataclass(frozen=True)
class ImageLocation:
    """Where providers download an image, and the hash by which they check it.

    Raises:
        BadPayload: the hash or the URL is none.
    """

    hash: str
    url: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "hash", checked_image_hash(self.hash))
        object.__setattr__(self, "url", checked_image_url(self.url))


@dataclass(frozen=True)
class Payload:
    """What is asked of providers; most people get one from `vm.repo(...)`.

    Args:
        properties: properties of the demand, JSON values by dotted names.
        constraints: what an offer must fulfil, e.g. `("(golem.runtime.name=vm)",)`.
        image: an image to be looked up before the demand is published, if the runtime takes one.

    Raises:
        BadPayload: a property has no JSON form, or a constraint has no parentheses.
    """

    properties: Mapping[str, Any] = field(default_factory=FrozenDict)
    constraints: Sequence[str] = ()
    image: ImageRequest | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "properties", _properties(self.properties))
        object.__setattr__(self, "constraints", _constraints(self.constraints))
        if self.image is not None and not isinstance(self.image, ImageRequest):
            raise BadPayload(f"image is {self.image!r}: give an ImageRequest, or use vm.repo(image_hash=…)")

    def with_image(self, location: ImageLocation) -> Payload:
        """Return the payload with its image found."""
        package = f"hash:sha3:{location.hash}:{location.url}"
        return replace(self, properties={**self.properties, TASK_PACKAGE: package})


def require_payload(value: object) -> Payload:
    """Return `value` if it is a payload.

    Raises:
        BadPayload: it is none; the message says how to get one.
    """
    if isinstance(value, Payload):
        return value
    if inspect.iscoroutine(value):
        value.close()  # else Python warns that it was never awaited
        raise BadPayload("get_payload is async: strike out `async` and `await`, vm.repo(…) answers at once")
    raise BadPayload(
        f"{_short(value)} is no payload; get_payload returns one, e.g. vm.repo(image_tag='golem/alpine')"
    )


def checked_image_hash(value: object) -> str:
    """Return an image's hash in lower case, or raise `BadPayload`."""
    text = value.strip().lower() if isinstance(value, str) else ""
    if not _HASH.fullmatch(text):
        raise BadPayload(f"image_hash is {_short(value)}: a SHA-3 hash of 56 hexadecimal digits is needed")
    return text


def checked_image_url(value: object) -> str:
    """Return an image's URL, or raise `BadPayload`."""
    if not isinstance(value, str) or not re.fullmatch(r"https?://[!-~]+", value):
        raise BadPayload(
            f"image_url is {_short(value)}: a URL that starts with http:// or https:// is needed"
        )
    return value


def _properties(value: object) -> FrozenDict:
    if not isinstance(value, Mapping):
        raise BadPayload(f"properties are {_short(value)}: give a dict, e.g. {{'golem.srv.comp.x': 1}}")
    try:
        frozen = freeze(value)
    except TypeError as error:
        raise BadPayload(f"properties: {error}") from error
    return FrozenDict(frozen)


def _constraints(value: object) -> tuple[str, ...]:
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise BadPayload(f"constraints are {_short(value)}: give a list, e.g. ['(golem.runtime.name=vm)']")
    for constraint in value:
        if not isinstance(constraint, str) or not re.fullmatch(r"\(.+\)", constraint, re.DOTALL):
            raise BadPayload(
                f"constraints: {_short(constraint)} has no parentheses, as '(golem.runtime.name=vm)' has"
            )
    return tuple(value)


def _short(value: object, limit: int = 120) -> str:
    text = repr(value)
    return text if len(text) <= limit else text[: limit - 1] + "…"
