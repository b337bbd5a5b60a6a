"""Runs the batches of one life, wherever they come from."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Protocol

from ...background.cancellation import Deadline, Scope, ScopeEnded
from ...errors import ActivityLost, BatchLost, CommandFailed, GolemError, PortRefused
from ...model.commands.commands import Command, Run
from ...model.commands.results import Results, results_so_far
from ...model.events.batches import BatchEnded, BatchStarted, MethodCalled
from ...model.service.service import Service
from ..activity.activity import Activity
from ..activity.background_programs import BackgroundPrograms, ended_programs, explained_refusal
from ..activity.command_policy import CommandPolicy
from ..activity.explanation import explained
from ..event_dispatcher import Emit
from ..files.file_batch import FileBatch, has_files
from ..files.leftovers import Leftovers
from ..files.publisher import FilePublisher
from ..session import Session
from .batch_rules import RULES, BatchOrigin, BatchRules
from .life_state import LifeState, LossKind

logger = logging.getLogger(__name__)


class Named(Protocol):
    """The instance, as its batches see it: its name may change."""

    name: str


# Whether the activity is lost, after a batch has failed with an error; blocks until the scope is cancelled.
LostIn = Callable[[GolemError, Scope], "ActivityLost | None"]


class BatchRunner:
    """Runs batches on the activity of one life, and tells of each by two events.

    Args:
        state: of the life.
        instance: whose life it is.
        files: publishes files for transfers.
        emit: called with each event.
        policy: what holds for the commands of the service.
        lost_in: asked before a failed batch is taken for the fault of its commands.
    """

    def __init__(
        self,
        state: LifeState,
        instance: Named,
        files: FilePublisher,
        emit: Emit,
        policy: CommandPolicy,
        lost_in: LostIn,
    ) -> None:
        self._state = state
        self._lost_in = lost_in
        self._instance = instance
        self._files = files
        self._emit = emit
        self._policy = policy
        self._leftovers = Leftovers()
        self._background = BackgroundPrograms()

    @classmethod
    def of_service(
        cls, service: Service, state: LifeState, instance: Named, session: Session, lost_in: LostIn
    ) -> BatchRunner:
        """Make the one that runs the batches of a user's object."""
        policy = CommandPolicy(service, session.is_new_advice)
        return cls(state, instance, session.files, session.emit, policy, lost_in)

    def tell_of_call(self, method: str) -> None:
        """Tell that a method of the service is called."""
        self._emit(MethodCalled(self._instance.name, method))

    def run(
        self, origin: BatchOrigin, commands: tuple[Command, ...], timeout: float | None = None
    ) -> Results:
        """Run commands as one batch after those sent before, and block until it has ended.

        Args:
            origin: where the batch comes from; `batch_rules` says what that means.
            commands: one at least.
            timeout: seconds at most; None waits as long as the life allows.

        Raises:
            BadCommand: the payload of the service can't run a command; nothing is sent.
            CommandFailed: a command failed.
            BatchTimeout: the batch took longer than `timeout`.
            BatchLost: nothing is known of its end.
            BaseException: what the rules of `origin` say, if the life ends or loses its activity.
        """
        rules = RULES[origin]
        scope, unsent = rules.runs_until(self._state), rules.sent_until(self._state)
        name = self._instance.name
        if unsent.cancelled:
            raise rules.if_late(name, commands[0], unsent.reason)
        activity = self._state.require_activity()
        folders = self._policy.folders(commands, activity.volume, origin is BatchOrigin.DEPLOY)
        part = self._state.in_part(rules.part) if rules.part else nullcontext()
        explains = explained(activity, scope, unsent, self._policy.may_run)
        told = self._told_by_events(commands)
        with part, self._as_the_rules_say(rules, commands), told, explains, self._judged(scope):
            deadline = Deadline(timeout)

            def send(steps: Sequence[Command], known_as: Sequence[Command] = ()) -> Results:
                left = None if timeout is None else deadline.remaining()
                return activity.run(steps, scope, unsent, left, name, known_as)

            self._leftovers.remove(send)
            if not has_files(commands) and not any(folders):
                results = send(commands)
            else:
                has_shell = self._policy.may_run(Run.shell("rm"))
                with (
                    FileBatch(
                        commands, self._files, name, self._emit, scope, unsent, folders, has_shell
                    ) as files,
                    self._leftovers.of(files),
                ):
                    results = files.run(send)
            self._policy.advise(results)
            self._background.note(results)
            self._emit(BatchEnded(name, commands, results, None))
            return results

    @contextmanager
    def explaining_refusals(self) -> Iterator[Callable[[], None]]:
        """Say in the `PortRefused` of the `with` statement which programs in the background have ended.

        Blocks for that for five seconds at most, and not at all where `Run.background` was not used.

        Yields:
            What warns of the same while the statement goes on, and blocks as long.
        """
        try:
            yield self._warn_of_ended_programs
        except PortRefused as error:
            asked = self._asked_about_programs()
            if asked is None:
                raise
            activity, question = asked
            explained = explained_refusal(error, activity, question, self._state.stop)
            raise explained from explained.__cause__

    def _warn_of_ended_programs(self) -> None:
        asked = self._asked_about_programs()
        ended = ended_programs(*asked, self._state.stop) if asked is not None else ""
        if ended:
            logger.warning(
                "%s: its port refuses connections, and %s\n  It is waited for all the same: some servers go "
                "on in another process",
                self._instance.name,
                ended,
            )

    def _asked_about_programs(self) -> tuple[Activity, Run] | None:
        question, activity = self._background.question, self._state.activity
        if question is None or activity is None or not self._policy.may_run(question):
            return None
        return activity, question

    @contextmanager
    def _as_the_rules_say(self, rules: BatchRules, commands: tuple[Command, ...]) -> Iterator[None]:
        """Give the caller what the rules say where the life ends, or has lost its activity."""
        try:
            yield
        except ActivityLost as error:
            self._state.lose(LossKind.ACTIVITY_GONE, error)
            if rules.if_lost is None:
                raise
            raise rules.if_lost(self._instance.name, commands[0], str(error)) from error
        except ScopeEnded as error:
            lost = self._state.lost_activity
            if lost is not None:
                # Somebody else has found it out, and has ended the scope therefore.
                if rules.if_lost is None:
                    raise lost from None
                raise rules.if_lost(self._instance.name, commands[0], str(lost)) from lost
            if rules.if_cut is None:
                raise
            reason = rules.sent_until(self._state).reason
            raise rules.if_cut(self._instance.name, commands[0], reason) from error

    @contextmanager
    def _judged(self, scope: Scope) -> Iterator[None]:
        """Raise `ActivityLost` for a batch that has failed because its provider is gone."""
        try:
            yield
        except (ActivityLost, BatchLost, CommandFailed) as error:
            lost = self._lost_in(error, scope)
            if lost is None or lost is error:
                raise
            raise lost from error

    @contextmanager
    def _told_by_events(self, commands: tuple[Command, ...]) -> Iterator[None]:
        name = self._instance.name
        self._emit(BatchStarted(name, commands))
        try:
            yield
        except BaseException as error:
            so_far = results_so_far(error) if isinstance(error, CommandFailed) else ()
            self._policy.advise(so_far)
            self._background.note(so_far)
            self._emit(BatchEnded(name, commands, so_far, str(error) or type(error).__name__))
            raise
