"""The agent of one provider: it offers, has agreements, and can die and be revived."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ...background.cancellation import Deadline, Scope
from ...errors import LocalNetworkError
from ...yagna.client import Yagna
from ..control.habits import ProviderHabits
from ..control.messages import DEFAULT_PAYMENT_NETWORKS
from ..control.rules import OnStrike
from .agreement import AgreementLife
from .fortune import Fortune
from .negotiator import Negotiator
from .offer import CAPABILITIES, RUNTIME, offer_properties
from .served_activity import MakeExeUnit
from .usage import ProviderUsage, UsageReporter

logger = logging.getLogger(__name__)

_THREADS_END_SECONDS = 5.0


class ProviderAgent:
    """Acts as one provider identity of the far daemon."""

    def __init__(
        self,
        name: str,
        node_id: str,
        yagna: Yagna,
        habits: ProviderHabits,
        *,
        make_exe_unit: MakeExeUnit,
        reporter: UsageReporter,
        scope: Scope,
        on_strike: OnStrike,
        cut_off: Callable[[], None] = lambda: None,
        payment_networks: Sequence[str] = DEFAULT_PAYMENT_NETWORKS,
        has_vpn: bool = True,
        notes_are_paid: bool = False,
        runtimes: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> None:
        """Make an agent without offers.

        Args:
            name: the provider's name.
            node_id: the provider's node id.
            yagna: a client of the far daemon with the provider's key; the agent closes it.
            habits: how the provider behaves.
            make_exe_unit: makes the exe-unit of an activity.
            reporter: reports the usage of all activities to the daemon.
            scope: the scope of the network.
            on_strike: called when a rule refuses or ends something.
            cut_off: called when the provider dies; drops the connection of its exe-units.
            payment_networks: those on which it is paid.
            has_vpn: whether its activities can join private networks.
            notes_are_paid: whether the network has a chain, on which debit notes can be paid.
            runtimes: the runtimes of the user's own, by their names: what their offers have besides.
        """
        self.name = name
        self.node_id = node_id
        self._yagna = yagna
        self._habits = habits
        self._fortune = Fortune(habits.as_real, name)
        self._make_exe_unit = make_exe_unit
        self._usage = ProviderUsage(reporter)
        self._network = scope
        # Cancelled when the provider dies; replaced when it is revived.
        self._alive = Scope(scope)
        self._on_strike = on_strike
        self._cut_off = cut_off
        self._payment_networks = payment_networks
        self._has_vpn = has_vpn
        self._notes_are_paid = notes_are_paid
        self._runtimes = runtimes or {}
        self._lock = threading.Lock()
        # `die` and `revive` must not run at the same time.
        self._life_change = threading.Lock()
        # By subnet and runtime; "" is the usual one. They stay when the provider dies: `revive` withdraws
        # their offers.
        self._negotiators: dict[tuple[str, str], Negotiator] = {}
        self._agreements: set[AgreementLife] = set()
        # Those whose activities outlive the provider, which has died alone.
        self._left: list[AgreementLife] = []

    @property
    def busy(self) -> bool:
        """Whether it has an agreement."""
        with self._lock:
            return bool(self._agreements)

    def offer_in(self, subnet: str) -> None:
        """Publish an offer for each runtime in a subnet, if there is none yet; does not block."""
        with self._lock:
            for offer in ((subnet, runtime) for runtime in ("", *self._runtimes)):
                if offer not in self._negotiators:
                    self._negotiators[offer] = self._negotiator_for(*offer)

    def _negotiator_for(self, subnet: str, runtime: str) -> Negotiator:
        usual = offer_properties(
            self.name,
            self.node_id,
            subnet,
            self._habits,
            payment_networks=self._payment_networks,
            has_vpn=self._has_vpn,
        )
        own = {RUNTIME: runtime, CAPABILITIES: [], **self._runtimes[runtime]} if runtime else {}
        return Negotiator(
            self.name,
            subnet,
            self._yagna.provider,
            {**usual, **own},
            self._habits,
            scope=self._alive,
            refusal_now=self._refusal_now,
            accept=self._accept,
            on_strike=self._on_strike,
            fortune=self._fortune,
        )

    def join(self, timeout: float) -> bool:
        """Wait for all its threads after the scope of the network was cancelled.

        Args:
            timeout: the longest time to block, in seconds.

        Returns:
            Whether all threads have ended.
        """
        self._close_left()
        ended = self._join_threads(timeout)
        self._yagna.close()
        return ended

    def _join_threads(self, timeout: float) -> bool:
        left = Deadline(timeout)
        with self._lock:
            joins = [one.join for one in self._negotiators.values()] + [one.join for one in self._agreements]
        ended = [join(left.remaining()) for join in joins]
        return all(ended)

    # orders of a `ProviderControl`

    def die(self) -> None:
        """Die without notice: all its processes and threads end; blocks for 5 seconds at most.

        The daemon keeps the provider's offers, agreements and activities.
        """
        with self._life_change:
            self._cancel_all()
            self._await_threads()

    def _cancel_all(self) -> None:
        if not self._alive.cancelled:
            self._cut_off()
            self._end_alone()

    def _end_alone(self) -> None:
        if not self._alive.cancelled:
            logger.info("%s dies", self.name)
            self._alive.cancel("the provider has died")

    def die_alone(self) -> None:
        """Die without notice, but leave the exe-units alive; blocks for 5 seconds at most."""
        with self._life_change:
            with self._lock:
                self._left = list(self._agreements)
            for life in self._left:
                life.leave_activities()
            self._end_alone()
            self._await_threads()

    def shut_down(self) -> None:
        """End the exe-units in good order, then all the rest; blocks for 10 seconds at most."""
        with self._life_change:
            for life in self._agreements_in_force():
                life.shut_down_exe_units()
            self._end_alone()
            self._await_threads()

    def kill_exe_units(self) -> None:
        """End the exe-units as if their processes were killed; blocks for 10 seconds at most.

        Raises:
            LocalNetworkError: it has no agreement.
        """
        agreements = self._agreements_in_force()
        if not agreements:
            raise LocalNetworkError(f"{self.name} has no agreement, and so no exe-unit")
        self._cut_off()
        for life in agreements:
            life.kill_exe_units()

    def _agreements_in_force(self) -> list[AgreementLife]:
        with self._lock:
            return [life for life in self._agreements if not life.over]

    def _close_left(self) -> None:
        left, self._left = self._left, []
        for life in left:
            life.close_left_activities()

    def _await_threads(self) -> None:
        if not self._join_threads(_THREADS_END_SECONDS):
            logger.warning("some threads of %s did not end in time", self.name)

    def revive(self) -> None:
        """Start a dead provider again, without its old agreements and activities.

        Blocks until its old offers are withdrawn. Does nothing if the provider is alive.
        """
        with self._life_change:
            if not self._alive.cancelled or self._network.cancelled:
                return
            self._await_threads()
            self._close_left()
            with self._lock:
                offers = [one.offer_id for one in self._negotiators.values()]
            for offer_id in filter(None, offers):
                self._yagna.provider.withdraw_offer(offer_id, scope=self._network)
            logger.info("%s is alive again", self.name)
            self._alive.close()
            with self._lock:
                self._alive = Scope(self._network)
                self._negotiators.update({offer: self._negotiator_for(*offer) for offer in self._negotiators})

    def terminate_agreements(self, reason: str, *, keep_activity: bool) -> None:
        """Terminate all its agreements; blocks until that is done, for 15 seconds at most each.

        Args:
            reason: the reason that the requestor gets.
            keep_activity: True: go on serving the activities; False: they end with the agreement.

        Raises:
            LocalNetworkError: it has no agreement, or the daemon refused.
        """
        agreements = self._agreements_in_force()
        if not agreements:
            raise LocalNetworkError(f"{self.name} has no agreement to terminate")
        for life in agreements:
            life.terminate(reason, keep_activity=keep_activity)

    def stop_reporting(self) -> None:
        """Stop the usage reports to the daemon."""
        self._usage.stop()

    def report_again(self) -> None:
        """Resume the usage reports to the daemon."""
        self._usage.start()

    # called by its negotiators and agreements

    def _refusal_now(self) -> str:
        with self._lock:
            return self._limit_reached()

    def _limit_reached(self) -> str:
        most = self._habits.most_agreements
        # As with a real provider, those that have ended do not count, though their invoices are still due.
        if sum(not life.over for life in self._agreements) < most:
            return ""
        return f"No capacity available. Reached Agreements limit: {most}"

    def _accept(self, agreement: Mapping[str, Any]) -> str:
        with self._lock:
            refusal = self._limit_reached()
            if refusal:
                return refusal
            life = AgreementLife(
                self.name,
                self._yagna,
                self._habits,
                agreement,
                make_exe_unit=self._make_exe_unit,
                reporter=self._usage,
                scope=self._alive,
                on_over=self._has_room,
                on_end=self._ended,
                on_death=self._cancel_all,
                on_strike=self._on_strike,
                vanishes_after=self._fortune.vanishes_after(),
                notes_are_paid=self._notes_are_paid,
            )
            self._agreements.add(life)
        life.start()
        return ""

    def _ended(self, life: AgreementLife) -> None:
        with self._lock:
            self._agreements.discard(life)

    def _has_room(self) -> None:
        with self._lock:
            negotiators = list(self._negotiators.values())
        if not self._alive.cancelled:
            for negotiator in negotiators:
                negotiator.offer_again()
