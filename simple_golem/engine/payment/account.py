"""One agreement's account: what it may cost by the agreed prices, what was noted, what was paid."""

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

# What two clocks, a slow answer and the daemon's looking once in 750 ms may make of a duration.
_MARGIN_SECONDS = Decimal(5)
_MARGIN_FACTOR = Decimal("1.02")
# Providers calculate with binary fractions.
_ROUNDING_FACTOR = Decimal("1.000001")
_ROUNDING = Decimal("0.000000000001")


@dataclass
class ActivityAccount:
    """One activity: since when it exists, and what its provider has noted last.

    Attributes:
        began, ended: when (UTC); `ended` is None as long as it lives.
        began_at: the same on the monotonic clock, where this process has seen it begin.
        ended_at: when it ended on that clock.
        noted: what was accepted last, GLM; it contains what came before.
        claimed: seconds of its life, and of processor time, as of that note.
        other: the price of all else that was counted, as of that note.
        asked_too_much: whether a note of it had to be refused.
    """

    began: datetime
    began_at: float | None = None
    ended: datetime | None = None
    noted: Decimal = Decimal(0)
    ended_at: float | None = None
    claimed: tuple[Decimal, Decimal] = (Decimal(0), Decimal(0))
    other: Decimal = Decimal(0)
    asked_too_much: bool = False

    def seconds(self) -> Decimal:
        """How long it has lived."""
        until = self.ended or datetime.now(timezone.utc)
        by_wall = max(0.0, (until - self.began).total_seconds())
        until_at = time.monotonic() if self.ended is None else self.ended_at
        if self.began_at is None or until_at is None:
            return exact(by_wall)
        return exact(max(by_wall, until_at - self.began_at))

    def cpu_rate(self) -> Decimal:
        """Threads kept busy, as of the last note; one, as long as there was none."""
        seconds, cpu = self.claimed
        return EXACT.divide(cpu, seconds) if seconds > 0 else Decimal(1)


@dataclass
class Account:
    """One agreement.

    Attributes:
        agreement_id, provider_id, provider_name: which, and with whom.
        cluster, instance: whom it is for.
        prices: what was agreed; None if the agreement was made without prices that are understood.
        threads: of the provider's processor, so much processor time can be used in a second at most.
        agreed: when (UTC).
        activities: by their ids.
        invoice: what was accepted, GLM; None as long as nothing was.
        refused: why the invoice is not paid.
        unpaid: why the invoice, which is owed, could not be paid so far.
        ended: whether the agreement is over.
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
        """The account of an agreement that was made of `offer`."""
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

    @property
    def provider(self) -> str:
        return f"{self.provider_name} ({self.provider_id})"

    def cost(self) -> Decimal:
        """What was accepted: the invoice, or else the debit notes."""
        if self.invoice is not None:
            return self.invoice
        return total(activity.noted for activity in self.activities.values())

    def activity(self, activity_id: str) -> ActivityAccount:
        """The account of an activity; one of which only its provider knows began with the agreement."""
        return self.activities.setdefault(activity_id, ActivityAccount(self.agreed))

    # --- what may be asked for ------------------------------------------------------------------------

    def objection_to_note(
        self, activity_id: str, amount: Decimal, usage: Sequence[object] | None
    ) -> str | None:
        """Why a debit note asks for more than the prices allow; None if it does not."""
        activity = self.activity(activity_id)
        if self.prices is None:
            return None
        with localcontext(EXACT):
            return self._objection_to_note(self.prices, activity, amount, usage)

    def _objection_to_note(
        self, prices: Prices, activity: ActivityAccount, amount: Decimal, usage: Sequence[object] | None
    ) -> str | None:
        if usage is None or prices.of_usage(usage) is None:
            if not prices.only_time:  # nobody here can count what else it charges for
                return None
            most = self._most(prices, activity.seconds())
            return _above(amount, most, "the price of all the time since it began is")
        seconds = self._longest(activity)
        claimed, cpu = prices.usage_of(DURATION, usage), prices.usage_of(CPU, usage)
        if claimed > seconds:
            return f"it counts {claimed:.1f} s of an activity that began {activity.seconds():.1f} s ago"
        if cpu > seconds * self.threads:
            return f"it counts {cpu:.1f} s of processor time, with {self.threads} threads"
        fair = prices.of_usage(usage) or Decimal(0)
        return _above(amount, fair, "the agreed price of the usage it states is")

    def note(self, activity_id: str, amount: Decimal, usage: Sequence[object] | None) -> None:
        """An accepted debit note; notes may be taken in any order."""
        activity = self.activity(activity_id)
        activity.noted = max(activity.noted, amount)
        self._remember_usage(activity, usage)

    def refuse_note(self, activity_id: str, usage: Sequence[object] | None) -> None:
        """A debit note that asks for too much; what it states as its usage still counts, if it can be."""
        activity = self.activity(activity_id)
        activity.asked_too_much = True
        self._remember_usage(activity, usage)

    def _remember_usage(self, activity: ActivityAccount, usage: Sequence[object] | None) -> None:
        if usage is None or self.prices is None or self.prices.of_usage(usage) is None:
            return
        with localcontext(EXACT):
            longest = self._longest(activity)
            seconds = min(self.prices.usage_of(DURATION, usage), longest)
            cpu = min(self.prices.usage_of(CPU, usage), longest * self.threads)
        activity.claimed = max(activity.claimed, (seconds, cpu))
        activity.other = max(activity.other, self.prices.of_other_usage(usage))

    def _longest(self, activity: ActivityAccount) -> Decimal:
        """Seconds that its provider may have counted by now."""
        return EXACT.add(EXACT.multiply(activity.seconds(), _MARGIN_FACTOR), _MARGIN_SECONDS)

    def objection_to_invoice(self, amount: Decimal) -> str | None:
        """Why an invoice asks for more than debit notes and prices allow; None if it does not."""
        if amount <= self.cost() or self.prices is None:
            return None
        prices = self.prices
        with localcontext(EXACT):
            caught = any(activity.asked_too_much for activity in self.activities.values())
            if not prices.only_time and not caught:  # nobody here can count what else it charges for
                return None
            most = total(self._most_in_the_end(prices, activity) for activity in self.activities.values())
            return _above(amount, most, "its debit notes and the agreed prices allow")

    def _most_in_the_end(self, prices: Prices, activity: ActivityAccount) -> Decimal:
        """What an activity may cost by what was noted, and the time that has passed since."""
        seconds, cpu = activity.claimed
        noted = seconds > 0
        fair = prices.start + seconds * prices.per_second + cpu * prices.per_cpu_second + activity.other
        if noted and activity.asked_too_much:
            return fair
        if not noted:
            return self._most(prices, activity.seconds())
        since = max(Decimal(0), activity.seconds() - seconds) * _MARGIN_FACTOR + _MARGIN_SECONDS
        return max(activity.noted, fair) + since * self._most_per_second(prices)

    def _most(self, prices: Prices, seconds: Decimal) -> Decimal:
        return prices.start + (seconds * _MARGIN_FACTOR + _MARGIN_SECONDS) * self._most_per_second(prices)

    def _most_per_second(self, prices: Prices) -> Decimal:
        return prices.per_second + prices.per_cpu_second * self.threads

    # --- what will be asked for ------------------------------------------------------------------------

    def outlook(self) -> tuple[Decimal, Decimal]:
        """What it costs by now as far as can be foreseen, and what each further second does."""
        if self.invoice is not None or self.prices is None:
            return self.cost(), Decimal(0)
        if self.refused is not None:
            return Decimal(0), Decimal(0)
        with localcontext(EXACT):
            return self._outlook(self.prices)

    def _outlook(self, prices: Prices) -> tuple[Decimal, Decimal]:
        now, per_second = Decimal(0), Decimal(0)
        if not self.activities and not self.ended:  # one is to come
            return prices.start, prices.per_second + prices.per_cpu_second
        for activity in self.activities.values():
            rate = prices.per_second + activity.cpu_rate() * prices.per_cpu_second
            base = max(activity.noted, prices.start)
            now += base + max(Decimal(0), activity.seconds() - activity.claimed[0]) * rate
            per_second += rate if activity.ended is None else Decimal(0)
        return now, per_second

    def entry(self) -> CostEntry:
        """What it cost, for a report."""
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
        )

    # --- in the journal ------------------------------------------------------------------------------

    def to_json(self) -> Mapping[str, Any]:
        """What a later session has to know to answer its invoice."""
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
    """An exact sum."""
    result = Decimal(0)
    for amount in amounts:
        result = EXACT.add(result, amount)
    return result


def _above(amount: Decimal, most: Decimal, what: str) -> str | None:
    if amount <= most * _ROUNDING_FACTOR + _ROUNDING:
        return None
    return f"it asks for {plain(amount)} GLM, where {what} {rounded(most)}"
