"""The commands that use the user's own daemon."""

from __future__ import annotations

from typing import Any

from .cleanup import add_cleanup_command
from .doctor import add_doctor_command
from .offers import add_offers_command
from .status import add_status_command


def add_daemon_commands(commands: Any) -> None:
    """Add the commands to the parser of the tool."""
    add_doctor_command(commands)
    add_offers_command(commands)
    add_status_command(commands)
    add_cleanup_command(commands)
