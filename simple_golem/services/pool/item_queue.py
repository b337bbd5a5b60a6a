"""The items of a pool: who waits, who is worked on, and which outcome counts. All under one lock."""

from __future__ import annotations

import copy
import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from ...background.cancellation import Scope, wait_until
from ...errors import ActivityLost, BatchLost, BatchTimeout, GolemError, NotRunning, OutOfBudget
from ...model.pool_stats import PoolStats
from ..cluster_context import StatefulInstance
from ..instance import Instance
from .item import Attempt, Item, ItemFuture, Machine
from .retry_rules import RetryRules


class ItemQueue:
    """Hands items to machines, and records what came of them; used by any thread.

    Under its lock no other lock is taken, and no code of the user runs: Futures are answered without it.
    Methods whose names end in `_locked` are called with the lock held; all others take it.

    Args:
        most_machines: how many there are at most.
        rules: which attempts are followed by another one.
        idle_seconds: how long a machine waits for an item before it leaves.
        tell: called with each item that is answered, and its error, with no lock held.

    Attributes:
        lock: the one lock.
        manager: notified when something has changed that decides about machines.
        fresh: items that were never begun, in the order of submission.
        retried: items that are to be begun once more; they come first.
        machines: those that are coming or there, by their records.
        outstanding: items without an answer.
        is_closed: whether no more items are taken.
        broken_by: why no more items are taken; None if nothing is wrong.
        lost_starts: what machines have failed of before they were running; the manager takes them.
        expected: items that are known to come.
    """

    def __init__(
        self,
        most_machines: int,
        rules: RetryRules,
        idle_seconds: float,
        tell: Callable[[Item, BaseException | None], object],
    ) -> None:
        self.lock = threading.Lock()
        self.manager = threading.Condition(self.lock)
        self.fresh: OrderedDict[Item, None] = OrderedDict()
        self.retried: OrderedDict[Item, None] = OrderedDict()
        self.machines: dict[object, Machine] = {}
        self.outstanding = 0
        self.is_closed = False
        self.broken_by: GolemError | None = None
        self.lost_starts: list[BaseException] = []
        self.expected = 0
        self._most = most_machines
        self._rules = rules
        self._idle_seconds = idle_seconds
        self._tell = tell
        # Machines that wait for an item; the one that waits for the shortest time is the first to get one.
        self._idle: dict[Machine, None] = {}
        self._answered = threading.Condition(self.lock)
        self._numbered = 0
        self._done = 0
        self._failed = 0
        # Those of both whose Futures are about to be answered.
        self._being_answered = 0
        self._repeated = 0
        self._seconds = 0.0
        self._busy_since: float | None = None

    # --- items come -------------------------------------------------------------------------------------

    def put(
        self,
        work: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        keep: Callable[[Any], Any] | None = None,
    ) -> Item:
        """Add an item, and return it.

        Raises:
            NotRunning: the pool is closed.
            BrokenPool: it has no machines.
        """
        with self.lock:
            if self.broken_by is not None:
                raise again(self.broken_by)
            if self.is_closed:
                raise NotRunning("this pool is closed: submit items inside its `with` statement")
            self._numbered += 1
            future = ItemFuture()
            item = Item(self._numbered, work, args, kwargs, future, keep)
            future.on_cancel = partial(self._was_cancelled, item)
            if self.outstanding == 0:
                self._busy_since = time.monotonic()
            self.outstanding += 1
            self.fresh[item] = None
            self._offer_locked(item)
            self._look_at_machines_locked()
        return item

    def _was_cancelled(self, item: Item) -> None:
        with self.lock:
            if not item.is_answered:
                item.is_answered = True
                self.fresh.pop(item, None)
                self._count_answer_locked()

    def _offer_locked(self, item: Item) -> None:
        """Wake a machine that may begin the item."""
        for machine in reversed(self._idle):
            if machine.provider_id not in item.failed_on and self._may_begin_locked(machine):
                del self._idle[machine]
                machine.wake.notify()
                return

    def _look_at_machines_locked(self) -> None:
        """Have the manager look, if machines may be missing, or coming in vain."""
        coming = sum(machine.is_coming for machine in self.machines.values())
        staying = sum(not machine.is_leaving for machine in self.machines.values())
        waiting = len(self.fresh) + len(self.retried)
        may_rent = waiting and staying < self._most
        if may_rent or coming > waiting or self.retried or (self.is_closed and not self.outstanding):
            self.manager.notify()

    # --- machines come and work -------------------------------------------------------------------------

    def machine_comes(self, record: StatefulInstance, last_start: float) -> None:
        """Note that a machine was rented, or is going to be."""
        with self.lock:
            self._machine_locked(record).last_start = last_start
            if record.state.is_final:
                del self.machines[record]

    def machine_serves(self, instance: Instance) -> Machine:
        """Note that a machine is running; returns it."""
        record = instance._record
        with self.lock:
            machine = self._machine_locked(record)
            machine.instance, machine.provider_id = instance, instance.provider_id or ""
            machine.thread_ident = threading.get_ident()
            return machine

    def _machine_locked(self, record: StatefulInstance) -> Machine:
        if record not in self.machines:
            self.machines[record] = Machine(record, threading.Condition(self.lock), math.inf)
        return self.machines[record]

    def machine_ends(self, record: StatefulInstance, failure: BaseException | None, has_run: bool) -> None:
        """Note that a machine has ended; what it worked on goes elsewhere."""
        with self.lock:
            machine = self.machines.pop(record, None)
            attempt = None if machine is None else machine.attempt
            if failure is not None and (not has_run or isinstance(failure, OutOfBudget)):
                self.lost_starts.append(failure)
            self._wake_suspects_locked()
            self.manager.notify()
        if attempt is not None:
            error = self.error_of_lost(attempt.machine.name, str(failure or "it was stopped"))
            error.__cause__ = failure
            self.has_failed(attempt, error)

    def error_of_lost(self, machine: str, reason: str) -> GolemError:
        """Return what an item fails of whose machine has ended."""
        if self.broken_by is not None:
            return again(self.broken_by)
        return ActivityLost(f"{machine} has ended while it worked on the item: {reason}")

    def take(self, machine: Machine, stop: Scope) -> Attempt | None:
        """Block until there is an item for a machine, and begin it.

        Returns:
            What the machine is to work on; None if it is to leave: it was idle for too long, its agreement
            ends soon, nothing will come any more, or `stop` is cancelled.
        """
        idle_until = time.monotonic() + self._idle_seconds
        while True:
            with self.lock:
                item = self._await_locked(machine, stop, idle_until)
                if item is None:
                    self.leave_locked(machine)
                    return None
            if item.attempts or item.future.set_running_or_notify_cancel():
                with self.lock:
                    if not item.is_answered:
                        return self._begin_locked(item, machine)

    def _await_locked(self, machine: Machine, stop: Scope, idle_until: float) -> Item | None:
        while not (stop.cancelled or machine.is_leaving or (self.is_closed and not self.outstanding)):
            now = time.monotonic()
            if now >= machine.last_start:
                return None
            item = self._next_locked(machine)
            if item is not None:
                return item
            if now >= idle_until:
                return None
            self._idle[machine] = None
            self._look_at_machines_locked()
            machine.wake.wait(min(idle_until, machine.last_start) - now)
            self._idle.pop(machine, None)
        return None

    def _next_locked(self, machine: Machine) -> Item | None:
        if not self._may_begin_locked(machine):
            return None
        for item in self.retried:
            if machine.provider_id not in item.failed_on:
                del self.retried[item]
                return item
        return self.fresh.popitem(last=False)[0] if self.fresh else None

    def _may_begin_locked(self, machine: Machine) -> bool:
        """Whether a machine may begin an item: after a failed command it gets no more than the others."""
        if not machine.is_suspect:
            return True
        others = [
            one.started
            for one in self.machines.values()
            if one is not machine and one.is_serving and not (one.is_suspect and one.attempt is None)
        ]
        return not others or machine.started < max(others)

    def _begin_locked(self, item: Item, machine: Machine) -> Attempt:
        item.attempts += 1
        item.searched_since = None
        item.machine_name = machine.name
        self._repeated += item.attempts > 1
        machine.started += 1
        machine.attempt = Attempt(item, machine, item.attempts)
        self._wake_suspects_locked()
        self._look_at_machines_locked()
        return machine.attempt

    def _wake_suspects_locked(self) -> None:
        if self.fresh or self.retried:
            for machine in [one for one in self._idle if one.is_suspect]:
                del self._idle[machine]
                machine.wake.notify()

    def leave_locked(self, machine: Machine) -> None:
        """Give a machine no more items."""
        machine.is_leaving = True
        machine.wake.notify()
        self._wake_suspects_locked()
        self.manager.notify()

    def leave(self, machine: Machine) -> None:
        """Give a machine no more items, and have it leave if it waits for one."""
        with self.lock:
            self.leave_locked(machine)

    # --- outcomes ---------------------------------------------------------------------------------------

    def has_result(self, attempt: Attempt, result: Any) -> bool:
        """Record that the work has returned; whether that is the answer of the item.

        It is, if no other outcome was recorded before: also where the item was begun elsewhere meanwhile.
        """
        item, machine = attempt.item, attempt.machine
        with self.lock:
            machine.is_suspect = False
            machine.attempt = None
            if item.is_answered:
                return False
            item.is_answered = True
            self.retried.pop(item, None)
        self._answer(item, result, None)
        return True

    def has_failed(self, attempt: Attempt, error: BaseException) -> bool:
        """Record that the work has raised an error; whether the item is begun once more.

        The error counts for nothing if the attempt was given up before, or an outcome was recorded.
        """
        machine = attempt.machine
        with self.lock:
            machine.is_suspect = self._rules.blames_provider(error)
            machine.attempt = None
            if isinstance(error, (BatchLost, BatchTimeout)):
                # The program may still run on the machine, which takes one batch at a time. Or the machine is
                # gone, and nobody knows yet.
                self.leave_locked(machine)
            is_answer = self._is_answer_locked(attempt, error)
        if is_answer:
            self._answer(attempt.item, None, error)
        return is_answer is False

    def give_up(self, attempt: Attempt, error: BaseException) -> bool | None:
        """Wait no more for a machine that works on an item; whether the item is begun once more.

        None if the machine does not work on it any more.
        """
        with self.lock:
            if attempt.machine.attempt is not attempt:
                return None
            self.leave_locked(attempt.machine)
            is_answer = self._is_answer_locked(attempt, error)
        if is_answer:
            self._answer(attempt.item, None, error)
        return is_answer is False

    def _is_answer_locked(self, attempt: Attempt, error: BaseException) -> bool | None:
        """Whether an error is the answer of its item; False: it is begun once more; None: neither."""
        if attempt.is_given_up or attempt.item.is_answered:
            return None
        attempt.is_given_up = True
        if self._goes_elsewhere_locked(attempt, error):
            return False
        attempt.item.is_answered = True
        return True

    def _goes_elsewhere_locked(self, attempt: Attempt, error: BaseException) -> bool:
        item = attempt.item
        if self.broken_by is not None or item.is_dropped:
            return False
        if not self._rules.allow(error, item.attempts, failed_elsewhere=bool(item.failed_on)):
            return False
        if self._rules.blames_provider(error):
            item.failed_on |= {attempt.machine.provider_id}
        item.failure = error
        self.retried[item] = None
        self.retried.move_to_end(item, last=False)
        self._offer_locked(item)
        self._wake_suspects_locked()
        self.manager.notify()
        return True

    def _answer(self, item: Item, result: Any, error: BaseException | None) -> None:
        """Answer an item whose outcome was recorded; without the lock, because callbacks of the user run."""
        if error is None and item.keep is not None:
            try:
                result = item.keep(result)
            except Exception as failure:  # noqa: BLE001 - whoever reads the Future gets it
                error = failure
        if isinstance(item.future, ItemFuture):
            item.future.on_cancel = None  # else the item and its Future would keep each other
        # The numbers change before the Future: a caller that has the result finds it counted.
        with self.lock:
            self._done += error is None
            self._failed += error is not None
            self._being_answered += 1
        try:
            if error is None:
                item.future.set_result(result)
            else:
                item.future.set_exception(error)
        finally:
            # A callback of the user may even end its thread, by `sys.exit`.
            with self.lock:
                self._being_answered -= 1
                self._count_answer_locked()
            self._tell(item, error)

    def _count_answer_locked(self) -> None:
        self.outstanding -= 1
        if self.outstanding:
            # A machine may be on its way for it.
            self._look_at_machines_locked()
            return
        if self._busy_since is not None:
            self._seconds += time.monotonic() - self._busy_since
            self._busy_since = None
        self._answered.notify_all()
        self.manager.notify()
        if self.is_closed:
            self._wake_all_locked()

    def _wake_all_locked(self) -> None:
        for machine in self._idle:
            machine.wake.notify()

    # --- the end ----------------------------------------------------------------------------------------

    def close(self) -> None:
        """Take no more items; those that were taken are still answered."""
        with self.lock:
            self.is_closed = True
            self.manager.notify()
            if not self.outstanding:
                self._wake_all_locked()

    def cancel_waiting(self) -> None:
        """Cancel all items that were not begun."""
        with self.lock:
            waiting = list(self.fresh)
        for item in waiting:
            item.future.cancel()

    def drop(self, items: Iterable[Item], error: BaseException) -> None:
        """Begin none of these items any more: cancel those that were not begun, and have others fail."""
        for item in items:
            if item.future.cancel():
                continue
            with self.lock:
                item.is_dropped = True
                is_waiting = item in self.retried and not item.is_answered
                if is_waiting:
                    del self.retried[item]
                    item.is_answered = True
            if is_waiting:
                self._answer(item, None, error)

    def break_by(self, error: GolemError) -> None:
        """Take no more items, and have all that wait fail with `error`."""
        with self.lock:
            if self.broken_by is None:
                self.broken_by = error
            waiting = [*self.retried, *self.fresh]
            self.manager.notify()
        self.fail(waiting, error)

    def fail(self, items: Iterable[Item], error: GolemError | None = None) -> None:
        """Answer items that wait: by `error`, or each by what it failed of last."""
        for item in items:
            with self.lock:
                was_waiting = item in self.retried or item in self.fresh
                self.retried.pop(item, None)
                self.fresh.pop(item, None)
            if not was_waiting or not (item.attempts or item.future.set_running_or_notify_cancel()):
                continue
            with self.lock:
                if item.is_answered:
                    continue
                item.is_answered = True
            self._answer(item, None, item.failure if error is None else again(error))

    def wait_until_answered(self) -> None:
        """Block until all items are answered."""
        with self.lock:
            wait_until(self._answered, lambda: not self.outstanding, None)

    def is_served_by_this_thread(self) -> bool:
        """Whether the calling thread is one that works on an item."""
        this = threading.get_ident()
        with self.lock:
            return any(one.thread_ident == this for one in self.machines.values())

    def expect(self, number: int) -> None:
        """Note that so many more items will come, or fewer."""
        with self.lock:
            self.expected += number

    # --- numbers ----------------------------------------------------------------------------------------

    def stats(self) -> PoolStats:
        """Return the numbers at present."""
        with self.lock:
            serving = [one for one in self.machines.values() if one.instance is not None]
            waiting = len(self.fresh) + len(self.retried)
            now = time.monotonic()
            return PoolStats(
                waiting=waiting,
                under_way=max(0, self.outstanding - waiting - self._being_answered),
                done=self._done,
                failed=self._failed,
                repeated=self._repeated,
                machines=len(serving),
                seconds=self._seconds + (0.0 if self._busy_since is None else now - self._busy_since),
                expected=self.expected,
            )


def again(error: GolemError) -> GolemError:
    """Return the same error once more, for another raise: each raise adds its own traceback."""
    copied = copy.copy(error)
    copied.__cause__ = error.__cause__
    return copied
