"""The one thread class, and the pools: nothing dies silently, nothing is left idle."""

from __future__ import annotations

import gc
import logging
import threading
import time
import weakref
from collections.abc import Iterator
from concurrent.futures import CancelledError

import pytest

from simple_golem.background import threads
from simple_golem.background.threads import EngineThread, InstancePool, WorkerPool, on_engine_thread
from tests.unit.conftest import eventually


class Thing:
    """Something that can be referred to weakly."""


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    """What a test's busy threads wait for; open at the latest when the test ends."""
    event = threading.Event()
    yield event
    event.set()


@pytest.fixture(autouse=True)
def no_idle_thread_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """Threads of a pool stay until it is closed, however slow the machine is."""
    monkeypatch.setattr(threads, "_IDLE_THREAD_SECONDS", 600.0)


def alive(prefix: str) -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith(prefix)]


def test_a_thread_hands_its_result_over() -> None:
    thread = EngineThread("adder", lambda a, b: a + b, 2, 3).start()
    assert thread.join(20)
    assert thread.result == 5
    assert thread.exception is None


def test_a_thread_hands_its_exception_over_and_logs_it(caplog: pytest.LogCaptureFixture) -> None:
    def fail() -> None:
        raise ValueError("broken")

    with caplog.at_level(logging.ERROR, "simple_golem"):
        thread = EngineThread("failing", fail).start()
        assert thread.join(20)
    assert isinstance(thread.exception, ValueError)
    assert "failing" in caplog.text
    assert "broken" in caplog.text


def test_joining_a_busy_thread_gives_up_in_time(gate: threading.Event) -> None:
    thread = EngineThread("busy", gate.wait).start()
    assert not thread.join(0.02)
    assert thread.alive
    gate.set()
    assert thread.join(20)
    assert not thread.alive


def test_a_thread_that_was_never_started_need_not_be_waited_for() -> None:
    assert EngineThread("unborn", print).join(0)


def test_a_thread_does_not_wait_for_itself() -> None:
    answers: list[bool] = []
    box: list[EngineThread] = []
    thread = EngineThread("narcissus", lambda: answers.append(box[0].join(20)))
    box.append(thread)
    thread.start()
    assert thread.join(20)
    assert answers == [False]


def test_a_thread_does_not_keep_the_process_alive(gate: threading.Event) -> None:
    EngineThread("endless", gate.wait).start()
    (mine,) = [thread for thread in threading.enumerate() if thread.name == "endless"]
    assert mine.daemon


def test_a_thread_knows_that_it_is_one_of_the_engine() -> None:
    thread = EngineThread("asked", on_engine_thread).start()
    assert thread.join(20)
    assert thread.result is True
    assert on_engine_thread() is False


def test_an_ended_thread_keeps_no_argument_in_memory() -> None:
    thing = Thing()
    seen = weakref.ref(thing)
    thread = EngineThread("forgetful", lambda thing: None, thing).start()
    assert thread.join(20)
    del thing
    gc.collect()
    assert seen() is None


def test_a_pool_hands_results_and_exceptions_over() -> None:
    pool = WorkerPool("handing", 2)
    good = pool.submit(lambda a: a * 2, 21)
    bad = pool.submit(int, "no number")
    assert good.result(20) == 42
    with pytest.raises(ValueError, match="no number"):
        bad.result(20)
    assert pool.close(20) == []


def test_a_pool_survives_work_that_fails() -> None:
    pool = WorkerPool("surviving", 1)
    bad = pool.submit(int, "no number")
    assert isinstance(bad.exception(20), ValueError)
    assert pool.submit(lambda: "still here").result(20) == "still here"
    assert pool.close(20) == []


def test_a_pool_works_side_by_side_up_to_its_limit(gate: threading.Event) -> None:
    pool = WorkerPool("limited", 2)
    begun = threading.Semaphore(0)

    def work() -> None:
        begun.release()
        gate.wait()

    futures = [pool.submit(work) for _ in range(5)]
    assert begun.acquire(timeout=20)
    assert begun.acquire(timeout=20)
    assert not begun.acquire(timeout=0.05)
    assert len(alive("limited-")) == 2
    gate.set()
    for future in futures:
        future.result(20)
    assert pool.close(20) == []


def test_a_pool_of_one_works_in_the_order_of_submission() -> None:
    pool = WorkerPool("ordered", 1)
    seen: list[int] = []
    futures = [pool.submit(seen.append, number) for number in range(50)]
    for future in futures:
        future.result(20)
    assert seen == list(range(50))
    assert pool.close(20) == []


def test_an_idle_thread_is_used_again() -> None:
    pool = WorkerPool("thrifty", 8)
    names = {pool.submit(lambda: threading.current_thread().name).result(20)}
    for _ in range(20):
        wait_for_idle(pool)
        names.add(pool.submit(lambda: threading.current_thread().name).result(20))
    assert names == {"thrifty-1"}
    assert pool.close(20) == []


def wait_for_idle(pool: WorkerPool) -> None:
    until = time.monotonic() + 20
    while not pool._idle:
        assert time.monotonic() < until
        time.sleep(0.001)


def test_threads_end_when_they_have_nothing_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "_IDLE_THREAD_SECONDS", 0.02)
    pool = WorkerPool("leaving", 4)
    pool.submit(lambda: None).result(20)
    until = time.monotonic() + 20
    while alive("leaving-"):
        assert time.monotonic() < until
        time.sleep(0.005)
    assert pool.submit(lambda: "and come back").result(20) == "and come back"
    assert pool.close(20) == []


def test_an_idle_thread_keeps_nothing_of_its_last_work_in_memory() -> None:
    pool = WorkerPool("clean", 1)
    thing = Thing()
    given, made = weakref.ref(thing), pool.submit(lambda thing: [Thing()], thing)
    result = weakref.ref(made.result(20)[0])
    del thing, made
    wait_for_idle(pool)
    gc.collect()
    assert given() is None
    assert result() is None
    assert pool.close(20) == []


def test_closing_cancels_what_has_not_begun_and_names_the_stuck(gate: threading.Event) -> None:
    pool = WorkerPool("closing", 1)
    begun = threading.Event()

    def work() -> bool:
        begun.set()
        return gate.wait()

    stuck = pool.submit(work)
    unbegun = pool.submit(lambda: None)
    assert begun.wait(20)
    # It would wait for ever without its limit.
    assert pool.close(0.05) == ["closing-1"]
    with pytest.raises(CancelledError):
        unbegun.result(0)
    gate.set()
    assert stuck.result(20) is True


def test_a_closed_pool_takes_nothing_more() -> None:
    pool = WorkerPool("shut", 1)
    pool.close(0)
    with pytest.raises(RuntimeError, match="shut"):
        pool.submit(print)


def test_closing_wakes_the_idle_at_once() -> None:
    pool = WorkerPool("asleep", 1)
    pool.submit(lambda: None).result(20)
    wait_for_idle(pool)
    assert pool.close(20) == []
    assert alive("asleep-") == []


def test_work_posted_to_a_closed_pool_is_dropped(caplog: pytest.LogCaptureFixture) -> None:
    pool = WorkerPool("pool", limit=1)
    pool.close()
    done: list[int] = []
    pool.post(done.append, 1)
    assert done == []
    assert caplog.records == []


def test_a_pool_may_be_closed_by_its_own_work() -> None:
    pool = WorkerPool("suicidal", 1)
    assert pool.submit(pool.close, 5).result(20) == []


def test_without_threads_work_is_done_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    pool = WorkerPool("poor", 1)

    def refuse(thread: EngineThread) -> EngineThread:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(EngineThread, "start", refuse)
        future = pool.submit(threading.get_ident)
        assert future.done()
        assert future.result(0) == threading.get_ident()
    assert pool.submit(threading.get_ident).result(20) != threading.get_ident()
    assert pool.close(20) == []


def test_the_pool_of_an_instance_has_a_life_and_one_helper(gate: threading.Event) -> None:
    pool = InstancePool("Hello-1", gate.wait)
    assert alive("Hello-1") == []
    pool.start()
    assert alive("Hello-1") == ["Hello-1"]
    names = [pool.submit(lambda: threading.current_thread().name) for _ in range(3)]
    assert {name.result(20) for name in names} == {"Hello-1-outside-1"}
    gate.set()
    assert pool.close(20) == []
    assert alive("Hello-1") == []


def test_closing_the_pool_of_an_instance_names_its_stuck_life(gate: threading.Event) -> None:
    pool = InstancePool("Hello-2", gate.wait)
    pool.start()
    assert pool.close(0.02) == ["Hello-2"]


def test_closing_a_pool_waits_also_for_a_thread_that_was_idle_for_too_long(
    gate: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = WorkerPool._work

    def work_and_linger(pool: WorkerPool) -> None:
        work(pool)
        gate.wait(10)

    monkeypatch.setattr(threads, "_IDLE_THREAD_SECONDS", 0.01)
    monkeypatch.setattr(WorkerPool, "_work", work_and_linger)
    pool = WorkerPool("lingering", 1)
    pool.submit(int).result(10)
    eventually(lambda: pool._leaving)
    assert pool.close(0.02) == ["lingering-1"]
    gate.set()
    assert pool.close(10) == []
    assert alive("lingering") == []
