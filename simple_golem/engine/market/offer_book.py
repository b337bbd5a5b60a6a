"""What one demand has received: the best answer, the next offer to counter, and the rejections."""

from __future__ import annotations

import bisect
import random
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from decimal import Decimal
from typing import NamedTuple, Protocol

from ...errors import BadStrategy, OutOfBudget
from ...model.cost import rounded
from ...model.offers.strategy import ExceededLimit
from ...yagna.values import Proposal
from .awaited_answers import ANSWER_SECONDS, AwaitedAnswers
from .providers import Providers, Rank

# How many more offers are countered than instances look for a provider.
_SPARE_PROVIDERS = 3
_MOST_FREQUENT_REASONS = 2


class Funds(Protocol):
    """A budget, and what is left of it."""

    currency: str

    def left(self) -> Decimal:
        """Return the GLM that nothing else needs."""

    def reserve(self, provider_id: str, amount: Decimal) -> bool:
        """Reserve GLM for an agreement in the making; False, and nothing is reserved, if less is left."""


class RatedProposal(NamedTuple):
    """An offer, or an answer that could become an agreement.

    Attributes:
        demand_id: the demand that it belongs to.
        proposal: what the provider has sent.
        worth: the strategy's score.
        needs: GLM that must be left to take it.
    """

    demand_id: str
    proposal: Proposal
    worth: float
    needs: Decimal = Decimal(0)

    @property
    def provider_id(self) -> str:
        return self.proposal.issuer_id


class Pause(NamedTuple):
    """No provider can be taken now: look again after `seconds` (None: no limit), or after a change.

    Attributes:
        is_first: whether nobody else is to be served first.
    """

    seconds: float | None
    is_first: bool = True


class OfferSummary(NamedTuple):
    """What providers have offered.

    Attributes:
        seen: how many have offered.
        occupied: how many of them are occupied.
        rejections: the most frequent reasons of rejections of either side, and their numbers.
        exceeded_limits: if the strategy's price limits refuse all providers: each of these limits, with
            the lowest price that exceeds it. Empty if not.
    """

    seen: int
    occupied: int
    rejections: tuple[tuple[str, int], ...]
    exceeded_limits: tuple[ExceededLimit, ...] = ()


class OfferBook:
    """The offers of one cluster's demand; used by any thread.

    Methods whose names end in `_locked` are called with the lock held; all others take it themselves.

    Args:
        collect_seconds: how long answers are collected before the first choice.
        providers: those of the Golem.
        funds: the budget that all clusters share.
        on_rejection: called with the reason of each rejection, of either side, with no lock held.
    """

    def __init__(
        self,
        collect_seconds: float,
        providers: Providers,
        funds: Funds,
        on_rejection: Callable[[str], object],
    ) -> None:
        self._providers = providers
        self._funds = funds
        self._on_rejection = on_rejection
        # Not reentrant: a method that takes it, called with the lock held, would hang in the first test.
        self._lock = threading.Lock()
        # One for each instance that looks for a provider, the longest waiting first.
        self._queue: list[threading.Event] = []
        self._seen: set[str] = set()
        # Have offered, and their prices were not looked at yet.
        self._unrated: set[str] = set()
        # Rated offers, best first; each is removed when it is countered.
        self._uncountered: list[RatedProposal] = []
        self._drafts: dict[str, RatedProposal] = {}
        # The latest known GLM of each provider that could be taken, whether it has answered or not.
        self._needs: dict[str, Decimal] = {}
        self._too_dear: set[str] = set()
        self._strategy_error: BadStrategy | None = None
        # The providers whose latest proposal exceeds a price limit of the strategy.
        self._above_limit: dict[str, ExceededLimit] = {}
        self._answers = AwaitedAnswers(collect_seconds)
        self._rejections: Counter[str] = Counter()
        self._unreported: list[str] = []

    # --- what providers send ---------------------------------------------------------------------------

    def proposal_received(self, provider_id: str) -> None:
        """Note that a provider has sent something."""
        with self._lock:
            self._seen.add(provider_id)

    def offer_received(self, provider_id: str) -> None:
        """Note an offer that will be rated: the first choice waits for it."""
        with self._lock:
            self._seen.add(provider_id)
            self._unrated.add(provider_id)
            self._answers.offer_received(provider_id)

    def add_offer(self, offer: RatedProposal) -> list[RatedProposal]:
        """Keep a rated offer until it is countered; it replaces an older one of the same provider.

        Returns:
            The offers that have to be countered now, as of `next_to_counter`.
        """
        with self._reporting():
            self._rated_locked(offer)
            self._remove_uncountered_locked({offer.provider_id})
            bisect.insort(self._uncountered, offer, key=lambda one: -one.worth)
            self._signal_first_locked()
            return self._next_to_counter_locked()

    def add_draft(self, draft: RatedProposal) -> None:
        """Keep an answer that could become an agreement; it replaces an older one of the same provider."""
        with self._lock:
            self._rated_locked(draft)
            self._drafts[draft.provider_id] = draft
            self._signal_first_locked()

    def turned_down(self, provider_id: str, reason: str, exceeded: ExceededLimit | None = None) -> None:
        """Note that this side has rejected a provider's proposal, or could not counter it.

        Args:
            provider_id: the provider.
            reason: why.
            exceeded: the price limit of the strategy that the proposal exceeds, if there is one.
        """
        with self._reporting():
            self._above_limit.pop(provider_id, None)
            if exceeded is not None:
                self._above_limit[provider_id] = exceeded
            self._unrated.discard(provider_id)
            self._needs.pop(provider_id, None)
            self._answers.settled(provider_id)
            self._reject_locked(reason)
            self._signal_first_locked()

    def strategy_failed(self, error: BadStrategy) -> bool:
        """Note that the user's functions have failed for an offer; returns whether for the first time."""
        with self._lock:
            is_first = self._strategy_error is None
            self._strategy_error = self._strategy_error or error
            return is_first

    def countered(self, provider_id: str, counter_id: str) -> None:
        """Note the id of the counter-proposal that a provider was sent."""
        with self._lock:
            self._answers.countered(provider_id, counter_id)

    def counter_rejected(self, counter_id: str, reason: str) -> None:
        """Note that a provider has rejected a counter-proposal."""
        with self._reporting():
            self._answers.counter_rejected(counter_id)
            self._reject_locked(reason)
            self._signal_first_locked()

    def agreement_not_made(self, reason: str) -> None:
        """Note that a provider was taken, but no agreement was made; the caller has reported it."""
        with self._lock:
            self._rejections[f"no agreement was made: {reason}"] += 1

    def clear(self) -> None:
        """Forget offers and answers: the demand that they belong to does not exist any more."""
        with self._lock:
            self._uncountered.clear()
            self._drafts.clear()

    def _rated_locked(self, one: RatedProposal) -> None:
        self._seen.add(one.provider_id)
        self._unrated.discard(one.provider_id)
        self._above_limit.pop(one.provider_id, None)
        self._needs[one.provider_id] = one.needs
        self._answers.settled(one.provider_id)

    def _remove_uncountered_locked(self, provider_ids: set[str]) -> None:
        self._uncountered = [one for one in self._uncountered if one.provider_id not in provider_ids]

    # --- what a chooser asks ---------------------------------------------------------------------------

    @contextmanager
    def queued(self) -> Iterator[threading.Event]:
        """Queue up for a provider; no offer is countered while nobody does.

        Returns:
            An event, which is set when it is time to look again. Only the first of the queue has to look: all
            want the same.
        """
        buyer = threading.Event()
        with self._lock:
            self._queue.append(buyer)
        try:
            yield buyer
        finally:
            with self._lock:
                self._queue.remove(buyer)
                self._signal_first_locked()

    def look_again(self) -> None:
        """Have the first of the queue look again: something outside of the book has changed."""
        with self._lock:
            self._signal_first_locked()

    def next_to_counter(self) -> list[RatedProposal]:
        """Return the best offers: as many as are needed and some to spare; each is returned once.

        An offer is not countered while enough better ones have been answered, or can be expected to be.
        """
        with self._reporting():
            return self._next_to_counter_locked()

    def _next_to_counter_locked(self) -> list[RatedProposal]:
        if not self._uncountered or not self._queue:
            return []
        left = self._funds.left()
        enough = len(self._queue) + _SPARE_PROVIDERS
        rivals = self._rivals_locked(left)
        chosen: list[RatedProposal] = []
        for offer in self._uncountered:
            if not self._can_pay_locked(offer, left):
                continue
            if sum(worth >= offer.worth for worth in rivals) >= enough:
                break
            rivals.append(offer.worth)
            self._answers.countering(offer.provider_id, offer.worth)
            chosen.append(offer)
        self._remove_uncountered_locked({one.provider_id for one in chosen})
        return chosen

    def _rivals_locked(self, left: Decimal) -> list[float]:
        """Return the worth of those that can be taken, or are expected to answer."""
        free = [self._drafts[provider] for provider in self._ranks_locked()]
        payable = [one.worth for one in free if self._can_pay_locked(one, left)]
        return self._answers.expected() + payable

    def _ranks_locked(self) -> dict[str, Rank]:
        """Return the rank of each provider that has answered and is free."""
        return self._providers.ranks({provider: one.worth for provider, one in self._drafts.items()})

    def has_hope(self) -> bool:
        """Return whether a provider can be taken or countered, or is expected to offer or to answer."""
        with self._lock:
            left = self._funds.left()
            rated = [*self._uncountered, *(self._drafts[provider] for provider in self._ranks_locked())]
            is_payable = any(one.needs <= left for one in rated)
            return is_payable or bool(self._unrated or self._answers.expected())

    def take_best(self, buyer: threading.Event) -> Proposal | Pause:
        """Take the best provider that is free and can be paid, or return how long to wait for one.

        Of several that are equally good a random one is taken. The GLM that it needs are reserved.

        Args:
            buyer: what `queued` has returned. The first of the queue takes a provider, the others wait.

        Raises:
            OutOfBudget: none of those that have offered can be paid from what is left of the budget.
            BadStrategy: the user's functions have failed, and no offer could be rated.
        """
        with self._reporting():
            if buyer is not self._queue[0]:
                return Pause(None, is_first=False)
            ranks = self._ranks_locked()
            if (seconds := self._seconds_to_first_choice_locked(ranks)) > 0:
                return Pause(seconds)
            if (rest := self._rest_locked(ranks)) > 0:
                return Pause(rest)
            for provider in _best_first(ranks):
                if self._take_locked(self._drafts[provider]):
                    return self._drafts.pop(provider).proposal
            objection = self._budget_objection_locked()
            if objection is not None:
                raise OutOfBudget(f"{objection}: give Golem a larger `budget`, or top it up")
            if self._strategy_error is not None and not (self._needs or self._unrated):
                raise BadStrategy(str(self._strategy_error)) from self._strategy_error.__cause__
            # After this time others may have to be countered in the place of those that do not answer.
            return Pause(ANSWER_SECONDS if self._uncountered else None)

    def _seconds_to_first_choice_locked(self, ranks: Mapping[str, Rank]) -> float:
        if self._answers.are_collected:
            return 0.0
        best = max((self._drafts[provider].worth for provider in ranks), default=None)
        return self._answers.seconds_to_first_choice(best)

    def _rest_locked(self, ranks: Mapping[str, Rank]) -> float:
        """Return for how many seconds all that are free rest, if another one may be better than they are."""
        if any(is_rested for is_rested, *_ in ranks.values()):
            return 0.0
        rest = self._providers.rest(ranks)
        return rest if rest > 0 and self._providers.rest(self._needs) == 0 else 0.0

    def _take_locked(self, draft: RatedProposal) -> bool:
        if not self._can_pay_locked(draft, self._funds.left()):
            return False
        provider = draft.provider_id
        return self._providers.occupy_if(provider, lambda: self._funds.reserve(provider, draft.needs))

    def _can_pay_locked(self, one: RatedProposal, left: Decimal) -> bool:
        """Return whether `left` GLM are enough; if not, this is a rejection, once for each provider."""
        if one.needs <= left:
            return True
        if one.provider_id not in self._too_dear:
            self._too_dear.add(one.provider_id)
            self._reject_locked(self._too_dear_for(left, one.needs))
        return False

    def _budget_objection_locked(self) -> str | None:
        """Return why none of those that have offered can be paid; None if one can, or may be."""
        if not self._needs or self._unrated:
            return None
        least, left = min(self._needs.values()), self._funds.left()
        return self._too_dear_for(left, least) if least > left else None

    def _too_dear_for(self, left: Decimal, needs: Decimal) -> str:
        unit = self._funds.currency
        return (
            f"Starting and ending would cost {rounded(needs)} {unit}, "
            f"and {rounded(left)} {unit} of the budget are left"
        )

    # --- what is reported ------------------------------------------------------------------------------

    def summary(self) -> OfferSummary:
        """Return what providers have answered so far."""
        with self._lock:
            rejections = tuple(self._rejections.most_common(_MOST_FREQUENT_REASONS))
            occupied = self._providers.count_occupied(self._seen)
            return OfferSummary(len(self._seen), occupied, rejections, self._exceeded_limits_locked())

    def _exceeded_limits_locked(self) -> tuple[ExceededLimit, ...]:
        if not self._seen <= self._above_limit.keys():
            return ()
        lowest: dict[str, ExceededLimit] = {}
        for one in self._above_limit.values():
            if one.name not in lowest or one.asked < lowest[one.name].asked:
                lowest[one.name] = one
        return tuple(lowest[name] for name in sorted(lowest))

    def drafts(self) -> dict[str, RatedProposal]:
        """Return the answers that could become agreements, by provider id."""
        with self._lock:
            return dict(self._drafts)

    @property
    def rejections(self) -> Counter[str]:
        """How often each reason was given, by either side."""
        with self._lock:
            return Counter(self._rejections)

    def _reject_locked(self, reason: str) -> None:
        self._rejections[reason] += 1
        self._unreported.append(reason)

    @contextmanager
    def _reporting(self) -> Iterator[None]:
        """Hold the lock, and report rejections once it is released: listeners may be slow."""
        reasons: list[str] = []
        try:
            with self._lock:
                try:
                    yield
                finally:
                    reasons, self._unreported = self._unreported, []
        finally:
            for reason in reasons:
                self._on_rejection(reason)

    def _signal_first_locked(self) -> None:
        if self._queue:
            self._queue[0].set()


def _best_first(ranks: Mapping[str, Rank]) -> Iterator[str]:
    """Yield the providers by their ranks, those of the same rank in a random order.

    Mostly the first one is taken. So they are not sorted for it: each of thousands of instances comes here.
    """
    if not ranks:
        return
    best = max(ranks.values())
    first = random.choice([provider for provider, rank in ranks.items() if rank == best])
    yield first
    others = ranks.keys() - {first}
    yield from sorted(others, key=lambda one: (ranks[one], random.random()), reverse=True)
