"""One life of an instance, on its thread: agreement, activity, deploy, start, run, shutdown, release."""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from typing import Protocol

from ...background.cancellation import Scope, ScopeEnded
from ...errors import (
    ActivityFailed,
    ActivityLost,
    BatchLost,
    CommandFailed,
    GolemError,
    MethodStuck,
    Overcharged,
    ServiceStopped,
    YagnaError,
)
from ...model.commands.commands import Command
from ...model.events import ActivityCreated, ActivityDestroyed, AgreementEnded, MethodCalled
from ...model.offers.offer import Offer
from ...model.service.service import Service, bind, check_run_interval, set_results
from ...model.service.service_class import commands_from, has_own_run
from ...model.service.states import ServiceState
from ...model.service.suspended import SuspendedInstance
from ...yagna.values import AgreementState
from ..activity.activity import Activity
from ..market.agreement import Agreement, provider_name
from ..market.demand import Demand
from ..payment.account import Account
from ..session import Session
from ..shutdown_times import ShutdownPart, ShutdownTimes
from .service_link import UNWIND_SECONDS, Host, ServiceLink
from .shutdown_alarm import TERMINATE_SECONDS, LifeAbandoned, ShutdownAlarm
from .user_traceback import keep_user_lines, user_lines, whereabouts

logger = logging.getLogger(__name__)

_CREATE_SECONDS = 30.0
_SLOW_START_SECONDS = 60.0
_AFTERMATH_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a life ended.

    Attributes:
        failure: what went wrong, None if nothing did.
        ran: whether it got to running.
        elsewhere: whether another provider might do better.
        suspended: what a later session needs to go on with it, if it was left alive.
    """

    failure: BaseException | None
    ran: bool
    elsewhere: bool
    suspended: SuspendedInstance | None = None


class LifeHost(Host, Protocol):
    """The instance, as its life sees it."""

    def enter(self, state: ServiceState) -> None: ...
    def rename_thread(self, provider: str) -> None: ...
    def agreed(self, agreement_id: str) -> None: ...
    def life_abandoned(self, outcome: Outcome) -> None: ...


class Life:
    """One life: the user's object, one agreement, one activity."""

    def __init__(
        self,
        session: Session,
        demand: Demand,
        service: Service,
        host: LifeHost,
        adopted: SuspendedInstance | None = None,
    ) -> None:
        self._adopted = adopted
        self._suspending = False
        self.service = service
        self._session = session
        self._emit = session.emit
        self._demand = demand
        self._host = host
        self._class_name = type(service).__name__
        self._destroying = Scope(session.release)
        self._releasing = Scope(session.release)
        self._parts = ShutdownAlarm(session.timer, self._overdue)
        self._link = ServiceLink(host, self._class_name, self._parts, session.files, session.emit, self.lose)
        self._stop = self._link.stop_scope
        self._lost: GolemError | None = None
        self._cut_short = False
        self._ran = False
        self._doing = "its search for a provider"
        bind(service, self._link)

    # --- the life, on its own thread ---------------------------------------------------------------

    @property
    def link(self) -> ServiceLink:
        """What the user's object and those outside have to do with."""
        return self._link

    def live(self) -> Outcome:
        """Live from the search for a provider to the release of everything; blocks for all of it."""
        self._link.thread_ident = threading.get_ident()
        failure: BaseException | None = None
        elsewhere = False
        try:
            if self._adopted is not None:
                self._take_up(self._adopted)
            else:
                self._begin_anew()
            self._ran = True
            self._run()
        except (ScopeEnded, ServiceStopped):
            pass
        except ActivityLost as error:
            self._lost = self._lost or error
        except (ActivityFailed, BatchLost, CommandFailed) as error:
            failure, elsewhere = error, not self._ran
        except LifeAbandoned:
            raise
        except BaseException as error:  # noqa: BLE001 - whatever user code raises is its instance's failure
            failure = error
        if self._lost is not None:
            failure, elsewhere = self._lost, True
        self._report(failure, elsewhere)
        if self._suspending and failure is None and self._ran:
            return self._leave_alive()
        if self._worth_a_shutdown(failure):
            failure = self._shutdown(failure)
        self._parts.begin(None)
        return self._conclude(Outcome(failure, self._ran, elsewhere))

    def _begin_anew(self) -> None:
        self._find_provider()
        self._create_activity()
        self._deploy()
        self._link.started = True
        self._phase("start")

    def _take_up(self, adopted: SuspendedInstance) -> None:
        """Go on with what an earlier session has left alive."""
        self._doing = "being resumed"
        # Whatever happens from here on, both have to be ended with this life.
        self._link.agreement = Agreement(adopted.agreement_id, "", adopted.name, {})
        activity = Activity(self._session.yagna, adopted.activity_id, adopted.name)
        self._link.activity = activity
        kept = self._session.yagna.market.agreement(adopted.agreement_id, scope=self._releasing)
        name = provider_name(kept.offer_properties)
        agreement = Agreement(kept.agreement_id, kept.provider_id, name, kept.offer_properties)
        self._link.agreement = agreement
        activity.provider = str(agreement)
        self._session.chooser.take(kept.provider_id)
        self._host.rename_thread(name)
        self._host.agreed(kept.agreement_id)
        self._session.watch(kept.agreement_id, self)
        self._session.payments.expect_invoice(kept.agreement_id, str(agreement))
        self._host.enter(ServiceState.starting)
        if kept.state is not AgreementState.APPROVED or activity.alive(self._stop) is False:
            raise ActivityLost(f"{agreement} has ended while {adopted.name} was suspended")
        self._stop.check()
        self._session.health.watch(activity, self)
        self._link.started = True

    def _find_provider(self) -> None:
        while self._link.agreement is None:
            proposal = self._session.chooser.choose(self._demand, self._stop)
            try:
                self._link.agreement = self._session.agreements.make(
                    proposal, self._host.name, self._stop, self._releasing
                )
            finally:
                if self._link.agreement is None:
                    self._session.budget.let_go(proposal.issuer_id)
                    self._session.chooser.give_back(proposal.issuer_id, failed=not self._stop.cancelled)
        agreement = self._link.agreement
        offer = Offer.of(agreement.provider_id, agreement.offer_properties)
        now = datetime.now(timezone.utc)
        self._session.ledger.open(
            Account.made(agreement.agreement_id, offer, self._class_name, self._host.name, now)
        )
        self._session.budget.let_go(agreement.provider_id)
        self._host.agreed(agreement.agreement_id)
        self._host.rename_thread(agreement.provider_name)
        self._session.watch(agreement.agreement_id, self)
        self._host.enter(ServiceState.starting)

    def _create_activity(self) -> None:
        agreement = self._link.agreed()
        self._doing = "creating its activity"
        # Abandoned by a stop, it may be created all the same: ending the agreement ends it. No invoice is
        # expected then, since the daemon refuses one for an activity that it never heard of (seen live).
        asked = time.monotonic()
        try:
            activity_id = self._session.yagna.activity.create(
                agreement.agreement_id, timeout=_CREATE_SECONDS, scope=self._stop
            )
        except YagnaError as error:
            raise ActivityFailed(
                f"{agreement} did not create the activity for {self._host.name}: {error.detail}"
            ) from error
        self._session.ledger.activity_began(agreement.agreement_id, activity_id, asked)
        self._session.payments.expect_invoice(agreement.agreement_id, str(agreement))
        self._link.activity = Activity(self._session.yagna, activity_id, str(agreement))
        self._session.health.watch(self._link.activity, self)
        self._emit(ActivityCreated(self._host.name, activity_id, agreement.provider_name))

    def _deploy(self) -> None:
        commands = self._call("deploy")
        if commands:
            self._link.batch(commands, self._stop, self._stop)

    def _phase(self, method: str) -> bool:
        """Call a method and run what it returns as one batch; whether there was anything to run."""
        commands = self._call(method)
        if not commands:
            return False
        self._stop.check()
        slow = (
            self._session.timer.call_in(_SLOW_START_SECONDS, self._warn_slow) if method == "start" else None
        )
        try:
            results = self._link.own_batch(commands, None, None)
        finally:
            if slow is not None:
                slow.cancel()
        set_results(self.service, results)
        return True

    def _run(self) -> None:
        self._host.enter(ServiceState.running)
        if not has_own_run(type(self.service)):
            self._stop.wait()
            return
        while not self._stop.cancelled:
            returned = self._phase("run")
            interval = check_run_interval(self.service.run_interval, f"{self._class_name}.run_interval")
            if interval is None:
                if returned and self._session.first_time(f"{self._class_name} returned commands"):
                    logger.warning(
                        "%s.run() returned commands and was called once: with a `run_interval` (seconds) it "
                        "is called again and again",
                        self._class_name,
                    )
                return
            self._stop.wait(interval)

    def _call(self, method: str) -> tuple[Command, ...]:
        """Run the user's `deploy`, `start` or `run`, and check what it returns."""
        self._doing = f"{method}()"
        self._parts.begin(ShutdownPart.METHOD)
        self._emit(MethodCalled(self._host.name, method))
        try:
            value = getattr(self.service, method)()
        finally:
            self._parts.begin(None)
        return commands_from(self._class_name, method, value)

    # --- the end -------------------------------------------------------------------------------------

    def _worth_a_shutdown(self, failure: BaseException | None) -> bool:
        if self._link.activity is None or self._activity_gone() or not self._link.started:
            return False
        if (failure is not None and not self._ran) or isinstance(self._lost, Overcharged):
            return False
        self._host.enter(ServiceState.stopping)
        if not self._parts.ending:
            self.end(ShutdownTimes.ordinary(), "the service has ended")
        self._let_others_finish()
        if self._cut_short:
            logger.warning(
                "%s: a batch did not end within its grace; shutdown() is skipped and the activity destroyed",
                self._host.name,
            )
            return False
        return True

    def suspend(self, ending: ShutdownTimes) -> None:
        """End the life, but leave agreement and activity alive; from any thread, without blocking."""
        self._suspending = True
        self.end(ending, "it is being suspended")

    def _leave_alive(self) -> Outcome:
        self._let_others_finish()
        if self._cut_short:
            logger.warning(
                "%s is suspended while a command of it still runs: wait for that before you resume it",
                self._host.name,
            )
        agreement, activity = self._link.agreed(), self._link.acting()
        self._parts.conclude()
        self._stop.close()
        self._session.health.unwatch(activity)
        self._session.unwatch(agreement.agreement_id)
        allocation_id = self._session.payments.keep_for(agreement.agreement_id)
        suspended = SuspendedInstance(
            self._host.name,
            agreement.agreement_id,
            activity.activity_id,
            self._adopted.app_session_id if self._adopted else self._session.app_session_id,
            allocation_id,
        )
        self._session.books.write("suspended", about=agreement.agreement_id, **asdict(suspended))
        self._finish()
        return Outcome(None, True, False, suspended)

    def _let_others_finish(self) -> None:
        """A batch from outside that is under way may end within the grace, too."""
        self._parts.begin(ShutdownPart.BATCH)
        try:
            self._link.acting().wait_until_idle(self._link.batches)
        except ScopeEnded:
            self._cut_short = True
        finally:
            self._parts.begin(None)

    def _activity_gone(self) -> bool:
        return self._lost is not None and not isinstance(self._lost, (_AgreementEnded, Overcharged))

    def _shutdown(self, failure: BaseException | None) -> BaseException | None:
        self._link.in_shutdown = True
        self._doing = "shutdown()"
        self._parts.begin(ShutdownPart.SHUTDOWN)
        self._emit(MethodCalled(self._host.name, "shutdown"))
        try:
            commands = commands_from(self._class_name, "shutdown", self.service.shutdown())
            if commands:
                self._link.batch(commands, self._link.shutting_down, self._link.shutting_down)
        except (ScopeEnded, ServiceStopped):
            logger.warning("%s: shutdown() was not done in time", self._host.name)
        except BaseException as error:  # noqa: BLE001 - user code's is its instance's failure
            if not self._parts.abandoned:
                self._report(error, False)
            return failure or error
        return failure

    def _conclude(self, outcome: Outcome) -> Outcome:
        """End the agreement, destroy the activity, let the provider go; blocks as long as that may take."""
        until = self._parts.conclude()
        self._stop.cancel("the life is over")
        self._link.batches.cancel("the life is over")
        self._stop.close()
        if self._link.agreement is not None:
            self._let_go(self._link.agreement, outcome, until)
        self._finish()
        return outcome

    def _finish(self) -> None:
        """Nothing of it is under way any more: let go of the clock and of the scopes above."""
        self._parts.concluded_at_last()
        self._destroying.close()
        self._releasing.close()

    def _let_go(self, agreement: Agreement, outcome: Outcome, until: float) -> None:
        if self._link.activity is not None:
            self._session.health.unwatch(self._link.activity)
        self._session.unwatch(agreement.agreement_id)
        code = "Success" if outcome.failure is None else "Failure"
        reason = "Not needed any more" if outcome.failure is None else type(outcome.failure).__name__
        ended = self._session.agreements.terminate(agreement, reason, code, self._releasing)
        if ended:
            self._emit(AgreementEnded(self._host.name, agreement.agreement_id, False, reason))
        confirmed = True
        if self._link.activity is not None and not self._activity_gone():
            if ended and not isinstance(self._lost, _AgreementEnded):
                self._link.activity.await_end(self._destroying)
            timeout = max(0.1, until - time.monotonic() - TERMINATE_SECONDS)
            confirmed = self._link.activity.destroy(self._destroying, timeout)
            self._emit(ActivityDestroyed(self._host.name, self._link.activity.activity_id, confirmed))
        self._session.ledger.agreement_ended(agreement.agreement_id, certain=ended and confirmed)
        self._session.chooser.give_back(agreement.provider_id, failed=outcome.elsewhere)

    def _report(self, failure: BaseException | None, elsewhere: bool) -> None:
        if failure is None:
            return
        where = f" on {self._link.agreement}" if self._link.agreement is not None else ""
        # Where another provider may do better, the instance says whether it was the end.
        level = logging.WARNING if elsewhere else logging.ERROR
        logger.log(level, "%s%s failed in %s:\n%s", self._host.name, where, self._doing, user_lines(failure))
        keep_user_lines(failure)

    def end(self, ending: ShutdownTimes, reason: str) -> None:
        """Have the life end in the times of `ending`; from any thread, without blocking."""
        if ending.is_shortened:
            self._suspending = False  # nobody would hear where it was left
        self._parts.end(ending)
        self._stop.cancel(reason)

    # --- the time each part may take -----------------------------------------------------------------

    def _overdue(self, part: ShutdownPart) -> None:
        if part is ShutdownPart.BATCH:
            self._cut_short = True
            self._link.batches.cancel("its grace is over")
        elif part is ShutdownPart.METHOD:
            self._abandon(part)
        elif part is ShutdownPart.SHUTDOWN:
            self._link.shutting_down.cancel("the time for shutdown() is over")
            self._session.timer.call_in(UNWIND_SECONDS, lambda: self._abandon(part))
        elif part is ShutdownPart.RELEASE:
            self._destroying.cancel("no time left")
            self._session.timer.call_in(TERMINATE_SECONDS, lambda: self._releasing.cancel("no time left"))

    def _abandon(self, part: ShutdownPart) -> None:
        """A method of the user does not return: the life is ended without it, its thread left behind."""
        if not self._parts.abandon(part):
            return
        stuck = MethodStuck(
            f"{self._host.name}: a method of {self._class_name} did not return after the stop; its thread "
            f"was abandoned at {whereabouts(self._link.thread_ident)}; "
            "use self.wait(seconds), not time.sleep"
        )
        logger.error("%s", stuck)
        self._session.workers.post(self._conclude_without_thread, Outcome(stuck, self._ran, False))

    def _conclude_without_thread(self, outcome: Outcome) -> None:
        self._host.life_abandoned(self._conclude(outcome))

    # --- what the provider does ------------------------------------------------------------------------

    def agreement_ended(self, reason: str) -> None:
        """The provider has ended the agreement; from the session's thread, without blocking."""
        self._session.workers.post(self._look_after_agreement, reason)

    def _look_after_agreement(self, reason: str) -> None:
        if self._parts.concluded:
            return
        if self._link.agreement is not None:
            self._emit(AgreementEnded(self._host.name, self._link.agreement.agreement_id, True, reason))
        error = _AgreementEnded(
            f"{self._link.agreement} has ended the agreement: {reason or 'no reason given'}"
        )
        # A provider that ends its activity as well does so a moment later.
        self._releasing.wait(_AFTERMATH_SECONDS)
        try:
            if self._link.activity is not None and self._link.activity.alive(self._releasing) is True:
                self._lost = error
                self.end(ShutdownTimes.by_provider(), str(error))
                return
        except ScopeEnded:
            return
        self.lose(ActivityLost(str(error)))

    def lose(self, error: GolemError) -> None:
        """The activity is gone: end the life without `shutdown()`; from any thread, without blocking."""
        self._lost = self._lost or error
        if self._link.agreement is not None:
            self._session.payments.hardly_expect_invoice(self._link.agreement.agreement_id)
        self._link.batches.cancel(str(error))
        self._link.shutting_down.cancel(str(error))
        self.end(ShutdownTimes.by_provider(), str(error))

    def overcharged(self, error: Overcharged) -> None:
        """The provider asks for more than was agreed: destroy its activity; from any thread, no blocking."""
        self._lost = self._lost or error
        self._link.batches.cancel(str(error))
        self._link.shutting_down.cancel(str(error))
        self.end(ShutdownTimes.by_provider(), str(error))

    def seems_unresponsive(self) -> None:
        """The provider has not answered for a while; from the health check."""
        if self._host.state is ServiceState.running:
            self._host.enter(ServiceState.unresponsive)

    def seems_well(self) -> None:
        """It answers again; from the health check."""
        if self._host.state is ServiceState.unresponsive:
            self._host.enter(ServiceState.running)

    # --- small things ------------------------------------------------------------------------------------

    def _warn_slow(self) -> None:
        logger.warning(
            "%s: the commands of start() have been running for %.0f s, and run() waits for them; a server "
            "belongs in the background: Run.shell('… &')",
            self._host.name,
            _SLOW_START_SECONDS,
        )


class _AgreementEnded(ActivityLost):
    """The provider has ended the agreement, but the activity still answered."""
