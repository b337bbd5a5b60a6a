"""The exe-unit of one activity: executes ExeScripts from the service bus, with the real one's states."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from ...background.cancellation import Deadline, Scope
from ...background.threads import EngineThread
from ...errors import BusError
from ..bus.bus import Bus
from ..control import rules
from ..control.rules import OnStrike
from ..images.image_file import file_of
from ..images.image_store import ImageStore
from ..sandbox.sandbox import Limits
from ..sandbox.sandbox_maker import SandboxMaker
from ..transfer.transfer import Transfers
from ..transfer.web_files import Web
from .exe_batch import Command, ExeBatch
from .image_download import NoImage, image_of
from .own_runtime import OwnRuntime
from .runtime import CommandError, SandboxRuntime
from .runtime_program import RuntimeProgram
from .state_reports import StatePair, StateReports
from .vpn.networks import Networks, VpnSupport

logger = logging.getLogger(__name__)

_INITIALIZED, _DEPLOYED, _READY, _TERMINATED = "Initialized", "Deployed", "Ready", "Terminated"
# The only command that a state allows, and the state after it.
_EXPECTED = {_INITIALIZED: ("deploy", _DEPLOYED), _DEPLOYED: ("start", _READY)}
_INVALID = {
    _INITIALIZED: "Activity is initialized - deploy() command is expected now",
    _DEPLOYED: "Activity is deployed - start() command is expected now",
    _READY: "Cannot send command after a successful start()",
}
_KNOWN_COMMANDS = {"deploy", "start", "run", "transfer", "terminate", "sign"}
_THREADS_END_SECONDS = 3.0
# A real exe-unit that is shut down says so for so long before it ends.
_SHUT_DOWN_SECONDS = 0.4


class ExeUnitHabits:
    """How an exe-unit behaves; this base class behaves correctly.

    Attributes:
        streams: whether the output of a batch can be streamed.
        streams_events: after how many events a stream ends with an error; None: after none.
        limits: what its processes may use.
    """

    streams = True
    streams_events: int | None = None
    limits = Limits()

    def before(self, command: Command, scope: Scope) -> str | None:
        """Called before each command, on the command's thread.

        Args:
            command: the command of the ExeScript.
            scope: the scope of the activity, for waiting.

        Returns:
            The message with which the command fails; None: the command is executed.

        Raises:
            CommandError: the command fails with this error.
        """
        return None

    def answer_seconds(self) -> float:
        """How long the answer to a message is under way."""
        return 0.0

    def passed(self, count: int, seconds: float, scope: Scope) -> None:
        """Called after each chunk of a transfer.

        Args:
            count: the bytes of the transfer so far.
            seconds: the duration of the transfer so far.
            scope: the scope of the activity, for waiting.

        Raises:
            OSError: the transfer breaks off.
        """


class ExeUnit:
    """Serves `/public/exeunit/<activity id>` on the bus until it is closed."""

    def __init__(
        self,
        bus: Bus,
        activity_id: str,
        image_store: ImageStore,
        task_package: str | None,
        on_state: Callable[[StatePair], object],
        habits: ExeUnitHabits | None = None,
        node_id: str = "",
        refusal: Callable[[Command], str] = lambda command: "",
        sandboxes: SandboxMaker | None = None,
        vpn: VpnSupport | None = None,
        on_strike: OnStrike = lambda rule, what, text: None,
        web: Web | None = None,
        program: RuntimeProgram | None = None,
    ) -> None:
        """Start to serve; blocks until the bus has confirmed the address, for 10 seconds at most.

        Args:
            bus: the service bus.
            activity_id: the activity's id.
            image_store: the images that can be deployed.
            task_package: the image, as in the agreement's demand; None: no image.
            on_state: called with each new state, in order, on another thread; first with
                `("Initialized", None)`. It is not called with states that last only a moment.
            habits: how the exe-unit behaves; None: correctly.
            node_id: the provider's node id.
            refusal: returns why a command is not allowed; `""` if it is allowed.
            sandboxes: makes the private root; None: a maker of its own.
            vpn: what this machine can do for private networks; None: all.
            on_strike: called when a rule refuses or changes something.
            web: the web as the provider reaches it; None: without the script's machine.
            program: the runtime of the user's own; None: a sandbox.

        Raises:
            BusError: the bus refused, or did not answer in time.
        """
        self.activity_id = activity_id
        self._bus = bus
        self._service_id = f"/public/exeunit/{activity_id}"
        self._habits = habits or ExeUnitHabits()
        self._refusal = refusal
        self._on_strike = on_strike
        self._scope = Scope()
        web = web or Web()
        transfers = Transfers(bus, node_id, self._scope, on_strike, web, self._passed)
        networks = Networks(bus, node_id, f"exe-unit-{activity_id[:8]}", vpn or VpnSupport())
        self._runtime: SandboxRuntime | OwnRuntime
        if program is not None:
            package = partial(_file_of, task_package, image_store, web, self._scope)
            self._runtime = OwnRuntime(program.path, transfers, package, program.folder)
        else:
            self._runtime = SandboxRuntime(
                image_store,
                task_package,
                transfers,
                networks,
                on_strike,
                self._habits.limits,
                sandboxes,
                web,
                self._scope,
            )
        self._lock = threading.Lock()
        self._state: StatePair = (_INITIALIZED, None)
        self._batches: dict[str, ExeBatch] = {}
        self._threads: list[EngineThread] = []
        self._started_at = time.monotonic()
        self._last_usage = [0.0, 0.0]
        self._reports = StateReports(f"exe-unit-states-{activity_id[:8]}", on_state)
        bus.register(self._service_id, self._called)
        self._reports.add(self._state)

    @property
    def state(self) -> StatePair:
        """The current state, and the next state while a command leads to it."""
        return self._state

    def usage(self) -> list[float]:
        """The usage: seconds of existence and of processor time; it does not grow after `close`."""
        if not self._scope.cancelled:
            self._last_usage = [time.monotonic() - self._started_at, self._runtime.cpu_seconds()]
        return self._last_usage

    def close(self, *, report: bool = True) -> None:
        """End all commands and processes, and stop serving; blocks for about 10 seconds at most.

        Args:
            report: False: do not report the last state, as if the exe-unit was killed.
        """
        self.usage()
        with self._lock:
            if self._scope.cancelled:
                return
            self._scope.cancel("the activity was terminated")
            threads, batches = list(self._threads), list(self._batches.values())
        self._bus.unregister(self._service_id)
        self._runtime.close()
        left = Deadline(_THREADS_END_SECONDS)
        for thread in threads:
            if not thread.join(left.remaining()):
                logger.warning("%s did not end in time and is abandoned", thread.name)
        for batch in batches:
            batch.abandon()
        with self._lock:
            self._change_state((_TERMINATED, None), report)
        if not self._reports.close(_THREADS_END_SECONDS):
            logger.warning("a state of the activity %s is still being reported", self.activity_id)

    def shut_down(self) -> None:
        """End as a real exe-unit does that is told to: the command that runs fails, and is answered for.

        Blocks for about 10 seconds at most.
        """
        with self._lock:
            if self._scope.cancelled:
                return
            # The command that runs finds this state when it ends, and fails with it.
            self._change_state((self._state[0], _TERMINATED))
        self.usage()
        self._runtime.close()
        self._scope.wait(_SHUT_DOWN_SECONDS)
        self.close()

    # --- messages from the bus ---------------------------------------------------------------------

    def _called(self, caller: str, address: str, payload: object) -> object:
        message = address.removeprefix(f"{self._service_id}/")
        answer = _ANSWERS.get(message)
        if answer is None or not isinstance(payload, dict):
            raise BusError(f"an exe-unit has no message {message}")
        self._scope.wait(self._habits.answer_seconds())
        return answer(self, payload)

    def _exec(self, request: Mapping[str, Any]) -> object:
        batch = ExeBatch(request["batchId"], request["exeScript"])
        unknown = [name for command in batch.script for name in command if name not in _KNOWN_COMMANDS]
        if unknown:
            return _err("badRequest", f"unknown command: {unknown[0]}")
        for refusal in filter(None, map(self._refusal, batch.script)):
            self._on_strike(rules.MANIFEST, "a command", refusal)
            return _err("badRequest", refusal)
        with self._lock:
            if self._scope.cancelled:
                return _err("activity", "the activity was terminated")
            if batch.batch_id in self._batches:
                return _err("badRequest", f"Batch {batch.batch_id} already exists")
            self._batches[batch.batch_id] = batch
            thread = EngineThread(f"exe-unit-batch-{batch.batch_id[:8]}", self._execute, batch)
            self._threads = [other for other in self._threads if other.alive]
            self._threads.append(thread.start())
        return {"Ok": batch.batch_id}

    def _get_results(self, request: Mapping[str, Any]) -> object:
        batch = self._batches.get(request["batchId"])
        if batch is None:
            return _err("notFound", f"batch_id = {request['batchId']}")
        if not batch.script:
            return {"Ok": []}
        index = request.get("commandIndex")
        in_time = batch.wait_for(index, request.get("timeout") or 0.0)
        if not in_time and self._scope.cancelled:
            return _err("activity", "the activity was terminated")
        if not in_time and index is not None:
            return {"Err": "timeout"}
        return {"Ok": batch.results(index)}

    def _stream_results(self, request: Mapping[str, Any]) -> object:
        if not self._habits.streams:
            # The error is a part of the stream: an error of the call would leave the requestor's stream open.
            return iter([_err("service", "this exe-unit does not stream")])
        batch = self._batches.get(request["batch_id"])
        if batch is None:
            raise BusError(f"Unknown batch: {request['batch_id']}")
        return _stream(batch.events(), self._habits.streams_events)

    def _get_running(self, request: Mapping[str, Any]) -> object:
        running = [command for batch in list(self._batches.values()) if (command := batch.running())]
        if not running:
            return _err("notFound", f"No running command within activity: {self.activity_id}")
        return {"Ok": [_as_command_state(command) for command in running]}

    def _get_state(self, request: Mapping[str, Any]) -> object:
        return {"Ok": {"state": list(self._state), "reason": None, "errorMessage": None}}

    def _get_usage(self, request: Mapping[str, Any]) -> object:
        return {"Ok": {"currentUsage": self.usage(), "timestamp": int(time.time())}}

    # --- the thread of a batch ---------------------------------------------------------------------

    def _execute(self, batch: ExeBatch) -> None:
        try:
            for index, command in enumerate(batch.script):
                if batch.aborted or self._scope.cancelled:
                    break
                batch.start_command(index)
                try:
                    self._execute_command(batch, index, command)
                except CommandError as error:
                    if error.stderr:
                        batch.output(index, "stderr", error.stderr.encode())
                    batch.finish_command(index, error.return_code, str(error))
                    break
                except Exception as error:
                    logger.exception("the command %s could not be executed", command)
                    batch.finish_command(index, -1, f"Runtime error: {type(error).__name__}: {error}")
                    break
                batch.finish_command(index, 0, None)
        finally:
            batch.end()

    def _execute_command(self, batch: ExeBatch, index: int, command: Command) -> None:
        name, details = next(iter(command.items()))
        if name == "sign":
            raise CommandError("signing not supported: binary built without the 'sgx' feature")
        if name == "terminate":
            self._terminate_others(batch)
            return
        entered = self._enter(name)
        try:
            self._apply_habits(command)
            self._runtime.execute(
                name,
                details,
                lambda stream, data: batch.output(index, stream, data),
                lambda progress: batch.progress(index, progress),
            )
        finally:
            # As in the real exe-unit, a failed command changes the state too.
            self._leave(entered)

    def _apply_habits(self, command: Command) -> None:
        failure = self._habits.before(command, self._scope)
        if failure is not None:
            raise CommandError(failure)

    def _passed(self, count: int, seconds: float) -> None:
        self._habits.passed(count, seconds, self._scope)

    def _terminate_others(self, batch: ExeBatch) -> None:
        with self._lock:
            for other in self._batches.values():
                other.aborted = other.aborted or other is not batch
        # The state changes last: a new deploy must not start, and be ended, before the old sandbox has ended.
        self._runtime.stop()
        with self._lock:
            self._change_state((_INITIALIZED, None))

    def _enter(self, name: str) -> StatePair:
        with self._lock:
            current, pending = self._state
            if pending is not None:
                busy = f"Busy: {_debug(self._state)}"
                self._on_strike(rules.ONE_BATCH, name, busy)
                raise _state_error(busy)
            if current == _READY and name not in ("deploy", "start"):
                following: str = _READY
            elif current in _EXPECTED and name == _EXPECTED[current][0]:
                following = _EXPECTED[current][1]
            else:
                default = f"This command is not allowed when activity is in the {current} state"
                message = _INVALID.get(current, default)
                self._on_strike(rules.COMMAND_ORDER, name, message)
                raise _state_error(message)
            entered = (current, following)
            self._change_state(entered)
            return entered

    def _leave(self, entered: StatePair) -> None:
        with self._lock:
            if self._state != entered:
                raise _state_error(f"Unexpected state: {_debug(self._state)}, expected {_debug(entered)}")
            self._change_state((str(entered[1]), None))

    def _change_state(self, state: StatePair, report: bool = True) -> None:
        self._state = state
        if report:
            self._reports.add(state)


_ANSWERS: dict[str, Callable[[ExeUnit, Mapping[str, Any]], object]] = {
    "Exec": ExeUnit._exec,
    "GetExecBatchResults": ExeUnit._get_results,
    "StreamExecBatchResults": ExeUnit._stream_results,
    "GetRunningCommand": ExeUnit._get_running,
    "GetActivityState": ExeUnit._get_state,
    "GetActivityUsage": ExeUnit._get_usage,
}


def _file_of(package: str | None, images: ImageStore, web: Web, scope: Scope) -> Path | None:
    """The file of the image that a demand names, for a runtime of the user's own."""
    if package is None:
        return None
    try:
        return file_of(image_of(package, images, web, scope), images)
    except NoImage as error:
        raise CommandError(f"Local service error: Transfer error: {error}") from error


def _err(kind: str, message: str) -> dict[str, Any]:
    return {"Err": {kind: message}}


def _state_error(message: str) -> CommandError:
    return CommandError(f"Local service error: State error: {message}")


def _debug(state: StatePair) -> str:
    """A state as the real exe-unit writes it into its messages."""
    current, pending = state
    return f"StatePair({current}, {f'Some({pending})' if pending else 'None'})"


def _stream(events: Iterator[Mapping[str, Any]], most: int | None) -> Iterator[Mapping[str, Any]]:
    """The parts of a stream; `most`: after so many events it ends as on a provider that has lost some."""
    for event in islice(events, most):
        yield {"Ok": event}
    if most is not None:
        yield _err("service", "Runtime error: stream error: channel lagged by 1")


def _as_command_state(command: Command) -> dict[str, Any]:
    name, details = next(iter(command.items()))
    params = [details["entry_point"], *details.get("args", ())] if name == "run" else None
    return {"command": name.capitalize(), "progress": None, "params": params}
