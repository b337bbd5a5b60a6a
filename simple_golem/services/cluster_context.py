"""What the instances of one cluster share: settings, and the condition under which their states change."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from ..background.cancellation import Scope, ScopeEnded, wait_until
from ..engine.market.demand import Demand
from ..engine.market.listing import Listing
from ..engine.session import Session
from ..errors import GolemError
from ..model.cost import plain
from ..model.events.instances import StartProgress
from ..model.payload.payload import Payload
from ..model.service.respawn import Respawn
from ..model.service.states import ServiceState

if TYPE_CHECKING:
    from ..engine.network.network import PrivateNetwork

logger = logging.getLogger(__name__)

NOT_STARTED = (ServiceState.pending, ServiceState.starting)


class StatefulInstance(Protocol):
    """An instance, as it is counted."""

    @property
    def state(self) -> ServiceState: ...


class InstanceNumbers:
    """Numbers the instances of one Golem: those of clusters with the same name go on, one after the other."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._used: Counter[str] = Counter()

    def take(self, name: str, how_many: int) -> range:
        """Return the next numbers for a name, from 1 on."""
        with self._lock:
            first = self._used[name] + 1
            self._used[name] += how_many
            return range(first, first + how_many)


class Occupation(Protocol):
    """What instances do while they run, in place of the `run` of their class."""

    def serve(self, instance: StatefulInstance, stop: Scope) -> None:
        """Called once in each life that runs, on the life thread; returns soon after `stop` is cancelled."""

    def state_changed(self, record: StatefulInstance, state: ServiceState) -> None:
        """Called after each change of a state, by any thread and without a lock; it must not block."""


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class ClusterContext:
    """What the instances of one cluster share.

    The states of all instances change under one condition, which stands first in the order of locks (see
    `engine.life`). Methods whose name ends in `_locked` are called with it held; all others take it.

    Attributes:
        name: of the cluster: in the names of its instances, in events, and in the cost report.
        numbers: those of the instances of all clusters.
        network: the private network of its instances; None if they have none.
        occupation: what its instances do; None: what their class says.
        changed: is notified of each change of a state.
        living: the instances that have not ended.
        started: those of them that are running, or were.
        changes: all changes of states, in their order.
        explanations: why no offer was seen, when the log said so last; empty before that.
    """

    session: Session
    listing: Listing
    respawn: Respawn
    stop_grace: float
    start_timeout: float | None
    payload: Payload
    name: str
    numbers: InstanceNumbers
    network: PrivateNetwork | None = None
    occupation: Occupation | None = None
    changed: threading.Condition = field(default_factory=threading.Condition)
    living: set[StatefulInstance] = field(default_factory=set)
    started: set[StatefulInstance] = field(default_factory=set)
    changes: list[tuple[StatefulInstance, ServiceState]] = field(default_factory=list)
    explanations: list[str] = field(default_factory=list)
    _told: list[StartProgress] = field(default_factory=list)

    @property
    def demand(self) -> Demand:
        """The demand that is on the market for them at present."""
        return self.listing.demand

    def wait_until(self, fulfilled: Callable[[], bool], seconds: float | None) -> bool:
        """Block until `fulfilled()`, which is asked after each change, or for `seconds`; its last answer.

        Args:
            fulfilled: is called with the condition held.
            seconds: how long at most; None is no limit.
        """
        with self.changed:
            return wait_until(self.changed, fulfilled, seconds)

    def add_living(self, instances: Collection[StatefulInstance]) -> None:
        """Count instances that are about to start."""
        with self.changed:
            self.living.update(instances)
            self._emit_progress_locked()

    def remove_living(self, instance: StatefulInstance) -> None:
        """Count an instance no more; the last one takes the demand off the market."""
        with self.changed:
            self.living.discard(instance)
            self.started.discard(instance)
            if not self.living:
                # In one step with finding that nobody is left, so that a `spawn` sees it.
                self.session.demands.withdraw(self.demand)

    def state_changed_locked(self, instance: StatefulInstance, state: ServiceState) -> None:
        """Record that an instance has entered a state, and wake all who wait."""
        if instance in self.living and state not in NOT_STARTED:
            self.started.add(instance)
        else:
            self.started.discard(instance)
        self.changes.append((instance, state))
        self.changed.notify_all()
        self._emit_progress_locked()

    def _emit_progress_locked(self) -> None:
        # With the lock held, so that of several events the last one has the latest numbers.
        # Counted step by step: thousands of instances each change their state some times.
        progress = StartProgress(self.name, len(self.started), len(self.living))
        if self._told != [progress]:
            self._told[:] = [progress]
            self.session.emit(progress)


def market_report(context: ClusterContext) -> str:
    """Say how many offers were seen, and why providers were not taken."""
    summary = context.demand.offers.summary()
    report = _offers_seen(context, summary.seen)
    if not summary.seen:
        if context.explanations:
            return f"{report}; {context.explanations[0]}"
        question = "is that the right subnet, and does the payload ask for what anybody has?"
        return f"{report}: {question} `print(golem.explain(payload))` says what keeps providers away"
    if summary.exceeded_limits:
        limits = "; ".join(
            f"{one.name} is {plain(one.limit)}, and the cheapest above it asks for {plain(one.asked)}"
            for one in summary.exceeded_limits
        )
        return f"{report}, and the price limits of your Strategy refuse all of them: {limits}"
    report += f", {summary.occupied} busy"
    rejected = "".join(
        f", {number} rejected because: {why or 'no reason given'}" for why, number in summary.rejections
    )
    return report + rejected


def _offers_seen(context: ClusterContext, count: int) -> str:
    subnet = context.session.settings.subnet_tag
    return f"{count} offer{'' if count == 1 else 's'} seen in the subnet {subnet!r}"


def explained_report(context: ClusterContext) -> str:
    """Return the report and, where no offer was seen, which conditions keep providers away.

    Blocks for a few requests in that case.
    """
    if context.demand.offers.summary().seen:
        return market_report(context)
    from ..engine.market.offer_preview import explanation_of_market

    session = context.session
    try:
        explanation = explanation_of_market(
            session.yagna,
            session.settings,
            context.payload,
            context.demand.strategy,
            context.demand.terms,
            session.asking,
        )
    except (GolemError, ScopeEnded) as error:
        logger.debug("the market could not be explained: %s", error)
        return market_report(context)
    context.explanations[:] = [explanation.in_two_lines]
    return f"{_offers_seen(context, 0)}; {explanation.in_two_lines}"
