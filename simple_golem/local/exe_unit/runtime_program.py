"""A runtime of the user's own, as an exe-unit and an offer know it."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...errors import LocalNetworkError

_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class RuntimeProgram:
    """A runtime of the user's own.

    Attributes:
        name: as in offers.
        path: of the program.
        folder: a folder in which each activity gets one of its own.
        properties: what its offer has besides the usual properties.
    """

    name: str
    path: Path
    folder: Path
    properties: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def tested(cls, name: str, path: Path, folder: Path) -> RuntimeProgram:
        """Test a program as a real provider does before it offers it; blocks until the program has ended.

        `PROGRAM test` must succeed. What `PROGRAM offer-template` prints is added to the offer; if it fails,
        nothing is.

        Raises:
            LocalNetworkError: the program can't be executed, or its test fails.
        """
        test = _ran(name, path, "test")
        if test.returncode:
            said = test.stderr.strip().splitlines()[-1:]
            raise LocalNetworkError(
                f"the runtime {name}: `{path} test` ends with code {test.returncode}: {''.join(said)}"
            )
        template = _ran(name, path, "offer-template")
        if template.returncode or not template.stdout.strip():
            return cls(name, path, folder)
        try:
            properties = json.loads(template.stdout)["properties"]
            return cls(name, path, folder, dict(properties))
        except (ValueError, KeyError, TypeError) as error:
            raise LocalNetworkError(
                f"the runtime {name}: `{path} offer-template` prints no offer template: {error!r}"
            ) from error


def _ran(name: str, path: Path, command: str) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            [path, command],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise LocalNetworkError(f"the runtime {name}: {error}") from error
