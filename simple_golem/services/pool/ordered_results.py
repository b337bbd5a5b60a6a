"""The results of many items in the order of the items, with few of them in memory."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sized
from functools import partial
from typing import Any

from ...background.cancellation import Deadline, await_future
from ...errors import NotRunning
from .item import Item
from .item_queue import ItemQueue


class OrderedResults(Iterator[Any]):
    """Submits items while their results are read, never more than a few ahead.

    When nobody refers to it any more, `end_later` has it closed on another thread: garbage is collected in
    any thread at any moment, also in one that holds the lock of the queue.

    Args:
        submit: adds the next item to the queue; raises `StopIteration` if there is none.
        queue: where the items are.
        most: how many items are submitted ahead of the result that is read next.
        timeout: seconds until all is read; None is no limit.
        total: how many items there are; None if nobody knows.
        on_end: called when no more results are read.
        end_later: calls a function on another thread, and takes no lock.
    """

    def __init__(
        self,
        submit: Callable[[], Item],
        queue: ItemQueue,
        most: int,
        timeout: float | None,
        total: int | None,
        on_end: Callable[[], object],
        end_later: Callable[[Callable[[], object]], object],
    ) -> None:
        # Not before there is something to end.
        self._has_ended = True
        self._submit = submit
        self._queue = queue
        self._left = Deadline(timeout)
        self._has_timeout = timeout is not None
        self._held: deque[Item] = deque()
        # What reading the items has raised: the results of those before come first.
        self._error: BaseException | None = None
        self._is_exhausted = False
        self._on_end = on_end
        self._end_later = end_later
        self._turn = threading.Lock()
        self._expected = 0
        self._expect(total or 0)
        for _ in range(most):
            self._submit_next()
        self._has_ended = False

    def __next__(self) -> Any:
        with self._turn:
            if self._has_ended:
                raise StopIteration
            try:
                return self._next_result()
            except BaseException:
                self.close()
                raise

    def _next_result(self) -> Any:
        if not self._held:
            error, self._error = self._error, None
            raise StopIteration if error is None else error
        future = self._held[0].future
        # Not `result` alone, which does not hear of a Ctrl-C that comes as it begins to wait.
        await_future(future, self._left.remaining() if self._has_timeout else None)
        result = future.result(0)
        self._held.popleft()
        self._submit_next()
        return result

    def close(self) -> None:
        """Cancel what was not begun; there are no more results. A second call does nothing."""
        if self._has_ended:
            return
        self._has_ended = True
        _end(self._queue, self._held, self._expected, self._on_end)

    def __del__(self) -> None:
        if not self._has_ended:
            self._has_ended = True
            self._end_later(partial(_end, self._queue, self._held, self._expected, self._on_end))

    def _submit_next(self) -> None:
        if self._is_exhausted:
            return
        try:
            self._held.append(self._submit())
            self._expect(max(0, self._expected - 1))
        except StopIteration:
            self._is_exhausted = True
            self._expect(0)
        except BaseException as error:
            self._is_exhausted = True
            self._expect(0)
            if not self._held:
                raise
            self._error = error
            if not isinstance(error, Exception):
                raise

    def _expect(self, number: int) -> None:
        """Tell the queue how many items are still to come."""
        self._queue.expect(number - self._expected)
        self._expected = number


def _end(queue: ItemQueue, held: Iterable[Item], expected: int, on_end: Callable[[], object]) -> None:
    """Cancel those of the items that were not begun, and expect no more of them."""
    queue.expect(-expected)
    on_end()
    queue.drop(list(held), NotRunning("nobody reads the results of this map any more"))


def argument_tuples(iterables: tuple[Any, ...]) -> Iterator[tuple[Any, ...]]:
    """Iterate over the arguments of the items, as `map` does."""
    return zip(*iterables, strict=False)


def as_one(args: tuple[Any, ...]) -> Any:
    """Return the item that some arguments are: the only one, or the tuple of them."""
    return args[0] if len(args) == 1 else args


def known_number(iterables: tuple[Any, ...]) -> int | None:
    """Return how many items there are, None if nobody knows."""
    if not iterables or not all(isinstance(one, Sized) for one in iterables):
        return None
    return min(len(one) for one in iterables)


def nothing() -> None:
    """Do nothing."""
