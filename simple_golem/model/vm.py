"""Payloads that run in a virtual machine."""

from __future__ import annotations

import re
from collections.abc import Collection
from decimal import Decimal

from ..errors import BadPayload
from .cost import plain
from .payload import ImageRequest, Payload, checked_image_hash, checked_image_url

DEFAULT_IMAGE_TAG = "golem/alpine:latest"


def repo(
    *,
    image_hash: str | None = None,
    image_tag: str | None = None,
    image_url: str | None = None,
    min_mem_gib: float = 0.5,
    min_storage_gib: float = 2.0,
    min_cpu_threads: int = 1,
    capabilities: Collection[str] = (),
) -> Payload:
    """Return the payload of an image in Golem's registry, or at a URL of your own.

    Without hash and tag it is a small public image with a shell.

    Args:
        image_hash: SHA-3 hash of the image, 56 hexadecimal digits.
        image_tag: the image's name in the registry, e.g. `golem/alpine:latest`; instead of a hash.
        image_url: where to download it; needs the hash.
        min_mem_gib: memory, GiB.
        min_storage_gib: disk, GiB.
        min_cpu_threads: threads of the processor.
        capabilities: what else the runtime must be able to, e.g. `["vpn"]`.

    Raises:
        BadPayload: arguments that contradict each other or can't be.
    """
    constraints = [
        "(golem.runtime.name=vm)",
        f"(golem.inf.mem.gib>={_amount('min_mem_gib', min_mem_gib)})",
        f"(golem.inf.storage.gib>={_amount('min_storage_gib', min_storage_gib)})",
        f"(golem.inf.cpu.threads>={_count('min_cpu_threads', min_cpu_threads)})",
        *(f"(golem.runtime.capabilities={name})" for name in _capabilities(capabilities)),
    ]
    return Payload(
        properties={"golem.srv.comp.vm.package_format": "gvmkit-squash"},
        constraints=constraints,
        image=_image(image_hash, image_tag, image_url),
    )


def _image(image_hash: str | None, image_tag: str | None, image_url: str | None) -> ImageRequest:
    if image_hash is not None and image_tag is not None:
        raise BadPayload(
            "image_hash and image_tag are both given; one of them is enough, leave the other out"
        )
    if image_url is not None and image_hash is None:
        raise BadPayload("image_url needs image_hash too: providers check by it what they downloaded")
    if image_hash is not None:
        url = None if image_url is None else checked_image_url(image_url)
        return ImageRequest(hash=checked_image_hash(image_hash), url=url)
    tag = DEFAULT_IMAGE_TAG if image_tag is None else image_tag
    if not isinstance(tag, str) or not re.fullmatch(r"[\w./:@+-]+", tag, re.ASCII):
        raise BadPayload(
            f"image_tag is {tag!r}: give the image's name in the registry, e.g. {DEFAULT_IMAGE_TAG!r}"
        )
    return ImageRequest(tag=tag)


def _amount(name: str, value: object) -> str:
    if isinstance(value, (int, float, Decimal)) and not isinstance(value, bool):
        amount = Decimal(str(value))
        if amount.is_finite() and amount > 0:
            return plain(amount)
    raise BadPayload(f"{name} is {value!r}: give a positive number of GiB")


def _count(name: str, value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise BadPayload(f"{name} is {value!r}: give a whole number, 1 or more")
    return value


def _capabilities(names: object) -> tuple[str, ...]:
    if isinstance(names, str) or not isinstance(names, Collection):
        raise BadPayload(f"capabilities is {names!r}: give a list, e.g. ['vpn']")
    for name in names:
        if not isinstance(name, str) or not re.fullmatch(r"[\w.:!-]+", name, re.ASCII):
            raise BadPayload(f"capabilities: {name!r} can't be the name of a capability, as 'vpn' is")
    return tuple(sorted(set(names)))
