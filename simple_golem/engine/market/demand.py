"""One demand on the market: published, read, countered, published again, and withdrawn."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ...background.cancellation import Deadline, Scope, ScopeEnded
from ...background.threads import EngineThread, WorkerPool
from ...errors import BadStrategy, GolemError, YagnaError
from ...model.events.market import DemandPublished, DemandWithdrawn, ProposalReceived
from ...model.events.market import ProposalRejected as ProposalRejectedHere
from ...model.offers.offer import provider_name
from ...model.offers.strategy import Strategy
from ...model.offers.terms import Terms
from ...yagna.client import Yagna
from ...yagna.transport.retry import RESTART_SECONDS, was_not_begun
from ...yagna.values import Proposal, ProposalRejected, ProposalState
from ..event_dispatcher import Emit
from .awaited_answers import ANSWER_SECONDS
from .demand_properties import EXPIRATION, publish_marked
from .offer_book import Funds, OfferBook, RatedProposal
from .proposal_rules import ProposalRules
from .providers import Providers
from .renewal import Renewal

logger = logging.getLogger(__name__)

_OFFER_POLL_SECONDS = 20.0
# An answer without offers that comes at once must not make the reader a busy loop.
_SHORTEST_POLL_SECONDS = 0.05
_RETRY_SECONDS = 1.0
_CHOSEN_PLATFORM = "golem.com.payment.chosen-platform"


class Demand:
    """A cluster's demand; its reader is a thread that ends with `withdraw`.

    Args:
        yagna: the daemon.
        workers: rate offers and send counter-proposals and rejections.
        properties, constraints: what is published.
        rules: which offers are accepted.
        providers, funds: what all clusters of the Golem share.
        cluster: the name of the cluster, in events.
        emit: called with each event.

    Attributes:
        offers: what providers have answered.
        may_be_left: whether the daemon may still have it after its end, because its answers were lost.
        is_being_withdrawn: whether the request for that is under way.
        was_abandoned: whether a request to publish it was abandoned, which the daemon may still carry out.
    """

    def __init__(
        self,
        yagna: Yagna,
        workers: WorkerPool,
        properties: Mapping[str, Any],
        constraints: str,
        rules: ProposalRules,
        providers: Providers,
        funds: Funds,
        cluster: str,
        emit: Emit,
    ) -> None:
        self.offers = OfferBook(rules.strategy.collect_seconds, providers, funds, self._report_rejection)
        self._cluster = cluster
        self._emit = emit
        self._rules = rules
        self._yagna = yagna
        self._workers = workers
        self._properties = dict(properties)
        self._constraints = constraints
        self._demand_id: str | None = None
        self._published = False
        self.may_be_left = False
        self.is_being_withdrawn = False
        self.was_abandoned = False
        self._abandon: Scope | None = None
        self._renewal = Renewal()
        self._lock = threading.Lock()
        self._withdrawn = Scope()
        self._reading = Scope()
        self.name = f"golem-market-{cluster}"
        self._reader = EngineThread(self.name, self._follow)

    # --- on the market and off it ----------------------------------------------------------------------

    def publish(self, abandon: Scope | None = None) -> None:
        """Publish the demand and start its reader.

        Args:
            abandon: cancelling it abandons the request, now and when the demand is published again.

        Raises:
            ScopeEnded: it was closed.
        """
        self._abandon = abandon
        self._publish()
        self._published = True
        self._reader.start()

    def _publish(self, seconds: float = RESTART_SECONDS) -> None:
        with self._lock:
            self._withdrawn.check()
            was_left = self.may_be_left
            try:
                demand_id = self._demand_id = publish_marked(
                    self._yagna,
                    self._properties,
                    self._constraints,
                    self._withdrawn,
                    seconds,
                    abandon=self._abandon,
                    on_lost_answer=self._answer_is_lost,
                )
            except ScopeEnded:
                self.was_abandoned = True
                raise
            self.may_be_left = was_left
            self._renewal.published()
        self._emit(DemandPublished(self._cluster, demand_id))

    def _answer_is_lost(self) -> None:
        self.may_be_left = True

    def close(self) -> None:
        """Cancel all that is done for it; does not block. `withdraw` must follow."""
        self._withdrawn.cancel("the demand is withdrawn")

    @property
    def strategy(self) -> Strategy:
        """Which offers its cluster accepts."""
        return self._rules.strategy

    @property
    def terms(self) -> Terms:
        """What its cluster wants to agree on."""
        return self._rules.terms

    @property
    def published(self) -> bool:
        """Whether it is on the market, or was."""
        return self._published

    @property
    def closed(self) -> bool:
        """Whether it is withdrawn, or will be."""
        return self._withdrawn.cancelled

    @property
    def finished(self) -> bool:
        """Whether it is withdrawn and its reader has ended."""
        return self.closed and self._demand_id is None and not self._reader.alive

    def withdraw(self, scope: Scope) -> None:
        """Withdraw the demand, which ends its reader; a second call does nothing.

        Blocks for one request. If it fails a warning is logged, and `may_be_left` is True from then on.

        Args:
            scope: cancelling it ends the request.
        """
        self.close()
        with self._lock:
            demand_id, self._demand_id = self._demand_id, None
            if demand_id is None:
                return
            self.is_being_withdrawn = True
        try:
            self._yagna.market.unsubscribe(demand_id, scope=scope)
        except (GolemError, ScopeEnded) as error:
            self.may_be_left = True
            logger.warning("the demand %s could not be withdrawn: %s", demand_id, error)
            return
        finally:
            self.is_being_withdrawn = False
            # The DELETE ends the reader's request. Where it failed, the request is abandoned.
            self._reading.cancel("the demand is withdrawn")
        self._emit(DemandWithdrawn(self._cluster, demand_id))

    def join(self, timeout: float) -> bool:
        """Block until the reader has ended, for `timeout` seconds at most; return whether it has."""
        return self._reader.join(timeout)

    # --- lost proposals --------------------------------------------------------------------------------

    def proposal_lost(self) -> None:
        """Note that a proposal was lost, or was used up without an agreement."""
        self._renewal.proposal_lost()
        self.offers.look_again()

    def agreed(self) -> None:
        """Note that an agreement was made."""
        self._renewal.agreed()

    def renew_if_needed(self) -> float | None:
        """Publish the demand again if proposals were lost and no provider is left to ask; does not block.

        Returns:
            After how many seconds to look again; None if no proposal was lost.
        """
        seconds = self._renewal.seconds_left()
        if seconds == 0.0:
            if self.offers.has_hope():
                return ANSWER_SECONDS
            if self._renewal.begin():
                self._workers.post(self._renew)
        return seconds or None

    def _renew(self) -> None:
        """On a worker's thread: take the demand off the market, after which its reader publishes it again."""
        with self._lock:
            demand_id = self._demand_id
        if demand_id is None:
            return
        logger.info("proposals for the demand %s were lost: it is published again", demand_id)
        try:
            self._yagna.market.unsubscribe(demand_id, scope=self._withdrawn)
        except ScopeEnded:
            return
        except GolemError as error:
            logger.debug("the demand %s could not be renewed: %s", demand_id, error)
            self.proposal_lost()

    def counter_best_offers(self) -> None:
        """Counter the best offers, as many as are needed now; does not block."""
        self._post_counters(self.offers.next_to_counter())

    # --- the reader's thread ---------------------------------------------------------------------------

    def _follow(self) -> None:
        try:
            self._read()
        finally:
            self._yagna.absence.asks_no_more(self)

    def _read(self) -> None:
        while not self._withdrawn.cancelled:
            demand_id = self._demand_id
            if demand_id is None:
                return
            shortest = Deadline(_SHORTEST_POLL_SECONDS)
            try:
                # Abandoned only once the demand is withdrawn: the daemon sends each event once.
                events = self._yagna.market.demand_events(
                    demand_id, timeout=_OFFER_POLL_SECONDS, scope=self._reading
                )
            except ScopeEnded:
                return
            except Exception as error:  # noqa: BLE001 - the reader must outlive any error
                self._recover(error)
                continue
            self._yagna.absence.answered(self)
            for event in events:
                if isinstance(event, Proposal):
                    self._receive(demand_id, event)
                elif isinstance(event, ProposalRejected):
                    self.offers.counter_rejected(event.proposal_id, event.reason or "no reason given")
            if not events:
                self._withdrawn.wait(shortest.remaining())

    def _recover(self, error: Exception) -> None:
        if self._withdrawn.cancelled:
            return
        if isinstance(error, YagnaError) and error.status == 404:
            # A demand lives for an hour, in the memory of the daemon.
            logger.info("the daemon does not know the demand any more; it is published again")
            self._publish_again()
            return
        if not was_not_begun(error):
            self.proposal_lost()
        self._yagna.absence.failed(self, error)
        self._withdrawn.wait(_RETRY_SECONDS)

    def _publish_again(self) -> None:
        self.offers.clear()
        try:
            self._publish(_RETRY_SECONDS)
        except (GolemError, ScopeEnded) as error:
            self._yagna.absence.failed(self, error)
            self._withdrawn.wait(_RETRY_SECONDS)

    def _receive(self, demand_id: str, proposal: Proposal) -> None:
        provider, is_draft = proposal.issuer_id, proposal.state is ProposalState.DRAFT
        self._emit(ProposalReceived(self._cluster, provider, provider_name(proposal.properties), is_draft))
        self.offers.proposal_received(provider)
        if is_draft:
            self._rate(demand_id, proposal, True, self.offers.add_draft)
        elif proposal.state is ProposalState.INITIAL and not self._withdrawn.cancelled:
            self.offers.offer_received(provider)
            self._workers.post(self._rate, demand_id, proposal, False, self._add_offer)

    # --- the reader's or a worker's thread -------------------------------------------------------------

    def _rate(
        self, demand_id: str, proposal: Proposal, final: bool, add: Callable[[RatedProposal], None]
    ) -> None:
        """Rate a proposal and `add` it, or turn it down."""
        try:
            objection = self._rules.objection(proposal, final=final)
            worth = self._rules.worth(proposal) if objection is None else None
        except BadStrategy as error:
            if self.offers.strategy_failed(error):
                logger.warning("%s; providers for which it fails are rejected", error)
            objection, worth = "The requestor's strategy failed", None
        if worth is not None:
            add(RatedProposal(demand_id, proposal, worth, self._rules.needs(proposal)))
            return
        reason = objection or "Refused by the strategy"
        self.offers.turned_down(proposal.issuer_id, reason, self._rules.exceeded_limit(proposal))
        self._workers.post(self._send_rejection, demand_id, proposal, reason)

    def _add_offer(self, offer: RatedProposal) -> None:
        self._post_counters(self.offers.add_offer(offer))

    def _post_counters(self, offers: Iterable[RatedProposal]) -> None:
        for offer in offers:
            self._workers.post(self._send_counter, offer)

    def _report_rejection(self, reason: str) -> None:
        self._emit(ProposalRejectedHere(self._cluster, reason))

    # --- a worker's thread -----------------------------------------------------------------------------

    def _send_counter(self, offer: RatedProposal) -> None:
        proposal = offer.proposal
        properties = {
            **self._properties,
            _CHOSEN_PLATFORM: self._rules.platform,
            **self._rules.terms.properties(proposal.properties, self._seconds_left()),
        }
        try:
            counter_id = self._yagna.market.counter(
                offer.demand_id, proposal.proposal_id, properties, self._constraints, scope=self._withdrawn
            )
        except ScopeEnded:
            return
        except GolemError as error:
            logger.debug("the proposal %s could not be countered: %s", proposal.proposal_id, error)
            self.offers.turned_down(proposal.issuer_id, f"could not be answered: {error}")
            # If the demand was published again meanwhile, the provider offers again, too.
            if offer.demand_id == self._demand_id:
                self.proposal_lost()
            return
        if counter_id is not None:
            self.offers.countered(proposal.issuer_id, counter_id)

    def _seconds_left(self) -> float:
        """How long an agreement lasts that is made now."""
        return float(self._properties[EXPIRATION]) / 1000 - self._yagna.clock.now().timestamp()

    def _send_rejection(self, demand_id: str, proposal: Proposal, reason: str) -> None:
        try:
            self._yagna.market.reject(demand_id, proposal.proposal_id, reason, scope=self._withdrawn)
        except ScopeEnded:
            return
        except GolemError as error:
            logger.debug("the proposal %s could not be rejected: %s", proposal.proposal_id, error)
