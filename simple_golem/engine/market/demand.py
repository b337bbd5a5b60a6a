"""One demand: published, read, countered; and the proposals that could become agreements."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

from ...background.cancellation import Deadline, Scope, ScopeEnded
from ...background.threads import EngineThread, WorkerPool
from ...errors import GolemError, YagnaError
from ...model.cost import rounded
from ...model.events import DemandPublished, DemandWithdrawn, ProposalReceived
from ...model.events import ProposalRejected as ProposalTurnedDown
from ...model.payload.payload import Payload
from ...model.settings import Settings
from ...yagna.client import Yagna
from ...yagna.transport.retry import Repeat
from ...yagna.values import Decorations, Proposal, ProposalRejected, ProposalState
from ..event_dispatcher import Emit
from .proposal_rules import ProposalRules

logger = logging.getLogger(__name__)

_POLL_SECONDS = 20.0
_PAUSE_SECONDS = 0.05
_CHOSEN_PLATFORM = "golem.com.payment.chosen-platform"
# By this property a session that was killed is known from the demands it left on the daemon.
SESSION_MARK = "simple_golem.session"
# Providers take no agreement that ends sooner: 5 minutes is what theirs are told to refuse.
_SHORTEST_AGREEMENT = timedelta(minutes=6)
# Offers come one after the other; when none has for this part of the time, the first of them are all there.
_QUIET_PART = 0.05
# Who has not answered by then is not counted on.
ANSWER_SECONDS = 1.0
# So many more offers are answered than instances look for a provider.
_TO_SPARE = 3


def demand_properties(
    payload: Payload, decorations: Decorations, settings: Settings, expiration: datetime, app_session_id: str
) -> dict[str, Any]:
    """What a demand says of itself."""
    until = max(expiration, datetime.now(timezone.utc) + _SHORTEST_AGREEMENT)
    return {
        "golem.srv.comp.expiration": int(until.timestamp() * 1000),
        SESSION_MARK: app_session_id,
        "golem.srv.caps.multi-activity": True,
        "golem.node.debug.subnet": settings.subnet_tag,
        "golem.node.id.name": "simple_golem",
        **payload.properties,
        **decorations.properties,
    }


def demand_constraints(payload: Payload, decorations: Decorations, settings: Settings) -> str:
    """What a demand asks of offers, as one expression."""
    parts = [
        *payload.constraints,
        f"(golem.node.debug.subnet={settings.subnet_tag})",
        "(golem.com.pricing.model=linear)",
        *decorations.constraints,
    ]
    return "(&" + "\n  ".join(parts) + ")"


@dataclass(frozen=True, slots=True)
class RatedProposal:
    """An offer, or an answer that could become an agreement.

    Attributes:
        proposal: what the provider has said last.
        worth: by the strategy.
        needs: GLM that have to be left for it.
    """

    proposal: Proposal
    worth: float
    needs: Decimal = Decimal(0)


class Demand:
    """A cluster's demand and what providers answer to it.

    Proposals that could become agreements are kept in `drafts`, which `changed` guards.
    """

    def __init__(
        self,
        yagna: Yagna,
        workers: WorkerPool,
        changed: threading.Condition,
        properties: Mapping[str, Any],
        constraints: str,
        rules: ProposalRules,
        name: str,
        emit: Emit,
    ) -> None:
        self._cluster = name
        self._emit = emit
        self._rules = rules
        self.drafts: dict[str, RatedProposal] = {}
        # How many of its instances look for a provider at this moment.
        self.wanted = 0
        self._reserve: dict[str, tuple[str, RatedProposal]] = {}
        self.seen: set[str] = set()
        self.rejections: Counter[str] = Counter()
        # Of the providers that were taken: what it took.
        self._had: dict[str, Decimal] = {}
        self._too_dear: set[str] = set()
        self._yagna = yagna
        self._workers = workers
        self._changed = changed
        self._properties = dict(properties)
        self._constraints = constraints
        self._collecting = Collecting(rules.strategy.collect_seconds)
        self._demand_id: str | None = None
        self._published = False
        self._lock = threading.Lock()
        self._withdrawn = Scope()
        self._reading = Scope()
        self.name = f"golem-market-{name}"
        self._reader = EngineThread(self.name, self._read)

    def publish(self) -> None:
        """Put the demand on the market and begin to read what comes."""
        self._publish()
        self._published = True
        self._reader.start()

    def _publish(self, repeat: Repeat = Repeat.UNSENT) -> None:
        with self._lock:
            self._withdrawn.check()
            self._demand_id = self._yagna.market.publish_demand(
                self._properties, self._constraints, repeat=repeat
            )
            demand_id = self._demand_id
        self._emit(DemandPublished(self._cluster, demand_id))

    def close(self) -> None:
        """Give up everything that is asked for it; does not block, and `withdraw` has to follow."""
        self._withdrawn.cancel("the demand is withdrawn")

    @property
    def published(self) -> bool:
        """Whether it is, or has been, on the market."""
        return self._published

    @property
    def closed(self) -> bool:
        """Whether it was given up, and is or will be withdrawn."""
        return self._withdrawn.cancelled

    @property
    def finished(self) -> bool:
        """Whether nothing of it is left here."""
        return self.closed and self._demand_id is None and not self._reader.alive

    def withdraw(self, scope: Scope) -> None:
        """Take the demand off the market; its reader ends with it. A second call does nothing."""
        self.close()
        with self._lock:
            demand_id, self._demand_id = self._demand_id, None
        if demand_id is None:
            return
        try:
            self._yagna.market.unsubscribe(demand_id, scope=scope)
        except (GolemError, ScopeEnded) as error:
            logger.warning("the demand %s could not be withdrawn: %s", demand_id, error)
            return
        finally:
            # The DELETE wakes its reader; where there was none, nobody waits for events any more.
            self._reading.cancel("the demand is withdrawn")
        self._emit(DemandWithdrawn(self._cluster, demand_id))

    def join(self, timeout: float) -> bool:
        return self._reader.join(timeout)

    def answers(self) -> tuple[int, list[tuple[str, int]]]:
        """How many providers have answered, and the most frequent reasons for rejections."""
        with self._changed:
            return len(self.seen), self.rejections.most_common(2)

    def payable(self, drafts: Iterable[RatedProposal]) -> list[RatedProposal]:
        """Those of some drafts that what is left of the budget is enough for; holds `changed`."""
        left = self._rules.budget.left()
        return [draft for draft in drafts if self._can_pay(draft, left)]

    def take(self, draft: RatedProposal) -> None:
        """An agreement is to be made of a draft, and what that needs is kept for it; holds `changed`."""
        provider = draft.proposal.issuer_id
        self._had[provider] = draft.needs
        del self.drafts[provider]
        self._rules.budget.reserve(provider, draft.needs)

    def too_dear(self) -> str | None:
        """Why nobody who has offered can be paid from the budget, None if somebody can; holds `changed`."""
        waiting = {**self.drafts, **{who: offer for who, (_, offer) in self._reserve.items()}}
        needs = {**self._had, **{who: draft.needs for who, draft in waiting.items()}}
        if not needs or needs.keys() != self.seen:
            return None
        least, left = min(needs.values()), self._rules.budget.left()
        return _too_dear(least, left) if least > left else None

    def _can_pay(self, draft: RatedProposal, left: Decimal) -> bool:
        """Whether `left` is enough; if not, that is told, once for each provider."""
        if draft.needs <= left:
            return True
        provider = draft.proposal.issuer_id
        if provider not in self._too_dear:
            self._too_dear.add(provider)
            self._count_rejection(_too_dear(draft.needs, left))
        return False

    def collected_in(self, best: float | None = None) -> float:
        """Seconds until the first offers are all answered, or the time for that is over; holds `changed`."""
        return self._collecting.left(best)

    # the reader's thread

    def _read(self) -> None:
        while not self._withdrawn.cancelled:
            demand_id = self._demand_id
            if demand_id is None:
                return
            pause = Deadline(_PAUSE_SECONDS)
            try:
                # Abandoned only once the demand is withdrawn: what was given out never comes again.
                events = self._yagna.market.demand_events(
                    demand_id, timeout=_POLL_SECONDS, scope=self._reading
                )
            except ScopeEnded:
                return
            except Exception as error:  # noqa: BLE001 - whatever it was, the reader must outlive it
                self._after_error(error)
                continue
            for event in events:
                if isinstance(event, Proposal):
                    self._take(demand_id, event)
                elif isinstance(event, ProposalRejected):
                    self._take_rejection(event)
            if not events:
                self._withdrawn.wait(pause.remaining())

    def _after_error(self, error: Exception) -> None:
        if self._withdrawn.cancelled:
            return
        if isinstance(error, YagnaError) and error.status == 404:
            # Its hour is over, or the daemon was restarted: demands live in its memory.
            logger.info("the demand is gone from the daemon; it is published again")
            self._republish()
            return
        logger.warning("reading the demand's events failed, trying again: %s", error)
        self._withdrawn.wait(1.0)

    def _republish(self) -> None:
        with self._changed:
            self.drafts.clear()
            self._reserve.clear()
        try:
            self._publish(Repeat.NEVER)
        except (GolemError, ScopeEnded) as error:
            logger.warning("the demand could not be published again, trying again: %s", error)
            self._withdrawn.wait(1.0)

    def _take(self, demand_id: str, proposal: Proposal) -> None:
        is_draft = proposal.state is ProposalState.DRAFT
        name = str(proposal.properties.get("golem.node.id.name") or "unnamed")
        self._emit(ProposalReceived(self._cluster, proposal.issuer_id, name, is_draft))
        with self._changed:
            self.seen.add(proposal.issuer_id)
        if is_draft:
            self._take_draft(demand_id, proposal)
        elif proposal.state is ProposalState.INITIAL and not self._withdrawn.cancelled:
            with self._changed:
                self._collecting.offered(proposal.issuer_id)
            self._workers.post(self._answer, demand_id, proposal)

    def _take_draft(self, demand_id: str, proposal: Proposal) -> None:
        objection = self._rules.objection(proposal, final=True)
        worth = self._rules.worth(proposal) if objection is None else None
        if worth is None:
            self._workers.post(self._turn_down, demand_id, proposal, objection or "Refused by the strategy")
            return
        with self._changed:
            self._collecting.answered(proposal.issuer_id)
            self.drafts[proposal.issuer_id] = RatedProposal(proposal, worth, self._rules.needs(proposal))
            self._changed.notify_all()

    def _take_rejection(self, event: ProposalRejected) -> None:
        with self._changed:
            self._collecting.rejected(event.proposal_id)
            self._changed.notify_all()
        self._count_rejection(event.reason)

    def _count_rejection(self, reason: str) -> None:
        with self._changed:
            self.rejections[reason or "no reason given"] += 1
        self._emit(ProposalTurnedDown(self._cluster, reason or "no reason given"))

    def next_look(self) -> float | None:
        """Seconds after which others may have to be asked in the place of those who don't answer."""
        return ANSWER_SECONDS if self._reserve else None

    def counter_as_needed(self) -> None:
        """Counter the best offers, as many as are needed and some to spare; holds `changed`.

        Who offers no better than so many others waits until they are taken, or have declined, or have let
        the time for collecting pass.
        """
        if not self._reserve or not self.wanted:
            return
        is_free = self._rules.is_free
        left = self._rules.budget.left()
        enough = self.wanted + _TO_SPARE
        rivals = [
            *self._collecting.awaited(),
            *(one.worth for who, one in self.drafts.items() if is_free(who) and self._can_pay(one, left)),
        ]
        for provider, (demand_id, offer) in sorted(self._reserve.items(), key=lambda item: -item[1][1].worth):
            if not self._can_pay(offer, left):
                continue
            if sum(worth >= offer.worth for worth in rivals) >= enough:
                return
            del self._reserve[provider]
            rivals.append(offer.worth)
            self._collecting.asked(provider, offer.worth)
            self._workers.post(self._counter, demand_id, offer.proposal)

    # a worker's thread

    def _answer(self, demand_id: str, proposal: Proposal) -> None:
        """Counter an offer, or turn it down."""
        objection = self._rules.objection(proposal, final=False)
        worth = self._rules.worth(proposal) if objection is None else None
        if worth is not None:
            with self._changed:
                self._collecting.answered(proposal.issuer_id)
                offer = RatedProposal(proposal, worth, self._rules.needs(proposal))
                self._reserve[proposal.issuer_id] = demand_id, offer
                self.counter_as_needed()
                if self.drafts or proposal.issuer_id in self._reserve:
                    self._changed.notify_all()
            return
        self._turn_down(demand_id, proposal, objection or "Refused by the strategy")

    def _counter(self, demand_id: str, proposal: Proposal) -> None:
        properties = {
            **self._properties,
            _CHOSEN_PLATFORM: self._rules.platform,
            **self._rules.terms.properties(proposal.properties),
        }
        try:
            counter_id = self._yagna.market.counter(
                demand_id, proposal.proposal_id, properties, self._constraints, scope=self._withdrawn
            )
        except ScopeEnded:
            return
        except GolemError as error:
            logger.debug("the proposal %s could not be answered: %s", proposal.proposal_id, error)
            self._no_answer_of(proposal)
            self._count_rejection(f"could not be answered: {error}")
            return
        with self._changed:
            self._collecting.countered(proposal.issuer_id, counter_id)

    def _turn_down(self, demand_id: str, proposal: Proposal, reason: str) -> None:
        self._no_answer_of(proposal)
        self._count_rejection(reason)
        try:
            self._yagna.market.reject(demand_id, proposal.proposal_id, reason, scope=self._withdrawn)
        except ScopeEnded:
            return
        except GolemError as error:
            logger.debug("the proposal %s could not be rejected: %s", proposal.proposal_id, error)

    def _no_answer_of(self, proposal: Proposal) -> None:
        with self._changed:
            self._collecting.answered(proposal.issuer_id)
            self._changed.notify_all()


def _too_dear(needs: Decimal, left: Decimal) -> str:
    return (
        f"Starting and ending would cost {rounded(needs)} GLM, and {rounded(left)} GLM of the budget are left"
    )


class Collecting:
    """How long answers are collected before the first choice; its user holds the demand's condition."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._until: float | None = None
        self._last_offer = 0.0
        # What each is worth, and when it was asked.
        self._unanswered: dict[str, tuple[float, float]] = {}
        self._counters: dict[str, str] = {}
        self._rejected: set[str] = set()
        self._over = False

    def left(self, best: float | None = None) -> float:
        """Seconds until a choice may be made, `best` being worth most of those who have answered.

        Who asks for more than the best does is not waited for.
        """
        now = time.monotonic()
        if self._over or self._until is None:
            return 0.0
        latest = self._until - now
        quiet = self._last_offer + _QUIET_PART * self._seconds - now
        awaited = [worth for worth, _ in self._unanswered.values() if best is None or worth > best]
        self._over = latest <= 0 or (quiet <= 0 and not self._unanswered)
        return max(0.0, latest if awaited else min(latest, quiet))

    def awaited(self) -> list[float]:
        """What those are worth whose answers are awaited still; who took too long for that is not."""
        latest = time.monotonic() - max(self._seconds, ANSWER_SECONDS)
        return [worth for worth, asked_at in self._unanswered.values() if asked_at > latest]

    def offered(self, provider_id: str) -> None:
        """An offer has come, of which nobody knows yet what it is worth."""
        self._last_offer = time.monotonic()
        if self._until is None:
            self._until = self._last_offer + self._seconds
        self.asked(provider_id, math.inf)

    def asked(self, provider_id: str, worth: float) -> None:
        """An offer of that worth is answered, and the provider's own answer awaited."""
        self._unanswered[provider_id] = worth, time.monotonic()

    def countered(self, provider_id: str, counter_id: str) -> None:
        """It was answered with the proposal `counter_id`; the provider may have rejected that already."""
        self._counters[counter_id] = provider_id
        if counter_id in self._rejected:
            self.answered(provider_id)

    def rejected(self, counter_id: str) -> None:
        """The provider has rejected the answer."""
        self._rejected.add(counter_id)
        if counter_id in self._counters:
            self.answered(self._counters[counter_id])

    def answered(self, provider_id: str) -> None:
        """Nothing more is awaited of the provider."""
        self._unanswered.pop(provider_id, None)


class Listing:
    """A cluster's place on the market: one demand after another, since a withdrawn one does not come back."""

    def __init__(self, make: Callable[[], Demand], publish: Callable[[Demand], None]) -> None:
        self.demand = make()
        self._make = make
        self._publish = publish
        self._lock = threading.Lock()

    def open(self) -> None:
        """Have a demand on the market, if there is none."""
        with self._lock:
            if self.demand.closed:
                self.demand = self._make()
            elif self.demand.published:
                return
            self._publish(self.demand)
