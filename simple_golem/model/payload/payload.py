"""What a provider must have to run a service: properties, constraints, and perhaps an image."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ...errors import BadPayload
from ..base.frozen import FrozenDict
from ..commands.commands import Deploy, Start
from .constraints import checked_constraints, constraint
from .manifest import base64_of, checked_manifest, with_image
from .properties import MANIFEST, checked_properties

TASK_PACKAGE = "golem.srv.comp.task_package"

_RUNTIME = re.compile(r"\(golem\.runtime\.name=([^()*]+)\)")
_HASH = re.compile(r"[0-9a-f]{56}", re.ASCII)


@dataclass(frozen=True, slots=True)
class ImageRequest:
    """Names an image, by hash or tag; with a URL it need not be looked up in a registry."""

    hash: str | None = None
    tag: str | None = None
    url: str | None = None


@dataclass(frozen=True, slots=True)
class ImageLocation:
    """Where providers download an image, and the hash by which they check it.

    Raises:
        BadPayload: the hash or the URL is not valid.
    """

    hash: str
    url: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "hash", checked_image_hash(self.hash))
        object.__setattr__(self, "url", checked_image_url(self.url))


@dataclass(frozen=True, slots=True)
class Payload:
    """What a provider must have; usually made by `vm.repo(...)`.

    Args:
        properties: properties of the demand: JSON values by dotted names. Golem's own properties must have
            their types. An aware datetime becomes milliseconds since 1970.
        constraints: what an offer must fulfil, all of them, e.g. `["(golem.inf.mem.gib>=2)"]`.
        image: an image to be looked up before the demand is published, if the runtime takes one.
        runtime: the name of the runtime, e.g. `vm`; None: the constraints name it, or it may be any.
        deploy: the command that deploys the runtime, unless the service overrides `deploy()`.
        start: the command that starts it, with its arguments, unless the service overrides `deploy()`.
        manifest: a manifest, to which the image is added.

    Raises:
        BadPayload: a property is not JSON or has the wrong type, a constraint can't be read, or `deploy` sets
            an environment that the runtime loses; the message names it.
    """

    properties: Mapping[str, Any] = field(default_factory=FrozenDict)
    constraints: Sequence[str] = ()
    image: ImageRequest | None = None
    runtime: str | None = None
    deploy: Deploy = field(default_factory=Deploy)
    start: Start = field(default_factory=Start)
    manifest: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "properties", checked_properties(self.properties))
        object.__setattr__(self, "constraints", self._all_constraints())
        if self.image is not None and not isinstance(self.image, ImageRequest):
            raise BadPayload(f"image is {self.image!r}: give an ImageRequest, or use vm.repo(image_hash=…)")
        if not isinstance(self.deploy, Deploy):
            raise BadPayload(
                f"deploy is {_short(self.deploy)}: give a command such as Deploy(volumes=['/data'])"
            )
        if not isinstance(self.start, Start):
            raise BadPayload(f"start is {_short(self.start)}: give a command such as Start('--verbose')")
        refuse_lost_environment(self, self.deploy)
        if self.manifest is None:
            return
        if self.image is None:
            raise BadPayload("manifest needs an image: use vm.manifest(image_hash=…)")
        object.__setattr__(self, "manifest", checked_manifest(self.manifest))

    def _all_constraints(self) -> tuple[str, ...]:
        given = checked_constraints(self.constraints)
        if self.runtime is None:
            return given
        if not isinstance(self.runtime, str) or not re.fullmatch(r"[\w.+-]+", self.runtime):
            raise BadPayload(f"runtime is {_short(self.runtime)}: give its name, e.g. 'vm'")
        own = constraint("golem.runtime.name", "=", self.runtime)
        return given if own in given else (own, *given)

    def with_capability(self, name: str) -> Payload:
        """Return the payload for runtimes that have a capability, too."""
        needed = constraint("golem.runtime.capabilities", "=", name)
        if needed in self.constraints:
            return self
        return replace(self, constraints=(*self.constraints, needed))

    def with_image(self, location: ImageLocation) -> Payload:
        """Return the payload with the location of its image."""
        if self.manifest is not None:
            encoded = base64_of(with_image(self.manifest, location.hash, location.url))
            return replace(self, properties={**self.properties, MANIFEST: encoded})
        package = f"hash:sha3:{location.hash}:{location.url}"
        return replace(self, properties={**self.properties, TASK_PACKAGE: package})


def runtime_of(payload: Payload) -> str | None:
    """Return the name of the runtime that a payload asks for; None if it may be any."""
    if payload.runtime is not None:
        return payload.runtime
    found = [match[1] for one in payload.constraints if (match := _RUNTIME.fullmatch(one))]
    return found[0] if found else None


def refuse_lost_environment(payload: Payload, deploy: Deploy) -> None:
    """Raise `BadPayload` if a command sets an environment that no command in a virtual machine gets."""
    if deploy.env and (runtime_of(payload) or "").startswith("vm"):
        name, value = next(iter(deploy.env.items()))
        raise BadPayload(
            f"{_short(deploy)}: in a virtual machine, no command gets the environment of Deploy. Give it to "
            f"each command instead: Run('/bin/program', env={{{name!r}: {value!r}}})"
        )


def require_payload(value: object) -> Payload:
    """Return `value` if it is a payload.

    Raises:
        BadPayload: it is not a payload; the message says how to make one.
    """
    if isinstance(value, Payload):
        return value
    if inspect.iscoroutine(value):
        value.close()  # else Python warns that it was never awaited
        raise BadPayload("get_payload is async: remove `async` and `await`; vm.repo(…) returns at once")
    raise BadPayload(
        f"{_short(value)} is not a payload: make one, e.g. with vm.repo(image_tag='golem/alpine')"
    )


def checked_image_hash(value: object) -> str:
    """Return an image's hash in lower case, or raise `BadPayload`."""
    text = value.strip().lower() if isinstance(value, str) else ""
    if not _HASH.fullmatch(text):
        raise BadPayload(f"image_hash is {_short(value)}: give a SHA-3 hash of 56 hexadecimal digits")
    return text


def checked_image_url(value: object) -> str:
    """Return an image's URL, or raise `BadPayload`."""
    if not isinstance(value, str) or not re.fullmatch(r"https?://[!-~]+", value):
        raise BadPayload(f"image_url is {_short(value)}: give a URL that starts with http:// or https://")
    return value


def _short(value: object, limit: int = 120) -> str:
    text = repr(value)
    return text if len(text) <= limit else text[: limit - 1] + "…"
