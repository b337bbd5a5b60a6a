"""The image that a demand asks for, and the manifest that limits its commands."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from ...errors import BadPayload
from ...model.payload.manifest import allows, asks_for_internet, command_line, read_manifest

TASK_PACKAGE = "golem.srv.comp.task_package"
MANIFEST = "golem.srv.comp.payload"


@dataclass(frozen=True, slots=True)
class Package:
    """An image, and the manifest that names it, if there is one.

    Attributes:
        image: `hash:sha3:<hash>:<url>`; None: no image.
        manifest: the manifest as a JSON value; None: every command is allowed.
        runtime: the name of the runtime in the offer.
    """

    image: str | None = None
    manifest: Mapping[str, Any] | None = None
    runtime: str = "vm"

    @classmethod
    def of(cls, demand: Mapping[str, Any]) -> Package:
        """Read the package from the properties of a demand.

        Raises:
            BadPayload: the manifest is not valid, or has expired.
        """
        image = demand.get(TASK_PACKAGE)
        if MANIFEST not in demand:
            return cls(image)
        _, manifest = read_manifest(demand[MANIFEST])
        named = manifest["payload"][0]
        return cls(f"hash:{named['hash']}:{named['urls'][0]}", manifest)

    def refusal(self, command: Mapping[str, Any]) -> str:
        """Return why a command of an ExeScript is not allowed; `""` if it is allowed."""
        if self.manifest is None or allows(self.manifest, command):
            return ""
        line = command_line(*next(iter(command.items())))
        violation = f"script validation error: no matching manifest entry found for '{line}'"
        return f"Manifest violation in ExeScript: {violation}"


def demand_refusal(demand: Mapping[str, Any], capabilities: Collection[str]) -> str:
    """Return why a provider with these capabilities refuses a demand's manifest; `""` if it accepts."""
    try:
        manifest = Package.of(demand).manifest
    except BadPayload as error:
        return f"Manifest is refused: {error}"
    if manifest is not None and asks_for_internet(manifest) and "inet" not in capabilities:
        return "Manifest is refused: outbound access is not offered"
    return ""
