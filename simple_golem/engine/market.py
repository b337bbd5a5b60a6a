"""One demand: published, read, countered; and the proposals that could become agreements."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from ..errors import GolemError, YagnaError
from ..model.events import DemandPublished, DemandWithdrawn, ProposalReceived
from ..model.events import ProposalRejected as ProposalTurnedDown
from ..model.payload import Payload
from ..model.settings import Settings
from ..scope import Deadline, Scope, ScopeEnded
from ..threads import EngineThread, WorkerPool
from ..yagna.client import Yagna
from ..yagna.retry import Repeat
from ..yagna.values import Decorations, Proposal, ProposalRejected, ProposalState
from .event_desk import Emit

logger = logging.getLogger(__name__)

_POLL_SECONDS = 20.0
_PAUSE_SECONDS = 0.05
_CHOSEN_PLATFORM = "golem.com.payment.chosen-platform"
# Answered within its time by this library whatever it is, so the provider's own value is taken over.
_ACCEPT_TIMEOUT = "golem.com.payment.debit-notes.accept-timeout?"


def demand_properties(
    payload: Payload, decorations: Decorations, settings: Settings, expiration: datetime
) -> dict[str, Any]:
    """What a demand says of itself."""
    return {
        "golem.srv.comp.expiration": int(expiration.timestamp() * 1000),
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
        platform: str,
        name: str,
        emit: Emit,
    ) -> None:
        self._cluster = name
        self._emit = emit
        self.drafts: dict[str, Proposal] = {}
        self.seen: set[str] = set()
        self.rejections: Counter[str] = Counter()
        self._yagna = yagna
        self._workers = workers
        self._changed = changed
        self._properties = dict(properties)
        self._constraints = constraints
        self._platform = platform
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

    def forget(self, proposal: Proposal) -> None:
        """A proposal that can't become an agreement any more."""
        with self._changed:
            if self.drafts.get(proposal.issuer_id) is proposal:
                del self.drafts[proposal.issuer_id]

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
                    self._count_rejection(event.reason)
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
        try:
            self._publish(Repeat.NEVER)
        except (GolemError, ScopeEnded) as error:
            logger.warning("the demand could not be published again, trying again: %s", error)
            self._withdrawn.wait(1.0)

    def _take(self, demand_id: str, proposal: Proposal) -> None:
        draft = proposal.state is ProposalState.DRAFT
        name = str(proposal.properties.get("golem.node.id.name") or "unnamed")
        self._emit(ProposalReceived(self._cluster, proposal.issuer_id, name, draft))
        with self._changed:
            self.seen.add(proposal.issuer_id)
            if draft:
                self.drafts[proposal.issuer_id] = proposal
                self._changed.notify_all()
                return
        if proposal.state is ProposalState.INITIAL and not self._withdrawn.cancelled:
            self._workers.post(self._counter, demand_id, proposal)

    def _count_rejection(self, reason: str) -> None:
        with self._changed:
            self.rejections[reason or "no reason given"] += 1
        self._emit(ProposalTurnedDown(self._cluster, reason or "no reason given"))

    # a worker's thread

    def _counter(self, demand_id: str, proposal: Proposal) -> None:
        offered = f"golem.com.payment.platform.{self._platform}.address"
        try:
            if offered not in proposal.properties:
                reason = "No common payment platform"
                self._count_rejection(reason)
                self._yagna.market.reject(demand_id, proposal.proposal_id, reason, scope=self._withdrawn)
                return
            properties = {**self._properties, _CHOSEN_PLATFORM: self._platform}
            if _ACCEPT_TIMEOUT in proposal.properties:
                properties[_ACCEPT_TIMEOUT] = proposal.properties[_ACCEPT_TIMEOUT]
            self._yagna.market.counter(
                demand_id, proposal.proposal_id, properties, self._constraints, scope=self._withdrawn
            )
        except ScopeEnded:
            return
        except GolemError as error:
            logger.debug("the proposal %s could not be answered: %s", proposal.proposal_id, error)
            self._count_rejection(f"could not be answered: {error}")


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
