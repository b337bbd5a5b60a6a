"""One agreement from the provider's side: approved, its activities served, ended, and charged for."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from typing import Any, Protocol

from ..errors import GolemError, NoDaemon, YagnaError
from ..scope import Scope, ScopeEnded
from ..threads import EngineThread
from ..yagna.client import Yagna
from ..yagna.provider import ActivityEvent
from .habits import Price, ProviderHabits
from .offer import Terms
from .usage import UsageReporter

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

StateReport = Callable[[tuple[str, "str | None"]], None]


class ExeUnitLike(Protocol):
    """What runs the commands of one activity."""

    def usage(self) -> Sequence[float]: ...

    def close(self) -> None: ...


class MakeExeUnit(Protocol):
    """Makes what runs the commands of an activity.

    It gives every state to `on_state`: `("Initialized", None)` first, `("Terminated", None)` when closed.
    """

    def __call__(self, activity_id: str, task_package: str | None, on_state: StateReport) -> ExeUnitLike: ...


class Activity:
    """One activity of an agreement, and what it costs."""

    def __init__(self, activity_id: str, price: Price, exe_unit: ExeUnitLike, next_note: float) -> None:
        self.activity_id = activity_id
        self.next_note = next_note
        self._price = price
        self._exe_unit: ExeUnitLike | None = exe_unit
        self._last_usage: Sequence[float] = (0.0, 0.0)

    @property
    def open(self) -> bool:
        return self._exe_unit is not None

    def usage(self) -> Sequence[float]:
        if self._exe_unit is not None:
            self._last_usage = self._exe_unit.usage()
        return self._last_usage

    @property
    def amount(self) -> Decimal:
        """What is owed for it, with the usage last asked for."""
        return self._price.of(self._last_usage)

    def close(self) -> None:
        """End its processes; from here on its usage does not grow."""
        if self._exe_unit is not None:
            self.usage()
            exe_unit, self._exe_unit = self._exe_unit, None
            exe_unit.close()


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
        reporter: UsageReporter,
        scope: Scope,
        on_end: Callable[[AgreementLife], None],
    ) -> None:
        """Take over an agreement that a requestor has proposed.

        Args:
            name: the provider's.
            yagna: the far daemon, with the provider's key.
            habits: how the provider behaves.
            agreement: as the daemon gave it.
            make_exe_unit: makes what runs the commands of an activity.
            reporter: tells the daemon of the activities' usage.
            scope: of the network; when it is cancelled nothing more is sent.
            on_end: called at the very end, by the agreement's own thread.
        """
        self.agreement_id: str = agreement["agreementId"]
        self._name = f"{name}-{self.agreement_id[:8]}"
        self._yagna = yagna
        self._habits = habits
        self._terms = Terms.of(agreement)
        self._make_exe_unit = make_exe_unit
        self._reporter = reporter
        self._network = scope
        # Ends with the agreement; what is owed is then still sent within that of the network.
        self._scope = Scope(scope)
        self._on_end = on_end
        self._activities: dict[str, Activity] = {}
        self._began = datetime.now(timezone.utc) - timedelta(seconds=1)
        self._idle_since = time.monotonic()
        self._thread = EngineThread(self._name, self._run)

    def start(self) -> None:
        self._thread.start()

    def join(self, timeout: float) -> bool:
        return self._thread.join(timeout)

    def _run(self) -> None:
        try:
            if self._approved():
                watcher = EngineThread(f"{self._name}-end", self._watch).start()
                self._serve()
                self._wind_up()
                watcher.join()
        except ScopeEnded:
            logger.info("%s: the network is going down", self._name)
        finally:
            self._scope.cancel("the agreement has ended")
            self._scope.close()
            for activity in self._activities.values():
                activity.close()
            self._on_end(self)

    def _approved(self) -> bool:
        try:
            self._yagna.provider.approve(
                self.agreement_id, app_session_id=self.agreement_id, scope=self._network
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
                if event.kind == "AgreementTerminatedEvent" and event.agreement_id == self.agreement_id:
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
            self._create(event.activity_id)
        elif event.activity_id in self._activities:
            self._destroy(self._activities[event.activity_id])

    def _create(self, activity_id: str) -> None:
        def report(state: tuple[str, str | None]) -> None:
            self._report_state(activity_id, state)

        try:
            exe_unit = self._make_exe_unit(activity_id, self._terms.task_package, report)
        except (GolemError, OSError) as error:
            logger.error("%s: activity %s can't be created: %s", self._name, activity_id, error)
            self._report_state(activity_id, ("Terminated", None), str(error))
            return
        next_note = time.monotonic() + self._terms.debit_note_interval.total_seconds()
        activity = Activity(activity_id, self._habits.price, exe_unit, next_note)
        self._activities[activity_id] = activity
        self._reporter.add(activity_id, activity.usage)
        logger.info("%s: activity %s created", self._name, activity_id)

    def _destroy(self, activity: Activity) -> None:
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
                activity_id, state, error_message=error_message, scope=self._network
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
        if datetime.now(timezone.utc) >= self._terms.expiration:
            self._terminate("Agreement expired.", "Expired")
        elif not self._open_activities() and now >= self._idle_since + _IDLE_SECONDS:
            self._terminate(f"No activity for {_IDLE_SECONDS:g} s.", "NoActivity")
        for activity in self._open_activities():
            if now >= activity.next_note:
                activity.next_note = now + self._terms.debit_note_interval.total_seconds()
                activity.usage()
                self._send_debit_note(activity)

    def _open_activities(self) -> list[Activity]:
        return [activity for activity in self._activities.values() if activity.open]

    def _terminate(self, message: str, code: str) -> None:
        path = f"/market-api/v1/agreements/{self.agreement_id}/terminate"
        reason = {"message": message, "golem.provider.code": code}
        try:
            self._yagna.http.request(
                "POST", path, body=reason, timeout=10.0, scope=self._network, done=(410,)
            )
        except (NoDaemon, YagnaError) as error:
            logger.warning("%s could not be terminated: %s", self._name, error)
            return
        self._scope.cancel(message)

    # what it costs

    def _wind_up(self) -> None:
        """The agreement has ended: end what still runs, and say what all of it costs."""
        for activity in self._open_activities():
            self._destroy(activity)
        if not self._activities:
            return
        amount = sum((activity.amount for activity in self._activities.values()), Decimal(0))
        due = self._terms.invoice_due(datetime.now(timezone.utc))
        try:
            self._yagna.provider.send_invoice(
                self.agreement_id, list(self._activities), amount, due, scope=self._network
            )
        except (NoDaemon, YagnaError) as error:
            logger.warning("%s: the invoice did not go out: %s", self._name, error)
            return
        logger.info("%s: invoice over %s sent", self._name, amount)

    def _send_debit_note(self, activity: Activity) -> None:
        due = self._terms.debit_note_due(datetime.now(timezone.utc))
        try:
            self._yagna.provider.send_debit_note(
                activity.activity_id, activity.amount, activity.usage(), due, scope=self._network
            )
        except (NoDaemon, YagnaError) as error:
            logger.warning("%s: a debit note did not go out: %s", self._name, error)
