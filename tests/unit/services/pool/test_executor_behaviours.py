"""What Python documents for executors and Futures holds for a pool of machines as for a pool of threads.

Each row has a section of the page `concurrent.futures` of Python's documentation, what it says in other
words, and a function that shows it.
"""

from __future__ import annotations

import concurrent.futures
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import (
    ALL_COMPLETED,
    FIRST_COMPLETED,
    FIRST_EXCEPTION,
    CancelledError,
    Executor,
    Future,
    ThreadPoolExecutor,
    as_completed,
    wait,
)
from contextlib import contextmanager
from typing import Any

import pytest

from simple_golem import Golem
from simple_golem.testing import FakeYagna
from tests.helpers.recorded_services import SECONDS

WORKERS = 2
MakeExecutor = Callable[[], Any]  # in a `with` statement, a new executor with two workers


class ThreadsThatTakeAMachine(ThreadPoolExecutor):
    """A pool of threads whose functions get None in place of a machine."""

    def submit(self, work: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        return super().submit(work, None, *args, **kwargs)


# --- what is submitted -------------------------------------------------------------------------------


def double(_machine: object, number: int) -> int:
    return 2 * number


def described(_machine: object, *args: object, **kwargs: object) -> object:
    return args, kwargs


def failing(_machine: object, number: int = 0) -> int:
    if number == 2:
        raise ValueError(f"not {number}")
    return number


class Gate:
    """Where submitted functions wait until the test opens it."""

    def __init__(self) -> None:
        self.begun = threading.Semaphore(0)
        self._open = threading.Event()

    def wait(self, _machine: object, answer: object = "through") -> object:
        self.begun.release()
        assert self._open.wait(SECONDS)
        return answer

    def open(self) -> None:
        self._open.set()

    def await_begun(self, number: int = 1) -> None:
        for _ in range(number):
            assert self.begun.acquire(timeout=SECONDS)


@contextmanager
def both_busy(executor: Executor) -> Iterator[tuple[Gate, list[Future[object]]]]:
    """Both workers wait at a gate, so that what is submitted now is not begun."""
    gate = Gate()
    busy = [executor.submit(gate.wait) for _ in range(WORKERS)]  # type: ignore[arg-type]
    try:
        gate.await_begun(WORKERS)
        yield gate, busy
    finally:
        gate.open()


# --- the rows ----------------------------------------------------------------------------------------


def submit_returns_a_future(make: MakeExecutor) -> None:
    with make() as executor:
        future = executor.submit(double, 21)
        assert isinstance(future, Future)
        assert future.result(SECONDS) == 42


def submit_passes_all_arguments(make: MakeExecutor) -> None:
    with make() as executor:
        assert executor.submit(described, 1, "b", c=3).result(SECONDS) == ((1, "b"), {"c": 3})


def result_raises_what_the_call_raised(make: MakeExecutor) -> None:
    with make() as executor, pytest.raises(ValueError, match="not 2"):
        executor.submit(failing, 2).result(SECONDS)


def exception_returns_it(make: MakeExecutor) -> None:
    with make() as executor:
        assert isinstance(executor.submit(failing, 2).exception(SECONDS), ValueError)
        assert executor.submit(failing, 1).exception(SECONDS) is None


def result_times_out(make: MakeExecutor) -> None:
    gate = Gate()
    with make() as executor:
        future = executor.submit(gate.wait)
        with pytest.raises(concurrent.futures.TimeoutError):
            future.result(0.01)
        with pytest.raises(concurrent.futures.TimeoutError):
            future.exception(0.01)
        gate.open()
        assert future.result(SECONDS) == "through"


def a_future_says_where_it_is(make: MakeExecutor) -> None:
    gate = Gate()
    with make() as executor:
        future = executor.submit(gate.wait)
        gate.await_begun()
        assert (future.running(), future.done(), future.cancelled()) == (True, False, False)
        gate.open()
        future.result(SECONDS)
        assert (future.running(), future.done(), future.cancelled()) == (False, True, False)


def what_has_not_begun_is_cancelled(make: MakeExecutor) -> None:
    with make() as executor:
        with both_busy(executor):
            future = executor.submit(double, 1)
            assert future.cancel()
            assert (future.cancelled(), future.done(), future.running()) == (True, True, False)
        with pytest.raises(CancelledError):
            future.result(SECONDS)
        with pytest.raises(CancelledError):
            future.exception(SECONDS)


def what_has_begun_is_not_cancelled(make: MakeExecutor) -> None:
    with make() as executor:
        with both_busy(executor) as (_, busy):
            assert not busy[0].cancel()
        assert busy[0].result(SECONDS) == "through"
        assert not busy[0].cancel()


def callbacks_are_called_with_the_future(make: MakeExecutor) -> None:
    called: list[Future[Any]] = []
    gate = Gate()
    with make() as executor:
        future = executor.submit(gate.wait)
        future.add_done_callback(called.append)
        future.add_done_callback(lambda _: 1 / 0)  # logged, and ignored
        future.add_done_callback(called.append)
        assert called == []
        gate.open()
        wait([future], SECONDS)
    assert called == [future, future]
    future.add_done_callback(called.append)  # at once, since it is done
    assert called == [future] * 3


def a_callback_hears_of_a_cancelled_future(make: MakeExecutor) -> None:
    called: list[Future[Any]] = []
    with make() as executor, both_busy(executor):
        future = executor.submit(double, 1)
        future.add_done_callback(called.append)
        future.cancel()
        assert called == [future]


def map_keeps_the_order(make: MakeExecutor) -> None:
    def slow_first(_machine: object, number: int) -> int:
        time.sleep(0.05 if number == 0 else 0)
        return number

    with make() as executor:
        assert list(executor.map(slow_first, range(20))) == list(range(20))


def map_ends_with_the_shortest(make: MakeExecutor) -> None:
    with make() as executor:
        assert list(executor.map(described, [1, 2, 3], "ab")) == [((1, "a"), {}), ((2, "b"), {})]
        assert list(executor.map(double, [])) == []


def map_raises_in_its_turn(make: MakeExecutor) -> None:
    with make() as executor:
        results = executor.map(failing, range(5))
        assert [next(results), next(results)] == [0, 1]
        with pytest.raises(ValueError, match="not 2"):
            next(results)


def map_times_out(make: MakeExecutor) -> None:
    gate = Gate()
    with make() as executor:
        results = executor.map(gate.wait, ["a"], timeout=0.01)
        with pytest.raises(concurrent.futures.TimeoutError):
            next(results)
        gate.open()


def chunksize_has_no_effect(make: MakeExecutor) -> None:
    with make() as executor:
        assert list(executor.map(double, range(7), chunksize=3)) == [0, 2, 4, 6, 8, 10, 12]


def leaving_with_waits(make: MakeExecutor) -> None:
    def slow(_machine: object, number: int) -> int:
        time.sleep(0.02)
        return number

    with make() as executor:
        futures = [executor.submit(slow, number) for number in range(6)]
    assert [one.done() for one in futures] == [True] * 6
    assert [one.result(0) for one in futures] == list(range(6))


def nothing_is_taken_after_shutdown(make: MakeExecutor) -> None:
    with make() as executor:
        executor.shutdown()
        executor.shutdown()  # does nothing
        with pytest.raises(RuntimeError):
            executor.submit(double, 1)
        with pytest.raises(RuntimeError):
            list(executor.map(double, [1]))


def shutdown_without_waiting_finishes_the_work(make: MakeExecutor) -> None:
    with make() as executor:
        with both_busy(executor) as (gate, busy):
            waiting = executor.submit(double, 4)
            executor.shutdown(wait=False)
            assert not any(one.done() for one in [*busy, waiting])
            gate.open()
        assert waiting.result(SECONDS) == 8
        assert [one.result(SECONDS) for one in busy] == ["through", "through"]


def shutdown_cancels_what_has_not_begun(make: MakeExecutor) -> None:
    with make() as executor:
        with both_busy(executor) as (_, busy):
            waiting = [executor.submit(double, number) for number in range(3)]
            executor.shutdown(wait=False, cancel_futures=True)
            assert [one.cancelled() for one in waiting] == [True] * 3
        assert [one.result(SECONDS) for one in busy] == ["through", "through"]


def wait_returns_two_sets(make: MakeExecutor) -> None:
    gate = Gate()
    with make() as executor:
        quick, slow = executor.submit(double, 1), executor.submit(gate.wait)
        done, not_done = wait([quick, slow], SECONDS, FIRST_COMPLETED)
        assert (done, not_done) == ({quick}, {slow})
        assert wait([slow], timeout=0.01).not_done == {slow}
        gate.open()
        assert wait([quick, slow], SECONDS, ALL_COMPLETED).done == {quick, slow}


def wait_ends_with_the_first_exception(make: MakeExecutor) -> None:
    gate = Gate()
    with make() as executor:
        wrong, slow = executor.submit(failing, 2), executor.submit(gate.wait)
        done, not_done = wait([wrong, slow], SECONDS, FIRST_EXCEPTION)
        assert (done, not_done) == ({wrong}, {slow})
        gate.open()


def as_completed_yields_what_is_done_first(make: MakeExecutor) -> None:
    gate = Gate()
    with make() as executor:
        slow = executor.submit(gate.wait)
        quick = executor.submit(double, 1)
        order = as_completed([slow, quick, quick], SECONDS)  # a Future that is given twice comes once
        assert next(order) is quick
        gate.open()
        assert list(order) == [slow]


def as_completed_times_out(make: MakeExecutor) -> None:
    gate = Gate()
    with make() as executor:
        slow = executor.submit(gate.wait)
        with pytest.raises(concurrent.futures.TimeoutError):
            next(as_completed([slow], timeout=0.01))
        gate.open()


EXECUTOR, FUTURE, FUNCTIONS = "Executor Objects", "Future Objects", "Module Functions"
BEHAVIOURS = [
    (EXECUTOR, "submit schedules a call and returns its Future", submit_returns_a_future),
    (EXECUTOR, "submit hands all arguments over", submit_passes_all_arguments),
    (EXECUTOR, "map has the results in the order of the items", map_keeps_the_order),
    (EXECUTOR, "map stops with the shortest of its iterables", map_ends_with_the_shortest),
    (EXECUTOR, "map raises what a call raised when its result is read", map_raises_in_its_turn),
    (EXECUTOR, "map raises TimeoutError if a result is not there in time", map_times_out),
    (EXECUTOR, "map takes a chunksize, which changes nothing for threads", chunksize_has_no_effect),
    (EXECUTOR, "leaving `with` waits for all that was submitted", leaving_with_waits),
    (EXECUTOR, "after shutdown, submit and map raise RuntimeError", nothing_is_taken_after_shutdown),
    (EXECUTOR, "shutdown(wait=False) lets the work end", shutdown_without_waiting_finishes_the_work),
    (EXECUTOR, "shutdown(cancel_futures=True) cancels what waits", shutdown_cancels_what_has_not_begun),
    (FUTURE, "result raises what the call raised", result_raises_what_the_call_raised),
    (FUTURE, "exception returns what the call raised, or None", exception_returns_it),
    (FUTURE, "result and exception raise TimeoutError, and the call goes on", result_times_out),
    (FUTURE, "running, done and cancelled say where it is", a_future_says_where_it_is),
    (FUTURE, "cancel cancels a call that has not begun", what_has_not_begun_is_cancelled),
    (FUTURE, "cancel does not cancel a call that has begun or ended", what_has_begun_is_not_cancelled),
    (
        FUTURE,
        "callbacks get the Future, and may fail",
        callbacks_are_called_with_the_future,
    ),
    (FUTURE, "callbacks are called when it is cancelled", a_callback_hears_of_a_cancelled_future),
    (FUNCTIONS, "wait returns what is done and what is not", wait_returns_two_sets),
    (FUNCTIONS, "wait can end with the first exception", wait_ends_with_the_first_exception),
    (FUNCTIONS, "as_completed yields what is done first, each once", as_completed_yields_what_is_done_first),
    (FUNCTIONS, "as_completed raises TimeoutError", as_completed_times_out),
]


@contextmanager
def threads() -> Iterator[Executor]:
    with ThreadsThatTakeAMachine(WORKERS) as executor:
        yield executor


@contextmanager
def machines() -> Iterator[Executor]:
    with Golem(1) as golem, golem.pool(WORKERS) as pool:
        yield pool


@pytest.mark.parametrize("make", [threads, machines])
@pytest.mark.parametrize(
    "shows", [pytest.param(shows, id=f"{section}: {says}") for section, says, shows in BEHAVIOURS]
)
def test_an_executor_behaves_as_documented(
    fake: FakeYagna, make: MakeExecutor, shows: Callable[[MakeExecutor], None]
) -> None:
    shows(make)


def test_there_are_at_least_20_different_behaviours() -> None:
    assert len({says for _, says, _ in BEHAVIOURS}) == len({shows for *_, shows in BEHAVIOURS}) >= 20
