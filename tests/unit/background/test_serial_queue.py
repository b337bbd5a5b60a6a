"""Work for one thing goes one after the other, for different ones side by side."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from simple_golem.background.serial_queue import SerialQueue
from simple_golem.background.threads import WorkerPool
from tests.unit.conftest import eventually


@pytest.fixture
def gates() -> Iterator[list[threading.Event]]:
    """Gates that a test's work waits at; they are open once the test is over."""
    gates = [threading.Event() for _ in range(3)]
    yield gates
    for gate in gates:
        gate.set()


def test_work_for_one_key_is_done_in_the_order_it_was_posted(workers: WorkerPool) -> None:
    in_turn, done = SerialQueue(workers), list[int]()
    for number in range(200):
        in_turn.post("a", done.append, number)
    eventually(lambda: len(done) == 200)
    assert done == list(range(200))


def test_work_for_one_key_never_overlaps(workers: WorkerPool) -> None:
    in_turn = SerialQueue(workers)
    lock, done = threading.Lock(), list[bool]()

    def work() -> None:
        alone = lock.acquire(blocking=False)
        threading.Event().wait(0.002)
        if alone:
            lock.release()
        done.append(alone)

    def post() -> None:
        for _ in range(10):
            in_turn.post("a", work)

    posters = [threading.Thread(target=post) for _ in range(3)]
    for poster in posters:
        poster.start()
    for poster in posters:
        poster.join()
    eventually(lambda: len(done) == 30)
    assert all(done)


def test_a_slow_key_holds_up_no_other(workers: WorkerPool, gates: list[threading.Event]) -> None:
    in_turn, done = SerialQueue(workers), list[str]()
    in_turn.post("slow", gates[0].wait, 10)
    # More of its work than there are workers.
    for _ in range(10):
        in_turn.post("slow", done.append, "slow")
    in_turn.post("other", done.append, "other")
    eventually(lambda: done)
    assert done == ["other"]
    gates[0].set()
    eventually(lambda: done.count("slow") == 10)


def test_different_keys_are_served_side_by_side(workers: WorkerPool) -> None:
    in_turn, both = SerialQueue(workers), threading.Barrier(3)
    for key in ("a", "b"):
        in_turn.post(key, both.wait, 5)
    both.wait(20)
    assert not both.broken


def test_work_that_fails_does_not_stop_the_queue(
    workers: WorkerPool, caplog: pytest.LogCaptureFixture
) -> None:
    in_turn, done = SerialQueue(workers), list[int]()

    def fail() -> None:
        raise RuntimeError("no way")

    in_turn.post("a", fail)
    in_turn.post("a", done.append, 1)
    in_turn.post("a", fail)
    in_turn.post("a", done.append, 2)
    eventually(lambda: done == [1, 2])
    # The next work does not wait until that is written.
    eventually(lambda: caplog.text.count("RuntimeError: no way") == 2)


def test_a_key_without_work_is_forgotten(workers: WorkerPool) -> None:
    in_turn = SerialQueue(workers)
    for number in range(20):
        in_turn.post(str(number), int)
    eventually(lambda: not in_turn._queues)
