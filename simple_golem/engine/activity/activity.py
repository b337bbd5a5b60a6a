"""One activity: its batches, which run one after the other, and its end."""

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
from ...model.commands.commands import Command, Deploy, Run
from ...model.commands.failure import command_failed
from ...model.commands.results import Result, Results
from ...model.commands.whole_output import volume_for_output
from ...yagna.client import Yagna
from ...yagna.transport.retry import Repeat, tried_first
from ...yagna.values import ActivityStatus
from .output_printer import refuse_while_giving_out
from .output_stream import BatchOutput
from .silence import Silence
from .vitality import Vitality

logger = logging.getLogger(__name__)

# How long a provider under load may take to accept a batch.
_SEND_SECONDS = 30.0
# How much later the daemon may say that it did not, where the caller has set a limit.
_LATE_SECONDS = 3.0
_NO_ANSWER = 408
_RESULT_POLL_SECONDS = 15.0
# A poll takes at least this long: one that comes back empty at once is not repeated at once.
_SHORTEST_POLL_SECONDS = 0.05
# How long a provider is asked again that answers for the activity, but not for its batches.
_BATCH_RETRY_SECONDS = 25.0
# What the daemon says of an exe-unit that is not there: the request has reached nobody.
_NOBODY_THERE = "endpoint address not found"
_UNRESPONSIVE = "Unresponsive"
_ALIVE_SECONDS = 5.0
# When an agreement has ended, its provider ends the activity by itself, mostly before the first question.
_BEFORE_END_QUESTION_SECONDS = 0.05
_BETWEEN_END_QUESTIONS = tenacity.wait_exponential(multiplier=0.1)
_END_QUESTIONS = 3
_BETWEEN_TRIES = tenacity.wait_exponential(multiplier=0.1, max=2.0)
_END_ANSWER_SECONDS = 0.5
# An exe-unit sends only the output that is written after somebody listens, and nobody can listen to a batch
# before it was sent. Without this command in front, the first line of nearly each command would come only
# with its result (tried).
_LISTENING_PAUSE = Run("/bin/sh", "-c", "sleep 0.3 || true")


@dataclass
class _Batch:
    """A batch, and what is known of it.

    Attributes:
        commands: what is sent.
        known_as: the user's command that each of them belongs to.
        batch_id: given by the daemon when the batch is sent.
        results: of the commands that have ended.
        output: follows the output, while a command asks for that.
    """

    commands: tuple[Command, ...]
    known_as: tuple[Command, ...]
    batch_id: str = ""
    results: list[Result] = field(default_factory=list)
    output: BatchOutput | None = None

    @property
    def next_command(self) -> Command:
        """The user's command whose result comes next."""
        return self.known_as[max(len(self.results), self.commands[0] is _LISTENING_PAUSE)]

    @property
    def ended(self) -> bool:
        return len(self.results) == len(self.commands) or any(not result.success for result in self.results)


class Activity:
    """An activity as its life sees it: it runs one batch at a time, in the order in which they arrive.

    Attributes:
        loses_output: whether its runtime may lose the end of a command's output.
        volume: the volume that whole output can be put into; None before it is deployed, or without any.
    """

    def __init__(self, yagna: Yagna, activity_id: str, provider: str) -> None:
        self.activity_id = activity_id
        self.provider = provider
        self._yagna = yagna
        self._queue = _BatchQueue()
        self._unfinished: _Batch | None = None
        self._can_pause = True
        self._ended = False
        self.loses_output = False
        self.volume: str | None = None
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
        """Run `commands` as one batch, after those that were sent before; blocks until it has ended.

        Args:
            commands: at least one.
            scope: cancelling it abandons the batch at once.
            unsent: cancelling it abandons the batch as long as it was not sent.
            timeout: seconds for the batch, its waiting for earlier ones included; None: no limit.
            instance: the name that is printed in front of the output.
            known_as: the user's command that each of `commands` belongs to; `commands` themselves by default.

        Raises:
            NotRunning: the caller is a function that receives the output of a running command.
            CommandFailed: a command failed; the activity accepts further batches.
            BatchTimeout: the batch took longer than `timeout`; it may still be running.
            BatchLost: nobody can know whether the batch was run.
            ActivityLost: the activity does not exist any more.
            ScopeEnded: `scope` or `unsent` was cancelled.
        """
        deadline = Deadline(timeout)
        refuse_while_giving_out()
        batch = _Batch(tuple(commands), tuple(known_as or commands))
        with self._queue.turn(unsent, deadline):
            self._await_unfinished(unsent, deadline)
            unsent.check()
            if BatchOutput.is_wanted(commands):
                self._run_followed(batch, scope, unsent, deadline, instance)
            else:
                self._send(batch, scope, unsent, deadline)
                self._await(batch, scope, deadline)
        failed = next((result for result in batch.results if not result.success), None)
        if failed is not None:
            raise command_failed(batch.results, batch.commands, self.provider)
        return Results(batch.results)

    def _run_followed(
        self, batch: _Batch, scope: Scope, unsent: Scope, deadline: Deadline, instance: str
    ) -> None:
        """Run a batch whose output is printed, logged or handed to a function as it comes."""
        if self._can_pause and isinstance(batch.commands[0], Run):
            paused = _Batch((_LISTENING_PAUSE, *batch.commands), (_LISTENING_PAUSE, *batch.known_as))
            self._send_and_follow(paused, scope, unsent, deadline, instance)
            pause, *results = paused.results
            if pause.success:
                batch.results = [replace(result, index=result.index - 1) for result in results]
                return
            # The image has no shell, or does not allow it; no later command of the batch was started.
            logger.debug("%s can't wait before a command: %s", self.provider, pause.message)
            self._can_pause = False
        self._send_and_follow(batch, scope, unsent, deadline, instance)

    def _send_and_follow(
        self, batch: _Batch, scope: Scope, unsent: Scope, deadline: Deadline, instance: str
    ) -> None:
        self._send(batch, scope, unsent, deadline)
        output = BatchOutput(self._yagna, self.activity_id, batch.batch_id, batch.commands, instance)
        try:
            with output as batch.output:
                self._await(batch, scope, deadline)
        finally:
            batch.output = None

    def _await_unfinished(self, scope: Scope, deadline: Deadline) -> None:
        """Wait for a batch that timed out: the exe-unit refuses the next one while it runs."""
        if self._unfinished is None:
            return
        try:
            self._await(self._unfinished, scope, deadline)
        except BatchLost as error:
            logger.info("the batch before this one: %s", error)

    def _send(self, batch: _Batch, scope: Scope, unsent: Scope, deadline: Deadline) -> None:
        """Send a batch; again and again where nobody has received it, since it can't have been run."""

        def sleep(seconds: float) -> None:
            unsent.wait(min(seconds, deadline.remaining()))
            unsent.check()

        def again(passed: float) -> tenacity.Retrying:
            return tenacity.Retrying(
                retry=tenacity.retry_if_exception(_has_reached_nobody),
                stop=tenacity.stop_after_delay(min(_BATCH_RETRY_SECONDS - passed, deadline.remaining())),
                wait=_BETWEEN_TRIES,
                sleep=sleep,
                retry_error_callback=lambda state: None,
            )

        tried_first(lambda: self._send_once(batch, scope, deadline), again)
        if batch.batch_id:
            return
        if deadline.passed:
            raise BatchTimeout(f"{batch.next_command!r} could not be sent to {self.provider} in its time")
        raise self._exe_unit_lost()

    def _send_once(self, batch: _Batch, scope: Scope, deadline: Deadline) -> None:
        script = [command.to_exe_script() for command in batch.commands]
        first, left = batch.next_command, deadline.remaining()
        is_limited = left < _SEND_SECONDS
        limits = {"margin": _LATE_SECONDS, "within": left} if is_limited else {}
        try:
            batch.batch_id = self._yagna.activity.execute(
                self.activity_id, script, timeout=min(_SEND_SECONDS, left), scope=scope, **limits
            )
        except NoDaemon as error:
            raise BatchLost(f"{first!r} could not be sent to {self.provider}: {error}") from error
        except YagnaError as error:
            self._raise_if_lost(error, scope, deadline)
            if _has_reached_nobody(error):
                raise
            if deadline.passed or (is_limited and error.status == _NO_ANSWER):
                raise BatchTimeout(
                    f"{self.provider} has not accepted {first!r} in its time; it may run it all the same"
                ) from error
            if error.status is not None and error.status < 500 and error.status != _NO_ANSWER:
                raise  # the daemon refused the batch, so it was not run
            raise BatchLost(
                f"nobody can know whether {self.provider} ran {first!r}: the daemon gave no answer "
                f"({error}); check what the command did before you run it again"
            ) from error

    def _await(self, batch: _Batch, scope: Scope, deadline: Deadline) -> None:
        self._unfinished = batch
        silence = Silence(self.provider)
        while not batch.ended:
            heard = batch.output.events if batch.output is not None else 0
            silence.watch(batch.next_command, len(batch.results), heard)
            if deadline.passed:
                raise BatchTimeout(
                    f"{batch.next_command!r} has not ended in its time on {self.provider}; "
                    "it may still be running, and the next batch waits for it"
                )
            try:
                self._poll(batch, scope, deadline)
            except BatchLost:
                self._unfinished = None  # nothing more will be known of it
                raise
        self._unfinished = None

    def _poll(self, batch: _Batch, scope: Scope, deadline: Deadline) -> None:
        """Ask for the result of the next command, by its index: only so does a failure come at once."""
        began = time.monotonic()
        index = len(batch.results)
        answer = self._entries(batch, index, scope, deadline)
        if answer is not None and len(answer) > index:
            self.last_answer = time.monotonic()
            entries = answer[index:]
            if batch.output is not None:
                entries = batch.output.complete(entries, scope, deadline)
            for entry in entries:
                command = batch.commands[entry["index"]]
                batch.results.append(Result.from_wire(entry, command, self.loses_output))
                if isinstance(command, Deploy):
                    self.volume = volume_for_output(batch.results[-1].stdout)
            return
        if time.monotonic() - began < _SHORTEST_POLL_SECONDS:
            scope.wait(_SHORTEST_POLL_SECONDS)

    def _entries(
        self, batch: _Batch, index: int, scope: Scope, deadline: Deadline
    ) -> Sequence[Mapping[str, Any]] | None:
        """Make one long poll, repeated where it fails; None if the result is not there in time."""

        def sleep(seconds: float) -> None:
            scope.wait(min(seconds, deadline.remaining()))

        def again(passed: float) -> tenacity.Retrying:
            return tenacity.Retrying(
                retry=tenacity.retry_if_exception_type((YagnaError, NoDaemon)),
                stop=tenacity.stop_after_delay(min(_BATCH_RETRY_SECONDS - passed, deadline.remaining())),
                wait=_BETWEEN_TRIES,
                sleep=sleep,
                reraise=True,
            )

        try:
            return tried_first(lambda: self._entries_once(batch, index, scope, deadline), again)
        except (YagnaError, NoDaemon) as error:
            if deadline.passed:
                return None
            if _has_reached_nobody(error):
                raise self._exe_unit_lost() from error
            raise BatchLost(
                f"nobody can know what became of {batch.next_command!r} on {self.provider}: {error}; "
                "check what the command did before you run it again"
            ) from error

    def _entries_once(
        self, batch: _Batch, index: int, scope: Scope, deadline: Deadline
    ) -> Sequence[Mapping[str, Any]] | None:
        left = deadline.remaining()
        limits = {"margin": _LATE_SECONDS} if left < _RESULT_POLL_SECONDS else {}
        try:
            return self._yagna.activity.results(
                self.activity_id,
                batch.batch_id,
                command_index=index,
                timeout=min(_RESULT_POLL_SECONDS, left),
                scope=scope,
                # It is repeated by the caller, which knows the deadline.
                repeat=Repeat.NEVER,
                **limits,
            )
        except YagnaError as error:
            self._raise_if_lost(error, scope, deadline)
            raise

    def _raise_if_lost(self, error: YagnaError, scope: Scope, deadline: Deadline) -> None:
        if deadline.passed:
            return
        answer, why = self.vitality(scope, min(_ALIVE_SECONDS, deadline.remaining()))
        if answer is Vitality.GONE:
            raise self.lost(answer, why) from error

    def _exe_unit_lost(self) -> ActivityLost:
        return ActivityLost(
            f"the activity {self.activity_id} on {self.provider} is gone: "
            "its exe-unit does not answer any more"
        )

    def lost(self, answer: Vitality, why: str) -> ActivityLost:
        """Make the error for an activity that no longer works, as `vitality` has found."""
        what = "is gone" if answer is Vitality.GONE else "does not answer any more"
        return ActivityLost(f"the activity {self.activity_id} on {self.provider} {what}: {why}")

    def vitality(self, scope: Scope, timeout: float = _ALIVE_SECONDS) -> tuple[Vitality, str]:
        """Ask the provider's daemon once whether the activity lives.

        Args:
            scope: cancelling it ends the request.
            timeout: seconds that the provider has for its answer; this blocks for about one more at most.

        Returns:
            The answer, and the reason that was given for it.

        Raises:
            ScopeEnded: `scope` was cancelled.
        """
        try:
            status = self.status(timeout, scope, Repeat.NEVER)
        except NoDaemon as error:
            return Vitality.UNKNOWN, str(error)
        except YagnaError as error:
            logger.debug("no state of the activity %s: %s", self.activity_id, error)
            if error.status is None:
                return Vitality.UNKNOWN, error.reason
            return (Vitality.GONE if error.status == 404 else Vitality.SILENT), error.reason
        if not status.alive:
            return Vitality.GONE, status.error_message or status.reason or "its provider has ended it"
        if status.state == _UNRESPONSIVE:
            return Vitality.UNRESPONSIVE, "its provider does not report its state any more"
        return Vitality.ALIVE, ""

    @property
    def is_idle(self) -> bool:
        """Whether no batch is under way or waiting."""
        return self._unfinished is None and self._queue.is_empty

    def wait_until_idle(self, scope: Scope) -> None:
        """Block until no batch is under way or waiting; raises `ScopeEnded` when `scope` is cancelled."""
        with self._queue.turn(scope, Deadline()):
            return

    def status(self, timeout: float, scope: Scope, repeat: Repeat) -> ActivityStatus:
        """Ask the provider's daemon for the activity's state; blocks up to `timeout` seconds."""
        return self._yagna.activity.state(self.activity_id, timeout=timeout, scope=scope, repeat=repeat)

    def usage(self, scope: Scope) -> Sequence[float]:
        """Ask for the usage counters, in the order of the offer; blocks for 6 seconds at most."""
        return self._yagna.activity.usage(self.activity_id, timeout=_ALIVE_SECONDS, scope=scope)

    def await_end(self, scope: Scope) -> None:
        """Wait until the provider has ended the activity, as it does by itself when the agreement ends.

        Blocks for 0.4 seconds, and 1.5 seconds more if the provider answers slowly. It saves time: `destroy`
        would wait for 0.75 seconds, since the daemon checks only that often whether it is done.
        """

        def has_ended() -> bool:
            # A provider that is about to end it may still charge for it.
            return self.status(_END_ANSWER_SECONDS, scope, Repeat.NEVER).state == "Terminated"

        questions = tenacity.Retrying(
            retry=tenacity.retry_if_result(lambda ended: not ended),
            stop=tenacity.stop_after_attempt(_END_QUESTIONS),
            wait=_BETWEEN_END_QUESTIONS,
            sleep=lambda seconds: _wait(scope, seconds),
            retry_error_callback=lambda state: False,
        )
        try:
            _wait(scope, _BEFORE_END_QUESTION_SECONDS)
            self._ended = questions(has_ended)
        except (GolemError, ScopeEnded) as error:
            logger.debug("no state of the activity %s: %s", self.activity_id, error)

    def destroy(self, scope: Scope, timeout: float, *, expected: bool = True) -> bool:
        """Have the provider end the activity; blocks for `timeout` seconds at most.

        Args:
            scope: cancelling it ends the request.
            timeout: seconds for the provider's answer.
            expected: whether the provider should answer; if so, there is a warning where it does not.

        Returns:
            Whether the provider confirmed it in time.
        """
        if self._ended:
            return True
        try:
            self._yagna.activity.destroy(self.activity_id, timeout=timeout, scope=scope)
        except (GolemError, ScopeEnded) as error:
            logger.log(
                logging.WARNING if expected else logging.DEBUG,
                "%s did not confirm in time that the activity %s is destroyed (%s)",
                self.provider,
                self.activity_id,
                error or "no time left",
            )
            return False
        return True


def _has_reached_nobody(error: BaseException) -> bool:
    return isinstance(error, YagnaError) and error.status == 500 and _NOBODY_THERE in error.detail


def _wait(scope: Scope, seconds: float) -> None:
    scope.wait(seconds)
    scope.check()


class _BatchQueue:
    """The threads that want to send a batch, in the order of their arrival."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._queue: deque[object] = deque()

    @property
    def is_empty(self) -> bool:
        with self._changed:
            return not self._queue

    @contextmanager
    def turn(self, scope: Scope, deadline: Deadline) -> Iterator[None]:
        """Wait for this thread's turn, and keep the others waiting while the `with` statement lasts.

        Raises:
            BatchTimeout: `deadline` has passed.
            ScopeEnded: `scope` was cancelled.
        """
        ticket = object()
        try:
            # Inside: Ctrl-C may come at any moment, and a ticket that stayed would keep all others waiting.
            with self._changed:
                self._queue.append(ticket)
            forget = scope.on_cancel(self._wake)
            try:
                self._await(ticket, scope, deadline)
                yield
            finally:
                forget()
        finally:
            with self._changed:
                if ticket in self._queue:
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
