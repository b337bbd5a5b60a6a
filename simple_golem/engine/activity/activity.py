"""One activity: its batches, one after the other, and its end."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import tenacity

from ...background.cancellation import Deadline, Scope, ScopeEnded
from ...errors import ActivityLost, BatchLost, BatchTimeout, GolemError, NoDaemon, YagnaError
from ...model.commands.commands import Command, Run
from ...model.commands.failure import command_failed
from ...model.commands.results import Result, Results
from ...yagna.client import Yagna
from ...yagna.transport.retry import Repeat
from ...yagna.values import ActivityStatus
from .output_printer import refuse_while_giving_out
from .output_stream import BatchOutput

logger = logging.getLogger(__name__)

# How long a provider under load may take to accept a batch.
_SEND_SECONDS = 30.0
_NO_ANSWER = 408
_POLL_SECONDS = 15.0
# A poll that comes back empty before its time is not repeated at once.
_PAUSE_SECONDS = 0.05
# How long a provider that answers for its activity, but not for a batch, is asked again.
_PATIENCE_SECONDS = 30.0
_STATUS_SECONDS = 5.0
# When it is asked whether an activity has ended with its agreement; mostly the first time is enough.
_LOOKS_SECONDS = (0.05, 0.1, 0.2)
_LOOK_SECONDS = 0.5
# An exe-unit repeats nothing of what was said before somebody listened, and nobody can listen to a batch that
# was not sent: without this in front of it, the first line of nearly every command would come last (tried).
_PAUSE = Run("/bin/sh", "-c", "sleep 0.3 || true")


@dataclass
class _Batch:
    """A batch, and what is known of it.

    Attributes:
        commands: what is sent.
        known_as: what the user wrote for each of them.
        batch_id: the daemon's, once it was sent.
    """

    commands: tuple[Command, ...]
    known_as: tuple[Command, ...]
    batch_id: str = ""
    results: list[Result] = field(default_factory=list)
    output: BatchOutput | None = None

    @property
    def next_command(self) -> Command:
        """The one whose result comes next, as its user knows it."""
        return self.known_as[max(len(self.results), self.commands[0] is _PAUSE)]

    @property
    def ended(self) -> bool:
        return len(self.results) == len(self.commands) or any(not result.success for result in self.results)


class Activity:
    """An activity as its life sees it: it takes one batch at a time, first come, first served."""

    def __init__(self, yagna: Yagna, activity_id: str, provider: str) -> None:
        self.activity_id = activity_id
        self.provider = provider
        self._yagna = yagna
        self._turns = _Turns()
        self._left_running: _Batch | None = None
        self._can_pause = True
        self._ended = False
        self.last_answer = time.monotonic()

    def run(
        self,
        commands: Sequence[Command],
        scope: Scope,
        unsent: Scope,
        timeout: float | None = None,
        instance: str = "",
        known_as: Sequence[Command] = (),
    ) -> Results:
        """Run `commands` as one batch after those sent before, and block until it has ended.

        Args:
            commands: one at least.
            scope: cancelling it gives the batch up at once.
            unsent: cancelling it does so as long as the batch was not sent.
            timeout: seconds for the batch, from now on, waiting for its turn included.
            instance: whose output it is, where it is given out.
            known_as: what the user wrote for each of `commands`, where that is something else.

        Raises:
            NotRunning: called by what is called with the output of a command under way.
            CommandFailed: a command failed; the activity takes the next batch all the same.
            BatchTimeout: it took longer than `timeout`; it may still be running.
            BatchLost: nobody can know what became of it.
            ActivityLost: the activity is gone.
            ScopeEnded: `scope` or `unsent` was cancelled.
        """
        deadline = Deadline(timeout)
        refuse_while_giving_out()
        batch = _Batch(tuple(commands), tuple(known_as or commands))
        with self._turns.take(unsent, deadline):
            self._finish_what_was_left(unsent, deadline)
            unsent.check()
            if BatchOutput.is_wanted(commands):
                self._run_followed(batch, scope, deadline, instance)
            else:
                self._send(batch, scope)
                self._await(batch, scope, deadline)
        failed = next((result for result in batch.results if not result.success), None)
        if failed is not None:
            raise command_failed(batch.results, batch.commands, self.provider)
        return Results(batch.results)

    def _run_followed(self, batch: _Batch, scope: Scope, deadline: Deadline, instance: str) -> None:
        """Run a batch whose output is given out as it comes, to its end."""
        if self._can_pause and isinstance(batch.commands[0], Run):
            paused = _Batch((_PAUSE, *batch.commands), (_PAUSE, *batch.known_as))
            self._send_and_follow(paused, scope, deadline, instance)
            pause, *results = paused.results
            if pause.success:
                batch.results = [replace(result, index=result.index - 1) for result in results]
                return
            # There is no shell, or it must not be used; nothing after it was begun.
            logger.debug("%s can't be made to wait before a command: %s", self.provider, pause.message)
            self._can_pause = False
        self._send_and_follow(batch, scope, deadline, instance)

    def _send_and_follow(self, batch: _Batch, scope: Scope, deadline: Deadline, instance: str) -> None:
        self._send(batch, scope)
        output = BatchOutput(self._yagna, self.activity_id, batch.batch_id, batch.commands, instance)
        try:
            with output as batch.output:
                self._await(batch, scope, deadline)
        finally:
            batch.output = None

    def _finish_what_was_left(self, scope: Scope, deadline: Deadline) -> None:
        """The exe-unit refuses a batch while another one runs, so one that timed out is awaited first."""
        if self._left_running is None:
            return
        try:
            self._await(self._left_running, scope, deadline)
        except BatchLost as error:
            logger.info("of the batch that was awaited before the next one: %s", error)

    def _send(self, batch: _Batch, scope: Scope) -> None:
        script = [command.to_exe_script() for command in batch.commands]
        first = batch.next_command
        try:
            batch.batch_id = self._yagna.activity.execute(
                self.activity_id, script, timeout=_SEND_SECONDS, scope=scope
            )
        except NoDaemon as error:
            raise BatchLost(f"{first!r} could not be sent to {self.provider}: {error}") from error
        except YagnaError as error:
            self._raise_if_lost(error, scope)
            if error.status is not None and error.status < 500 and error.status != _NO_ANSWER:
                raise  # refused, and so not run
            raise BatchLost(
                f"nobody can know whether {first!r} was run by {self.provider}: the daemon gave no "
                f"answer ({error}); check what it did before you run it again"
            ) from error

    def _await(self, batch: _Batch, scope: Scope, deadline: Deadline) -> None:
        self._left_running = batch
        while not batch.ended:
            if deadline.passed:
                raise BatchTimeout(
                    f"{batch.next_command!r} has not ended in its time on {self.provider}; "
                    "it may still be running, and the next batch will wait for it"
                )
            try:
                self._poll(batch, scope, deadline)
            except BatchLost:
                self._left_running = None  # nobody will ever tell more of it
                raise
        self._left_running = None

    def _poll(self, batch: _Batch, scope: Scope, deadline: Deadline) -> None:
        """Ask for the next command's result: asked by its index, the daemon tells a failure at once."""
        began = time.monotonic()
        index = len(batch.results)
        answer = self._patiently(batch, index, scope, deadline)
        if answer is not None and len(answer) > index:
            self.last_answer = time.monotonic()
            entries = answer[index:]
            if batch.output is not None:
                entries = batch.output.complete(entries, scope, deadline)
            batch.results += [Result.from_wire(entry, batch.commands[entry["index"]]) for entry in entries]
            return
        if time.monotonic() - began < _PAUSE_SECONDS:
            scope.wait(_PAUSE_SECONDS)

    def _patiently(
        self, batch: _Batch, index: int, scope: Scope, deadline: Deadline
    ) -> Sequence[Mapping[str, Any]] | None:
        """One long poll, repeated where it fails; None if the result is not there in time."""

        def sleep(seconds: float) -> None:
            scope.wait(min(seconds, deadline.remaining()))

        try:
            for attempt in tenacity.Retrying(
                retry=tenacity.retry_if_exception_type((YagnaError, NoDaemon)),
                stop=tenacity.stop_after_delay(min(_PATIENCE_SECONDS, deadline.remaining())),
                wait=tenacity.wait_exponential(multiplier=0.1, max=2.0),
                sleep=sleep,
                reraise=True,
            ):
                with attempt:
                    try:
                        return self._yagna.activity.results(
                            self.activity_id,
                            batch.batch_id,
                            command_index=index,
                            timeout=min(_POLL_SECONDS, deadline.remaining()),
                            scope=scope,
                            # Those repeated here keep to the deadline.
                            repeat=Repeat.NEVER,
                        )
                    except YagnaError as error:
                        self._raise_if_lost(error, scope)
                        raise
        except (YagnaError, NoDaemon) as error:
            if deadline.passed:
                return None
            raise BatchLost(
                f"nobody can know what became of {batch.next_command!r} on {self.provider}: {error}"
            ) from error
        raise AssertionError("tenacity re-raises the last error")  # pragma: no cover

    def _raise_if_lost(self, error: YagnaError, scope: Scope) -> None:
        if self.alive(scope) is False:
            raise ActivityLost(
                f"the activity {self.activity_id} on {self.provider} is gone: {error.detail}"
            ) from error

    def alive(self, scope: Scope) -> bool | None:
        """Ask the provider's daemon whether the activity lives; None if nobody answers within 5 seconds."""
        try:
            return self.status(_STATUS_SECONDS, scope, Repeat.NEVER).alive
        except YagnaError as error:
            logger.debug("no state of the activity %s: %s", self.activity_id, error)
            return False if error.status == 404 else None
        except NoDaemon:
            return None

    def wait_until_idle(self, scope: Scope) -> None:
        """Block until no batch is under way or waiting; raises `ScopeEnded` when `scope` is cancelled."""
        with self._turns.take(scope, Deadline()):
            return

    def status(self, timeout: float, scope: Scope, repeat: Repeat) -> ActivityStatus:
        """Ask the provider's daemon for the activity's state; blocks up to `timeout` seconds."""
        return self._yagna.activity.state(self.activity_id, timeout=timeout, scope=scope, repeat=repeat)

    def await_end(self, scope: Scope) -> None:
        """Block a moment for the provider to end the activity by itself, as it does with its agreement.

        Asked to destroy it, the daemon looks once in 750 ms whether that is done.
        """
        for seconds in _LOOKS_SECONDS:
            if scope.wait(seconds):
                return
            try:
                status = self.status(_LOOK_SECONDS, scope, Repeat.NEVER)
            except (GolemError, ScopeEnded) as error:
                logger.debug("no state of the activity %s: %s", self.activity_id, error)
                return
            # A provider that is about to end it may still count, as long as it has not.
            if status.state == "Terminated":
                self._ended = True
                return

    def destroy(self, scope: Scope, timeout: float) -> bool:
        """Have the provider end the activity; False, and a warning, if that took too long."""
        if self._ended:
            return True
        try:
            self._yagna.activity.destroy(self.activity_id, timeout=timeout, scope=scope)
        except (GolemError, ScopeEnded) as error:
            logger.warning(
                "%s did not confirm in time that the activity %s is destroyed (%s)",
                self.provider,
                self.activity_id,
                error or "no time left",
            )
            return False
        return True


class _Turns:
    """A queue of those who want to send a batch; whoever is cancelled leaves it."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._queue: deque[object] = deque()

    @contextmanager
    def take(self, scope: Scope, deadline: Deadline) -> Iterator[None]:
        ticket = object()
        with self._changed:
            self._queue.append(ticket)
        forget = scope.on_cancel(self._wake)
        try:
            self._await(ticket, scope, deadline)
            yield
        finally:
            forget()
            with self._changed:
                self._queue.remove(ticket)
                self._changed.notify_all()

    def _await(self, ticket: object, scope: Scope, deadline: Deadline) -> None:
        with self._changed:
            while self._queue[0] is not ticket:
                scope.check()
                if deadline.passed:
                    raise BatchTimeout(
                        "the batches before this one took all of its time; it was not sent to the provider"
                    )
                self._changed.wait(min(deadline.remaining(), 3600.0))

    def _wake(self) -> None:
        with self._changed:
            self._changed.notify_all()
