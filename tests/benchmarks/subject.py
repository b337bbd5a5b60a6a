"""The processes that are measured: each run is one of its own, and so is its CPU time."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import simple_golem

SUBJECTS = Path(__file__).with_name("subjects")
FLOOR, SIMPLE_GOLEM, YAPAPI = "floor", "simple_golem", "yapapi"
_LONGEST_SECONDS = 900.0

Report = Mapping[str, Any]


class SubjectFailed(Exception):
    """A run did not come to its end, or something of it was wrong; nothing measured of it counts."""


@dataclass(frozen=True)
class Subject:
    """Something that does the work, as a script in an interpreter.

    Attributes:
        name: as the table calls it.
        script: a file in `subjects`.
        python: the interpreter.
        environment: what it needs beside the network's.
    """

    name: str
    script: str
    python: str = sys.executable
    environment: Mapping[str, str] = field(default_factory=dict)

    def run(self, network: Mapping[str, str], *arguments: object) -> Report:
        """Run it to its end on a network, whose environment is given; returns what it told of itself.

        Raises:
            SubjectFailed: it failed, did not end, or wrote something to its standard error.
        """
        command = [self.python, str(SUBJECTS / self.script), *map(str, arguments)]
        # The package that this process has is the one to be measured.
        package = {"PYTHONPATH": str(Path(simple_golem.__file__).parents[1])}
        environment = {**os.environ, **package, **network, **self.environment}
        # As an installed package is: read from its bytecode.
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        try:
            run = subprocess.run(
                command, env=environment, capture_output=True, text=True, timeout=_LONGEST_SECONDS
            )
        except subprocess.TimeoutExpired as error:
            raise SubjectFailed(f"{self.name} has not ended: {error}") from error
        if run.returncode != 0 or run.stderr:
            raise SubjectFailed(f"{self.name} ended with {run.returncode}: {run.stderr or run.stdout}")
        report: Report = json.loads(run.stdout.splitlines()[-1])
        return report


THE_FLOOR = Subject(FLOOR, "bare_floor.py")
THE_LIBRARY = Subject(SIMPLE_GOLEM, "with_simple_golem.py")
