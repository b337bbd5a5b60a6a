"""When an instance starts again on another provider."""

from __future__ import annotations

from dataclasses import dataclass

from tenacity.stop import StopBaseT
from tenacity.wait import WaitBaseT

from ...errors import BadRespawn


@dataclass(frozen=True, slots=True)
class Respawn:
    """When an instance starts again on another provider.

    Attributes:
        unstarted: whether it does so after a failure before it was running.
        running: whether it does so after it was running and has lost its activity.
        stop: after how many failures before it was running it gives up.
        wait: how long it waits after such a failure.
    """

    unstarted: bool
    running: bool
    stop: StopBaseT
    wait: WaitBaseT

    @classmethod
    def checked(cls, unstarted: bool, running: bool, stop: StopBaseT, wait: WaitBaseT) -> Respawn:
        """Return what a user gave, or raise `BadRespawn`."""
        for name, flag in (("respawn_unstarted_instances", unstarted), ("respawn_running", running)):
            if not isinstance(flag, bool):
                raise BadRespawn(f"{name} is {flag!r}: give True or False")
        if not callable(stop):
            raise BadRespawn(f"respawn_stop is {stop!r}: give e.g. tenacity.stop_after_attempt(3)")
        if not callable(wait):
            raise BadRespawn(f"respawn_wait is {wait!r}: give e.g. tenacity.wait_fixed(2)")
        return cls(unstarted, running, stop, wait)
