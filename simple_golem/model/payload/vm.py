"""Payloads that run in a virtual machine."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

from ...errors import BadPayload
from .constraints import checked_constraints, constraint
from .manifest import COMMANDS, as_base64, asks_for_internet, made_manifest, read_manifest
from .payload import ImageRequest, Payload, checked_image_hash, checked_image_url
from .properties import GPU, MANIFEST, NODE_DESCRIPTOR

DEFAULT_IMAGE_TAG = "golem/alpine:latest"

_FORMAT = {"golem.srv.comp.vm.package_format": "gvmkit-squash"}


def repo(
    *,
    image_hash: str | None = None,
    image_tag: str | None = None,
    image_url: str | None = None,
    min_mem_gib: float = 0.5,
    min_storage_gib: float = 2.0,
    min_cpu_threads: int = 1,
    min_cpu_cores: int | None = None,
    gpu: bool | str = False,
    min_gpu_mem_gib: float | None = None,
    capabilities: Collection[str] = (),
    constraints: Sequence[str] = (),
) -> Payload:
    """Return the payload of an image in Golem's registry, or at a URL of your own.

    Without a hash and a tag, the image is a small public one with a shell.

    Args:
        image_hash: SHA-3 hash of the image, 56 hexadecimal digits.
        image_tag: the image's name in the registry, e.g. `golem/alpine:latest`; instead of a hash.
        image_url: where to download it; needs the hash.
        min_mem_gib: memory, GiB.
        min_storage_gib: disk, GiB.
        min_cpu_threads: threads of the processor.
        min_cpu_cores: cores of the processor.
        gpu: True for any graphics card, or its model, e.g. `"NVIDIA GeForce RTX 40*"`, where `*` is any text.
        min_gpu_mem_gib: memory of the graphics card, GiB.
        capabilities: further capabilities that the runtime needs, e.g. `["vpn"]`; see `offer.capabilities`.
        constraints: further constraints on offers, e.g. `["(golem.inf.cpu.vendor=GenuineIntel)"]`.

    Raises:
        BadPayload: an argument is not valid, or two contradict each other.
    """
    return Payload(
        properties=_FORMAT,
        constraints=[
            *checked_constraints(constraints),
            *_machine(min_mem_gib, min_storage_gib, min_cpu_threads, min_cpu_cores),
            *_graphics(gpu, min_gpu_mem_gib),
            *_able_to(capabilities, *_of_gpu(gpu)),
        ],
        image=_image(image_hash, image_tag, image_url),
        runtime=_runtime(gpu),
    )


def manifest(
    manifest: str | bytes | Mapping[str, Any] | None = None,
    *,
    manifest_sig: str | bytes | None = None,
    manifest_sig_algorithm: str | None = None,
    manifest_cert: str | bytes | None = None,
    node_descriptor: str | bytes | Mapping[str, Any] | None = None,
    image_hash: str | None = None,
    image_tag: str | None = None,
    image_url: str | None = None,
    outbound: Sequence[str] | bool = (),
    commands: Sequence[str] = COMMANDS,
    match: str = "regex",
    created_at: datetime | None = None,
    expires_at: datetime | None = None,
    min_mem_gib: float = 0.5,
    min_storage_gib: float = 2.0,
    min_cpu_threads: int = 1,
    min_cpu_cores: int | None = None,
    gpu: bool | str = False,
    min_gpu_mem_gib: float | None = None,
    capabilities: Collection[str] = (),
) -> Payload:
    """Return a payload with a manifest, which declares what it runs and what it connects to.

    Providers allow nothing else. Only such payloads get access to the internet. Without `manifest`, one is
    made from the image and `outbound`. It needs no signature if providers allow these addresses to everybody.
    The capabilities that it needs are added to the constraints.

    Args:
        manifest: a complete Computation Payload Manifest: JSON (text or a dict), or base64, which is sent
            unchanged.
        manifest_sig: the signature of the manifest in base64; given as bytes, or in base64.
        manifest_sig_algorithm: the digest of the signature; `sha256` by default.
        manifest_cert: the certificate with which providers check the signature: PEM or DER, or in base64.
        node_descriptor: the permissions of the requestor: JSON (text or a dict).
        image_hash, image_tag, image_url: as in `vm.repo`; only without `manifest`.
        outbound: the URLs that it connects to, e.g. `["https://api.example.com"]`. True means any URL, which
            few providers allow without a signature.
        commands: patterns of the commands that it runs; each begins with `run` or `transfer`.
        match: how commands are compared with them. `regex` searches in the command. `strict` compares the
            whole text, in which a command without arguments ends with a space: `"run /bin/date "`.
        created_at, expires_at: aware datetimes; only without `manifest`. By default now, and the year 2100.
        min_mem_gib, min_storage_gib, min_cpu_threads, min_cpu_cores: as in `vm.repo`.
        gpu, min_gpu_mem_gib, capabilities: as in `vm.repo`.

    Raises:
        BadPayload: the manifest does not follow Golem's schema, or arguments contradict each other.
    """
    signature = _signature(manifest, manifest_sig, manifest_sig_algorithm, manifest_cert)
    image: ImageRequest | None = None
    made = None
    if manifest is None:
        image = _image(image_hash, image_tag, image_url)
        made = content = made_manifest(
            outbound=outbound, commands=commands, match=match, created_at=created_at, expires_at=expires_at
        )
        properties: dict[str, Any] = {}
    else:
        _refuse_both(
            image_hash=image_hash is not None,
            image_tag=image_tag is not None,
            image_url=image_url is not None,
            outbound=outbound != (),
            commands=commands != COMMANDS,
            match=match != "regex",
            created_at=created_at is not None,
            expires_at=expires_at is not None,
        )
        encoded, content = read_manifest(manifest)
        properties = {MANIFEST: encoded}
    needs = ("manifest-support", *(["inet"] if asks_for_internet(content) else []))
    return Payload(
        properties={**_FORMAT, **properties, **signature, **_descriptor(node_descriptor)},
        constraints=[
            *_machine(min_mem_gib, min_storage_gib, min_cpu_threads, min_cpu_cores),
            *_graphics(gpu, min_gpu_mem_gib),
            *_able_to(capabilities, *needs, *_of_gpu(gpu)),
        ],
        image=image,
        runtime=_runtime(gpu),
        manifest=made,
    )


# --- the machine -------------------------------------------------------------------------------------


def _machine(mem: object, storage: object, threads: object, cores: object) -> list[str]:
    least = [
        constraint("golem.inf.mem.gib", ">=", _amount("min_mem_gib", mem)),
        constraint("golem.inf.storage.gib", ">=", _amount("min_storage_gib", storage)),
        constraint("golem.inf.cpu.threads", ">=", _count("min_cpu_threads", threads)),
    ]
    if cores is not None:
        least.append(constraint("golem.inf.cpu.cores", ">=", _count("min_cpu_cores", cores)))
    return least


def _graphics(gpu: object, mem: object) -> list[str]:
    if gpu is False:
        if mem is not None:
            raise BadPayload("min_gpu_mem_gib needs a gpu: add gpu=True, or its model")
        return []
    wanted = []
    if gpu is not True:
        if not isinstance(gpu, str) or not re.fullmatch(r"[^()*\s][^()]*", gpu):
            raise BadPayload(
                f"gpu is {gpu!r}: give True, or a model such as 'NVIDIA GeForce RTX 4090'; "
                "it can't begin with *"
            )
        wanted.append(_of_card("model", "=", gpu.strip()))
    if mem is not None:
        wanted.append(_of_card("memory.total.gib", ">=", _amount("min_gpu_mem_gib", mem)))
    return wanted


def _of_card(name: str, operator: str, value: str | int | Decimal) -> str:
    """Newer providers number their cards; older ones do not."""
    either = (constraint(f"{GPU}{number}.{name}", operator, value) for number in ("", ".d0"))
    return f"(|{''.join(either)})"


def _runtime(gpu: bool | str) -> str:
    return "vm" if gpu is False else "vm-nvidia"


def _of_gpu(gpu: bool | str) -> tuple[str, ...]:
    return () if gpu is False else ("!exp:gpu",)


def _amount(name: str, value: object) -> Decimal:
    if isinstance(value, (int, float, Decimal)) and not isinstance(value, bool):
        amount = Decimal(str(value))
        if amount.is_finite() and amount > 0:
            return amount
    raise BadPayload(f"{name} is {value!r}: give a positive number of GiB")


def _count(name: str, value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise BadPayload(f"{name} is {value!r}: give a whole number, 1 or more")
    return value


def _able_to(names: object, *needed: str) -> list[str]:
    if isinstance(names, str) or not isinstance(names, Collection):
        raise BadPayload(f"capabilities is {names!r}: give a list, e.g. ['vpn']")
    for name in names:
        if not isinstance(name, str) or not re.fullmatch(r"[\w.:!-]+", name, re.ASCII):
            raise BadPayload(f"capabilities: {name!r} is not a name such as 'vpn'")
    wanted = sorted({*names, *needed})
    return [constraint("golem.runtime.capabilities", "=", name) for name in wanted]


# --- the image ---------------------------------------------------------------------------------------


def _image(image_hash: str | None, image_tag: str | None, image_url: str | None) -> ImageRequest:
    if image_hash is not None and image_tag is not None:
        raise BadPayload("image_hash and image_tag are both given: leave one of them out")
    if image_url is not None and image_hash is None:
        raise BadPayload("image_url needs image_hash, with which providers check the download")
    if image_hash is not None:
        url = None if image_url is None else checked_image_url(image_url)
        return ImageRequest(hash=checked_image_hash(image_hash), url=url)
    tag = DEFAULT_IMAGE_TAG if image_tag is None else image_tag
    if not isinstance(tag, str) or not re.fullmatch(r"[\w./:@+-]+", tag, re.ASCII):
        raise BadPayload(
            f"image_tag is {tag!r}: give the image's name in the registry, e.g. {DEFAULT_IMAGE_TAG!r}"
        )
    return ImageRequest(tag=tag)


# --- the manifest --------------------------------------------------------------------------------------


def _signature(manifest: object, signature: object, algorithm: object, certificate: object) -> dict[str, str]:
    if signature is None:
        for name, value in (("manifest_sig_algorithm", algorithm), ("manifest_cert", certificate)):
            if value is not None:
                raise BadPayload(f"{name} needs manifest_sig, the signature")
        return {}
    if manifest is None:
        raise BadPayload("manifest_sig needs manifest: only a complete manifest can be signed")
    if certificate is None:
        raise BadPayload("manifest_sig needs manifest_cert, with which providers check it")
    digest = "sha256" if algorithm is None else algorithm
    if not isinstance(digest, str) or not re.fullmatch(r"[\w-]+", digest, re.ASCII):
        raise BadPayload(f"manifest_sig_algorithm is {algorithm!r}: give a digest's name, e.g. 'sha256'")
    return {
        f"{MANIFEST}.sig": as_base64("manifest_sig", signature),
        f"{MANIFEST}.sig.algorithm": digest,
        f"{MANIFEST}.cert": as_base64("manifest_cert", certificate),
    }


def _descriptor(given: object) -> dict[str, Any]:
    if given is None:
        return {}
    if isinstance(given, (str, bytes)):
        try:
            given = json.loads(given)
        except ValueError as error:
            raise BadPayload(f"node_descriptor is not valid JSON: {error}") from error
    if not isinstance(given, Mapping):
        raise BadPayload(f"node_descriptor is {given!r}: give it as JSON, or as a dict")
    return {NODE_DESCRIPTOR: given}


def _refuse_both(**given: bool) -> None:
    for name, is_given in given.items():
        if is_given:
            raise BadPayload(f"give either {name} or a complete manifest, not both")
