"""What the user's service object calls, and what it can read: the link to its instance for one life."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Protocol

from ...background.cancellation import Deadline, ScopeEnded
from ...background.forks import current_process, refused_in_children
from ...errors import NotRunning, ServiceStopped
from ...model.commands.commands import Command
from ...model.commands.results import Results
from ...model.offers.prices import USAGE_VECTOR
from ...model.service.states import ServiceState
from ...model.usage import Usage
from ..network.required_place import require_place
from .batch_rules import BatchOrigin
from .life_state import LifeState, Phase

if TYPE_CHECKING:
    from ..network.place import Place
    from .batch_runner import BatchRunner

_TAKES_COMMANDS = (ServiceState.running, ServiceState.unresponsive)


class LinkedInstance(Protocol):
    """The instance, as the link sees it."""

    name: str

    @property
    def state(self) -> ServiceState: ...
    def stop_from_inside(self) -> None: ...


@refused_in_children
class ServiceLink:
    """Ties the user's object to one life of an instance; after that life it refuses everything.

    Attributes:
        runner: runs the batches of the life, which sets it when it has an activity.
    """

    def __init__(
        self,
        instance: LinkedInstance,
        class_name: str,
        life: LifeState,
        place: Place | None = None,
    ) -> None:
        self._made_in = current_process()
        self._instance = instance
        self._class_name = class_name
        self._life = life
        self.runner: BatchRunner | None = None
        self._place = place

    # --- what can be called ----------------------------------------------------------------------------

    def execute(self, commands: tuple[Command, ...], timeout: float | None) -> Results:
        """Run commands as one batch, and block until it has ended; the rules depend on the calling method."""
        self._refuse_if_left_behind()
        if not self.is_current:
            return self.execute_outside(commands, timeout)
        if self._life.phase is Phase.DEPLOYING:
            raise NotRunning(
                f"{self.name} is not deployed yet: call self.execute() in start(), run() or shutdown()"
            )
        in_shutdown = self._life.phase is Phase.SHUTDOWN
        return self.require_runner().run(
            BatchOrigin.SHUTDOWN if in_shutdown else BatchOrigin.WORK, commands, timeout
        )

    def execute_outside(self, commands: tuple[Command, ...], timeout: float | None) -> Results:
        """Run commands for any other thread than that of the life, while the instance is running."""
        state = self.state
        if state not in _TAKES_COMMANDS:
            raise NotRunning(f"{self.name} is {state}: commands can be run while it is running")
        return self.require_runner().run(BatchOrigin.OUTSIDE, commands, timeout)

    def usage(self) -> Usage:
        """Return what the activity has used so far; blocks for one request."""
        life = self._life
        agreement, activity = life.agreement, life.activity
        if agreement is None or activity is None or life.concluded:
            raise NotRunning(f"{self.name} is {self.state.value}: it has no activity, so there is no usage")
        names = agreement.offer_properties.get(USAGE_VECTOR, ())
        try:
            return Usage.of(names, activity.usage(life.releasing))
        except ScopeEnded as error:
            raise NotRunning(f"{self.name} has ended: {error}") from error

    def wait(self, seconds: float) -> None:
        """Block for a time, or until the life is stopped."""
        self._refuse_if_left_behind()
        if not self.is_current:
            raise NotRunning(
                f"self.wait() can be called in methods of {self._class_name} only; "
                "in a thread of your own use time.sleep()"
            )
        if self._life.phase is Phase.SHUTDOWN:
            if self._life.shutting_down.wait(seconds):
                raise NotRunning(f"{self.name}: {self._life.shutting_down.reason}")
        elif self._life.stop.wait(seconds):
            raise ServiceStopped(self._life.stop.reason)

    def wait_for_port(self, port: int, timeout: float) -> None:
        """Block until a port of the instance takes connections, or the life is stopped."""
        self._refuse_if_left_behind()
        place = require_place(self._place, self.name)
        stop = self._life.stop if self.is_current else None
        try:
            with self.explaining_refusals() as warn:
                place.wait_for_port(port, Deadline(timeout), stop, warn)
        except NotRunning:
            if stop is not None and stop.cancelled and self._life.phase is not Phase.SHUTDOWN:
                raise ServiceStopped(self._life.stop.reason) from None
            raise

    def explaining_refusals(self) -> AbstractContextManager[Callable[[], None] | None]:
        """Return what says in a `PortRefused` which programs in the background have ended.

        It yields what warns of the same while a port refuses; None: there is nothing to say.
        """
        return nullcontext() if self.runner is None else self.runner.explaining_refusals()

    def require_runner(self) -> BatchRunner:
        """Return what runs the batches, or raise `NotRunning`."""
        if self.runner is None:
            raise NotRunning(f"{self.name} has no activity yet")
        return self.runner

    def stop(self) -> None:
        """Stop the instance, without blocking."""
        self._instance.stop_from_inside()

    def _refuse_if_left_behind(self) -> None:
        if self._life.has_left_behind:
            raise ServiceStopped(f"{self.name} has gone on without this thread, which did not return in time")

    # --- what can be read ------------------------------------------------------------------------------

    @property
    def name(self) -> str:
        """The name of the instance; may be assigned."""
        return self._instance.name

    @name.setter
    def name(self, name: str) -> None:
        self._instance.name = name

    @property
    def state(self) -> ServiceState:
        """The state of the instance; `terminated` once this life is over."""
        return ServiceState.terminated if self._life.concluded else self._instance.state

    @property
    def provider_name(self) -> str | None:
        """The name of the provider, None before there is an agreement."""
        return self._life.agreement.provider_name if self._life.agreement else None

    @property
    def provider_id(self) -> str | None:
        """The node id of the provider, None before there is an agreement."""
        return self._life.agreement.provider_id if self._life.agreement else None

    @property
    def activity_id(self) -> str | None:
        """The id of the activity, None before there is one."""
        return self._life.activity.activity_id if self._life.activity else None

    @property
    def stopping(self) -> bool:
        """Whether this life is to end."""
        return self._life.stop.cancelled

    @property
    def is_current(self) -> bool:
        """Whether the calling thread is the one that this life runs on."""
        return self._life.is_current
