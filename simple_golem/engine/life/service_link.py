"""What a user's object, and whoever asks from outside, can do in one life of an instance."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Protocol

from ...background.cancellation import Deadline, Scope, ScopeEnded
from ...errors import (
    ActivityLost,
    BatchLost,
    BatchTimeout,
    CommandFailed,
    GolemError,
    NotRunning,
    ServiceStopped,
)
from ...model.commands.commands import Command
from ...model.commands.failure import results_so_far
from ...model.commands.results import Results
from ...model.events import BatchEnded, BatchStarted
from ...model.service.states import ServiceState
from ..activity.activity import Activity
from ..event_dispatcher import Emit
from ..files.file_batch import FileBatch, has_files
from ..files.publisher import FilePublisher
from ..market.agreement import Agreement
from ..shutdown_times import ShutdownPart
from .shutdown_alarm import ShutdownAlarm

# A method whose waits were all cut short gets this long to return.
UNWIND_SECONDS = 0.3
_ANSWERING = (ServiceState.running, ServiceState.unresponsive)


class Host(Protocol):
    """The instance, as the binding of its life sees it."""

    name: str
    stop_scope: Scope

    @property
    def state(self) -> ServiceState: ...
    def stop_from_inside(self) -> None: ...


class ServiceLink:
    """Sends the batches of one life, and tells the user's object what it asks; old ones refuse for ever.

    Attributes:
        agreement, activity: what the life has, once it has it.
        thread_ident: the thread that the life runs on.
        started: whether `start()` has been reached, so that commands can be executed.
        in_shutdown: whether `shutdown()` has been reached, which has rules of its own.
        stop_scope: cancelled when the life is to end.
        batches: cancelled when no batch of `start`, `run` or from outside may go on.
        shutting_down: the same for those of `shutdown`.
    """

    def __init__(
        self,
        host: Host,
        class_name: str,
        parts: ShutdownAlarm,
        files: FilePublisher,
        emit: Emit,
        lose: Callable[[GolemError], None],
    ) -> None:
        self.agreement: Agreement | None = None
        self.activity: Activity | None = None
        self.thread_ident: int | None = None
        self.started = False
        self.in_shutdown = False
        self.stop_scope = Scope(host.stop_scope)
        self.batches = Scope()
        self.shutting_down = Scope()
        self._host = host
        self._class_name = class_name
        self._parts = parts
        self._files = files
        self._emit = emit
        self._lose = lose

    # --- what it tells ---------------------------------------------------------------------------------

    @property
    def name(self) -> str:
        return self._host.name

    @name.setter
    def name(self, name: str) -> None:
        self._host.name = name

    @property
    def state(self) -> ServiceState:
        return ServiceState.terminated if self._parts.concluded else self._host.state

    @property
    def provider_name(self) -> str | None:
        return self.agreement.provider_name if self.agreement else None

    @property
    def provider_id(self) -> str | None:
        return self.agreement.provider_id if self.agreement else None

    @property
    def activity_id(self) -> str | None:
        return self.activity.activity_id if self.activity else None

    @property
    def is_current(self) -> bool:
        """Whether the calling thread is the one that this life runs on."""
        return threading.get_ident() == self.thread_ident

    @property
    def stopping(self) -> bool:
        return self.stop_scope.cancelled

    def stop(self) -> None:
        self._host.stop_from_inside()

    def wait(self, seconds: float) -> None:
        if not self.is_current:
            raise NotRunning(
                f"self.wait() belongs into a method of {self._class_name}; in another thread use time.sleep()"
            )
        self._stop_if_abandoned()
        if self.in_shutdown:
            if self.shutting_down.wait(seconds):
                raise NotRunning(f"{self._host.name}: the time for shutdown() is over")
            return
        if self.stop_scope.wait(seconds):
            raise ServiceStopped(self.stop_scope.reason)

    def execute(self, commands: tuple[Command, ...], timeout: float | None) -> Results:
        if not self.is_current:
            return self.execute_outside(commands, timeout)
        self._stop_if_abandoned()
        if self.activity is None or not self.started:
            raise NotRunning(
                f"{self._host.name} is not deployed yet: execute() belongs into start() and run()"
            )
        if self.in_shutdown:
            return self.last_batch(commands, timeout)
        if self.stop_scope.cancelled:
            raise ServiceStopped(self.stop_scope.reason)
        return self.own_batch(commands, timeout, ShutdownPart.METHOD)

    def own_batch(
        self, commands: tuple[Command, ...], timeout: float | None, then: ShutdownPart | None
    ) -> Results:
        """A batch of `start` or `run`, after which the life is in part `then`.

        A stop lets it end within its grace; from there on the method has its own time to return.
        """
        self._parts.begin(ShutdownPart.BATCH)
        try:
            return self.batch(commands, self.batches, self.stop_scope, timeout)
        except ActivityLost as error:
            self._lose(error)
            raise ServiceStopped(str(error)) from error
        except ScopeEnded as error:
            raise ServiceStopped(self.stop_scope.reason) from error
        finally:
            # After a batch that was cut short the method still has to unwind.
            self._parts.begin(then, at_least=UNWIND_SECONDS)

    def _stop_if_abandoned(self) -> None:
        if self._parts.abandoned:
            raise ServiceStopped(f"{self._host.name} has ended without this thread, which took too long")

    def last_batch(self, commands: tuple[Command, ...], timeout: float | None) -> Results:
        """A batch that shutdown() sends by itself."""
        if self.shutting_down.cancelled:
            raise NotRunning(f"{self._host.name}: the time for shutdown() is over")
        try:
            return self.batch(commands, self.shutting_down, self.shutting_down, timeout)
        except ScopeEnded as error:
            raise BatchTimeout(
                f"{self._host.name}: {commands[0]!r} was not done within shutdown()"
            ) from error

    def batch(
        self, commands: tuple[Command, ...], scope: Scope, unsent: Scope, timeout: float | None = None
    ) -> Results:
        name = self._host.name
        self._emit(BatchStarted(name, commands))
        try:
            results = self._send(commands, scope, unsent, timeout)
        except CommandFailed as error:
            self._emit(BatchEnded(name, commands, results_so_far(error), str(error)))
            raise
        except BaseException as error:
            self._emit(BatchEnded(name, commands, (), str(error) or type(error).__name__))
            raise
        self._emit(BatchEnded(name, commands, results, None))
        return results

    def _send(
        self, commands: tuple[Command, ...], scope: Scope, unsent: Scope, timeout: float | None
    ) -> Results:
        activity, name = self.acting(), self._host.name
        if not has_files(commands):
            return activity.run(commands, scope, unsent, timeout, name)
        deadline = Deadline(timeout)

        def send(steps: tuple[Command, ...], known_as: tuple[Command, ...]) -> Results:
            left = None if timeout is None else deadline.remaining()
            return activity.run(steps, scope, unsent, left, name, known_as)

        with FileBatch(commands, self._files, name, self._emit, scope, unsent) as files:
            return files.run(send)

    def execute_outside(self, commands: tuple[Command, ...], timeout: float | None) -> Results:
        """A batch from any other thread, while the instance is running."""
        state = self._host.state
        if (
            self.activity is None
            or self._parts.concluded
            or self.stop_scope.cancelled
            or state not in _ANSWERING
        ):
            raise NotRunning(f"{self._host.name} is {self.state}: commands can be run while it is running")
        try:
            return self.batch(commands, self.batches, self.stop_scope, timeout)
        except ActivityLost as error:
            self._lose(error)
            raise BatchLost(f"nobody can know what became of {commands[0]!r}: {error}") from error
        except ScopeEnded as error:
            raise BatchLost(
                f"{self._host.name} was stopped before {commands[0]!r} had ended; how far it came is unknown"
            ) from error

    def agreed(self) -> Agreement:
        if self.agreement is None:
            raise NotRunning(f"{self._host.name} has no agreement yet")
        return self.agreement

    def acting(self) -> Activity:
        if self.activity is None:
            raise NotRunning(f"{self._host.name} has no activity yet")
        return self.activity
