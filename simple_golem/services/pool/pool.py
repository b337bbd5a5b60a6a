"""A pool of machines: many items, each answered once."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future
from functools import partial
from types import TracebackType
from typing import Any, Concatenate, ParamSpec, TypeVar

from ...background.cancellation import checked_seconds
from ...background.forks import refused_in_children
from ...background.not_async import not_async
from ...background.signals import Terminated
from ...engine.session import Session
from ...engine.shutdown_times import ShutdownTimes
from ...errors import BadInstanceCount, GolemError, NotRunning
from ...model.cost import Cost
from ...model.events.items import ItemDone
from ...model.pool_stats import PoolStats
from ..instance import Instance
from .item import Item
from .item_queue import ItemQueue
from .occupation import PoolOccupation
from .ordered_results import OrderedResults, argument_tuples, as_one, known_number, nothing
from .renter import MakeCluster, Renter
from .results_file import ResultsFiles
from .retry_rules import DEFAULT_RETRY, RetryRules
from .work_check import check_work

P = ParamSpec("P")
T = TypeVar("T")

_BUFFERED_PER_MACHINE = 4


@refused_in_children
@not_async
class Pool(Executor):
    """Machines that work on items, made by `golem.pool`: a `concurrent.futures.Executor`.

    An item may be executed more than once, and is answered once: if the machine of an item is lost, another
    machine begins it anew, and the first outcome counts.

    Each function gets a running machine, an `Instance`, as its first argument. Everything else is as Python
    documents it for executors and Futures: `submit`, `map`, `shutdown`, `as_completed`, `wait`, `with`.

    Attributes:
        default_retry: the errors after which an item is begun once more, if `retry` is not given.
        name: in logs and in the names of its machines.
    """

    default_retry = DEFAULT_RETRY

    def __init__(
        self,
        name: str,
        max_machines: int,
        rules: RetryRules,
        session: Session,
        *,
        item_timeout: float | None,
        idle_seconds: float,
        stop_grace: float,
    ) -> None:
        self.name = name
        self._made_in = session.made_in
        self._max_machines = max_machines
        self._session = session
        self._stop_grace = stop_grace
        self._item_timeout = item_timeout
        self._queue = ItemQueue(max_machines, rules, idle_seconds, self._tell)
        self._occupation = PoolOccupation(
            name, self._queue, item_timeout, stop_grace, session.timer, session.workers, session.emit
        )
        self._results_files = ResultsFiles()
        self._renter: Renter | None = None

    def _start(self, make_cluster: MakeCluster) -> None:
        """Start the thread that rents machines; part of `Golem.pool`."""
        self._renter = Renter(
            self.name,
            self._max_machines,
            self._queue,
            self._session,
            make_cluster,
            self._item_timeout,
            self._stop_grace,
        )
        self._renter.start()

    def _is_avoided(self, provider_id: str) -> bool:
        """Whether no item that waits may go to a provider; does not block."""
        return self._renter is not None and provider_id in self._renter.avoided

    # --- items ------------------------------------------------------------------------------------------

    def submit(  # type: ignore[override]
        self, work: Callable[Concatenate[Instance, P], T], /, *args: P.args, **kwargs: P.kwargs
    ) -> Future[T]:
        """Have a machine call `work(machine, *args, **kwargs)`; returns at once the Future of its result.

        Args:
            work: is called on a thread of the machine, perhaps more than once.
            args, kwargs: its other arguments.

        Raises:
            BadWork: `work` can't be called so.
            NotRunning: the pool is closed (a RuntimeError, as of any executor).
            BrokenPool: it has no machine and gets none.
        """
        check_work(work, len(args), tuple(kwargs))
        return self._put(work, args, kwargs).future

    def map(
        self,
        work: Callable[..., T],
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int = 1,
        buffersize: int | None = None,
        results_file: str | os.PathLike[str] | None = None,
        key: Callable[[Any], str] = str,
    ) -> Iterator[T]:
        """Have machines call `work(machine, …)` for each item, and iterate over the results in their order.

        Items are taken from the iterables while results are read, so an endless iterator works (Python 3.14
        takes all items at once if `buffersize` is not given). Closing the iterator cancels what is not begun.

        Args:
            work: is called with the machine and one item of each of the iterables.
            iterables: the items; the shortest ends it.
            timeout: seconds, from this call on, in which all results have to be read; None is no limit.
            chunksize: accepted, because other executors have it, and ignored.
            buffersize: items that are submitted ahead of the result that is read next; by default four times
                `max_machines`.
            results_file: a file that gets each result as a line of JSON when it is there. Run again, answered
                items are not executed, and their results come from the file. Results are what JSON makes of
                them: a tuple becomes a list. An item that has failed is executed again.
            key: what an item is known by in that file: a function of the item (of the tuple of them, if there
                are several iterables) that returns a text.

        Raises:
            BadResultsFile: the file has results of another function or of other items, or is in use.
            TimeoutError: a result is not there in time; raised by the iterator, as what an item failed of is.
            BadWork, NotRunning, BrokenPool: as of `submit`.
        """
        check_work(work, len(iterables))
        limit = checked_seconds(timeout, "timeout")
        most = _BUFFERED_PER_MACHINE * self._max_machines if buffersize is None else buffersize
        if isinstance(most, bool) or not isinstance(most, int) or most < 1:
            raise BadInstanceCount(f"buffersize is {buffersize!r}: give a whole number, 1 or more, or None")
        items = argument_tuples(iterables)
        kept = None if results_file is None else self._results_files.open(results_file, work, key)

        def submit() -> Item:
            args = next(items)
            if kept is None:
                return self._put(work, args, {})
            name = kept.key_of(as_one(args))
            if (answer := kept.answer_of(name)) is not None:
                return Item(0, work, args, {}, answer)
            kept.item_begins()
            try:
                item = self._put(work, args, {}, partial(kept.keep, name))
            except BaseException:
                kept.item_ends()
                raise
            item.future.add_done_callback(kept.item_ends)
            return item

        on_end = nothing if kept is None else partial(self._results_files.close, kept)
        try:
            if kept is not None and all(isinstance(one, Sequence) for one in iterables):
                kept.check_items(map(as_one, argument_tuples(iterables)))
            total = known_number(iterables)
            return OrderedResults(submit, self._queue, most, limit, total, on_end, self._end_later)
        except BaseException:
            on_end()
            raise

    def _end_later(self, action: Callable[[], object]) -> None:
        """Have a worker call `action`; without any lock, since the garbage collector may be the caller."""
        self._session.timer.call_in(0, partial(self._session.workers.post, action))

    def _put(
        self,
        work: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        keep: Callable[[Any], Any] | None = None,
    ) -> Item:
        return self._queue.put(work, args, kwargs, keep)

    def _tell(self, item: Item, error: BaseException | None) -> None:
        failure = None if error is None else str(error) or type(error).__name__
        self._session.emit(
            ItemDone(item.machine_name, self.name, item.number, self._queue.stats(), failure=failure)
        )

    # --- what can be read -------------------------------------------------------------------------------

    @property
    def stats(self) -> PoolStats:
        """How many items wait, are under way and are done, and the rate; `print` shows a line."""
        return self._queue.stats()

    @property
    def machines(self) -> tuple[Instance, ...]:
        """The machines that have not ended."""
        clusters = () if self._renter is None else self._renter.clusters
        return tuple(one for cluster in clusters for one in cluster if not one.state.is_final)

    @property
    def cost(self) -> Cost:
        """What all its machines cost so far."""
        clusters = () if self._renter is None else self._renter.clusters
        return self._session.cost([one for cluster in clusters for one in cluster._agreement_ids])

    def __repr__(self) -> str:
        return f"<Pool {self.name}: {self.stats}>"

    # --- the end ----------------------------------------------------------------------------------------

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more items, and end all machines once the last item is answered.

        Args:
            wait: whether to block until the machines have ended. A function that a machine of this pool
                executes is never blocked.
            cancel_futures: whether items that were not begun are cancelled.
        """
        self._queue.close()
        self._results_files.close_all()
        if cancel_futures:
            self._queue.cancel_waiting()
        if wait and not self._is_called_by_machine():
            self._queue.wait_until_answered()
            self._wait_for_machines()

    def _abandon(self, error: GolemError) -> None:
        """Cancel what was not begun; what is begun fails, unless it ends well; does not block."""
        self._queue.close()
        self._results_files.close_all()
        self._queue.cancel_waiting()
        self._queue.break_by(error)

    def _join(self, timeout: float | None = None) -> bool:
        """Block until its thread has ended, for `timeout` seconds at most; returns whether it has."""
        return self._renter is None or self._renter.join(timeout)

    def __enter__(self) -> Pool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.shutdown()
            return
        self._abandon(NotRunning(f"the pool was left because of an error: {error!r}"))
        if self._renter is None:
            return
        if isinstance(error, (KeyboardInterrupt, Terminated)):
            # Leaving `with Golem` waits for it, in the short times of an interruption.
            self._renter.end(ShutdownTimes.interrupted(), "the program was interrupted")
            return
        self._renter.end(ShutdownTimes.ordinary(self._stop_grace), "the pool was left because of an error")
        if not self._is_called_by_machine():
            self._wait_for_machines()

    def _wait_for_machines(self) -> None:
        self._join()
        for cluster in () if self._renter is None else self._renter.clusters:
            cluster.wait()

    def _is_called_by_machine(self) -> bool:
        return self._queue.is_served_by_this_thread()
