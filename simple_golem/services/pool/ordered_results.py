"""The results of many items in the order of the items, with few of them in memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterator, Sized
from typing import Any

from ...background.cancellation import Deadline
from ...errors import NotRunning
from .item import Item
from .item_queue import ItemQueue


class OrderedResults:
    """Submits items while their results are read, never more than a few ahead.

    Args:
        submit: adds the next item to the queue; raises `StopIteration` if there is none.
        total: how many items there are; None if nobody knows.
        on_end: called when no more results are read.
        queue: where the items are.
        most: how many items are submitted ahead of the result that is read next.
        timeout: seconds until all is read; None is no limit.
    """

    def __init__(
        self,
        submit: Callable[[], Item],
        queue: ItemQueue,
        most: int,
        timeout: float | None,
        total: int | None,
        on_end: Callable[[], object],
    ) -> None:
        self._submit = submit
        self._queue = queue
        self._left = Deadline(timeout)
        self._has_timeout = timeout is not None
        self._held: deque[Item] = deque()
        # What reading the items has raised: the results of those before come first.
        self._error: BaseException | None = None
        self._is_exhausted = False
        self._on_end = on_end
        self._expected = 0
        self._expect(total or 0)
        for _ in range(most):
            self._submit_next()

    def results(self) -> Generator[Any, None, None]:
        """Iterate over the results; closing the iterator cancels what was not begun."""
        try:
            while self._held:
                future = self._held[0].future
                result = future.result(self._left.remaining() if self._has_timeout else None)
                self._held.popleft()
                self._submit_next()
                yield result
            if self._error is not None:
                raise self._error
        finally:
            self._expect(0)
            self._on_end()
            self._queue.drop(self._held, NotRunning("nobody reads the results of this map any more"))

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
