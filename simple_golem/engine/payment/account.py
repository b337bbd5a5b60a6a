"""What one agreement may cost by the agreed prices, and what was accepted for it."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from decimal import Decimal, localcontext
from typing import Any

from ...model.cost import plain, rounded
from ...model.cost_report import CostEntry
from ...model.offers.offer import Offer
from ...model.offers.prices import CPU, DURATION, EXACT, Prices, exact
from ...yagna.transport.daemon_clock import DaemonClock
from ...yagna.values import Agreement

# Two clocks differ, answers are slow, and the daemon looks only every 750 ms: a duration may be this wrong.
_MARGIN_SECONDS = Decimal(5)
_MARGIN_FACTOR = Decimal("1.02")
# A provider counts all processes of an activity: on top of what runs inside, those of the virtual machine
# itself, which start it, hash its image and serve its disks. It offers one thread fewer than its machine has,
# so that more than this is no usage that can be.
_OVERHEAD_THREADS = 2
# Providers calculate with binary floating point.
_ROUNDING_FACTOR = Decimal("1.000001")
_ROUNDING = Decimal("0.000000000001")


@dataclass
class ActivityAccount:
    """One activity: how long it exists, and what its last debit note said.

    Attributes:
        began, ended: moments (UTC); `ended` is None while it is alive.
        began_at: `began` on the monotonic clock; None if an earlier process has created it.
        ended_at: `ended` on the monotonic clock.
        noted: GLM of the last debit note that was accepted, which contains all earlier ones.
        claimed: seconds of its life, and of processor time, by that debit note.
        other: GLM for all other usage, by that debit note.
        asked_too_much: whether one of its debit notes was refused.
        is_known: False if only its provider's debit notes say that it exists.
    """

    began: datetime
    began_at: float | None = None
    ended: datetime | None = None
    noted: Decimal = Decimal(0)
    ended_at: float | None = None
    claimed: tuple[Decimal, Decimal] = (Decimal(0), Decimal(0))
    other: Decimal = Decimal(0)
    asked_too_much: bool = False
    is_known: bool = True

    def seconds(self) -> Decimal:
        """Return how many seconds it has existed."""
        until = self.ended or datetime.now(timezone.utc)
        by_wall = max(0.0, (until - self.began).total_seconds())
        until_at = time.monotonic() if self.ended is None else self.ended_at
        if self.began_at is None or until_at is None:
            return exact(by_wall)
        return exact(max(by_wall, until_at - self.began_at))

    def cpu_rate(self) -> Decimal:
        """Return how many threads it keeps busy, by its last debit note; 1 if there is none."""
        seconds, cpu = self.claimed
        return EXACT.divide(cpu, seconds) if seconds > 0 else Decimal(1)


@dataclass
class Account:
    """The account of one agreement; the ledger's lock guards it.

    Attributes:
        agreement_id, provider_id, provider_name: the agreement and its provider.
        cluster, instance: the names of what it was made for.
        prices: the agreed prices; None if this library does not understand them.
        threads: of the provider's processor, as it offers them.
        agreed: when it was made (UTC).
        activities: by their ids.
        invoice: GLM of the accepted invoice; None if none was accepted.
        refused: why the invoice is not paid; None if it was not refused.
        unpaid: why the invoice, which is owed, could not be paid yet.
        ended: whether the agreement has ended.
    """

    agreement_id: str
    provider_id: str
    provider_name: str
    cluster: str
    instance: str
    prices: Prices | None
    threads: int
    agreed: datetime
    activities: dict[str, ActivityAccount] = field(default_factory=dict)
    invoice: Decimal | None = None
    refused: str | None = None
    unpaid: str | None = None
    ended: bool = False

    @classmethod
    def made(cls, agreement_id: str, offer: Offer, cluster: str, instance: str, agreed: datetime) -> Account:
        """Return the account of a new agreement, made from `offer`."""
        return cls(
            agreement_id,
            offer.provider_id,
            offer.provider_name,
            cluster,
            instance,
            offer.prices,
            offer.cpu_threads,
            agreed,
        )

    @classmethod
    def of_wire(cls, agreement: Agreement, cluster: str, instance: str, clock: DaemonClock) -> Account:
        """Return the account of an agreement that only the daemon knows."""
        offer = Offer.of(agreement.provider_id, agreement.offer_properties)
        agreed = clock.to_local(agreement.approved or agreement.made)
        return cls.made(agreement.agreement_id, offer, cluster, instance, agreed)

    @property
    def provider(self) -> str:
        """Name and id of the provider, for messages."""
        return f"{self.provider_name} ({self.provider_id})"

    @property
    def most_threads(self) -> int:
        """Seconds of processor time that may be counted in one second, at most."""
        return self.threads + _OVERHEAD_THREADS

    def cost(self) -> Decimal:
        """Return the GLM that were accepted: the invoice contains the debit notes, which are paid anyway."""
        noted = total(activity.noted for activity in self.activities.values())
        return noted if self.invoice is None else max(noted, self.invoice)

    def activity(self, activity_id: str) -> ActivityAccount:
        """Return the account of an activity; if only its provider knows it, it is as old as the agreement."""
        return self.activities.setdefault(activity_id, ActivityAccount(self.agreed, is_known=False))

    def _can_exist(self, activity_id: str) -> bool:
        """Whether there may be such an activity: an agreement has one, whose provider may know it first."""
        activity = self.activities.get(activity_id)
        if activity is None:
            return not self.activities
        return activity.is_known or not any(one.is_known for one in self.activities.values())

    # --- what may be asked for ------------------------------------------------------------------------

    def objection_to_note(
        self, activity_id: str, amount: Decimal, usage: Sequence[object] | None
    ) -> str | None:
        """Return why a debit note asks for more than the prices allow; None if it does not."""
        if self.prices is None:
            return None
        if not self._can_exist(activity_id):
            return f"it is for the activity {activity_id}, but this agreement has another one"
        activity = self.activity(activity_id)
        with localcontext(EXACT):
            return self._objection_to_note(self.prices, activity, amount, usage)

    def _objection_to_note(
        self, prices: Prices, activity: ActivityAccount, amount: Decimal, usage: Sequence[object] | None
    ) -> str | None:
        if usage is None or prices.of_usage(usage) is None:
            if not prices.only_time:  # this side can't measure the other usage
                return None
            most = self._highest_cost(prices, activity.seconds())
            return _above(amount, most, "the price of all the time since it began is")
        seconds = self._longest(activity)
        claimed, cpu = prices.usage_of(DURATION, usage), prices.usage_of(CPU, usage)
        if claimed > seconds:
            return f"it counts {claimed:.1f} s of an activity that began {activity.seconds():.1f} s ago"
        if cpu > seconds * self.most_threads:
            return (
                f"it counts {cpu:.1f} s of processor time, where {self.threads} threads and the virtual "
                f"machine itself can use {seconds * self.most_threads:.1f} s at most"
            )
        fair = prices.of_usage(usage) or Decimal(0)
        return _above(amount, fair, "the agreed price of the usage it states is")

    def accept_note(self, activity_id: str, amount: Decimal, usage: Sequence[object] | None) -> None:
        """Count an accepted debit note; debit notes may come in any order."""
        activity = self.activity(activity_id)
        activity.noted = max(activity.noted, amount)
        self._remember_usage(activity, usage)

    def refuse_note(self, activity_id: str, usage: Sequence[object] | None) -> None:
        """Remember a debit note that asks for too much; its usage still counts, as far as it is possible."""
        if not self._can_exist(activity_id):
            for other in self.activities.values():
                other.asked_too_much = True
            return
        activity = self.activity(activity_id)
        activity.asked_too_much = True
        self._remember_usage(activity, usage)

    def _remember_usage(self, activity: ActivityAccount, usage: Sequence[object] | None) -> None:
        if usage is None or self.prices is None or self.prices.of_usage(usage) is None:
            return
        with localcontext(EXACT):
            longest = self._longest(activity)
            seconds = min(self.prices.usage_of(DURATION, usage), longest)
            cpu = min(self.prices.usage_of(CPU, usage), longest * self.most_threads)
        activity.claimed = max(activity.claimed, (seconds, cpu))
        activity.other = max(activity.other, self.prices.of_other_usage(usage))

    def _longest(self, activity: ActivityAccount) -> Decimal:
        """Return the seconds that its provider may have counted until now."""
        return EXACT.add(EXACT.multiply(activity.seconds(), _MARGIN_FACTOR), _MARGIN_SECONDS)

    def objection_to_invoice(self, amount: Decimal) -> str | None:
        """Return why an invoice asks for more than debit notes and prices allow; None if it does not."""
        if amount <= self.cost() or self.prices is None:
            return None
        prices = self.prices
        with localcontext(EXACT):
            has_cheated = any(activity.asked_too_much for activity in self.activities.values())
            if not prices.only_time and not has_cheated:  # this side can't measure the other usage
                return None
            most = total(self._highest_invoice(prices, name) for name in self.activities)
            return _above(amount, most, "its debit notes and the agreed prices allow")

    def _highest_invoice(self, prices: Prices, activity_id: str) -> Decimal:
        """Return what an activity may cost: what was noted, and the time since then."""
        activity = self.activities[activity_id]
        if not self._can_exist(activity_id):
            return activity.noted
        seconds, cpu = activity.claimed
        noted = seconds > 0
        fair = prices.start + seconds * prices.per_second + cpu * prices.per_cpu_second + activity.other
        if noted and activity.asked_too_much:
            return fair
        # Whatever a note has said of its beginning, no activity is busier than all of the time.
        highest = self._highest_cost(prices, activity.seconds()) + activity.other
        if not noted:
            return highest
        since = max(Decimal(0), activity.seconds() - seconds) * _MARGIN_FACTOR + _MARGIN_SECONDS
        return min(max(activity.noted, fair) + since * self._highest_rate(prices), highest)

    def _highest_cost(self, prices: Prices, seconds: Decimal) -> Decimal:
        return prices.start + (seconds * _MARGIN_FACTOR + _MARGIN_SECONDS) * self._highest_rate(prices)

    def _highest_rate(self, prices: Prices) -> Decimal:
        return prices.per_second + prices.per_cpu_second * self.most_threads

    # --- what can be expected --------------------------------------------------------------------------

    def outlook(self) -> tuple[Decimal, Decimal]:
        """Return the expected cost until now, and per further second (GLM)."""
        if self.invoice is not None or self.prices is None:
            return self.cost(), Decimal(0)
        if self.refused is not None:
            return Decimal(0), Decimal(0)
        with localcontext(EXACT):
            return self._outlook(self.prices)

    def _outlook(self, prices: Prices) -> tuple[Decimal, Decimal]:
        if not self.activities and not self.ended:  # an activity will be created
            return prices.start, prices.per_second + prices.per_cpu_second
        now, per_second = Decimal(0), Decimal(0)
        for name, activity in self.activities.items():
            if not self._can_exist(name):
                now += activity.noted
                continue
            rate = prices.per_second + activity.cpu_rate() * prices.per_cpu_second
            base = max(activity.noted, prices.start)
            now += base + max(Decimal(0), activity.seconds() - activity.claimed[0]) * rate
            per_second += rate if activity.ended is None else Decimal(0)
        return now, per_second

    def accrued(self) -> Decimal:
        """Return the GLM that have come up since the last debit note, and were not asked for yet."""
        if not self.activities:
            return Decimal(0)
        expected, _ = self.outlook()
        return max(Decimal(0), EXACT.subtract(expected, self.cost()))

    def entry(self) -> CostEntry:
        """Return one line of the cost report."""
        return CostEntry(
            self.cluster,
            self.instance,
            self.provider_name,
            self.provider_id,
            self.agreement_id,
            float(total(activity.seconds() for activity in self.activities.values())),
            self.cost(),
            self.invoice is not None,
            self.refused or (self.unpaid if self.invoice is None else None),
            self.accrued(),
        )

    # --- in the journal ------------------------------------------------------------------------------

    def to_json(self) -> Mapping[str, Any]:
        """Return what a later session has to know to answer the invoice."""
        return {
            "agreement": self.agreement_id,
            "provider_id": self.provider_id,
            "provider_name": self.provider_name,
            "cluster": self.cluster,
            "instance": self.instance,
            "prices": self.prices.to_json() if self.prices else None,
            "threads": self.threads,
            "agreed": self.agreed.isoformat(),
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Account:
        """Return the account that `to_json` was called for."""
        return cls(
            value["agreement"],
            value["provider_id"],
            value["provider_name"],
            value["cluster"],
            value["instance"],
            Prices.from_json(value["prices"]) if value["prices"] else None,
            int(value["threads"]),
            datetime.fromisoformat(value["agreed"]),
        )


def total(amounts: Any) -> Decimal:
    """Return the exact sum."""
    result = Decimal(0)
    for amount in amounts:
        result = EXACT.add(result, amount)
    return result


def _above(amount: Decimal, most: Decimal, what: str) -> str | None:
    if amount <= most * _ROUNDING_FACTOR + _ROUNDING:
        return None
    return f"it asks for {plain(amount)} GLM, where {what} {rounded(most)}"
