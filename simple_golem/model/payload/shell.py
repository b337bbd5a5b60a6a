"""Whether the library may put a shell in front of a command."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...errors import BadPayload
from ..commands.commands import Run
from .manifest import allows, read_manifest
from .payload import Payload, runtime_of
from .properties import MANIFEST


def shell_refusal(payload: Payload, command: Run) -> str:
    """Return why /bin/sh can't run this command, whatever image is used; `""` if no reason is known.

    Args:
        payload: what the provider runs.
        command: a command that `/bin/sh` runs.
    """
    runtime = runtime_of(payload)
    if runtime is not None and not runtime.startswith("vm"):
        return f"the runtime {runtime} has no shell"
    manifest = _manifest_of(payload)
    if manifest is not None and not allows(manifest, command.to_exe_script()):
        return "the manifest's commands do not allow it"
    return ""


def _manifest_of(payload: Payload) -> Mapping[str, Any] | None:
    ready = payload.properties.get(MANIFEST)
    if payload.manifest is not None or not isinstance(ready, str):
        return payload.manifest
    try:
        return read_manifest(ready)[1]
    except BadPayload:  # it has expired meanwhile; its provider will report that
        return None
