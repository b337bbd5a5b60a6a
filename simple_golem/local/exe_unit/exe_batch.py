"""One batch of an exe-unit: its commands, their results so far, and the threads that wait for them."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timezone
from queue import SimpleQueue
from typing import Any

from ...background.cancellation import wait_until
from .output_limits import CapturedOutput

Command = Mapping[str, Any]


class _CommandState:
    """The output and the result of one command that has started."""

    def __init__(self, command: Command) -> None:
        name, details = next(iter(command.items()))
        if name == "run":
            capture = details.get("capture") or {}
            self.stdout = CapturedOutput(capture.get("stdout"))
            self.stderr = CapturedOutput(capture.get("stderr"))
        else:
            self.stdout, self.stderr = CapturedOutput.whole(), CapturedOutput.whole()
        self.succeeded: bool | None = None
        self.message: str | None = None
        self.date = datetime.now(timezone.utc)


class ExeBatch:
    """The commands of one Exec message, with their results and events."""

    def __init__(self, batch_id: str, script: Sequence[Command]) -> None:
        self.batch_id = batch_id
        self.script = tuple(script)
        self.aborted = False
        self._changed = threading.Condition()
        self._states: list[_CommandState] = []
        self._over = self._abandoned = False
        self._listeners: list[SimpleQueue[dict[str, Any] | None]] = []

    # --- for the thread that executes it -----------------------------------------------------------

    def start_command(self, index: int) -> None:
        """Note the start of a command."""
        with self._changed:
            self._states.append(_CommandState(self.script[index]))
            self._emit(index, {"started": {"command": dict(self.script[index])}})

    def output(self, index: int, stream: str, data: bytes) -> None:
        """Note a piece of output; `stream` is "stdout" or "stderr"."""
        with self._changed:
            captured: CapturedOutput = getattr(self._states[index], stream)
            if (piece := captured.write(data)) is not None:
                self._emit(index, {stream: piece})

    def progress(self, index: int, progress: Mapping[str, Any]) -> None:
        """Note the progress of a command."""
        with self._changed:
            self._emit(index, {"progress": dict(progress)})

    def finish_command(self, index: int, return_code: int, message: str | None) -> None:
        """Note the end of a command; `message` is the error text."""
        with self._changed:
            state = self._states[index]
            state.succeeded = return_code == 0
            state.message = message
            state.date = datetime.now(timezone.utc)
            self._emit(index, {"finished": {"return_code": return_code, "message": message}})
            self._changed.notify_all()

    def end(self) -> None:
        """Note that no further command is executed; ends all streams of events."""
        with self._changed:
            self._over = True
            listeners, self._listeners = self._listeners, []
            for listener in listeners:
                listener.put(None)

    def abandon(self) -> None:
        """Wake all threads that wait for results, because the activity has ended."""
        self.end()
        with self._changed:
            self._abandoned = True
            self._changed.notify_all()

    # --- for the threads that wait for results -----------------------------------------------------

    def wait_for(self, index: int | None, seconds: float) -> bool:
        """Block until a command has ended.

        As in the real exe-unit the wait does not end when an earlier command fails.

        Args:
            index: the number of the command; None: the last one.
            seconds: the longest time to block.

        Returns:
            Whether the command has ended.
        """
        awaited = len(self.script) - 1 if index is None else index
        with self._changed:
            wait_until(self._changed, lambda: self._done() > awaited or self._abandoned, seconds)
            return self._done() > awaited

    def results(self, index: int | None) -> list[dict[str, Any]]:
        """Return the results for GetExecBatchResults: of all commands, or of those up to `index`."""
        last = len(self.script) - 1 if index is None else index
        with self._changed:
            return [
                {
                    "index": at,
                    "result": "Ok" if state.succeeded else "Error",
                    # With an index, only the output of that command is in the answer.
                    "stdout": state.stdout.output() if index in (None, at) else None,
                    "stderr": state.stderr.output() if index in (None, at) else None,
                    "message": state.message,
                    "isBatchFinished": at == last or not state.succeeded,
                    "eventDate": state.date.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
                }
                for at, state in enumerate(self._states[: min(self._done(), last + 1)])
            ]

    def running(self) -> Command | None:
        """The command that is executed now; None if there is none."""
        with self._changed:
            return self.script[self._done()] if self._done() < len(self._states) else None

    def events(self) -> Iterator[dict[str, Any]]:
        """Yield every event from now on, until the end of the batch; earlier events are not repeated."""
        listener: SimpleQueue[dict[str, Any] | None] = SimpleQueue()
        with self._changed:
            if self._over:
                return iter(())
            self._listeners.append(listener)
        return iter(listener.get, None)

    def _done(self) -> int:
        return sum(state.succeeded is not None for state in self._states)

    def _emit(self, index: int, kind: dict[str, Any]) -> None:
        event = {
            "batch_id": self.batch_id,
            "index": index,
            "timestamp": datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%f"),
            "kind": kind,
        }
        for listener in self._listeners:
            listener.put(event)
