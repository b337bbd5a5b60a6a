"""Makes the exe-units of one provider; they share one connection to the service bus."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Mapping
from typing import Any

from ...background.cancellation import Scope
from ..bus.bus import Bus
from ..control.habits import ProviderHabits
from ..control.rules import OnStrike
from ..exe_unit.exe_batch import Command
from ..exe_unit.exe_unit import ExeUnit, ExeUnitHabits
from ..exe_unit.runtime import CommandError
from ..exe_unit.runtime_program import RuntimeProgram
from ..exe_unit.vpn.networks import VpnSupport
from ..images.image_store import ImageStore
from ..sandbox.sandbox import Limits
from ..sandbox.sandbox_maker import SandboxMaker
from ..transfer.web_files import Web
from .fortune import Fortune
from .package import Package
from .served_activity import ExeUnitLike, StateReport


class ExeUnits:
    """Makes exe-units; may be used by several threads."""

    def __init__(
        self,
        gsb_url: str,
        name: str,
        node_id: str,
        images: ImageStore,
        habits: ProviderHabits,
        sandboxes: SandboxMaker,
        vpn: VpnSupport,
        on_strike: OnStrike,
        web: Web,
        programs: Mapping[str, RuntimeProgram],
    ) -> None:
        """Args:
        gsb_url: the URL of the far daemon's service bus.
        name: the provider's name.
        node_id: the provider's node id.
        images: the images that activities can be deployed with.
        habits: how the provider behaves.
        sandboxes: makes the private roots of activities.
        vpn: what this machine can do for private networks.
        on_strike: called when a rule refuses or changes something.
        web: the web as the provider reaches it.
        programs: the runtimes of the user's own, by their names.
        """
        self._gsb_url = gsb_url
        self._name = name
        self._node_id = node_id
        self._images = images
        self._sandboxes = sandboxes
        self._vpn = vpn
        self._on_strike = on_strike
        self._web = web
        self._programs = programs
        self._habits = _CommandHabits(habits, Fortune(habits.as_real, name))
        self._lock = threading.Lock()
        self._bus: Bus | None = None
        self._cut_off: list[Bus] = []

    def make(self, activity_id: str, package: Package, on_state: StateReport) -> ExeUnitLike:
        """Make an exe-unit; blocks until the bus has confirmed its address, for 10 seconds at most.

        Raises:
            BusError: the bus refused, or did not answer in time.
        """
        with self._lock:
            # Connected late: most of many providers never have an activity.
            if self._bus is None:
                self._bus = Bus(self._gsb_url, self._name)
            bus = self._bus
        return ExeUnit(
            bus,
            activity_id,
            self._images,
            package.image,
            on_state,
            self._habits,
            self._node_id,
            package.refusal,
            self._sandboxes,
            self._vpn,
            self._on_strike,
            self._web,
            self._programs.get(package.runtime),
        )

    def cut(self) -> None:
        """Drop the connection without notice, as when an exe-unit's process is killed.

        The next exe-unit gets a new connection.
        """
        with self._lock:
            if self._bus is not None:
                self._bus.cut()
                self._cut_off.append(self._bus)
                self._bus = None

    def close(self) -> None:
        """Close all connections; to be called after all exe-units are closed."""
        with self._lock:
            buses = [*self._cut_off, *([self._bus] if self._bus is not None else [])]
        for bus in buses:
            bus.close()


class _CommandHabits(ExeUnitHabits):
    """Applies a provider's habits to commands and transfers."""

    def __init__(self, habits: ProviderHabits, fortune: Fortune | None = None) -> None:
        self._habits = habits
        self._fortune = fortune or Fortune(None, "")
        self.streams = habits.streams
        self.streams_events = habits.streams_events
        self.limits = Limits(habits.disk_mib, int(habits.mem_gib * 1024), habits.cpu_threads)

    def before(self, command: Command, scope: Scope) -> str | None:
        scope.wait(self._habits.command_delay)
        name, details = next(iter(command.items()))
        if name == "start":
            scope.wait(self._fortune.boot_seconds())
        if name == "deploy":
            scope.wait(self._fortune.download_seconds())
            return self._habits.deploy_error
        hanging = self._habits.hanging_commands
        if name == "run" and hanging is not None and hanging in _text(details):
            scope.wait()
        failing = self._habits.failing_commands
        if name == "run" and failing is not None and failing.containing in _text(details):
            raise CommandError.exited(failing.exit_code, failing.stderr)
        return None

    def answer_seconds(self) -> float:
        return self._fortune.answer_seconds()

    def passed(self, count: int, seconds: float, scope: Scope) -> None:
        speed, most = self._habits.transfer_speed, self._habits.cuts_transfers_after
        if most is not None and count > most:
            raise ConnectionResetError(errno.ECONNRESET, os.strerror(errno.ECONNRESET))
        if speed is not None:
            scope.wait(max(0.0, count / (speed * 1024) - seconds))


def _text(details: Mapping[str, Any]) -> str:
    return " ".join([details["entry_point"], *details.get("args", ())])
