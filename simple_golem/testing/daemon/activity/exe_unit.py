"""The exe-unit of one activity: takes batches, and executes each on a thread of its own."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import replace
from typing import Any, Protocol

from ....model.commands import whole_output
from ....model.commands.environment import without_environment
from ...command_answer import Answers, CommandAnswer, pieces_of
from ...request import Call
from ..records import Records
from ..world import World
from .batch import Batch, Command

INITIALIZED, DEPLOYED, READY, TERMINATED = "Initialized", "Deployed", "Ready", "Terminated"
StatePair = tuple[str, "str | None"]

_EXPECTED = {INITIALIZED: ("deploy", DEPLOYED), DEPLOYED: ("start", READY)}
_INVALID = {
    INITIALIZED: "Activity is initialized - deploy() command is expected now",
    DEPLOYED: "Activity is deployed - start() command is expected now",
    READY: "Cannot send command after a successful start()",
}
# What a virtual machine never loses of the output of a program, and what it loses of more, at most (seen).
_SAFE_BYTES, _LOST_BYTES = 4096, 65536
_KILLED = 9
_UNEXPECTED = (
    "Local service error: State error: Unexpected state: StatePair(Ready, Some(Terminated)), "
    "expected StatePair(Ready, Some(Ready))"
)
# What takes its time and does nothing else. With `|| true` it is a pause before a command whose output is to
# be streamed: it is over as soon as somebody listens.
_SLEEP = re.compile(r"sleep ([0-9]+(?:\.[0-9]+)?)( \|\| true)?")
_MOST_BATCHES = 200


class ExeHabits(Protocol):
    """How the provider of an activity executes commands."""

    answers: Answers | None
    command_seconds: float
    deploy_error: str | None
    start_error: str | None
    transfer_error: str | None
    loses_output: bool
    volumes: Sequence[str]
    missing_programs: Collection[str]


class CommandFailure(Exception):
    """A command failed; the message is the provider's."""

    def __init__(self, message: str, code: int = -1) -> None:
        super().__init__(message)
        self.code = code


Transfer = Callable[[dict[str, Any], dict[str, bytes], Callable[[int, "int | None"], object], Call], object]


class ExeUnit:
    """Executes the batches of an activity, from its creation to its end.

    Attributes:
        state: as the daemon tells it.
        files: what is in the container, by path.
        serves: whether it is there.
        networks: its addresses in private networks, by the id of the network.
    """

    def __init__(
        self,
        world: World,
        habits: ExeHabits,
        transfer: Transfer,
        on_state: Callable[[StatePair], object],
        on_command: Callable[[Command], object],
    ) -> None:
        """Args:
        transfer: executes a `transfer` command; raises `CommandFailure`.
        on_state: called with each new state, holding the lock of the world.
        on_command: called with each command that begins, likewise.
        """
        self.state: StatePair = (INITIALIZED, None)
        self.files: dict[str, bytes] = {}
        self.serves = True
        self.networks: dict[str, str] = {}
        self._world = world
        self._habits = habits
        self._transfer = transfer
        self._on_state = on_state
        self._on_command = on_command
        self._batches: Records[Batch] = Records(lambda batch: batch.is_over, _MOST_BATCHES)
        # Of transfers under way, and of waits: abandoned when the activity ends.
        self._call = Call()

    # --- with the lock of the world ---------------------------------------------------------------------

    def exec(self, script: list[Command]) -> Batch:
        """Take a batch; does not block."""
        batch = Batch(self._world, self._world.hex_id(32), script)
        self._batches.put(batch.batch_id, batch)
        self._world.spawn(f"fake-exe-unit-{batch.batch_id[:8]}", lambda: self._run(batch))
        return batch

    def find(self, batch_id: str) -> Batch | None:
        return self._batches.get(batch_id)

    def end(self) -> None:
        """End the activity in the regular way: running commands fail."""
        if not self.serves:
            return
        self._cut_off()
        self.fail_all()
        self._change((TERMINATED, None))

    def fail_all(self) -> None:
        """Fail the running commands, as an exe-unit does that is being shut down."""
        for batch in self._batches.values():
            if not batch.is_over:
                batch.stop(_UNEXPECTED)

    def die(self) -> None:
        """Kill the exe-unit: running commands get no result."""
        self._cut_off()

    def _cut_off(self) -> None:
        self.serves = False
        self._call.abandon("the activity has ended")
        for batch in self._batches.values():
            batch.changed.notify_all()

    def _change(self, state: StatePair) -> None:
        self.state = state
        self._on_state(state)

    # --- the thread of a batch --------------------------------------------------------------------------

    def _run(self, batch: Batch) -> None:
        try:
            for index, command in enumerate(batch.script):
                with self._world.lock:
                    if batch.is_over or not self.serves:
                        return
                    self._on_command(command)
                    batch.begin(index)
                code, message = self._executed(batch, index, command)
                with self._world.lock:
                    if batch.is_over or not self.serves:
                        return
                    batch.finish(index, code, message)
                if code != 0:
                    return
        finally:
            with self._world.lock:
                if self.serves and not batch.is_over:
                    batch.end()

    def _executed(self, batch: Batch, index: int, command: Command) -> tuple[int, str | None]:
        name, details = next(iter(command.items()))
        try:
            if name == "sign":
                raise CommandFailure("signing not supported: binary built without the 'sgx' feature")
            if name == "terminate":
                self._terminate(batch)
                return 0, None
            entered = self._enter(name)
            try:
                self._pause(batch, self._habits.command_seconds)
                return self._perform(batch, index, name, details)
            finally:
                self._leave(entered)
        except CommandFailure as failure:
            return failure.code, str(failure)
        except Exception as error:  # noqa: BLE001 - a defect shows as a failed command, not as silence
            return -1, f"Runtime error: {type(error).__name__}: {error}"

    def _perform(
        self, batch: Batch, index: int, name: str, details: dict[str, Any]
    ) -> tuple[int, str | None]:
        error = {
            "deploy": self._habits.deploy_error,
            "start": self._habits.start_error,
            "transfer": self._habits.transfer_error,
        }.get(name)
        if error is not None:
            raise CommandFailure(error)
        if name == "deploy":
            self.networks = {one["id"]: one["nodeIp"] for one in details.get("net") or ()}
            given = list(details.get("volumes") or ())
            volumes = [{"name": path.strip("/"), "path": path} for path in (*self._habits.volumes, *given)]
            answer = {"valid": {"Ok": ""}, "vols": volumes, "startMode": "blocking"}
            self._write(batch, index, "stdout", json.dumps(answer))
        elif name == "transfer":
            self._transfer(details, self.files, self._reporter(batch, index, details), self._call)
        elif name == "run":
            return self._program(batch, index, batch.script[index])
        return 0, None

    def _program(self, batch: Batch, index: int, command: Command) -> tuple[int, str | None]:
        run = command["run"]
        words = [run["entry_point"], *run.get("args", ())]
        into_files = whole_output.begun(words)
        if into_files is not None:
            folder, (program, *args) = into_files
            self._into_files(batch, folder, {"run": {**run, "entry_point": program, "args": args}})
            return 0, None
        end_of = whole_output.ended(words)
        if end_of is not None:
            return self._exited(int(self._end_of_files(end_of)))
        if self._has_slept(batch, words):
            return 0, None
        last = CommandAnswer()
        for last in self._pieces(command):
            self._write(batch, index, "stdout", last.stdout)
            self._write(batch, index, "stderr", last.stderr)
            self._pause(batch, last.seconds)
        return self._exited(last.exit_code, last.message)

    def _has_slept(self, batch: Batch, words: Sequence[str]) -> bool:
        """Do what a shell does whose script is only a `sleep`; returns whether it is."""
        script = without_environment(words)
        sleep = _SLEEP.fullmatch(script[2]) if script[1:2] == ("-c",) and len(script) == 3 else None
        if sleep is not None:
            self._pause(batch, float(sleep[1]), until_heard=sleep[2] is not None)
        return sleep is not None

    def _pieces(self, command: Command) -> Iterator[CommandAnswer]:
        """What a program puts out, as far as it is not lost; the last piece has its exit code."""
        if command["run"]["entry_point"] in self._habits.missing_programs:
            return iter([CommandAnswer(exit_code=_KILLED)])
        pieces = pieces_of(self._habits.answers, command)
        return iter(_cut(list(pieces))) if self._habits.loses_output else pieces

    def _exited(self, code: int, message: str | None = None) -> tuple[int, str | None]:
        if code != 0 and message is None:
            message = f"ExeScript command exited with code {code}"
        return code, message

    def _into_files(self, batch: Batch, folder: str, command: Command) -> None:
        """Do what the shell does that puts the output of a program into files."""
        program = command["run"]["entry_point"]
        if program in self._habits.missing_programs:
            pieces = [CommandAnswer(stderr=f"/bin/sh: exec: {program}: not found\n", exit_code=127)]
        elif self._has_slept(batch, [program, *command["run"]["args"]]):
            pieces = [CommandAnswer()]
        else:
            pieces = list(pieces_of(self._habits.answers, command))
        self._pause(batch, sum(piece.seconds for piece in pieces))
        written = {stream: _joined(pieces, stream) for stream in whole_output.STREAMS}
        written["code"] = str(pieces[-1].exit_code if pieces else 0).encode()
        with self._world.lock:
            self.files.update({f"{folder}/{name}": content for name, content in written.items()})

    def _end_of_files(self, folder: str) -> bytes:
        with self._world.lock:
            code = self.files.get(f"{folder}/code", b"125")
            for name in ("stdout", "stderr", "code"):
                self.files.pop(f"{folder}/{name}", None)
        return code

    def _write(self, batch: Batch, index: int, stream: str, data: str | bytes) -> None:
        if data:
            with self._world.lock:
                if not batch.is_over:
                    batch.write(index, stream, data)

    def _reporter(
        self, batch: Batch, index: int, details: dict[str, Any]
    ) -> Callable[[int, int | None], object]:
        def report(count: int, total: int | None) -> None:
            with self._world.lock:
                if details.get("progress") is not None and not batch.is_over:
                    batch.progress(index, count, total)

        return report

    def _pause(self, batch: Batch, seconds: float, until_heard: bool = False) -> None:
        """Wait; ends early with the batch or the activity."""
        if seconds <= 0:
            return

        def is_over() -> bool:
            return batch.is_over or not self.serves or (until_heard and batch.is_heard)

        with self._world.lock:
            self._world.wait(Call(), batch.changed, is_over, seconds)

    # --- states -----------------------------------------------------------------------------------------

    def _terminate(self, batch: Batch) -> None:
        with self._world.lock:
            for other in self._batches.values():
                if other is not batch and not other.is_over:
                    other.stop("Runtime error: the command was ended with its sandbox")
            if self.serves:
                self._change((INITIALIZED, None))

    def _enter(self, name: str) -> StatePair:
        with self._world.lock:
            if not self.serves:
                raise CommandFailure("the exe-unit is gone")  # nobody gets this
            current, pending = self.state
            if pending is not None:
                raise _state_error(f"Busy: StatePair({current}, Some({pending}))")
            if current == READY and name not in ("deploy", "start"):
                following = READY
            elif current in _EXPECTED and name == _EXPECTED[current][0]:
                following = _EXPECTED[current][1]
            else:
                default = f"This command is not allowed when activity is in the {current} state"
                raise _state_error(_INVALID.get(current, default))
            self._change((current, following))
            return self.state

    def _leave(self, entered: StatePair) -> None:
        """Enter the next state; as in the real exe-unit, a failed command does so, too."""
        with self._world.lock:
            if self.state == entered and self.serves:
                self._change((str(entered[1]), None))


def _joined(pieces: Sequence[CommandAnswer], stream: str) -> bytes:
    return b"".join(
        piece.encode() if isinstance(piece, str) else piece
        for piece in (getattr(one, stream) for one in pieces)
    )


def _cut(pieces: Sequence[CommandAnswer]) -> list[CommandAnswer]:
    """The pieces of a program's output without the end that a virtual machine loses."""
    if not pieces:
        return []
    stdout, stderr = (_joined(pieces, stream) for stream in whole_output.STREAMS)
    seconds = sum(piece.seconds for piece in pieces)
    return [replace(pieces[-1], stdout=_begin_of(stdout), stderr=_begin_of(stderr), seconds=seconds)]


def _begin_of(output: bytes) -> bytes:
    return output[: max(_SAFE_BYTES, len(output) - _LOST_BYTES)]


def _state_error(message: str) -> CommandFailure:
    return CommandFailure(f"Local service error: State error: {message}")
