"""Follows a batch while it runs, and passes on the output of the commands that ask for it."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from typing import Any

import tenacity

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

# A connection that breaks is opened again after these pauses (seconds), at most so often without an event.
_BEFORE_RECONNECTING = tenacity.wait_exponential(multiplier=0.1, max=10.0)
_MOST_FAILURES = 8
_AFTER_LOSS_SECONDS = 0.1
# The end of a command is reported twice, by its result and by the stream: how much later the stream may be.
_STREAM_DELAY_SECONDS = 1.0
_STREAM_CHECK_SECONDS = 0.05
# How long a user's function that does not return is waited for.
_USER_FUNCTION_SECONDS = 0.5
_STDOUT, _STDERR = "stdout", "stderr"


class _Followed:
    """A command whose output is passed on.

    Attributes:
        printer: where its lines go.
        channels: its stdout and its stderr, as far as they have arrived.
        heard: whether anything has arrived by the stream.
        finished: whether the stream has reported its end.
        ended: whether its result has arrived, after which the stream has nothing to add.
    """

    def __init__(self, command: Run, instance: str) -> None:
        self.printer = OutputPrinter(command.stream, instance)
        self.channels = {_STDOUT: OutputGaps(), _STDERR: OutputGaps()}
        self.heard = False
        self.finished = threading.Event()
        self.ended = False


class BatchOutput:
    """The output of one batch, as it comes; made when the batch is sent, closed when nobody waits for it.

    One thread reads the daemon's event stream and passes the lines on. What is missing in the stream is
    passed on when the command's result has arrived, by the thread that waits for the result. The lock
    `_passing_on` keeps the two apart; the waiting thread reads the counters without it.
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
        self._passing_on = threading.Lock()
        self._begun = time.monotonic()
        self._events = 0
        self._stream_is_lost = False
        self._loss_is_logged = False
        self._thread = EngineThread(f"{instance}-output", self._listen)

    @staticmethod
    def is_wanted(commands: Sequence[Command]) -> bool:
        """Whether any of these commands asks for its output."""
        return any(isinstance(command, Run) and command.stream is not False for command in commands)

    @property
    def events(self) -> int:
        """How many events have come."""
        return self._events

    def __enter__(self) -> BatchOutput:
        if not self._thread.started():
            self._log_loss("the program is at its end")
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # --- on the thread that reads ------------------------------------------------------------------

    def _listen(self) -> None:
        reconnecting = tenacity.Retrying(
            retry=tenacity.retry_if_exception(_may_come_back),
            stop=tenacity.stop_after_attempt(_MOST_FAILURES),
            wait=_BEFORE_RECONNECTING,
            sleep=lambda seconds: _wait(self._scope, seconds),
            reraise=True,
        )
        try:
            while not reconnecting(self._follow_unless_silent):
                _wait(self._scope, _AFTER_LOSS_SECONDS)
        except ScopeEnded:
            return
        except GolemError:
            self._stream_is_lost = True

    def _follow_unless_silent(self) -> bool:
        """Follow the stream to its end; False if it broke after it had brought something.

        Raises:
            GolemError: it broke, or was refused, before it brought anything.
            ScopeEnded: the batch is over.
        """
        events_before = self._events
        try:
            self._follow()
        except GolemError as error:
            self._mark_gap(str(error))
            if self._events == events_before or not _may_come_back(error):
                raise
            return False
        return True

    def _follow(self) -> None:
        self._scope.check()
        events = self._yagna.activity.events(self._activity_id, self._batch_id, scope=self._scope)
        with closing(events):
            for event in events:
                with self._passing_on:
                    self._scope.check()
                    self._events += 1
                    if self._pass_on(event):
                        return
        raise YagnaError("GET", self._batch_id, None, "the daemon has ended the event stream")

    def _pass_on(self, event: RuntimeEvent) -> bool:
        """Pass on what an event brings; True if nothing more can come."""
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

    def _mark_gap(self, why: str) -> None:
        self._log_loss(why)
        with self._passing_on:
            for followed in self._followed.values():
                if not followed.finished.is_set():
                    for channel in followed.channels.values():
                        channel.interrupt()

    def _log_loss(self, why: str) -> None:
        if self._loss_is_logged:
            return
        self._loss_is_logged = True
        logger.info(
            "%s: the output of its commands does not come as it is written (%s): what is missing comes when "
            "the command has ended",
            self._instance,
            why,
        )

    # --- on the thread that waits for the results ---------------------------------------------------

    def complete(
        self, entries: Sequence[Mapping[str, Any]], scope: Scope, deadline: Deadline
    ) -> list[Mapping[str, Any]]:
        """Pass on the output of ended commands that the stream has not brought; returns complete results.

        Blocks until the stream has reported the commands' ends, for a second without any event at most, and
        for half a second if a user's function does not return.

        Args:
            entries: results in the daemon's form.
            scope: cancelling it ends the waiting.
            deadline: so does its passing.
        """
        return [self._complete(entry, scope, deadline) for entry in entries]

    def _complete(self, entry: Mapping[str, Any], scope: Scope, deadline: Deadline) -> Mapping[str, Any]:
        followed = self._followed.get(entry["index"])
        if followed is None:
            return entry
        self._await_stream(followed, scope, deadline)
        if not self._passing_on.acquire(timeout=_USER_FUNCTION_SECONDS):
            return entry  # the time is over, and the user's function has not returned yet
        try:
            return self._pass_on_rest(followed, entry)
        finally:
            self._passing_on.release()

    def _await_stream(self, followed: _Followed, scope: Scope, deadline: Deadline) -> None:
        """Wait until the stream reports the command's end, as long as anything comes or is passed on."""
        if not followed.heard:
            return  # it may have ended before the stream was open: the result has everything, in order
        progress, since = -1, time.monotonic()
        while not (followed.finished.is_set() or self._stream_is_lost or scope.cancelled or deadline.passed):
            now = self._events + followed.printer.given
            if now != progress or followed.printer.busy:
                progress, since = now, time.monotonic()
            elif time.monotonic() - since > _STREAM_DELAY_SECONDS:
                return
            followed.finished.wait(_STREAM_CHECK_SECONDS)

    def _pass_on_rest(self, followed: _Followed, entry: Mapping[str, Any]) -> Mapping[str, Any]:
        followed.ended = True
        if not self._events and time.monotonic() - self._begun > _STREAM_DELAY_SECONDS:
            self._log_loss("the provider reports nothing while they run")
        complete = dict(entry)
        for name, channel in followed.channels.items():
            # A provider that does not keep what it streams: then the result is what the stream has brought.
            complete[name] = entry.get(name) if entry.get(name) is not None else list(channel.heard) or None
            lines = channel.end(wire_bytes(complete[name]), followed.finished.is_set())
            followed.printer.give(lines, name == _STDERR)
        return complete

    def close(self) -> None:
        """End the connection, and pass on the line that is incomplete; blocks for half a second at most."""
        self._scope.cancel("nobody waits for the batch any more")
        if not self._thread.join(_USER_FUNCTION_SECONDS):
            for followed in self._followed.values():
                followed.printer.closed = True
            logger.warning(
                "%s: the function that receives its output has not returned in time and receives no more",
                self._instance,
            )
            return
        for followed in self._followed.values():
            if not followed.ended:
                followed.ended = True
                for name, channel in followed.channels.items():
                    followed.printer.give(channel.end(b"", True), name == _STDERR)


def _wait(scope: Scope, seconds: float) -> None:
    scope.wait(seconds)
    scope.check()


def _may_come_back(error: BaseException) -> bool:
    """Whether a broken stream may work again: a daemon that has refused it would refuse it again."""
    if isinstance(error, YagnaError):
        return error.status is None or error.status >= 500
    return isinstance(error, GolemError)
