"""What an activity is to run, as a demand names it: an image, and perhaps a manifest that it is held to."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from ...errors import BadPayload
from ...model.payload.manifest import asks_for_internet, read_manifest

TASK_PACKAGE = "golem.srv.comp.task_package"
MANIFEST = "golem.srv.comp.payload"


@dataclass(frozen=True, slots=True)
class Package:
    """An image, and the manifest that names it, if one does.

    Attributes:
        image: `hash:sha3:<hash>:<url>`; None for a bare machine.
        manifest: as JSON values; None: everything may be run.
    """

    image: str | None = None
    manifest: Mapping[str, Any] | None = None

    @classmethod
    def of(cls, demand: Mapping[str, Any]) -> Package:
        """Read it from the properties of a demand.

        Raises:
            BadPayload: the manifest is none, or has expired.
        """
        image = demand.get(TASK_PACKAGE)
        if MANIFEST not in demand:
            return cls(image)
        _, manifest = read_manifest(demand[MANIFEST])
        named = manifest["payload"][0]
        return cls(f"hash:{named['hash']}:{named['urls'][0]}", manifest)

    def refusal(self, command: Mapping[str, Any]) -> str:
        """Why a command of an ExeScript may not be executed; `""` if it may."""
        name, details = next(iter(command.items()))
        script = (self.manifest or {}).get("compManifest", {}).get("script")
        if script is None or name not in ("run", "transfer"):
            return ""
        line = _line(name, details)
        if any(_fits(line, name, pattern, script.get("match", "strict")) for pattern in script["commands"]):
            return ""
        return f"script validation error: no matching manifest entry found for '{line}'"


def demand_refusal(demand: Mapping[str, Any], capabilities: Collection[str]) -> str:
    """Why a provider with these capabilities can't do what a demand's manifest asks for; `""` if it can."""
    try:
        manifest = Package.of(demand).manifest
    except BadPayload as error:
        return f"Manifest is refused: {error}"
    if manifest is not None and asks_for_internet(manifest) and "inet" not in capabilities:
        return "Manifest is refused: outbound access is not offered"
    return ""


def _line(name: str, details: Mapping[str, Any]) -> str:
    """A command as the real exe-unit compares it: with a blank at its end, if it has no arguments."""
    if name == "transfer":
        return f"transfer {details.get('from')} {details.get('to')}"
    return f"run {details['entry_point']} {' '.join(details.get('args', ()))}"


def _fits(line: str, name: str, pattern: str, match: str) -> bool:
    if pattern.lstrip().startswith("{"):
        parts = json.loads(pattern).get(name)
        if not isinstance(parts, Mapping):
            return False
        match = parts.get("match", match)
        args = parts.get("args", "")
        words = f"{parts.get('from')} {parts.get('to')}" if name == "transfer" else args
        pattern = f"{name} {words if isinstance(words, str) else ' '.join(map(json.dumps, words))}"
    if not pattern.startswith(name):
        return False
    return line == pattern if match == "strict" else re.search(pattern, line) is not None
