"""The agreements of a session: the one place that reports a change of an agreement to all that need it.

These hear of it: the ledger and the journals, the budget, the chooser, the expected invoices, the health
check, and the life that the agreement was made for.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Protocol

from ..background.cancellation import Scope
from ..errors import NotRunning, Overcharged
from ..model.offers.offer import Offer
from ..model.offers.terms import seconds_without_answers
from ..model.service.suspended import SuspendedInstance
from ..yagna.client import Yagna
from ..yagna.values import AgreementEvent
from .activity.health_check import HealthCheck, HealthListener
from .market.agreement import Agreement
from .market.chooser import Chooser
from .market.providers import Conduct, Providers
from .payment.account import Account
from .payment.money import Money

if TYPE_CHECKING:
    from .activity.activity import Activity

logger = logging.getLogger(__name__)

# If providers keep a suspended instance for less time than that, the log warns.
_SHORTLY_KEPT_SECONDS = 3600.0


class AgreementListener(HealthListener, Protocol):
    """A life, as it hears what its provider does; its methods are called by any thread and must not block."""

    def agreement_ended(self, reason: str) -> None:
        """The provider has ended the agreement."""

    def overcharged(self, error: Overcharged) -> None:
        """The provider asks for more than was agreed."""


class TakingOver:
    """The turn to take over what was suspended.

    Attributes:
        lock: held during requests. So of two threads that resume an instance, the second finds it resumed.
    """

    def __init__(self) -> None:
        self.lock = threading.Lock()


class Agreements:
    """Begins and ends agreements, those of new lives and of resumed ones alike; used by any thread.

    Args:
        yagna: the daemon.
        app_session_id: under which new agreements are made.
        money, chooser, providers, health: of the same session.
        stop: cancelling it ends the requests of `take_over`.
    """

    def __init__(
        self,
        yagna: Yagna,
        app_session_id: str,
        money: Money,
        chooser: Chooser,
        providers: Providers,
        health: HealthCheck,
        stop: Scope,
    ) -> None:
        self._yagna = yagna
        self._app_session_id = app_session_id
        self._money = money
        self._chooser = chooser
        self._providers = providers
        self._health = health
        self._stop = stop
        self._lock = threading.Lock()
        self._taking_over = TakingOver()
        self._listeners: dict[str, AgreementListener] = {}
        self._earlier_sessions: dict[str, str] = {}

    # --- the beginning --------------------------------------------------------------------------------

    def not_made(self, provider_id: str, *, failed: bool) -> None:
        """Note that no agreement was made with the provider that was chosen.

        Args:
            provider_id: the provider.
            failed: whether that was its fault: it is chosen later next time.
        """
        self._money.budget.end_reservation(provider_id)
        self._chooser.release(provider_id, Conduct.AT_FAULT if failed else Conduct.FINE)

    def begin_agreement(
        self, agreement: Agreement, listener: AgreementListener, *, cluster: str, instance: str
    ) -> None:
        """Note an agreement that was made, or goes on.

        Args:
            agreement: the agreement.
            listener: hears what the provider does.
            cluster, instance: the names of what it was made for.
        """
        if self._money.ledger.find(agreement.agreement_id) is None:
            offer = Offer.of(agreement.provider_id, agreement.offer_properties)
            now = datetime.now(timezone.utc)
            self._money.ledger.add_agreement(
                Account.made(agreement.agreement_id, offer, cluster, instance, now)
            )
        self._money.budget.end_reservation(agreement.provider_id)
        self._chooser.occupy(agreement.provider_id)
        with self._lock:
            self._listeners[agreement.agreement_id] = listener

    def resume_ended(self, agreement: Agreement, scope: Scope) -> None:
        """Note that an agreement that was begun has ended while it was suspended; blocks for one request.

        Args:
            agreement: the agreement.
            scope: cancelling it ends the request.

        Raises:
            ScopeEnded: `scope` was cancelled.
        """
        # The session that has ended it may have paid its invoice: then none is expected any more.
        self._money.payments.look_for_earlier_answer(agreement.agreement_id, scope)

    def begin_activity(self, agreement: Agreement, activity: Activity, asked_at: float | None = None) -> None:
        """Note the activity of an agreement that was begun: it costs, and its health is checked.

        Args:
            agreement: the agreement.
            activity: the activity.
            asked_at: when it was asked for, on the monotonic clock; None for one that goes on.
        """
        agreement_id = agreement.agreement_id
        if asked_at is not None:
            self._money.ledger.activity_created(agreement_id, activity.activity_id, asked_at)
        self._money.expected.expect(agreement_id, str(agreement))
        self._money.watch.check_soon()
        with self._lock:
            listener = self._listeners[agreement_id]
        self._health.watch(activity, listener)

    def activity_found(self, agreement: Agreement, activity_id: str, asked_at: float) -> None:
        """Note an activity that was found at the end of its agreement: it costs, and its invoice will come.

        Args:
            agreement: the agreement.
            activity_id: the activity.
            asked_at: when it was asked for, on the monotonic clock.
        """
        self._money.ledger.activity_created(agreement.agreement_id, activity_id, asked_at)
        self._money.expected.expect(agreement.agreement_id, str(agreement))

    def take_over(self, suspended: Sequence[SuspendedInstance]) -> None:
        """Take over the agreements that were suspended, and pay for them from now on; blocks for requests.

        Raises:
            NotRunning: one of them is not suspended any more; all are left as they are.
            ScopeEnded: the session is being closed.
        """
        with self._taking_over.lock:
            self._stop.check()
            self._take_over_alone(suspended)

    def _take_over_alone(self, suspended: Sequence[SuspendedInstance]) -> None:
        journals, ledger = self._money.journals, self._money.ledger
        if len({one.agreement_id for one in suspended}) < len(suspended):
            raise NotRunning("an instance is named twice: each can be resumed once")
        in_journals = {
            one.agreement_id: journals.take_over(one.app_session_id, one.agreement_id, self._stop)
            for one in suspended
        }
        in_no_journal = {
            one.agreement_id: self._yagna.market.agreement(one.agreement_id, scope=self._stop)
            for one in suspended
            if in_journals[one.agreement_id] is None
        }
        for one in suspended:
            account = in_journals[one.agreement_id]
            if account is None:
                ledger.add_agreement(
                    Account.of_wire(in_no_journal[one.agreement_id], "", one.name, self._yagna.clock)
                )
                ledger.activity_found(one.agreement_id, one.activity_id)
            else:
                journals.resumed(one.app_session_id, one.agreement_id)
                ledger.add_resumed(account)
            with self._lock:
                self._earlier_sessions[one.agreement_id] = one.app_session_id
            self._money.budget.replace_allocation_of(one)

    # --- the end --------------------------------------------------------------------------------------

    def end_agreement(
        self,
        agreement: Agreement,
        activity: Activity | None,
        end: Callable[[], bool],
        *,
        activity_failed: bool,
        conduct: Conduct,
    ) -> None:
        """End an agreement that was begun; blocks as long as `end` does.

        Args:
            agreement: the agreement.
            activity: its activity; None if there is none.
            end: terminates the agreement and destroys the activity; whether the daemon has confirmed both.
                When it is called, the listener hears nothing any more.
            activity_failed: whether the provider has lost the activity: its invoice may never come.
            conduct: how the provider has behaved; it may be chosen later next time.
        """
        self._stop_listening(agreement, activity)
        if activity_failed:
            self._money.expected.mark_unlikely(agreement.agreement_id)
        is_certain = end()
        self._money.ledger.agreement_ended(agreement.agreement_id, certain=is_certain)
        self._chooser.release(agreement.provider_id, conduct)

    def suspend_agreement(
        self, agreement: Agreement, activity: Activity, instance: str, network: Mapping[str, str]
    ) -> SuspendedInstance:
        """Leave an agreement and its activity to a later session; returns what that session needs.

        Args:
            agreement: the agreement.
            activity: its activity.
            instance: the name of the instance.
            network: the fields of the result that tell of its private network.
        """
        self._stop_listening(agreement, activity)
        agreement_id = agreement.agreement_id
        self._money.expected.postponed(agreement_id)
        allocation_id = self._money.budget.keep_for(agreement_id)
        with self._lock:
            app_session_id = self._earlier_sessions.get(agreement_id, self._app_session_id)
        suspended = SuspendedInstance(
            instance,
            agreement_id,
            activity.activity_id,
            app_session_id,
            allocation_id,
            activity.volume or "",
            **network,
        )
        self._money.journals.write("suspended", about=agreement_id, **asdict(suspended))
        _tell_how_long_it_is_kept(instance, agreement)
        return suspended

    def _stop_listening(self, agreement: Agreement, activity: Activity | None) -> None:
        if activity is not None:
            self._health.unwatch(activity)
        with self._lock:
            self._listeners.pop(agreement.agreement_id, None)

    # --- what providers do ----------------------------------------------------------------------------

    def agreement_event(self, event: AgreementEvent) -> None:
        """Tell the listener that its provider has ended the agreement."""
        listener = self._listener_of(event.agreement_id)
        if event.kind == "AgreementTerminatedEvent" and listener is not None:
            listener.agreement_ended(event.reason)

    def overcharged(self, agreement_id: str, error: Overcharged) -> None:
        """Tell the listener that its provider asks for too much, and ban the provider."""
        account = self._money.ledger.find(agreement_id)
        if account is not None:
            self._providers.ban(account.provider_id)
        listener = self._listener_of(agreement_id)
        if listener is not None:
            listener.overcharged(error)

    def _listener_of(self, agreement_id: str) -> AgreementListener | None:
        with self._lock:
            return self._listeners.get(agreement_id)


def _tell_how_long_it_is_kept(instance: str, agreement: Agreement) -> None:
    times = seconds_without_answers(agreement.offer_properties)
    if times is None:
        logger.info(
            "%s is suspended; %s has set no time until which it keeps the activity", instance, agreement
        )
        return
    least, most = times
    is_short = most < _SHORTLY_KEPT_SECONDS
    logger.log(
        logging.WARNING if is_short else logging.INFO,
        "%s is suspended: by the agreed terms %s keeps its activity for %.0f to %.0f s, since nobody accepts "
        "its debit notes meanwhile%s",
        instance,
        agreement,
        least,
        most,
        "; resume it before, or agree on rarer notes: Terms(debit_note_interval=…)" if is_short else "",
    )
