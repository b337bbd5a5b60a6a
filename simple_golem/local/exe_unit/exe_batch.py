"""One batch of an exe-unit: its commands, what came of them so far, and who waits for that."""

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
    """What is known of one command that has begun."""

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
    """The commands of one Exec, their results, and the events of their execution as they happen."""

    def __init__(self, batch_id: str, script: Sequence[Command]) -> None:
        self.batch_id = batch_id
        self.script = tuple(script)
        self.aborted = False
        self._changed = threading.Condition()
        self._states: list[_CommandState] = []
        self._over = self._abandoned = False
        self._listeners: list[SimpleQueue[dict[str, Any] | None]] = []

    # --- for who executes it -----------------------------------------------------------------------

    def begin(self, index: int) -> None:
        with self._changed:
            self._states.append(_CommandState(self.script[index]))
            self._emit(index, {"started": {"command": dict(self.script[index])}})

    def output(self, index: int, stream: str, data: bytes) -> None:
        """Take a piece of output; `stream` is "stdout" or "stderr"."""
        with self._changed:
            captured: CapturedOutput = getattr(self._states[index], stream)
            if (piece := captured.write(data)) is not None:
                self._emit(index, {stream: piece})

    def progress(self, index: int, progress: Mapping[str, Any]) -> None:
        """Tell how far a command is."""
        with self._changed:
            self._emit(index, {"progress": dict(progress)})

    def finish(self, index: int, return_code: int, message: str | None) -> None:
        with self._changed:
            state = self._states[index]
            state.succeeded = return_code == 0
            state.message = message
            state.date = datetime.now(timezone.utc)
            self._emit(index, {"finished": {"return_code": return_code, "message": message}})
            self._changed.notify_all()

    def end(self) -> None:
        """No command of this batch will be executed any more."""
        with self._changed:
            self._over = True
            listeners, self._listeners = self._listeners, []
            for listener in listeners:
                listener.put(None)

    def abandon(self) -> None:
        """Nobody shall wait for it any longer: its activity has ended."""
        self.end()
        with self._changed:
            self._abandoned = True
            self._changed.notify_all()

    # --- for who asks ------------------------------------------------------------------------------

    def wait_for(self, index: int | None, seconds: float) -> bool:
        """Block until the command `index` (None: the last one) has ended; False if it had not in time.

        One that fails before it leaves it unexecuted, and does not end this wait: so it is with the real one.
        """
        awaited = len(self.script) - 1 if index is None else index
        with self._changed:
            wait_until(self._changed, lambda: self._done() > awaited or self._abandoned, seconds)
            return self._done() > awaited

    def results(self, index: int | None) -> list[dict[str, Any]]:
        """What the daemon's GetExecBatchResults gets, of all commands or of those up to `index`."""
        last = len(self.script) - 1 if index is None else index
        with self._changed:
            return [
                {
                    "index": at,
                    "result": "Ok" if state.succeeded else "Error",
                    # With an index only that command's output is told.
                    "stdout": state.stdout.output() if index in (None, at) else None,
                    "stderr": state.stderr.output() if index in (None, at) else None,
                    "message": state.message,
                    "isBatchFinished": at == last or not state.succeeded,
                    "eventDate": state.date.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
                }
                for at, state in enumerate(self._states[: min(self._done(), last + 1)])
            ]

    def running(self) -> Command | None:
        """The command that is being executed at present."""
        with self._changed:
            return self.script[self._done()] if self._done() < len(self._states) else None

    def events(self) -> Iterator[dict[str, Any]]:
        """Every event from now on, as it happens, to the end of the batch; nothing is repeated."""
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
