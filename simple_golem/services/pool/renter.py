"""Rents the machines of a pool by need, and lets them go; on a thread of its own."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone

from ...background.threads import EngineThread
from ...engine.life.user_traceback import error_text
from ...engine.session import Session
from ...engine.shutdown_times import ShutdownTimes
from ...errors import BrokenPool, GolemError, NotRunning, OutOfBudget
from ...model.service.states import ServiceState
from ..cluster import Cluster
from .item import Item, Machine
from .item_queue import ItemQueue

logger = logging.getLogger(__name__)

# An item is begun only where its agreement lasts so long, if items have no timeout.
UNLIMITED_ITEM_SECONDS = 600.0
# How long another provider is looked for, for an item that has failed on one.
OTHER_PROVIDER_SECONDS = 60.0
_LIFETIME_SECONDS = 3 * 3600.0
_END_SECONDS = 60.0
_PAUSE_SECONDS = 30.0
_RETRY_SECONDS = 5.0
_FIRST_SEARCH_WARNING_SECONDS = 10.0
_NEXT_SEARCH_WARNING_SECONDS = 60.0

MakeCluster = Callable[[datetime], Cluster]


@dataclass(frozen=True, slots=True)
class Generation:
    """The machines whose agreements end at the same time.

    Attributes:
        last_rent, last_start: until when machines are rented in it, and items begun, on the monotonic clock.
    """

    cluster: Cluster
    last_rent: float
    last_start: float


@dataclass(slots=True)
class Plan:
    """What is to be done now.

    Attributes:
        rent: so many machines.
        cancel: these, which have no provider yet.
        fail: these items, for which no other provider was found.
        error: what a machine failed of, where no other one is left.
        finish: whether all is done.
        look_at: when to look again, on the monotonic clock; None: after a change.
    """

    rent: int = 0
    cancel: list[Machine] = field(default_factory=list)
    fail: list[Item] = field(default_factory=list)
    error: BaseException | None = None
    finish: bool = False
    look_at: float | None = None

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to do."""
        return not (self.rent or self.cancel or self.fail or self.error or self.finish)

    def look_not_later_than(self, moment: float) -> None:
        """Look again at `moment` at the latest."""
        self.look_at = moment if self.look_at is None else min(self.look_at, moment)


class Renter:
    """Never rents more machines than items wait for, and none once nothing waits.

    Args:
        name: of the pool, in logs and the name of the thread.
        most: how many machines at most.
        queue: the items.
        session: of the Golem.
        make_cluster: makes a cluster without instances, of an expiration.
        item_timeout: seconds for one attempt at an item; None is no limit.
        stop_grace: seconds that a command may go on when its machine is stopped.

    Attributes:
        avoided: the providers that no item that waits may go to.
    """

    def __init__(
        self,
        name: str,
        most: int,
        queue: ItemQueue,
        session: Session,
        make_cluster: MakeCluster,
        item_timeout: float | None,
        stop_grace: float,
    ) -> None:
        self.avoided: frozenset[str] = frozenset()
        self._name = name
        self._most = most
        self._queue = queue
        self._session = session
        self._make_cluster = make_cluster
        self._stop_grace = stop_grace
        # The end of an agreement begins some time before its expiration.
        item_seconds = UNLIMITED_ITEM_SECONDS if item_timeout is None else item_timeout
        self._reserve = item_seconds + stop_grace + _END_SECONDS
        self._generations: list[Generation] = []
        self._rent_not_before = 0.0
        self._searching_since: float | None = None
        self._warned_at = 0.0
        self._thread = EngineThread(f"golem-pool-{name}", self._run)

    def start(self) -> None:
        """Start the thread, which ends when the queue is closed and all is answered, or it is broken."""
        self._thread.start()

    def join(self, timeout: float | None) -> bool:
        """Block until the thread has ended, for `timeout` seconds at most; returns whether it has."""
        return self._thread.join(timeout)

    @property
    def clusters(self) -> tuple[Cluster, ...]:
        """All clusters of the pool."""
        return tuple(one.cluster for one in self._generations)

    def end(self, times: ShutdownTimes, reason: str) -> None:
        """End all machines in the given times; does not block."""
        for cluster in self.clusters:
            cluster._end(times, reason)

    # --- on its thread ----------------------------------------------------------------------------------

    def _run(self) -> None:
        plan = Plan()
        while not plan.finish:
            with self._queue.lock:
                plan = self._plan_locked()
                if plan.is_empty:
                    left = None if plan.look_at is None else max(0.0, plan.look_at - time.monotonic())
                    self._queue.manager.wait(left)
                    continue
            self._carry_out(plan)
        self.end(ShutdownTimes.ordinary(self._stop_grace), "the pool is closed")

    def _plan_locked(self) -> Plan:
        queue, now, plan = self._queue, time.monotonic(), Plan()
        if queue.broken_by is not None or (queue.is_closed and not queue.outstanding):
            plan.finish = True
            return plan
        machines = list(queue.machines.values())
        serving = [one for one in machines if one.is_serving]
        coming = [one for one in machines if one.is_coming]
        if queue.lost_starts:
            failure = queue.lost_starts.pop()
            queue.lost_starts.clear()
            if not serving and not coming:
                plan.error = failure
                return plan
            self._rent_not_before = now + _PAUSE_SECONDS
        able = [one for one in serving if one.attempt is None and not one.is_suspect]
        need = self._needed_locked(able) - len(coming)
        room = self._most - len(serving) - len(coming)
        if need > 0 and room > 0:
            if now >= self._rent_not_before:
                plan.rent = min(need, room)
            else:
                plan.look_not_later_than(self._rent_not_before)
        elif need < 0:
            plan.cancel = self._cancel_locked(coming, -need)
        self._look_at_blocked_locked(plan, serving, is_full=room <= 0 and not coming)
        self._avoid_locked()
        self._watch_search_locked(plan, serving, coming, now)
        return plan

    def _needed_locked(self, able: list[Machine]) -> int:
        """How many machines are missing for the items that wait, if nobody were coming."""
        queue = self._queue
        stranded = [
            item for item in queue.retried if able and all(one.provider_id in item.failed_on for one in able)
        ]
        others = len(queue.fresh) + len(queue.retried) - len(stranded)
        return max(0, others - len(able)) + len(stranded)

    def _cancel_locked(self, coming: list[Machine], number: int) -> list[Machine]:
        """Of those that have no agreement yet, the youngest."""
        pending = [one for one in coming if one.record.state is ServiceState.pending]
        chosen = pending[max(0, len(pending) - number) :]
        for machine in chosen:
            machine.is_leaving = True
        return chosen

    def _look_at_blocked_locked(self, plan: Plan, serving: list[Machine], *, is_full: bool) -> None:
        """Limit the time for which another provider is looked for, and make room for one."""
        now = time.monotonic()
        for item in self._queue.retried:
            if not item.failed_on or any(one.provider_id not in item.failed_on for one in serving):
                item.searched_since = None
                continue
            if is_full:
                self._make_room_locked(serving)
            elif item.searched_since is None:
                item.searched_since = now
            if item.searched_since is not None:
                until = item.searched_since + OTHER_PROVIDER_SECONDS
                if now >= until:
                    plan.fail.append(item)
                plan.look_not_later_than(until)

    def _make_room_locked(self, serving: list[Machine]) -> None:
        """Have one machine leave that nothing waits for any more."""
        idle = [one for one in serving if one.attempt is None]
        if idle and not self._queue.fresh:
            self._queue.leave_locked(idle[0])

    def _avoid_locked(self) -> None:
        queue = self._queue
        avoided: frozenset[str] = frozenset()
        if queue.retried and not queue.fresh:
            avoided = frozenset.intersection(*(item.failed_on for item in queue.retried))
        self.avoided, before = avoided, self.avoided
        if before - avoided:
            self._session.workers.post(self._session.chooser.look_again)

    def _watch_search_locked(
        self, plan: Plan, serving: list[Machine], coming: list[Machine], now: float
    ) -> None:
        """Say once a minute that items wait and there is no machine for them."""
        if serving or not any(one.record.state is ServiceState.pending for one in coming):
            self._searching_since = None
            return
        if self._searching_since is None:
            self._searching_since = now
            self._warned_at = now + _FIRST_SEARCH_WARNING_SECONDS - _NEXT_SEARCH_WARNING_SECONDS
        if now >= self._warned_at + _NEXT_SEARCH_WARNING_SECONDS:
            self._warned_at = now
            self._session.workers.post(self._warn_of_search, len(coming))
        plan.look_not_later_than(self._warned_at + _NEXT_SEARCH_WARNING_SECONDS)

    def _warn_of_search(self, coming: int) -> None:
        for cluster in self.clusters[-1:]:
            report = cluster._explained_report()
            logger.warning("%s: 0 of %d machines found; %s", self._name, coming, report)

    # --- what is planned --------------------------------------------------------------------------------

    def _carry_out(self, plan: Plan) -> None:
        if plan.error is not None:
            self._break_by(plan.error)
            return
        for machine in plan.cancel:
            self._cancel(machine)
        self._queue.fail(plan.fail)
        if plan.rent:
            try:
                self._rent(plan.rent)
            except GolemError as error:
                self._could_not_rent(error)
            except BaseException as error:  # noqa: BLE001 - of the constructor of the user's class
                self._break_by(error)

    def _break_by(self, cause: BaseException) -> None:
        error = BrokenPool(f"{self._name} has no machine and gets none: {error_text(cause)}")
        error.__cause__ = cause
        self._queue.break_by(error)

    def _cancel(self, machine: Machine) -> None:
        times = ShutdownTimes.ordinary(self._stop_grace)
        for cluster in self.clusters:
            for instance in cluster:
                if instance._record is machine.record:
                    instance._end(times, "no item waits for it any more")

    def _rent(self, number: int) -> None:
        generation = self._current_generation()
        for instance in generation.cluster.spawn(number):
            self._queue.machine_comes(instance._record, generation.last_start)

    def _could_not_rent(self, error: GolemError) -> None:
        if self._queue.broken_by is not None:
            return
        watch = self._session.money.watch
        if watch.is_used_up:
            self._queue.lost_starts.append(OutOfBudget(f"the budget is used up: {watch.describe()}"))
            return
        if isinstance(error, NotRunning) and self._generations:
            # The user has stopped the cluster, or it has expired.
            last = self._generations[-1]
            self._generations[-1] = Generation(last.cluster, 0.0, last.last_start)
        logger.warning("%s: no machine could be rented, trying again: %s", self._name, error)
        self._rent_not_before = time.monotonic() + _RETRY_SECONDS

    def _current_generation(self) -> Generation:
        """The generation in which machines are rented now; blocks for requests where it is a new one."""
        now = time.monotonic()
        if self._generations and now < self._generations[-1].last_rent:
            return self._generations[-1]
        lifetime = max(_LIFETIME_SECONDS, 2 * self._reserve)
        last_start = now + lifetime - self._reserve
        expiration = datetime.now(timezone.utc) + timedelta(seconds=lifetime)
        cluster = self._make_cluster(expiration)
        self._generations.append(Generation(cluster, (now + last_start) / 2, last_start))
        return self._generations[-1]
