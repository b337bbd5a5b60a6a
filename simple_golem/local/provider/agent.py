"""The agent of one provider: its offers, the agreements that come of them, and its death."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from typing import Any

from ...background.cancellation import Deadline, Scope
from ...errors import LocalNetworkError
from ...yagna.client import Yagna
from ..control.habits import ProviderHabits
from .agreement import AgreementLife
from .negotiator import Negotiator
from .offer import offer_properties
from .served_activity import MakeExeUnit
from .usage import ProviderUsage, UsageReporter

logger = logging.getLogger(__name__)

_DEATH_SECONDS = 5.0


class ProviderAgent:
    """One provider identity of the far daemon, doing business."""

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
        cut_off: Callable[[], None] = lambda: None,
    ) -> None:
        """Make an agent that offers nothing yet.

        Args:
            name, node_id: the provider's.
            yagna: the far daemon, with the provider's key; closed with the agent.
            habits: how it behaves.
            make_exe_unit: makes what runs the commands of an activity.
            reporter: tells the daemon of the activities' usage.
            scope: of the network.
            cut_off: called when the provider dies: its exe-units are not to be heard of any more.
        """
        self.name = name
        self.node_id = node_id
        self._yagna = yagna
        self._habits = habits
        self._make_exe_unit = make_exe_unit
        self._usage = ProviderUsage(reporter)
        self._network = scope
        # Ends with the provider's death; a new one begins when it comes back.
        self._alive = Scope(scope)
        self._cut_off = cut_off
        self._lock = threading.Lock()
        # One who dies and one who comes back are not to meet.
        self._dying = threading.Lock()
        # By subnet; of the dead they remain, so that what they published can be withdrawn.
        self._desks: dict[str, Negotiator] = {}
        self._agreements: set[AgreementLife] = set()

    @property
    def busy(self) -> bool:
        """Whether it has an agreement, or is about to have one."""
        with self._lock:
            return bool(self._agreements)

    def offer_in(self, subnet: str) -> None:
        """Publish an offer in this subnet too, if there is none."""
        with self._lock:
            if subnet not in self._desks:
                self._desks[subnet] = self._open_desk(subnet)

    def _open_desk(self, subnet: str) -> Negotiator:
        return Negotiator(
            self.name,
            subnet,
            self._yagna.provider,
            offer_properties(self.name, self.node_id, subnet, self._habits),
            self._habits,
            scope=self._alive,
            full=self._full,
            take=self._take,
        )

    def withdraw_from(self, subnet: str) -> None:
        """Withdraw the offer of this subnet; agreements that came of it go on."""
        with self._lock:
            desk = self._desks.pop(subnet, None)
        if desk is not None:
            desk.close()

    def join(self, timeout: float) -> bool:
        """Wait for all its threads, `timeout` seconds at most, after the network's scope was cancelled."""
        ended = self._join_threads(timeout)
        self._yagna.close()
        return ended

    def _join_threads(self, timeout: float) -> bool:
        left = Deadline(timeout)
        with self._lock:
            joins = [desk.join for desk in self._desks.values()] + [life.join for life in self._agreements]
        ended = [join(left.remaining()) for join in joins]
        return all(ended)

    # what it can be ordered to do

    def die(self) -> None:
        """Be gone without a word: every process ends, nothing is answered or sent; blocks until it is so.

        What the daemon knows of the provider stays there: its offers, agreements and activities.
        """
        with self._dying:
            self._fall_silent()
            self._see_off()

    def _fall_silent(self) -> None:
        if not self._alive.cancelled:
            logger.info("%s dies", self.name)
            self._cut_off()
            self._alive.cancel("the provider has died")

    def _see_off(self) -> None:
        if not self._join_threads(_DEATH_SECONDS):
            logger.warning("not all threads of %s have ended with it", self.name)

    def revive(self) -> None:
        """Have a provider that has died offer again; of its agreements and activities it knows nothing.

        What it had published is withdrawn first; blocks until that is done.
        """
        with self._dying:
            if not self._alive.cancelled or self._network.cancelled:
                return
            self._see_off()
            with self._lock:
                dead = dict(self._desks)
            for offer_id in [desk.offer_id for desk in dead.values() if desk.offer_id is not None]:
                self._yagna.provider.withdraw_offer(offer_id, scope=self._network)
            logger.info("%s is back", self.name)
            self._alive.close()
            with self._lock:
                self._alive = Scope(self._network)
                self._desks.update({subnet: self._open_desk(subnet) for subnet in self._desks})

    def terminate_agreements(self, reason: str, *, keep_activity: bool) -> None:
        """Terminate every agreement it has; blocks until the daemon has done it.

        Args:
            reason: told to the requestor.
            keep_activity: go on serving the activities; else they end with the agreement.

        Raises:
            LocalNetworkError: it has none, or the daemon did not do it.
        """
        with self._lock:
            agreements = [life for life in self._agreements if not life.over]
        if not agreements:
            raise LocalNetworkError(f"{self.name} has no agreement to terminate")
        for life in agreements:
            life.terminate(reason, keep_activity=keep_activity)

    def stop_reporting(self) -> None:
        """Tell the daemon nothing any more of what the activities use."""
        self._usage.stop()

    def report_again(self) -> None:
        """Tell the daemon again what the activities use."""
        self._usage.start()

    # for its desks and agreements

    def _full(self) -> str:
        with self._lock:
            return self._no_room()

    def _no_room(self) -> str:
        most = self._habits.most_agreements
        if len(self._agreements) < most:
            return ""
        return f"No capacity available. Reached Agreements limit: {most}"

    def _take(self, agreement: Mapping[str, Any]) -> str:
        with self._lock:
            refusal = self._no_room()
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
                on_end=self._ended,
                on_death=self._fall_silent,
            )
            self._agreements.add(life)
        life.start()
        return ""

    def _ended(self, life: AgreementLife) -> None:
        with self._lock:
            self._agreements.discard(life)
            desks = list(self._desks.values())
        if not self._alive.cancelled:
            for desk in desks:
                desk.free_again()
