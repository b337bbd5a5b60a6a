"""Life after life of one instance, on its life thread."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import tenacity

from ..background.cancellation import Scope
from ..background.forks import user_code
from ..background.log_guard import guard_loggers
from ..engine.life.mended_elsewhere import RepeatedErrors
from ..engine.life.outcome import LifeAbandoned, Outcome
from ..engine.life.user_traceback import error_text, user_lines
from ..errors import CommandFailed
from ..model.events.instances import InstanceFailed
from ..model.service.service import Service, named
from ..model.service.states import ServiceState
from ..model.service.suspended import SuspendedInstance
from .cluster_context import ClusterContext
from .instance_record import InstanceRecord

if TYPE_CHECKING:
    from ..engine.life.service_link import ServiceLink
    from ..engine.network.place import Place

logger = logging.getLogger(__name__)

# A provider was lost while the instance was running; it looks for another one after this pause.
_RESPAWN_PAUSE_SECONDS = 1.0

# The service of an instance's first life, and what makes those of the others.
Member = tuple[Service, Callable[[], Service]]


class InstanceLives:
    """The lives of one instance: one after the other, as often as the respawn rules allow.

    Attributes:
        service: the user's object of the present life.
        link: what that object calls; None before the first life.
        take_over: calls a function on a new life thread, if a method of the user does not leave the old one.
    """

    def __init__(
        self,
        context: ClusterContext,
        record: InstanceRecord,
        member: Member,
        suspended: SuspendedInstance | None,
        replace_life: Callable[[Callable[[], object]], bool],
        place: Place | None = None,
        occupation: Callable[[Scope], object] | None = None,
    ) -> None:
        self.take_over = replace_life
        self.service, self._make_service = member
        self.link: ServiceLink | None = None
        self._context = context
        self._record = record
        # The script may ask for it before the life thread begins.
        record.name = named(self.service, record.name)
        self._suspended = suspended
        self._is_resumed = suspended is not None
        self._place = place
        self._occupation = occupation
        self._errors = RepeatedErrors()
        # The count of the attempts since a life has run last.
        self._attempts: tenacity.RetryCallState | None = None

    def live(self) -> None:
        """Live until the end of the last life; the target of the life thread."""
        self._live_on(self._live_as_often_as_allowed)

    def go_on_after(self, outcome: Outcome) -> None:
        """Live on after a life that has ended without its thread; called by its successor, or by a worker."""
        outcome = self._unless_it_came_before(outcome)
        self._record.failure = outcome.failure
        self._live_on(partial(self._live_as_often_as_allowed, outcome))

    def _live_on(self, live: Callable[[], Outcome]) -> None:
        try:
            outcome = live()
        except LifeAbandoned:
            return
        except BaseException as error:  # noqa: BLE001 - a constructor of the user's, or their respawn_stop
            logger.error("%s failed:\n%s", self._record.name, user_lines(error))
            outcome = Outcome(error, False, False)
        self._finish(outcome)

    def _live_as_often_as_allowed(self, ended: Outcome | None = None) -> Outcome:
        while True:
            outcome = self._live_until_one_has_run(ended)
            if not (outcome.ran and self._may_respawn(outcome)):
                return outcome
            self._announce_respawn(outcome)
            self._record.enter(ServiceState.pending)
            self._record.stop_scope.wait(_RESPAWN_PAUSE_SECONDS)
            ended = None

    def _live_until_one_has_run(self, ended: Outcome | None) -> Outcome:
        """Live until one life has reached running, or the limit of the respawn rules is reached.

        Args:
            ended: how a life has ended without its thread, which counts as the latest attempt; None if a new
                one comes next.
        """
        earlier, unread = self._attempts, [] if ended is None else [ended]

        def count(state: tenacity.RetryCallState) -> None:
            if unread and earlier is not None:
                state.attempt_number, state.start_time = earlier.attempt_number, earlier.start_time
            self._attempts = state

        def live_once() -> Outcome:
            return unread.pop() if unread else self._live_once()

        def sleep(seconds: float) -> None:
            self._record.stop_scope.wait(seconds)

        def announce(state: tenacity.RetryCallState) -> None:
            if state.outcome is not None:
                self._announce_respawn(state.outcome.result())
            self._record.enter(ServiceState.pending)

        def last(state: tenacity.RetryCallState) -> Outcome:
            outcome: Outcome = state.outcome.result()  # type: ignore[union-attr]
            return outcome

        respawn = self._context.respawn
        return tenacity.Retrying(
            retry=tenacity.retry_if_result(lambda outcome: not outcome.ran and self._may_respawn(outcome)),
            stop=respawn.stop,
            wait=respawn.wait,
            sleep=sleep,
            before=count,
            before_sleep=announce,
            retry_error_callback=last,
        )(live_once)

    def _live_once(self) -> Outcome:
        if self.link is not None:
            if self._record.stop_scope.cancelled:
                return Outcome(self._record.failure, False, False)
            with user_code():
                service = self._make_service()
            self._record.name = named(service, self._record.name)
            self.service = service
        # The life thread loads it while providers answer the demand: before, it would delay the demand.
        from ..engine.life.life import Life

        guard_loggers()
        suspended, self._suspended = self._suspended, None
        life = Life(
            self._context.session,
            self._context.demand,
            self.service,
            self._record,
            successor=self,
            suspended=suspended,
            place=self._place,
            occupation=self._occupation,
        )
        self.link = life.link
        self._record.begin_life(life)
        outcome = self._unless_it_came_before(life.live())
        self._record.failure = outcome.failure
        return outcome

    def _unless_it_came_before(self, outcome: Outcome) -> Outcome:
        """Return the outcome of a life; after the same error on a second provider no third one is tried."""
        link, error = self.link, outcome.failure
        if outcome.ran or not outcome.elsewhere or error is None or link is None:
            return outcome
        name = link.provider_name or ""
        other = self._errors.other_provider(error, link.provider_id or "", name)
        if other is None:
            return outcome
        self._tell(logging.ERROR, outcome, f"the same error on {other} and {name}: it is in your code")
        return replace(outcome, elsewhere=False, report=None)

    def _may_respawn(self, outcome: Outcome) -> bool:
        if self._record.stop_scope.cancelled or not outcome.elsewhere:
            return False
        return self._context.respawn.running if outcome.ran else self._context.respawn.unstarted

    def _announce_respawn(self, outcome: Outcome) -> None:
        self._tell(logging.WARNING, outcome, "it is started again")
        self._context.session.emit(
            InstanceFailed(self._record.name, error_text(outcome.failure), respawned=True)
        )

    def _tell(self, level: int, outcome: Outcome, next_step: str) -> None:
        """Log the report of a failure, unless that was done at once because nothing could follow on it."""
        if outcome.report is not None:
            logger.log(level, "%s", outcome.report.text(next_step))

    def _why_not_again(self, outcome: Outcome) -> str:
        if self._record.stop_scope.cancelled:
            return "it is not started again, because it was to end anyway"
        if self._occupation is not None:
            return "its pool rents another machine if items wait for one"
        if outcome.ran or self._is_resumed:
            call = "resume_service" if self._is_resumed else "run_service"
            return f"with {call}(…, respawn_running=True) it would be started again"
        if not self._context.respawn.unstarted:
            return "with run_service(…, respawn_unstarted_instances=True) it would be started again"
        more = "respawn_stop=tenacity.stop_after_attempt(n) allows more attempts"
        if isinstance(outcome.failure, CommandFailed):
            return f"it is not started again: look at the command and at the image first; {more}"
        return f"it is not started again: {more}"

    def _finish(self, outcome: Outcome) -> None:
        """The last life is over; on a worker, where the life thread was left behind."""
        record = self._record
        cut_off_by = record.cut_off_by
        record.failure = outcome.failure or cut_off_by
        if record.failure is None and not record.has_run:
            record.failure = record.waited_in_vain
        if outcome.failure is None and cut_off_by is not None:
            name = "" if record.name in str(cut_off_by) else f"{record.name}: "
            logger.error("%s%s", name, cut_off_by)
        # A pool replaces a machine that was lost.
        level = logging.ERROR if self._occupation is None else logging.WARNING
        self._tell(level, outcome, self._why_not_again(outcome))
        if record.failure is not None:
            self._context.session.emit(
                InstanceFailed(record.name, error_text(record.failure), respawned=False)
            )
        if self._place is not None and outcome.suspended is None:
            self._place.give_back()
        self._context.remove_living(record)
        record.suspended = outcome.suspended
        record.enter(ServiceState.suspended if outcome.suspended else ServiceState.terminated)
