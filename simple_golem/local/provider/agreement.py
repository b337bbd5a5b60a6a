"""One agreement on the provider's side: approves it, serves its activities, and sends its invoice."""

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
from ..control import rules
from ..control.habits import Answer, ProviderHabits
from ..control.rules import OnStrike, Rule
from .debit_notes import DebitNotes
from .delayed_calls import DelayedCalls
from .offer import Terms
from .served_activity import MakeExeUnit, ServedActivity
from .usage import ProviderUsage

logger = logging.getLogger(__name__)

_EVENT_POLL_SECONDS = 20.0
_SHORTEST_POLL_SECONDS = 0.05
# The daemon polls its database for events each 750 ms, and so does the requestor's daemon for their results.
# Right after the approval the provider asks more often, so that no requestor waits for another 750 ms.
_FREQUENT_POLL_SECONDS = 0.1
_FREQUENT_POLL_DURATION_SECONDS = 2.0
_ERROR_PAUSE_SECONDS = 0.5
# A real provider terminates an agreement without activities.
_IDLE_LIMIT_SECONDS = 90.0
_ACTIVITIES_END_SECONDS = 5.0
_TERMINATE_TIMEOUT_SECONDS = 10.0


class AgreementLife:
    """Two threads: one serves the agreement from its approval to its invoice, one waits for its end."""

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
        on_over: Callable[[], None],
        on_end: Callable[[AgreementLife], None],
        on_death: Callable[[], object],
        on_strike: OnStrike,
        vanishes_after: float | None = None,
        notes_are_paid: bool = False,
    ) -> None:
        """Prepare to serve an agreement that a requestor has proposed; `start` starts it.

        Args:
            name: the provider's name.
            yagna: a client of the far daemon with the provider's key.
            habits: how the provider behaves.
            agreement: the agreement as the daemon returned it.
            make_exe_unit: makes the exe-unit of an activity.
            reporter: reports the usage of the activities.
            scope: the scope of the provider; nothing is sent after it was cancelled.
            on_over: called as soon as the agreement has ended, from any thread: another one can be accepted.
            on_end: called last, on the agreement's own thread.
            on_death: called when the provider's habit is to die now.
            on_strike: called when a rule refuses an activity, or ends the agreement.
            vanishes_after: seconds until the provider dies, counted from when its first activity is ready.
            notes_are_paid: whether the network has a chain, on which debit notes can be paid.
        """
        self.agreement_id: str = agreement["agreementId"]
        self._name = f"{name}-{self.agreement_id[:8]}"
        self._yagna = yagna
        self._habits = habits
        self._terms = Terms.of(agreement)
        self._notes = DebitNotes(self._name, yagna, self._terms, scope, notes_are_paid)
        self._make_exe_unit = make_exe_unit
        self._reporter = reporter
        self._provider = scope
        # Cancelled at the end of the agreement. The invoice is sent after that, in the provider's scope.
        self._scope = Scope(scope)
        self._on_over = on_over
        self._on_end = on_end
        self._on_death = on_death
        self._on_strike = on_strike
        self._vanishes_after = vanishes_after
        self._activities: dict[str, ServedActivity] = {}
        # True: the provider dies alone, and nobody ends its activities.
        self._leaves_activities = False
        self._delayed_calls = DelayedCalls(f"{self._name}-habits", self._scope)
        self._was_ready = False
        # True: the provider has terminated the agreement, and still serves its activity.
        self._keeps_serving = False
        self._activities_ended = Scope()
        self._began = datetime.now(timezone.utc) - timedelta(seconds=1)
        self._idle_since = time.monotonic()
        self._thread = EngineThread(self._name, self._run)

    def start(self) -> None:
        """Start to serve; does not block."""
        self._scope.on_cancel(self._on_over)
        self._thread.start()

    def join(self, timeout: float) -> bool:
        """Block until the threads have ended, for `timeout` seconds at most; returns whether they have."""
        left = Deadline(timeout)
        ended = [self._thread.join(left.remaining()), self._delayed_calls.join(left.remaining())]
        return all(ended)

    @property
    def over(self) -> bool:
        """Whether the agreement has ended; the invoice may still be due."""
        return self._scope.cancelled

    def terminate(self, reason: str, *, keep_activity: bool = False) -> None:
        """Terminate the agreement and its activities; blocks for 15 seconds at most.

        Args:
            reason: the reason that the requestor gets.
            keep_activity: True: serve the activities until the requestor destroys them.

        Raises:
            LocalNetworkError: the daemon refused.
        """
        self._keeps_serving = keep_activity and bool(self._open_activities())
        self._terminate(reason, "Cancelled")
        if not self._keeps_serving:
            self._activities_ended.wait(_ACTIVITIES_END_SECONDS)

    def kill_exe_units(self) -> None:
        """End the activities as if their processes were killed; the bus has dropped them before."""
        for activity in self._open_activities():
            self._reporter.remove(activity.activity_id)
            activity.close(report=False)
            self._report_state(
                activity.activity_id, ("Terminated", None), "exit code None", "execution aborted"
            )
            self._notes.send(activity)

    def shut_down_exe_units(self) -> None:
        """End the activities in good order, but not the agreement."""
        for activity in self._open_activities():
            activity.shut_down()

    def leave_activities(self) -> None:
        """Leave the activities alone when the provider dies; `close_left_activities` ends them."""
        self._leaves_activities = True

    def close_left_activities(self) -> None:
        """End the activities that were left alone; blocks for 10 seconds at most each."""
        for activity in self._activities.values():
            self._reporter.remove(activity.activity_id)
            activity.close()

    def _run(self) -> None:
        try:
            if self._approved():
                watcher = EngineThread(f"{self._name}-end", self._await_end).start()
                self._serve()
                if not self._leaves_activities:
                    self._finish()
                watcher.join()
        except ScopeEnded:
            logger.info("%s is abandoned: %s", self._name, self._provider.reason)
        finally:
            self._scope.cancel("the agreement has ended")
            self._scope.close()
            if not self._leaves_activities:
                self.close_left_activities()
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

    def _await_end(self) -> None:
        """Cancel the agreement's scope when one side has terminated the agreement."""
        cursor = self._began
        while not self._scope.cancelled:
            try:
                events = self._yagna.market.agreement_events(
                    cursor, timeout=_EVENT_POLL_SECONDS, app_session_id=self.agreement_id, scope=self._scope
                )
            except ScopeEnded:
                return
            except (NoDaemon, YagnaError) as error:
                logger.warning("%s: can't read the agreement's events: %s", self._name, error)
                self._scope.wait(_ERROR_PAUSE_SECONDS)
                continue
            for event in events:
                cursor = event.date
                ended = event.kind == "AgreementTerminatedEvent" and event.agreement_id == self.agreement_id
                if ended and not self._keeps_serving:
                    self._scope.cancel(f"terminated: {event.reason}")

    # the agreement's activities

    def _serve(self) -> None:
        cursor = self._began
        while not self._scope.cancelled:
            try:
                events = self._yagna.provider.activity_events(
                    cursor, timeout=self._seconds_to_next_check(), scope=self._scope
                )
            except ScopeEnded:
                return
            except (NoDaemon, YagnaError) as error:
                logger.warning("%s: can't read activity events: %s", self._name, error)
                self._scope.wait(_ERROR_PAUSE_SECONDS)
                continue
            for event in events:
                cursor = event.date
                if event.agreement_id == self.agreement_id:
                    self._handle(event)
            self._do_what_is_due()

    def _handle(self, event: ActivityEvent) -> None:
        if event.kind == "CreateActivity":
            self._answer_create(event.activity_id)
        elif event.activity_id in self._activities and self._habits.destroys:
            self._destroy(self._activities[event.activity_id])

    def _answer_create(self, activity_id: str) -> None:
        if self._habits.activities is Answer.NEVER or self._scope.wait(self._habits.creates_after):
            return
        if self._habits.activities is Answer.NO:
            self._report_state(activity_id, ("Terminated", None), self._habits.reason)
            return
        self._create(activity_id)

    def _create(self, activity_id: str) -> None:
        if self._open_activities():
            reason, message = "Only single Activity allowed", "Can't create 2 simultaneous Activities."
            self._on_strike(rules.ONE_ACTIVITY, f"activity {activity_id[:8]}", message)
            self._report_state(activity_id, ("Terminated", None), message, reason)
            return

        def report(state: tuple[str, str | None]) -> None:
            self._report_state(activity_id, state)
            if state == ("Ready", None):
                self._note_ready()

        try:
            exe_unit = self._make_exe_unit(activity_id, self._terms.package, report)
        except (GolemError, OSError) as error:
            logger.error("%s: can't create activity %s: %s", self._name, activity_id, error)
            self._report_state(activity_id, ("Terminated", None), str(error))
            return
        activity = ServedActivity(activity_id, self._habits.charge, exe_unit, self._next_note())
        self._activities[activity_id] = activity
        self._reporter.add(activity_id, activity.usage)
        self._schedule_silence(activity_id)
        logger.info("%s: activity %s created", self._name, activity_id)

    def _schedule_silence(self, activity_id: str) -> None:
        silent_after, silent_for = self._habits.silent_after, self._habits.silent_for
        self._delayed_calls.after(silent_after, lambda: self._reporter.silence(activity_id))
        if silent_after is not None and silent_for is not None:
            self._delayed_calls.after(silent_after + silent_for, lambda: self._reporter.resume(activity_id))

    def _note_ready(self) -> None:
        """Schedule the habits that count from the first time that an activity is ready."""
        if self._was_ready:
            return
        self._was_ready = True
        self._delayed_calls.after(self._habits.dies_after, self._on_death)
        self._delayed_calls.after(self._vanishes_after, self._on_death)
        self._delayed_calls.after(
            self._habits.terminates_after,
            lambda: self.terminate(self._habits.reason, keep_activity=self._habits.keeps_activity),
        )

    def _destroy(self, activity: ServedActivity) -> None:
        self._reporter.remove(activity.activity_id)
        if not activity.open:
            # The daemon repeats the request while a requestor waits; it may have missed the first answer.
            self._report_state(activity.activity_id, ("Terminated", None))
            return
        activity.close()
        self._idle_since = time.monotonic()
        logger.info("%s: activity %s destroyed", self._name, activity.activity_id)
        self._notes.send(activity)
        if not self._terms.many_activities and not self.over:
            self._end_by(rules.SINGLE_ACTIVITY, "Finished with success.", "Success")

    def _report_state(
        self,
        activity_id: str,
        state: tuple[str, str | None],
        error_message: str | None = None,
        reason: str | None = None,
    ) -> None:
        # An exe-unit reports its state by itself, also if its provider has died and left it.
        scope = None if self._leaves_activities else self._provider
        try:
            self._yagna.provider.set_activity_state(
                activity_id, state, reason=reason, error_message=error_message, scope=scope
            )
        except ScopeEnded:
            return
        except (NoDaemon, YagnaError) as error:
            logger.warning(
                "%s: the daemon did not accept the state %s of %s: %s", self._name, state, activity_id, error
            )

    # what is due at certain times

    def _seconds_to_next_check(self) -> float:
        now = time.monotonic()
        times = [activity.next_note for activity in self._open_activities()] or [
            self._idle_since + _IDLE_LIMIT_SECONDS
        ]
        seconds = min(times) - now
        if not self._activities and now < self._idle_since + _FREQUENT_POLL_DURATION_SECONDS:
            return _FREQUENT_POLL_SECONDS
        expires = (self._terms.expiration - datetime.now(timezone.utc)).total_seconds()
        unchecked = self._notes.seconds_to_next_check()
        return max(_SHORTEST_POLL_SECONDS, min(seconds, expires, unchecked, _EVENT_POLL_SECONDS))

    def _do_what_is_due(self) -> None:
        now = time.monotonic()
        if self._keeps_serving and not self._open_activities():
            self._scope.cancel("the last activity of a terminated agreement has ended")
        elif datetime.now(timezone.utc) >= self._terms.expiration:
            self._keeps_serving = False
            moment = self._terms.expiration.strftime("%Y-%m-%d %H:%M:%S UTC")
            self._end_by(rules.EXPIRED, f"Agreement expired @ {moment}", "Expired")
        elif not self._open_activities() and now >= self._idle_since + _IDLE_LIMIT_SECONDS:
            message = f"No activity created within {_IDLE_LIMIT_SECONDS:g}s"
            self._end_by(rules.NO_ACTIVITY, message, "NoActivity")
        for activity in self._open_activities():
            if now >= activity.next_note:
                activity.usage()
                activity.next_note = self._next_note()
                self._notes.send(activity)
        if not self.over and (breach := self._notes.breach()) is not None:
            for activity in self._open_activities():
                activity.close()
            self._end_by(breach.rule, breach.message, breach.code)

    def _next_note(self) -> float:
        agreed = self._terms.debit_note_interval.total_seconds()
        interval = self._habits.debit_note_interval
        return time.monotonic() + (agreed if interval is None else interval)

    def _open_activities(self) -> list[ServedActivity]:
        return [activity for activity in list(self._activities.values()) if activity.open]

    def _end_by(self, rule: Rule, message: str, code: str) -> None:
        self._on_strike(rule, f"agreement {self.agreement_id[:8]}", message)
        try:
            self._terminate(message, code)
        except LocalNetworkError as error:
            logger.warning("%s", error)

    def _terminate(self, message: str, code: str) -> None:
        path = f"/market-api/v1/agreements/{self.agreement_id}/terminate"
        reason = {"message": message, "golem.provider.code": code}
        try:
            self._yagna.http.request(
                "POST",
                path,
                body=reason,
                timeout=_TERMINATE_TIMEOUT_SECONDS,
                scope=self._provider,
                done=(410,),
            )
        except (NoDaemon, YagnaError) as error:
            raise LocalNetworkError(f"the agreement {self._name} could not be terminated: {error}") from error
        if not self._keeps_serving:
            self._scope.cancel(message)

    # debit notes and the invoice

    def _finish(self) -> None:
        """After the end of the agreement: end its activities, and send the invoice."""
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
            logger.warning("%s: the invoice was not sent: %s", self._name, error)
            return
        logger.info("%s: invoice of %s GLM sent", self._name, amount)
