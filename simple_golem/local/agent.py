"""The agent of one provider: its offers, and the agreements that come of them."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

from ..scope import Deadline, Scope
from ..yagna.client import Yagna
from .agreement_life import AgreementLife, MakeExeUnit
from .habits import ProviderHabits
from .offer import offer_properties
from .offer_desk import OfferDesk
from .usage import UsageReporter


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
    ) -> None:
        """Make an agent that offers nothing yet.

        Args:
            name, node_id: the provider's.
            yagna: the far daemon, with the provider's key; closed with the agent.
            habits: how it behaves.
            make_exe_unit: makes what runs the commands of an activity.
            reporter: tells the daemon of the activities' usage.
            scope: of the network.
        """
        self.name = name
        self.node_id = node_id
        self._yagna = yagna
        self._habits = habits
        self._make_exe_unit = make_exe_unit
        self._reporter = reporter
        self._scope = scope
        self._lock = threading.Lock()
        self._desks: dict[str, OfferDesk] = {}
        self._agreements: set[AgreementLife] = set()

    @property
    def busy(self) -> bool:
        """Whether it has an agreement, or is about to have one."""
        with self._lock:
            return bool(self._agreements)

    def offer_in(self, subnet: str) -> None:
        """Publish an offer in this subnet too, if there is none."""
        if subnet in self._desks:
            return
        self._desks[subnet] = OfferDesk(
            self.name,
            subnet,
            self._yagna.provider,
            offer_properties(self.name, self.node_id, subnet, self._habits),
            scope=self._scope,
            full=self._full,
            take=self._take,
        )

    def withdraw_from(self, subnet: str) -> None:
        """Withdraw the offer of this subnet; agreements that came of it go on."""
        desk = self._desks.pop(subnet, None)
        if desk is not None:
            desk.close()

    def join(self, timeout: float) -> bool:
        """Wait for all its threads, `timeout` seconds at most, after the network's scope was cancelled."""
        left = Deadline(timeout)
        with self._lock:
            joins = [desk.join for desk in self._desks.values()] + [life.join for life in self._agreements]
        ended = [join(left.remaining()) for join in joins]
        self._yagna.close()
        return all(ended)

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
                reporter=self._reporter,
                scope=self._scope,
                on_end=self._ended,
            )
            self._agreements.add(life)
        life.start()
        return ""

    def _ended(self, life: AgreementLife) -> None:
        with self._lock:
            self._agreements.discard(life)
        if not self._scope.cancelled:
            for desk in list(self._desks.values()):
                desk.free_again()
