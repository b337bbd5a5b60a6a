"""The providers on a daemon in memory: they echo commands, and have a server that echoes."""

from __future__ import annotations

from typing import Any

from simple_golem.testing import FakeProvider
from tests.soak.fault_runs.jobs import ECHO_PORT, echo_server

# Often enough that most runs have some, and not so often that they are most of the requests.
_NOTE_SECONDS = 0.3


def providers() -> list[FakeProvider]:
    """Enough of them for two clusters."""
    return [
        FakeProvider(answers=_echo, servers={ECHO_PORT: echo_server}, debit_note_interval=_NOTE_SECONDS)
        for _ in range(5)
    ]


def _echo(command: dict[str, Any]) -> str:
    return " ".join(command["run"]["args"]) + "\n"
