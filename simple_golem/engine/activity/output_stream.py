"""Follows a batch while it runs, and gives out the output of the commands that ask for it."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from typing import Any

from ...background.cancellation import Deadline, Scope, ScopeEnded
from ...background.threads import EngineThread
from ...errors import GolemError, YagnaError
from ...model.commands.commands import Command, Run
from ...model.commands.results import wire_bytes
from ...yagna.client import Yagna
from ...yagna.transport.event_stream import RuntimeEvent
from .output_gaps import OutputGaps
from .output_printer import OutputPrinter

logger = logging.getLogger(__name__)

# A connection that breaks is opened again after these pauses; each event that is heard begins them anew.
_PAUSES = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
# A command's end is told twice, by its result and by the stream: how much later the stream may be.
_LATE_SECONDS = 1.0
_LOOK_SECONDS = 0.05
# A user's function that does not return for this long holds up nobody else.
_JOIN_SECONDS = 0.5
_STDOUT, _STDERR = "stdout", "stderr"


class _Followed:
    """A command whose output is given out."""

    def __init__(self, command: Run, instance: str) -> None:
        self.printer = OutputPrinter(command.stream, instance)
        self.channels = {_STDOUT: OutputGaps(), _STDERR: OutputGaps()}
        self.heard = False
        self.finished = threading.Event()
        self.ended = False


class BatchOutput:
    """The output of one batch, as it comes; made when the batch is sent, closed when nobody waits for it.

    Lines are given out on one thread, which reads the daemon's event stream; what that did not tell is given
    out when the command's result is there, on the thread that waits for it. Never on both at once.
    """

    def __init__(
        self, yagna: Yagna, activity_id: str, batch_id: str, commands: Sequence[Command], instance: str
    ) -> None:
        self._yagna = yagna
        self._activity_id = activity_id
        self._batch_id = batch_id
        self._instance = instance
        self._followed = {
            index: _Followed(command, instance)
            for index, command in enumerate(commands)
            if isinstance(command, Run) and command.stream is not False
        }
        self._scope = Scope()
        self._giving = threading.Lock()
        self._begun = time.monotonic()
        self._heard = 0
        self._deaf = False
        self._told = False
        self._thread = EngineThread(f"{instance}-output", self._listen)

    @staticmethod
    def is_wanted(commands: Sequence[Command]) -> bool:
        """Whether any of these commands asks for it."""
        return any(isinstance(command, Run) and command.stream is not False for command in commands)

    def __enter__(self) -> BatchOutput:
        if not self._thread.started():
            self._miss("the program is at its end")
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # --- on the thread that reads ------------------------------------------------------------------

    def _listen(self) -> None:
        failures = 0
        while not self._scope.cancelled and failures < len(_PAUSES):
            heard = self._heard
            try:
                self._follow()
                return
            except ScopeEnded:
                return
            except GolemError as error:
                self._interrupt(str(error))
                if isinstance(error, YagnaError) and error.status is not None and error.status < 500:
                    break  # asked again, it would say the same
            failures = 0 if self._heard > heard else failures + 1
            self._scope.wait(_PAUSES[min(failures, len(_PAUSES) - 1)])
        self._deaf = True

    def _follow(self) -> None:
        events = self._yagna.activity.events(self._activity_id, self._batch_id, scope=self._scope)
        with closing(events):
            for event in events:
                with self._giving:
                    if self._deaf or self._scope.cancelled:
                        return
                    self._heard += 1
                    if self._take(event):
                        return
        raise YagnaError("GET", self._batch_id, None, "the daemon has ended the event stream")

    def _take(self, event: RuntimeEvent) -> bool:
        """Give out what an event tells; True if there is nothing more to be told."""
        followed = self._followed.get(event.index)
        if followed is not None and not followed.ended and event.kind in followed.channels:
            followed.heard = True
            lines = followed.channels[event.kind].hear(wire_bytes(event.detail))
            followed.printer.give(lines, event.kind == _STDERR)
        if event.kind != "finished":
            return False
        if followed is not None:
            followed.finished.set()
        failed = isinstance(event.detail, Mapping) and event.detail.get("return_code") != 0
        return failed or event.index >= max(self._followed)

    def _interrupt(self, why: str) -> None:
        self._miss(why)
        with self._giving:
            for followed in self._followed.values():
                if not followed.finished.is_set():
                    for channel in followed.channels.values():
                        channel.interrupt()

    def _miss(self, why: str) -> None:
        if self._told:
            return
        self._told = True
        logger.info(
            "%s: the output of its commands does not come as it is written (%s): what is missing is given "
            "out when the command has ended",
            self._instance,
            why,
        )

    # --- on the thread that waits for the results ---------------------------------------------------

    def complete(
        self, entries: Sequence[Mapping[str, Any]], scope: Scope, deadline: Deadline
    ) -> list[Mapping[str, Any]]:
        """Give out what was missed of commands that have ended; returns their results, made complete.

        Blocks until the stream has told what it has to tell, or is too late.

        Args:
            entries: results as the daemon tells them.
        """
        return [self._complete(entry, scope, deadline) for entry in entries]

    def _complete(self, entry: Mapping[str, Any], scope: Scope, deadline: Deadline) -> Mapping[str, Any]:
        followed = self._followed.get(entry["index"])
        if followed is None:
            return entry
        self._await(followed, scope, deadline)
        if not self._giving.acquire(timeout=_JOIN_SECONDS):
            return entry  # the time is over, and the user's function has not returned yet
        try:
            return self._end(followed, entry)
        finally:
            self._giving.release()

    def _await(self, followed: _Followed, scope: Scope, deadline: Deadline) -> None:
        """Wait for the stream to tell the command's end, as long as anything comes, or is being given out."""
        if not followed.heard:
            return  # it may have been over before the stream was open: the result has all, in order
        progress, since = -1, time.monotonic()
        while not (followed.finished.is_set() or self._deaf or scope.cancelled or deadline.passed):
            now = self._heard + followed.printer.given
            if now != progress or followed.printer.busy:
                progress, since = now, time.monotonic()
            elif time.monotonic() - since > _LATE_SECONDS:
                return
            followed.finished.wait(_LOOK_SECONDS)

    def _end(self, followed: _Followed, entry: Mapping[str, Any]) -> Mapping[str, Any]:
        followed.ended = True
        if not self._heard and time.monotonic() - self._begun > _LATE_SECONDS:
            self._miss("nothing is told of them")
        complete = dict(entry)
        for name, channel in followed.channels.items():
            # A provider that keeps nothing of what it streams: the result is what was heard.
            complete[name] = entry.get(name) if entry.get(name) is not None else list(channel.heard) or None
            lines = channel.end(wire_bytes(complete[name]), followed.finished.is_set())
            followed.printer.give(lines, name == _STDERR)
        return complete

    def close(self) -> None:
        """End the connection, and give out the line that was begun; blocks for half a second at most."""
        self._scope.cancel("nobody waits for the batch any more")
        if not self._thread.join(_JOIN_SECONDS):
            for followed in self._followed.values():
                followed.printer.closed = True
            logger.warning(
                "%s: what is called with its output has not returned in time; it is given no more of it",
                self._instance,
            )
            return
        for followed in self._followed.values():
            if not followed.ended:
                followed.ended = True
                for name, channel in followed.channels.items():
                    followed.printer.give(channel.end(b"", True), name == _STDERR)
