"""One life of an instance, from its search for a provider to its release, on the life thread."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Protocol

from ...background.cancellation import Scope, ScopeEnded
from ...background.forks import user_code
from ...background.log_guard import guard_loggers
from ...errors import (
    ActivityLost,
    BatchTimeout,
    GolemError,
    MethodStuck,
    ServiceStopped,
)
from ...model.commands.commands import Command
from ...model.service.service import Service, bind, check_run_interval, set_results
from ...model.service.service_class import commands_from, has_own_run
from ...model.service.states import ServiceState
from ...model.service.suspended import SuspendedInstance
from ..market.demand import Demand
from ..session import Session
from ..shutdown_times import ShutdownPart, ShutdownTimes
from .batch_rules import BatchOrigin
from .failure_report import FailureReport
from .life_state import LifeState, LossKind, Phase
from .mended_elsewhere import may_be_mended_elsewhere
from .outcome import LifeAbandoned, Outcome
from .provider_lease import LeasingInstance, ProviderLease
from .provider_watch import ProviderWatch, WatchedInstance
from .service_link import LinkedInstance, ServiceLink
from .user_traceback import whereabouts

if TYPE_CHECKING:
    from ..network.place import Place
    from .batch_runner import BatchRunner

logger = logging.getLogger(__name__)

_SLOW_START_SECONDS = 60.0
_HOW_TO_RETURN = "use self.wait(seconds) in place of time.sleep, and give each request a timeout"


class LivingInstance(LeasingInstance, WatchedInstance, LinkedInstance, Protocol):
    """The instance, as its life sees it."""

    stop_scope: Scope

    @property
    def stop_grace(self) -> float: ...


class Successor(Protocol):
    """Goes on with the instance where a life has gone on without the life thread."""

    def take_over(self, target: Callable[[], object]) -> bool:
        """Call `target` on a new life thread; False if the interpreter starts no threads any more."""

    def go_on_after(self, outcome: Outcome) -> None:
        """The life has ended; called on the new life thread, or on a worker."""


class Life:
    """One life: the user's object, one agreement, one activity.

    Args:
        session: what all instances of the Golem share.
        demand: where a provider is looked for.
        service: the user's object, new for each life.
        instance: whose life it is.
        successor: goes on with the instance where this life has left its thread behind.
        suspended: what an earlier session left alive; None if the life is a new one.
        place: of the instance in a private network; None if it has none.
        occupation: called once, in place of the service's `run`, with a scope that is cancelled when the life
            is to end.

    Attributes:
        link: what the user's object calls.
    """

    def __init__(
        self,
        session: Session,
        demand: Demand,
        service: Service,
        instance: LivingInstance,
        *,
        successor: Successor,
        suspended: SuspendedInstance | None = None,
        place: Place | None = None,
        occupation: Callable[[Scope], object] | None = None,
    ) -> None:
        self.service = service
        self._place = place
        self._session = session
        self._demand = demand
        self._instance = instance
        self._successor = successor
        self._suspended = suspended
        self._occupation = occupation
        self._class_name = type(service).__name__
        self._doing = "looking for a provider"
        self._state = LifeState(
            session.timer, instance.stop_scope, session.release_scope, self._method_is_late
        )
        self._watch = watch = ProviderWatch(session, self._state, instance)
        self._lease = ProviderLease(session, self._state, instance, watch)
        self.link = ServiceLink(instance, self._class_name, self._state, place)
        bind(service, self.link)

    # --- from any thread, without blocking ------------------------------------------------------------

    def end(self, times: ShutdownTimes, reason: str) -> None:
        """End the life in the given times."""
        state = self._state
        state.end(times, reason)
        has_begun = state.phase is not Phase.DEPLOYING
        if has_begun and not (state.activity_gone or state.is_suspending or state.concluded):
            self._instance.enter(ServiceState.stopping)

    def suspend(self, times: ShutdownTimes) -> None:
        """End the life, but leave its agreement and activity alive."""
        self._state.suspend(times)

    # --- on the life thread -----------------------------------------------------------------------------

    def live(self) -> Outcome:
        """Live from the search for a provider to the release of everything; blocks for all of it.

        Raises:
            LifeAbandoned: a method of the user returned too late; the life has gone on without this thread.
        """
        self._state.take_thread()
        return self._end_after(self._work())

    def _end_after(self, outcome: Outcome) -> Outcome:
        """Do everything that follows on the user's work."""
        state = self._state
        outcome = self._reported(outcome)
        if state.is_suspending and outcome.failure is None and outcome.ran:
            return self._leave_alive()
        if self._needs_shutdown(outcome):
            outcome = self._shutdown(outcome)
        return self._conclude(outcome)

    def _work(self) -> Outcome:
        """Do everything until `run` is over; tells what ended it."""
        failure: BaseException | None = None
        elsewhere = False
        try:
            self._start()
            self._run()
        except LifeAbandoned:
            raise
        except (ScopeEnded, ServiceStopped):
            pass
        except ActivityLost as error:
            self._state.lose(LossKind.ACTIVITY_GONE, error)
        except BaseException as error:  # noqa: BLE001 - any error of user code is its instance's failure
            failure = error
            # Without an agreement it was no provider's fault.
            unstarted = self._state.agreement is not None and not self._state.has_run
            elsewhere = unstarted and may_be_mended_elsewhere(error)
        loss = self._state.loss
        if loss is not None:
            failure, elsewhere = loss.error, True
        return Outcome(failure, self._state.has_run, elsewhere)

    def _start(self) -> None:
        if self._suspended is not None:
            self._doing = "being resumed"
            self._lease.resume(self._suspended)
            self.link.runner = self._make_runner()
            if self._place is not None:
                self._place.resumed(self._suspended.network_id)
            self._state.phase = Phase.WORKING
            return
        self._lease.find_provider(self._demand)
        self._doing = "creating its activity"
        # A provider needs longer for that than this does: before, it would delay the search for one.
        self._session.workers.post(_load_batch_runner)
        self._lease.create_activity()
        self.link.runner = self._make_runner()
        self._deploy()
        self._state.phase = Phase.WORKING
        commands = self._call("start")
        slow = self._session.timer.call_in(_SLOW_START_SECONDS, self._warn_of_slow_start)
        try:
            self._run_returned("start", commands)
        finally:
            slow.cancel()

    def _make_runner(self) -> BatchRunner:
        return _load_batch_runner().of_service(
            self.service, self._state, self._instance, self._session, self._watch.lost_in
        )

    def _deploy(self) -> None:
        commands, place = self._call("deploy"), self._place
        if place is not None:
            provider_id = self._state.require_agreement().provider_id
            commands = place.join(provider_id, commands, self._state.stop)
        if commands:
            self.link.require_runner().run(BatchOrigin.DEPLOY, commands)
        if place is not None:
            place.deployed(self._state.stop)

    def _run(self) -> None:
        self._state.stop.check()
        self._state.has_run = True
        self._doing = "running"
        self._instance.enter(ServiceState.running)
        if self._occupation is not None:
            with self._state.in_part(ShutdownPart.METHOD):
                self._occupation(self._state.stop)
            return
        if not has_own_run(type(self.service)):
            self._state.stop.wait()
            return
        while not self._state.stop.cancelled:
            returned = self._call("run")
            self._run_returned("run", returned)
            self._doing = "running"
            interval = check_run_interval(self.service.run_interval, f"{self._class_name}.run_interval")
            if interval is None:
                if returned:
                    self._advise_run_interval()
                return
            self._state.stop.wait(interval)

    def _call(self, method: str) -> tuple[Command, ...]:
        """Call the user's `deploy`, `start` or `run`, and check what it returns."""
        self._doing = f"{method}()"
        with self._state.in_part(ShutdownPart.METHOD):
            self.link.require_runner().tell_of_call(method)
            with user_code():
                value = getattr(self.service, method)()
        return commands_from(self._class_name, method, value)

    def _run_returned(self, method: str, commands: tuple[Command, ...]) -> None:
        """Run what `start` or `run` returned as one batch, and keep its results for the next call."""
        if commands:
            self._doing = f"what {method}() returned"
            set_results(self.service, self.link.require_runner().run(BatchOrigin.WORK, commands))

    # --- the end, on the life thread ------------------------------------------------------------------

    def _needs_shutdown(self, outcome: Outcome) -> bool:
        """Whether `shutdown()` is to be called; blocks until batches from outside have ended."""
        state, loss = self._state, self._state.loss
        if state.activity is None or state.activity_gone or state.phase is Phase.DEPLOYING:
            return False
        if outcome.failure is not None and not outcome.ran and not self._instance.stop_scope.cancelled:
            return False
        if loss is not None and loss.kind is LossKind.OVERCHARGED:
            return False
        self._instance.enter(ServiceState.stopping)
        if not state.is_ending:
            self.end(ShutdownTimes.ordinary(self._instance.stop_grace), "the service has ended")
        if self._batches_have_ended():
            return True
        logger.warning(
            "%s: a batch did not end within its grace; shutdown() is skipped and the activity destroyed",
            self._instance.name,
        )
        return False

    def _batches_have_ended(self) -> bool:
        """Block until no batch is under way; False if one had to be cut short, now or before."""
        try:
            with self._state.in_part(ShutdownPart.BATCH):
                self._state.require_activity().wait_until_idle(self._state.batches)
        except ScopeEnded:
            return False
        return not self._state.cut_short

    def _shutdown(self, outcome: Outcome) -> Outcome:
        """Call the user's `shutdown()` and run what it returns; a failure in it is that of the life."""
        self._state.phase = Phase.SHUTDOWN
        self._doing = "shutdown()"
        failure: BaseException | None = None
        try:
            with self._state.in_part(ShutdownPart.SHUTDOWN):
                self.link.require_runner().tell_of_call("shutdown")
                with user_code():
                    value = self.service.shutdown()
                commands = commands_from(self._class_name, "shutdown", value)
                if commands:
                    self._doing = "what shutdown() returned"
                    self.link.require_runner().run(BatchOrigin.AFTER_SHUTDOWN, commands)
        except LifeAbandoned:
            raise
        except (ScopeEnded, ServiceStopped):
            self._watch.lose_if_silent()
            failure = self._lost_since(outcome)
            if failure is None:
                logger.warning("%s: shutdown() was not done in time", self._instance.name)
        except GolemError as error:
            if isinstance(error, BatchTimeout):
                self._watch.lose_if_silent()
            # What a method gets after the activity was lost is a consequence; the loss is the cause.
            failure = self._lost_since(outcome) or error
        except BaseException as error:  # noqa: BLE001 - any error of user code is its instance's failure
            failure = error
        if failure is None:
            return outcome
        self._reported(Outcome(failure, outcome.ran, False))
        return outcome if outcome.failure is not None else Outcome(failure, outcome.ran, outcome.elsewhere)

    def _lost_since(self, outcome: Outcome) -> GolemError | None:
        """Why the provider was lost, if that is not what `outcome` tells already."""
        loss = self._state.loss
        return loss.error if loss is not None and loss.error is not outcome.failure else None

    def _leave_alive(self) -> Outcome:
        if not self._batches_have_ended():
            logger.warning(
                "%s is suspended while a command of it still runs: wait for its end before you resume it",
                self._instance.name,
            )
        self._state.conclude()
        suspended = self._lease.leave_alive(self._place)
        self._leave_place()
        self._state.close()
        return Outcome(None, True, False, suspended)

    def _conclude(self, outcome: Outcome) -> Outcome:
        """End the agreement and destroy the activity; blocks for as long as that may take."""
        until = self._state.conclude()
        self._leave_place()
        self._lease.release(outcome, until)
        self._state.close()
        return outcome

    def _leave_place(self) -> None:
        """End the connections to the instance."""
        if self._place is not None:
            self._place.life_ended(f"{self._instance.name} has ended, or is started again elsewhere")

    # --- a method that does not return ----------------------------------------------------------------

    def _method_is_late(self, part: ShutdownPart, thread_ident: int | None) -> None:
        """On the timer's thread: the life goes on without the thread of a method that does not return.

        Hundreds of methods may be late at the same moment, and whatever is due waits for this thread. So the
        new threads look where the methods are, and log it.
        """
        if part is ShutdownPart.METHOD and self._successor.take_over(
            partial(self._end_without_thread, thread_ident)
        ):
            return
        stuck = MethodStuck(
            f"{self._instance.name}: {self._doing} of {self._class_name} did not return in time; "
            f"its thread is left behind at {whereabouts(thread_ident)}; {_HOW_TO_RETURN}"
        )
        logger.error("%s", stuck)
        outcome = Outcome(stuck, self._state.has_run, False)
        self._session.workers.post(self._conclude_without_thread, outcome)

    def _end_without_thread(self, late_ident: int | None) -> None:
        """On a new life thread: end the life whose method has not returned.

        Args:
            late_ident: of the thread that the method does not leave.
        """
        self._state.take_thread()
        logger.warning(
            "%s: %s has not returned in time, and the instance ends without it; its thread is left behind at "
            "%s; %s",
            self._instance.name,
            self._doing,
            whereabouts(late_ident),
            _HOW_TO_RETURN,
        )
        loss = self._state.loss
        outcome = Outcome(loss.error if loss else None, self._state.has_run, loss is not None)
        try:
            outcome = self._end_after(outcome)
        except LifeAbandoned:
            return
        self._successor.go_on_after(outcome)

    def _conclude_without_thread(self, outcome: Outcome) -> None:
        self._successor.go_on_after(self._conclude(outcome))

    # --- what the log says ----------------------------------------------------------------------------

    def _reported(self, outcome: Outcome) -> Outcome:
        """Report a failure, or leave that to the instance, where it decides what follows."""
        failure, agreement = outcome.failure, self._state.agreement
        if failure is None:
            return outcome
        provider = str(agreement) if agreement is not None else ""
        report = FailureReport.of(self._instance.name, provider, self._doing, failure, self.service)
        if outcome.elsewhere:
            return replace(outcome, report=report)
        logger.error("%s", report.text(report.advice))
        return outcome

    def _advise_run_interval(self) -> None:
        if self._session.is_new_advice(f"{self._class_name} returned commands"):
            logger.info(
                "%s.run() returned commands and was called once: with a `run_interval` (seconds) it "
                "is called repeatedly",
                self._class_name,
            )

    def _warn_of_slow_start(self) -> None:
        logger.warning(
            "%s: the commands of start() have been running for %.0f s, and run() waits for them; start a "
            "server in the background: Run.background('/its/path', …)",
            self._instance.name,
            _SLOW_START_SECONDS,
        )


def _load_batch_runner() -> type[BatchRunner]:
    """Load what runs batches, which takes 10 ms."""
    from .batch_runner import BatchRunner

    guard_loggers()
    return BatchRunner
