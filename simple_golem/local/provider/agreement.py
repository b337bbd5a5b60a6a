"""One agreement from the provider's side: approved, its activities served, ended, and charged for."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

from ...background.cancellation import Deadline, Scope, ScopeEnded
from ...background.threads import EngineThread
from ...errors import GolemError, LocalNetworkError, NoDaemon, YagnaError
from ...yagna.api.provider import ActivityEvent
from ...yagna.client import Yagna
from ..control.habits import Answer, ProviderHabits
from .delayed_calls import DelayedCalls
from .offer import Terms
from .served_activity import MakeExeUnit, ServedActivity
from .usage import ProviderUsage

logger = logging.getLogger(__name__)

_POLL_SECONDS = 20.0
_SHORTEST_POLL_SECONDS = 0.05
# The daemon looks for events each 750 ms, and so does a requestor for what came of them, both beginning with
# the approval: asked only as often, an agent would keep every requestor waiting for another round.
_EAGER_SECONDS = 2.0
_EAGER_POLL_SECONDS = 0.1
_PAUSE_SECONDS = 0.5
# A real provider gives up an agreement in which nothing happens.
_IDLE_SECONDS = 90.0
_WIND_UP_SECONDS = 5.0


class AgreementLife:
    """A thread that goes through the whole of an agreement, and one that waits for its end."""

    def __init__(
        self,
        name: str,
        yagna: Yagna,
        habits: ProviderHabits,
        agreement: Mapping[str, Any],
        *,
        make_exe_unit: MakeExeUnit,
        reporter: ProviderUsage,
        scope: Scope,
        on_end: Callable[[AgreementLife], None],
        on_death: Callable[[], object],
    ) -> None:
        """Take over an agreement that a requestor has proposed.

        Args:
            name: the provider's.
            yagna: the far daemon, with the provider's key.
            habits: how the provider behaves.
            agreement: as the daemon gave it.
            make_exe_unit: makes what runs the commands of an activity.
            reporter: tells the daemon of the activities' usage.
            scope: of the provider; when it is cancelled nothing more is sent.
            on_end: called at the very end, by the agreement's own thread.
            on_death: called when the provider is to die, if that is its habit.
        """
        self.agreement_id: str = agreement["agreementId"]
        self._name = f"{name}-{self.agreement_id[:8]}"
        self._yagna = yagna
        self._habits = habits
        self._terms = Terms.of(agreement)
        self._make_exe_unit = make_exe_unit
        self._reporter = reporter
        self._provider = scope
        # Ends with the agreement; what is owed is then still sent within that of the provider.
        self._scope = Scope(scope)
        self._on_end = on_end
        self._on_death = on_death
        self._activities: dict[str, ServedActivity] = {}
        self._appointments = DelayedCalls(f"{self._name}-habits", self._scope)
        self._was_ready = False
        # Set when the provider has terminated the agreement, and yet serves its activity to the end.
        self._serves_on = False
        self._activities_ended = Scope()
        self._began = datetime.now(timezone.utc) - timedelta(seconds=1)
        self._idle_since = time.monotonic()
        self._thread = EngineThread(self._name, self._run)

    def start(self) -> None:
        self._thread.start()

    def join(self, timeout: float) -> bool:
        left = Deadline(timeout)
        ended = [self._thread.join(left.remaining()), self._appointments.join(left.remaining())]
        return all(ended)

    @property
    def over(self) -> bool:
        """Whether the agreement has ended, and only what it costs remains to be said."""
        return self._scope.cancelled

    def terminate(self, reason: str, *, keep_activity: bool = False) -> None:
        """Terminate the agreement, and its activities with it; blocks until that is done, 5 s more at most.

        Args:
            reason: told to the requestor.
            keep_activity: go on serving the activities until they are to be destroyed.

        Raises:
            LocalNetworkError: the daemon did not do it.
        """
        self._serves_on = keep_activity and bool(self._open_activities())
        self._terminate(reason, "Cancelled")
        if not self._serves_on:
            self._activities_ended.wait(_WIND_UP_SECONDS)

    def _run(self) -> None:
        try:
            if self._approved():
                watcher = EngineThread(f"{self._name}-end", self._watch).start()
                self._serve()
                self._wind_up()
                watcher.join()
        except ScopeEnded:
            logger.info("%s is abandoned: %s", self._name, self._provider.reason)
        finally:
            self._scope.cancel("the agreement has ended")
            self._scope.close()
            for activity in self._activities.values():
                self._reporter.remove(activity.activity_id)
                activity.close()
            self._activities_ended.cancel()
            self._on_end(self)

    def _approved(self) -> bool:
        if self._scope.wait(self._habits.approves_after):
            return False
        try:
            self._yagna.provider.approve(
                self.agreement_id, app_session_id=self.agreement_id, scope=self._provider
            )
        except (NoDaemon, YagnaError) as error:
            logger.info("%s was not approved: %s", self._name, error)
            return False
        logger.info("%s approved", self._name)
        self._idle_since = time.monotonic()
        return True

    def _watch(self) -> None:
        """Cancel the agreement's scope when either side has terminated it."""
        cursor = self._began
        while not self._scope.cancelled:
            try:
                events = self._yagna.market.agreement_events(
                    cursor, timeout=_POLL_SECONDS, app_session_id=self.agreement_id, scope=self._scope
                )
            except ScopeEnded:
                return
            except (NoDaemon, YagnaError) as error:
                logger.warning("%s: the agreement's events can't be read: %s", self._name, error)
                self._scope.wait(_PAUSE_SECONDS)
                continue
            for event in events:
                cursor = event.date
                ended = event.kind == "AgreementTerminatedEvent" and event.agreement_id == self.agreement_id
                if ended and not self._serves_on:
                    self._scope.cancel(f"terminated: {event.reason}")

    # the agreement's activities

    def _serve(self) -> None:
        cursor = self._began
        while not self._scope.cancelled:
            try:
                events = self._yagna.provider.activity_events(
                    cursor, timeout=self._until_next_duty(), scope=self._scope
                )
            except ScopeEnded:
                return
            except (NoDaemon, YagnaError) as error:
                logger.warning("%s: activity events can't be read: %s", self._name, error)
                self._scope.wait(_PAUSE_SECONDS)
                continue
            for event in events:
                cursor = event.date
                if event.agreement_id == self.agreement_id:
                    self._handle(event)
            self._do_duties()

    def _handle(self, event: ActivityEvent) -> None:
        if event.kind == "CreateActivity":
            self._consider(event.activity_id)
        elif event.activity_id in self._activities and self._habits.destroys:
            self._destroy(self._activities[event.activity_id])

    def _consider(self, activity_id: str) -> None:
        if self._habits.activities is Answer.NEVER or self._scope.wait(self._habits.creates_after):
            return
        if self._habits.activities is Answer.NO:
            self._report_state(activity_id, ("Terminated", None), self._habits.reason)
            return
        self._create(activity_id)

    def _create(self, activity_id: str) -> None:
        def report(state: tuple[str, str | None]) -> None:
            self._report_state(activity_id, state)
            if state == ("Ready", None):
                self._ready()

        try:
            exe_unit = self._make_exe_unit(activity_id, self._terms.package, report)
        except (GolemError, OSError) as error:
            logger.error("%s: activity %s can't be created: %s", self._name, activity_id, error)
            self._report_state(activity_id, ("Terminated", None), str(error))
            return
        activity = ServedActivity(activity_id, self._habits.charge, exe_unit, self._next_note())
        self._activities[activity_id] = activity
        self._reporter.add(activity_id, activity.usage)
        self._arrange_silence(activity_id)
        logger.info("%s: activity %s created", self._name, activity_id)

    def _arrange_silence(self, activity_id: str) -> None:
        begins, lasts = self._habits.silent_after, self._habits.silent_for
        self._appointments.after(begins, lambda: self._reporter.silence(activity_id))
        if begins is not None and lasts is not None:
            self._appointments.after(begins + lasts, lambda: self._reporter.resume(activity_id))

    def _ready(self) -> None:
        """An activity is ready, for the first time or after a command."""
        if self._was_ready:
            return
        self._was_ready = True
        self._appointments.after(self._habits.dies_after, self._on_death)
        self._appointments.after(
            self._habits.terminates_after,
            lambda: self.terminate(self._habits.reason, keep_activity=self._habits.keeps_activity),
        )

    def _destroy(self, activity: ServedActivity) -> None:
        self._reporter.remove(activity.activity_id)
        if not activity.open:
            # The daemon asks again while a requestor waits; it may have missed the first answer.
            self._report_state(activity.activity_id, ("Terminated", None))
            return
        activity.close()
        self._idle_since = time.monotonic()
        logger.info("%s: activity %s destroyed", self._name, activity.activity_id)
        self._send_debit_note(activity)

    def _report_state(
        self, activity_id: str, state: tuple[str, str | None], error_message: str | None = None
    ) -> None:
        try:
            self._yagna.provider.set_activity_state(
                activity_id, state, error_message=error_message, scope=self._provider
            )
        except ScopeEnded:
            return
        except (NoDaemon, YagnaError) as error:
            logger.warning("%s: state %s of %s was not taken: %s", self._name, state, activity_id, error)

    # what falls due with time

    def _until_next_duty(self) -> float:
        now = time.monotonic()
        moments = [activity.next_note for activity in self._open_activities()] or [
            self._idle_since + _IDLE_SECONDS
        ]
        seconds = min(moments) - now
        if not self._activities and now < self._idle_since + _EAGER_SECONDS:
            return _EAGER_POLL_SECONDS
        expires = (self._terms.expiration - datetime.now(timezone.utc)).total_seconds()
        return max(_SHORTEST_POLL_SECONDS, min(seconds, expires, _POLL_SECONDS))

    def _do_duties(self) -> None:
        now = time.monotonic()
        if self._serves_on and not self._open_activities():
            self._scope.cancel("the last activity of a terminated agreement has ended")
        elif datetime.now(timezone.utc) >= self._terms.expiration:
            self._serves_on = False
            self._give_up("Agreement expired.", "Expired")
        elif not self._open_activities() and now >= self._idle_since + _IDLE_SECONDS:
            self._give_up(f"No activity for {_IDLE_SECONDS:g} s.", "NoActivity")
        for activity in self._open_activities():
            if now >= activity.next_note:
                activity.next_note = self._next_note()
                activity.usage()
                self._send_debit_note(activity)

    def _next_note(self) -> float:
        agreed = self._terms.debit_note_interval.total_seconds()
        interval = self._habits.debit_note_interval
        return time.monotonic() + (agreed if interval is None else interval)

    def _open_activities(self) -> list[ServedActivity]:
        return [activity for activity in list(self._activities.values()) if activity.open]

    def _give_up(self, message: str, code: str) -> None:
        try:
            self._terminate(message, code)
        except LocalNetworkError as error:
            logger.warning("%s", error)

    def _terminate(self, message: str, code: str) -> None:
        path = f"/market-api/v1/agreements/{self.agreement_id}/terminate"
        reason = {"message": message, "golem.provider.code": code}
        try:
            self._yagna.http.request(
                "POST", path, body=reason, timeout=10.0, scope=self._provider, done=(410,)
            )
        except (NoDaemon, YagnaError) as error:
            raise LocalNetworkError(f"{self._name} could not be terminated: {error}") from error
        if not self._serves_on:
            self._scope.cancel(message)

    # what it costs

    def _wind_up(self) -> None:
        """The agreement has ended: end what still runs, and say what all of it costs."""
        for activity in self._open_activities():
            self._destroy(activity)
        self._activities_ended.cancel()
        if (
            not self._activities
            or not self._habits.invoices
            or self._provider.wait(self._habits.invoices_after)
        ):
            return
        amount = sum((activity.amount for activity in self._activities.values()), Decimal(0))
        due = self._terms.invoice_due(datetime.now(timezone.utc))
        try:
            self._yagna.provider.send_invoice(
                self.agreement_id, list(self._activities), amount, due, scope=self._provider
            )
        except (NoDaemon, YagnaError) as error:
            logger.warning("%s: the invoice did not go out: %s", self._name, error)
            return
        logger.info("%s: invoice over %s sent", self._name, amount)

    def _send_debit_note(self, activity: ServedActivity) -> None:
        due = self._terms.debit_note_due(datetime.now(timezone.utc))
        try:
            self._yagna.provider.send_debit_note(
                activity.activity_id, activity.amount, activity.last_usage, due, scope=self._provider
            )
        except (NoDaemon, YagnaError) as error:
            logger.warning("%s: a debit note did not go out: %s", self._name, error)
