"""Says that a command is still under way, after a minute in which nothing was heard of it."""

from __future__ import annotations

import logging
import time

from ...model.commands.commands import Command

logger = logging.getLogger(__name__)

_QUIET_SECONDS = 60.0


class Silence:
    """Watches the command that runs, for the thread that waits for a batch; tells it once at most.

    A provider may lose the end of a command (seen), and nothing but a timeout would end the waiting then.
    """

    def __init__(self, provider: str) -> None:
        self._provider = provider
        self._command_began = self._heard_at = time.monotonic()
        self._ended, self._heard = 0, 0
        self._is_told = False

    def watch(self, command: Command, ended: int, heard: int) -> None:
        """Look whether anything was heard since the last look.

        Args:
            command: what is under way.
            ended: how many commands of the batch have ended.
            heard: how many pieces of output have come.
        """
        now = time.monotonic()
        if ended != self._ended:
            self._ended, self._command_began, self._heard_at = ended, now, now
        elif heard != self._heard:
            self._heard, self._heard_at = heard, now
        elif not self._is_told and now - self._heard_at >= _QUIET_SECONDS:
            self._is_told = True
            logger.info(
                "%.200r is still under way on %s, for %.0f s now; nothing was heard of it for %.0f s. "
                "If its end has got lost, only a timeout ends the waiting: execute(…, timeout=600)",
                command,
                self._provider,
                now - self._command_began,
                now - self._heard_at,
            )
