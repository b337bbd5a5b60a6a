"""One batch of an activity: its commands, their results so far, and its event streams."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from ...request import Call, ConnectionDropped
from ..wire import date_text
from ..world import World
from .output import Captured, CapturedOutput

Command = dict[str, Any]
PING_SECONDS = 15.0


class _Step:
    """The state of one command that has begun."""

    def __init__(self, command: Command) -> None:
        name, details = next(iter(command.items()))
        capture = details.get("capture") or {}
        is_run = name == "run"
        self.stdout = CapturedOutput(capture.get("stdout")) if is_run else CapturedOutput.whole()
        self.stderr = CapturedOutput(capture.get("stderr")) if is_run else CapturedOutput.whole()
        self.code: int | None = None
        self.message: str | None = None
        self.date: datetime


class EventStream:
    """The events of a batch for one client; iterating blocks, and gives a ping every 15 seconds."""

    def __init__(
        self, world: World, changed: Any, call: Call, forget: Callable[[EventStream], object]
    ) -> None:
        self.heard: deque[bytes] = deque()
        self._world = world
        self._changed = changed
        self._call = call
        self._forget: Callable[[EventStream], object] | None = forget
        self._number = 0
        self._drops = world.drops

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        with self._world.under_way(self._call), self._world.lock:
            if self._drops != self._world.drops:
                raise ConnectionDropped("the fake daemon has broken off every request")
            self._call.check()
            self._world.wait(self._call, self._changed, lambda: self.heard, PING_SECONDS)
            if not self.heard:
                return b":ping\n"
            frame = b"event: runtime\ndata: %b\nid: %d\n\n" % (self.heard.popleft(), self._number)
        self._number += 1
        return frame

    def close(self) -> None:
        """Stop listening; a second call changes nothing."""
        with self._world.lock:
            forget, self._forget = self._forget, None
            if forget is not None:
                forget(self)


class Batch:
    """The commands of one exec; all methods need the lock of the world.

    Attributes:
        changed: notified with whatever happens to it.
        is_over: whether nothing of it will be executed any more.
    """

    def __init__(self, world: World, batch_id: str, script: Sequence[Command]) -> None:
        self.batch_id = batch_id
        self.script = list(script)
        self.changed = world.condition()
        self.is_over = False
        self._world = world
        self._steps: list[_Step] = []
        self._listeners: list[EventStream] = []
        self._was_heard = False

    # --- for who executes it ----------------------------------------------------------------------------

    def begin(self, index: int) -> None:
        self._steps.append(_Step(self.script[index]))
        self._emit(index, {"started": {"command": self.script[index]}})

    def write(self, index: int, stream: str, data: str | bytes) -> None:
        """Take a piece of output; `stream` is "stdout" or "stderr"."""
        raw = data.encode() if isinstance(data, str) else data
        captured: CapturedOutput = getattr(self._steps[index], stream)
        piece: Captured = captured.write(raw)
        if piece is not None:
            self._emit(index, {stream: piece})

    def progress(self, index: int, count: int, total: int | None) -> None:
        """Report that a transfer has moved `count` of `total` bytes."""
        progress = {"step": [0, 1], "message": None, "progress": [count, total], "unit": "Bytes"}
        self._emit(index, {"progress": progress})

    def finish(self, index: int, code: int, message: str | None) -> None:
        step = self._steps[index]
        step.code, step.message, step.date = code, message, self._world.stamp()
        self._emit(index, {"finished": {"return_code": code, "message": message}})
        self.changed.notify_all()

    def stop(self, message: str) -> None:
        """End the batch; the command that runs fails with this message."""
        self.is_over = True
        if self._steps and self._steps[-1].code is None:
            self.finish(len(self._steps) - 1, -1, message)
        self.changed.notify_all()

    def end(self) -> None:
        """Mark the batch as executed to its end, or to its first failure."""
        self.is_over = True
        self.changed.notify_all()

    @property
    def is_heard(self) -> bool:
        """Whether its event stream has been opened."""
        return self._was_heard

    # --- for who asks -----------------------------------------------------------------------------------

    @property
    def done(self) -> int:
        """The number of commands that have ended."""
        return len(self._steps) - bool(self._steps and self._steps[-1].code is None)

    def results(self, index: int | None) -> list[Mapping[str, Any]]:
        """Return the results of all commands, or of those up to `index` with the output of that one."""
        last = len(self.script) - 1 if index is None else index
        return [
            {
                "index": at,
                "result": "Ok" if step.code == 0 else "Error",
                "stdout": step.stdout.output() if index in (None, at) else None,
                "stderr": step.stderr.output() if index in (None, at) else None,
                "message": step.message,
                "isBatchFinished": at == last or step.code != 0,
                "eventDate": date_text(step.date),
            }
            for at, step in enumerate(self._steps[: min(self.done, last + 1)])
        ]

    def events(self, call: Call) -> EventStream:
        """Open a stream of the events from now on; it has no end."""
        stream = EventStream(self._world, self.changed, call, self._listeners.remove)
        self._listeners.append(stream)
        self._was_heard = True
        self.changed.notify_all()
        return stream

    def _emit(self, index: int, kind: Mapping[str, Any]) -> None:
        if not self._listeners:
            return
        event = {
            "batch_id": self.batch_id,
            "index": index,
            "timestamp": date_text(self._world.stamp())[:-1],
            "kind": kind,
        }
        data = json.dumps(event, separators=(",", ":")).encode()
        for listener in self._listeners:
            listener.heard.append(data)
        self.changed.notify_all()
