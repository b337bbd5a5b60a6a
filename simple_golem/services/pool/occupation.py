"""What the machines of a pool do while they run: item after item, on their life threads."""

from __future__ import annotations

from functools import partial

from ...background.cancellation import Scope
from ...background.forks import user_code
from ...background.threads import WorkerPool
from ...background.timer import Timer
from ...engine.event_dispatcher import Emit
from ...engine.shutdown_times import ShutdownTimes
from ...errors import ActivityLost, ItemTimeout
from ...model.events.items import ItemRetried, ItemStarted
from ...model.service.states import ServiceState
from ..cluster_context import StatefulInstance
from ..instance import Instance
from ..instance_record import InstanceRecord
from .item import Attempt
from .item_queue import ItemQueue


class PoolOccupation:
    """Has machines work on the items of a queue.

    Args:
        name: of the pool.
        queue: where the items are.
        item_timeout: seconds for one attempt; None is no limit.
        stop_grace: seconds that a command may go on when its machine is stopped.
        timer, workers, emit: those of the session.
    """

    def __init__(
        self,
        name: str,
        queue: ItemQueue,
        item_timeout: float | None,
        stop_grace: float,
        timer: Timer,
        workers: WorkerPool,
        emit: Emit,
    ) -> None:
        self._name = name
        self._queue = queue
        self._item_timeout = item_timeout
        self._stop_grace = stop_grace
        self._timer = timer
        self._workers = workers
        self._emit = emit

    def serve(self, instance: StatefulInstance, stop: Scope) -> None:
        """Work on items until there are none for this machine, or `stop` is cancelled."""
        if not isinstance(instance, Instance):
            raise TypeError(f"{instance!r} can't work on items")
        machine = self._queue.machine_serves(instance)
        forget = stop.on_cancel(partial(self._queue.leave, machine))
        try:
            while (attempt := self._queue.take(machine, stop)) is not None:
                self._work_on(attempt, instance, stop)
        finally:
            forget()

    def state_changed(self, record: StatefulInstance, state: ServiceState) -> None:
        """Note the end of a machine."""
        if state.is_final and isinstance(record, InstanceRecord):
            self._queue.machine_ends(record, record.failure, record.has_run)

    def _work_on(self, attempt: Attempt, instance: Instance, stop: Scope) -> None:
        item, limit = attempt.item, self._item_timeout
        self._emit(
            ItemStarted(instance.name, self._name, item.number, self._queue.stats(), attempt=attempt.number)
        )
        alarm = None
        if limit is not None:
            alarm = self._timer.call_in(limit, partial(self._workers.post, self._give_up, attempt))
        try:
            with user_code():
                result = item.work(instance, *item.args, **item.kwargs)
        except BaseException as error:  # noqa: BLE001 - whoever reads the Future gets it
            self._failed(attempt, error, instance, stop)
        else:
            self._queue.has_result(attempt, result)
        finally:
            if alarm is not None:
                alarm.cancel()

    def _failed(self, attempt: Attempt, error: BaseException, instance: Instance, stop: Scope) -> None:
        cause = error
        if stop.cancelled and not isinstance(error, ActivityLost):
            # Whatever the work has raised may be a consequence of that.
            cause = self._queue.error_of_lost(instance.name, stop.reason)
            cause.__cause__ = error
        if self._queue.has_failed(attempt, cause):
            self._told_retry(attempt, cause)

    def _give_up(self, attempt: Attempt) -> None:
        """On a worker: the time for an attempt is over."""
        machine = attempt.machine
        error = ItemTimeout(
            f"item {attempt.item.number} took longer than {self._item_timeout:g} s on {machine.name}, which "
            "was stopped"
        )
        is_begun_again = self._queue.give_up(attempt, error)
        if is_begun_again is None:
            return
        if machine.instance is not None:
            machine.instance._end(ShutdownTimes.ordinary(self._stop_grace), str(error))
        if is_begun_again:
            self._told_retry(attempt, error)

    def _told_retry(self, attempt: Attempt, error: BaseException) -> None:
        self._emit(
            ItemRetried(
                attempt.machine.name,
                self._name,
                attempt.item.number,
                self._queue.stats(),
                reason=str(error) or type(error).__name__,
            )
        )
