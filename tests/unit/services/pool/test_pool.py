"""A pool of machines: what it takes, when it rents and releases machines, and how it ends."""

from __future__ import annotations

import functools
import itertools
import multiprocessing
import os
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import pytest

from simple_golem import Golem, Instance, Pool, PoolStats, Run, Service, vm
from simple_golem.errors import (
    BadInstanceCount,
    BadPayload,
    BadService,
    BadSetting,
    BadWaitTime,
    BadWork,
    BrokenPool,
    GolemError,
    NotRunning,
)
from simple_golem.services.pool import item_queue, renter
from simple_golem.services.pool.item import Item
from simple_golem.services.pool.ordered_results import OrderedResults
from simple_golem.testing import FakeAnswer, FakeYagna
from tests.helpers.recorded_services import SECONDS, Idle, InThread, calls, gate_of
from tests.unit.conftest import eventually


def agreements(fake: FakeYagna) -> int:
    return sum(one.method == "POST" and one.path.endswith("/agreements") for one in fake.requests)


def provider_name(machine: Instance) -> str | None:
    machine.shell("true")
    return machine.provider_name


def name_of(machine: Instance, _item: object = None) -> str:
    return machine.name


class Gates:
    """Where functions wait, each until it is let through; says how many are there."""

    def __init__(self) -> None:
        self.arrived = threading.Semaphore(0)
        self._let = threading.Semaphore(0)

    def wait(self, machine: Instance, item: object = None) -> object:
        self.arrived.release()
        assert self._let.acquire(timeout=SECONDS)
        return item

    def await_arrivals(self, number: int) -> None:
        for _ in range(number):
            assert self.arrived.acquire(timeout=SECONDS)

    def let_through(self, number: int) -> None:
        self._let.release(number)


# --- what it takes -----------------------------------------------------------------------------------


def test_machines_execute_items_and_the_results_have_their_order(fake: FakeYagna) -> None:
    for provider in fake.providers:
        provider.answers = lambda command: command["run"]["args"][-1].removeprefix("echo ") + "\n"

    def square(machine: Instance, number: int) -> int:
        return int(machine.shell(f"echo {number}").stdout) ** 2

    with Golem(1) as golem, golem.pool(3) as pool:
        assert list(pool.map(square, range(10))) == [number**2 for number in range(10)]
        assert isinstance(pool, Pool)
        assert golem.instances
    assert golem.instances[0].name == "pool-1"


def test_a_class_prepares_each_machine(fake: FakeYagna) -> None:
    class Prepared(Idle):
        payload = vm.repo(min_mem_gib=2)

        def start(self) -> None:
            super().start()
            self.word = "prepared"

    def work(machine: Instance) -> str:
        assert isinstance(machine.service, Prepared)
        return machine.service.word

    with Golem(1) as golem:
        with golem.pool(1, service=Prepared) as pool:
            assert pool.submit(work).result(SECONDS) == "prepared"
        (machine,) = golem.instances
        assert machine.name == "Prepared-1"
        assert calls(machine) == ["start", "shutdown"]


class Running(Service):
    def run(self) -> None:
        """Work of its own."""


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        ({"max_machines": 0}, BadInstanceCount, "max_machines is 0"),
        ({"max_machines": True}, BadInstanceCount, "max_machines is True"),
        ({"max_machines": "3"}, BadInstanceCount, "max_machines is '3'"),
        ({"service": Running}, BadService, r"Running has a run\(\) of its own"),
        ({"service": 3}, BadService, "3 is not a class"),
        ({"payload": 3}, BadPayload, "3 is not a payload"),
        ({"attempts": 0}, BadSetting, "attempts is 0"),
        ({"attempts": 1.5}, BadSetting, "attempts is 1.5"),
        ({"retry": (ValueError(),)}, BadSetting, "give classes of exceptions"),
        ({"retry": int}, BadSetting, "give classes of exceptions"),
        ({"item_timeout": -1}, BadWaitTime, "item_timeout can't be -1"),
        ({"idle_seconds": None}, BadWaitTime, "idle_seconds is a number"),
        ({"name": ""}, BadSetting, "name is ''"),
    ],
)
def test_arguments_that_make_no_sense_are_refused(
    fake: FakeYagna, options: dict[str, Any], error: type[Exception], says: str
) -> None:
    with Golem(1) as golem, pytest.raises(error, match=says):
        golem.pool(**{"max_machines": 1, **options})


def no_argument() -> None: ...


def keyword_only(*, machine: object) -> None: ...


def generator(machine: object) -> Iterator[int]:
    yield 1


async def coroutine(machine: object) -> None: ...


@pytest.mark.parametrize(
    ("work", "says"),
    [
        (3, "3 is not a function"),
        ("date", "'date' is not a function"),
        (no_argument, "no_argument takes no machine"),
        (keyword_only, "keyword_only takes no machine"),
        (generator, "generator is a generator"),
        (functools.partial(generator), "generator is a generator"),
        (coroutine, "coroutine is async"),
    ],
)
def test_work_that_no_machine_can_do_is_refused_at_the_call(fake: FakeYagna, work: Any, says: str) -> None:
    with Golem(1) as golem, golem.pool(1) as pool:
        for call in (pool.submit, lambda work: pool.map(work, [1])):
            with pytest.raises(BadWork, match=says):
                call(work)
        assert pool.stats == PoolStats()


def test_work_without_room_for_the_machine_and_the_item_is_refused_at_the_call(fake: FakeYagna) -> None:
    def square(number: int) -> int:
        return number * number

    def named(machine: Instance, *, by: int) -> int:
        return by

    with Golem(1) as golem, golem.pool(1) as pool:
        for call in (lambda: pool.map(square, [1]), lambda: pool.submit(square, 1)):
            with pytest.raises(BadWork, match="square can't be called with the machine and an item: its"):
                call()
        with pytest.raises(BadWork, match="with the machine and 2 arguments: its first argument is"):
            pool.map(named, [1], [2])
        with pytest.raises(BadWork, match="with the machine and size=…: its first argument is"):
            pool.submit(named, size=1)  # type: ignore[call-arg]
        assert pool.stats == PoolStats()


class Callable_:
    def __call__(self, machine: Instance) -> str:
        return "called"

    __hash__ = None  # type: ignore[assignment]

    def method(self, machine: Instance) -> str:
        return "method"


@pytest.mark.parametrize(
    ("work", "result"),
    [
        (Callable_(), "called"),
        (Callable_().method, "method"),
        (lambda *args: len(args), 1),
        (functools.partial(lambda word, machine: word, "partly"), "partly"),
        (isinstance, TypeError),
    ],
)
def test_anything_that_can_be_called_with_a_machine_is_work(fake: FakeYagna, work: Any, result: Any) -> None:
    with Golem(1) as golem, golem.pool(1) as pool:
        future = pool.submit(work)
        if isinstance(result, type):
            assert isinstance(future.exception(SECONDS), result)
        else:
            assert future.result(SECONDS) == result


def test_a_golem_that_is_not_open_has_no_pool() -> None:
    with pytest.raises(NotRunning, match="not open"):
        Golem(1, app_key="x").pool(1)


# --- maps --------------------------------------------------------------------------------------------


def test_an_endless_iterator_is_read_as_far_as_needed(fake: FakeYagna) -> None:
    read = 0

    def numbers() -> Iterator[int]:
        nonlocal read
        for number in itertools.count():
            read += 1
            yield number

    with Golem(1) as golem, golem.pool(2) as pool:
        results = pool.map(lambda machine, number: number, numbers())
        assert read == 8  # four for each machine
        assert list(itertools.islice(results, 100)) == list(range(100))
        assert read == 108


@pytest.mark.parametrize("size", [1, 3])
def test_no_more_items_are_held_than_the_buffer_has(fake: FakeYagna, size: int) -> None:
    held, most = 0, 0

    def numbers() -> Iterator[int]:
        nonlocal held, most
        for number in range(20):
            held += 1
            most = max(most, held)
            yield number

    with Golem(1) as golem, golem.pool(2) as pool:
        for _ in pool.map(name_of, numbers(), buffersize=size):
            held -= 1
        # The next item is taken before the loop gets the result.
        assert most == size + 1


@pytest.mark.parametrize("size", [0, -1, True, 1.5])
def test_a_buffer_that_holds_nothing_is_refused(fake: FakeYagna, size: Any) -> None:
    with Golem(1) as golem, golem.pool(1) as pool, pytest.raises(BadInstanceCount, match="buffersize is"):
        pool.map(name_of, [1], buffersize=size)


def test_an_error_of_the_items_comes_after_the_results_before_it(fake: FakeYagna) -> None:
    def broken() -> Iterator[int]:
        yield 1
        yield 2
        raise OSError("no more")

    with Golem(1) as golem, golem.pool(1) as pool:
        results = pool.map(lambda machine, number: number, broken())
        assert [next(results), next(results)] == [1, 2]
        with pytest.raises(OSError, match="no more"):
            next(results)


def test_closing_the_iterator_cancels_what_has_not_begun(fake: FakeYagna) -> None:
    gates = Gates()
    with Golem(1) as golem, golem.pool(1) as pool:
        results: Any = pool.map(gates.wait, range(100))
        gates.let_through(1)
        assert next(results) == 0
        gates.await_arrivals(2)
        results.close()
        gates.let_through(1)
        assert pool.submit(name_of).result(SECONDS) == "pool-1"
        assert pool.stats.done == 3
        assert pool.stats.waiting == pool.stats.under_way == 0


def test_results_that_nobody_refers_to_any_more_are_cancelled_wherever_garbage_is_collected(
    fake: FakeYagna,
) -> None:
    gates = Gates()
    with Golem(1) as golem, golem.pool(1) as pool:
        results = pool.map(gates.wait, range(100))
        gates.await_arrivals(1)
        # The garbage collector may run in any thread, also in one that has just taken the lock.
        with pool._queue.lock:
            del results
        eventually(lambda: pool.stats.waiting == 0)
        gates.let_through(1)
    assert pool.stats.done == 1


def test_results_that_were_never_read_are_cancelled_by_closing_them(fake: FakeYagna) -> None:
    gates = Gates()
    with Golem(1) as golem, golem.pool(1) as pool:
        results: Any = pool.map(gates.wait, range(100))
        gates.await_arrivals(1)
        results.close()
        assert pool.stats.waiting == 0
        assert list(results) == []
        gates.let_through(1)
    assert pool.stats.done == 1


def test_two_threads_may_read_the_same_results(fake: FakeYagna) -> None:
    with Golem(1) as golem, golem.pool(2) as pool:
        results = pool.map(lambda machine, number: number, range(200))
        with ThreadPoolExecutor(2) as readers:
            parts = list(readers.map(lambda _: list(results), range(2)))
    assert sorted([*parts[0], *parts[1]]) == list(range(200))


def test_an_empty_map_rents_nothing(fake: FakeYagna) -> None:
    with Golem(1) as golem, golem.pool(3) as pool:
        assert list(pool.map(name_of, [])) == []
    assert golem.instances == ()


# --- machines by need --------------------------------------------------------------------------------


def test_nothing_is_rented_before_the_first_item(fake: FakeYagna) -> None:
    with Golem(1) as golem, golem.pool(3) as pool:
        assert pool.machines == ()
    assert not any("/demands" in one.path for one in fake.requests)


def test_no_more_machines_are_rented_than_items_wait(fake: FakeYagna) -> None:
    with Golem(1) as golem, golem.pool(3) as pool:
        assert pool.submit(provider_name).result(SECONDS)
        assert len(pool.machines) == agreements(fake) == 1
        # The machine is there, so nothing else is rented for one more item.
        assert pool.submit(name_of).result(SECONDS) == "pool-1"
        gates = Gates()
        waiting = [pool.submit(gates.wait) for _ in range(2)]
        gates.await_arrivals(2)
        assert len(pool.machines) == agreements(fake) == 2
        gates.let_through(2)
        assert all(one.result(SECONDS) is None for one in waiting)


def test_one_provider_and_three_machines_make_one_agreement(monkeypatch: pytest.MonkeyPatch) -> None:
    with FakeYagna(1) as fake:
        for name, value in fake.environment.items():
            monkeypatch.setenv(name, value)
        with Golem(1) as golem, golem.pool(3) as pool:
            assert set(pool.map(provider_name_of_item, range(30))) == {"prov-1"}
            eventually(lambda: len(pool.machines) == 1)
        assert agreements(fake) == 1
        assert fake.leftovers() == []


def provider_name_of_item(machine: Instance, _item: int) -> str | None:
    return provider_name(machine)


def test_a_machine_without_items_is_released_and_another_one_comes(fake: FakeYagna) -> None:
    with Golem(1) as golem, golem.pool(1, idle_seconds=0.05) as pool:
        assert pool.submit(name_of).result(SECONDS) == "pool-1"
        eventually(lambda: pool.machines == ())
        eventually(lambda: not any(one.agreements for one in fake.providers))
        assert pool.submit(name_of).result(SECONDS) == "pool-2"
    assert [one.failure for one in golem.instances] == [None, None]


def test_machines_that_nothing_waits_for_any_more_are_not_rented(fake: FakeYagna) -> None:
    for provider in fake.providers:
        provider.proposals = "never"
    with Golem(1) as golem, golem.pool(3) as pool:
        futures = [pool.submit(name_of) for _ in range(2)]
        eventually(lambda: len(pool.machines) == 2)
        time.sleep(0.05)  # the thread that rents has nothing to do any more: the cancellation has to wake it
        futures[1].cancel()
        eventually(lambda: len(pool.machines) == 1)
        futures[0].cancel()
        eventually(lambda: pool.machines == ())
    assert agreements(fake) == 0


def test_a_machine_is_not_rented_for_an_item_that_nobody_waits_for_any_more(losing: FakeYagna) -> None:
    gates = Gates()
    begun = threading.Event()

    def lose(machine: Instance, _item: int) -> None:
        begun.set()
        for provider in losing.providers:
            provider.agreements_wanted = "never"
        (provider,) = (one for one in losing.providers if one.node_id == machine.provider_id)
        provider.terminate_agreement()
        machine.shell("sleep 600")

    with Golem(1) as golem, golem.pool(2) as pool:
        other = pool.submit(gates.wait)
        gates.await_arrivals(1)
        results: Any = pool.map(lose, [1])
        assert begun.wait(SECONDS)
        eventually(lambda: pool.stats.waiting == 1 and len(pool.machines) == 2 and pool.stats.machines == 1)
        time.sleep(0.05)
        results.close()
        eventually(lambda: len(pool.machines) == 1)
        gates.let_through(1)
        assert other.result(SECONDS) is None


def test_an_item_that_nobody_waits_for_any_more_is_not_begun_again(losing: FakeYagna) -> None:
    begun, closed = threading.Event(), threading.Event()

    def lose(machine: Instance, _item: int) -> None:
        begun.set()
        assert closed.wait(SECONDS)
        (provider,) = (one for one in losing.providers if one.node_id == machine.provider_id)
        provider.terminate_agreement()
        machine.shell("sleep 600")

    with Golem(1) as golem, golem.pool(1) as pool:
        results: Any = pool.map(lose, [1])
        assert begun.wait(SECONDS)
        results.close()
        closed.set()
        eventually(lambda: pool.stats.failed == 1)
        assert pool.stats.repeated == 0


class ShiftedTime:
    """The module `time`, some seconds later."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def monotonic(self) -> float:
        return time.monotonic() + self.seconds


def test_a_machine_is_replaced_before_its_agreement_ends(
    fake: FakeYagna, monkeypatch: pytest.MonkeyPatch
) -> None:
    later = ShiftedTime()
    for module in (renter, item_queue):
        monkeypatch.setattr(module, "time", later)
    with Golem(1) as golem, golem.pool(1) as pool:
        assert pool.submit(name_of).result(SECONDS) == "pool-1"
        (first,) = golem.clusters
        later.seconds = 3 * 3600 - 700  # 700 seconds are left: enough for an item, and for the end
        assert pool.submit(name_of).result(SECONDS) == "pool-1"
        later.seconds = 3 * 3600 - 600
        assert pool.submit(name_of).result(SECONDS) != "pool-1"
        assert len(golem.clusters) == 2
        assert golem.clusters[1].expiration >= first.expiration


def test_machines_are_rented_where_their_agreements_last(
    fake: FakeYagna, monkeypatch: pytest.MonkeyPatch
) -> None:
    later = ShiftedTime()
    for module in (renter, item_queue):
        monkeypatch.setattr(module, "time", later)
    with Golem(1) as golem, golem.pool(2) as pool:
        gates = Gates()
        one = pool.submit(gates.wait)
        gates.await_arrivals(1)
        later.seconds = 1.5 * 3600
        two = pool.submit(gates.wait)
        gates.await_arrivals(1)
        assert [len(cluster) for cluster in golem.clusters] == [1, 1]
        gates.let_through(2)
        assert (one.result(SECONDS), two.result(SECONDS)) == (None, None)


# --- machines that do not come -----------------------------------------------------------------------


class Broken(Service):
    def start(self) -> None:
        raise TypeError("not on any provider")


def test_a_pool_without_any_machine_is_broken(fake: FakeYagna) -> None:
    with Golem(1) as golem, golem.pool(2, service=Broken) as pool:
        futures = [pool.submit(name_of) for _ in range(3)]
        for future in futures:
            with pytest.raises(BrokenPool, match=r"no machine and gets none: .*not on any provider"):
                future.result(SECONDS)
        with pytest.raises(BrokenPool):
            pool.submit(name_of)
        with pytest.raises(BrokenPool):
            pool.map(name_of, [1])
    # What the machines failed of is no failure of the Golem.


def test_a_budget_that_is_used_up_ends_a_pool(fake: FakeYagna) -> None:
    for provider in fake.providers:
        provider.per_second = Decimal("0.01")
        provider.per_cpu_second = provider.start = Decimal(0)
    # A machine needs the price of 15 seconds; half a second more is there.
    with Golem("0.155") as golem, golem.pool(1) as pool:
        futures = [pool.submit(lambda machine: machine.shell("sleep 600")) for _ in range(3)]
        for future in futures:
            with pytest.raises(GolemError, match="budget"):
                future.result(3 * SECONDS)
        with pytest.raises(BrokenPool, match="budget"):
            pool.submit(name_of)


def test_a_pool_goes_on_if_the_user_stops_its_cluster(
    fake: FakeYagna, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(renter, "_RETRY_SECONDS", 0.05)
    with Golem(1) as golem, golem.pool(1) as pool:
        assert pool.submit(name_of).result(SECONDS) == "pool-1"
        golem.clusters[0].stop()
        assert pool.submit(name_of).result(SECONDS) != "pool-1"
        assert len(golem.clusters) == 2


def test_a_constructor_that_raises_is_told_at_the_call(fake: FakeYagna) -> None:
    class Picky(Service):
        def __init__(self) -> None:
            raise ValueError("not today")

    with Golem(1) as golem, pytest.raises(ValueError, match="not today"):
        golem.pool(1, service=Picky)


@pytest.mark.parametrize("failure", [ValueError, SystemExit])
def test_a_constructor_that_raises_later_breaks_the_pool(
    fake: FakeYagna, failure: type[BaseException]
) -> None:
    class Once(Service):
        made = 0

        def __init__(self) -> None:
            Once.made += 1
            if Once.made > 1:
                raise failure("only once")

    with Golem(1) as golem, golem.pool(1, service=Once) as pool:
        error = pool.submit(name_of).exception(SECONDS)
        assert isinstance(error, BrokenPool)
        assert "only once" in str(error)


def test_a_daemon_that_is_away_for_a_moment_does_not_break_a_pool(
    fake: FakeYagna, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(renter, "_RETRY_SECONDS", 0.05)
    with Golem(1) as golem, golem.pool(1) as pool:
        end = fake.intercept(
            lambda request: (
                FakeAnswer(500, b'{"message": "not now"}')
                if request.method == "POST" and request.path.endswith("/demands")
                else None
            )
        )
        future = pool.submit(name_of)
        eventually(lambda: "no machine could be rented, trying again" in caplog.text, 30)
        end()
        assert future.result(SECONDS).startswith("pool-")


# --- the end -----------------------------------------------------------------------------------------


def test_leaving_the_golem_cancels_what_waits_and_ends_the_rest(fake: FakeYagna) -> None:
    with Golem(1, stop_grace=0.1) as golem:
        pool = golem.pool(1)
        busy = pool.submit(lambda machine: machine.shell("sleep 600"))
        waiting = [pool.submit(name_of) for _ in range(3)]
        eventually(busy.running)
        eventually(lambda: any(one.commands for one in fake.providers))
    assert [one.cancelled() for one in waiting] == [True] * 3
    with pytest.raises(NotRunning, match="closed before the item was answered"):
        busy.result(0)
    with pytest.raises(NotRunning):
        pool.submit(name_of)


def test_leaving_by_an_error_cancels_what_waits_and_ends_the_rest(fake: FakeYagna) -> None:
    with Golem(1, stop_grace=0.1) as golem:
        with pytest.raises(OSError, match="of the script"), golem.pool(1) as pool:  # noqa: PT012
            busy = pool.submit(lambda machine: machine.shell("sleep 600"))
            waiting = pool.submit(name_of)
            eventually(lambda: any(one["run"] for p in fake.providers for one in p.commands if "run" in one))
            raise OSError("of the script")
        assert waiting.cancelled()
        assert isinstance(busy.exception(0), NotRunning)
        assert pool.machines == ()


def test_ctrl_c_ends_work_that_never_returns(fake: FakeYagna) -> None:
    never = threading.Event()
    golem = Golem(1)
    begun = time.monotonic()
    try:
        with pytest.raises(KeyboardInterrupt), golem, golem.pool(1) as pool:  # noqa: PT012
            stuck = pool.submit(lambda machine: never.wait(60))
            waiting = pool.submit(name_of)
            eventually(stuck.running)
            raise KeyboardInterrupt
        assert time.monotonic() - begun < 15
        assert waiting.cancelled()
        assert isinstance(stuck.exception(0), NotRunning)
    finally:
        never.set()


def test_a_result_that_comes_in_the_grace_of_the_end_counts(fake: FakeYagna) -> None:
    gate = gate_of(fake)
    with Golem(1) as golem:
        pool = golem.pool(1)
        future = pool.submit(lambda machine: str(machine.execute(Run("/bin/gate"))))
        gate.reached.wait(SECONDS)
        threading.Timer(0.1, gate.open).start()
    assert future.result(0) == "through the gate"


def test_two_threads_use_a_pool_at_once(fake: FakeYagna) -> None:
    results: list[list[int]] = []
    with Golem(1) as golem, golem.pool(2) as pool:

        def use(first: int) -> None:
            results.append(list(pool.map(lambda machine, number: number, range(first, first + 50))))

        threads = [threading.Thread(target=use, args=(first,)) for first in (0, 100, 200)]
        for one in threads:
            one.start()
        for one in threads:
            one.join()
    assert sorted(results) == [list(range(first, first + 50)) for first in (0, 100, 200)]


def test_a_pool_in_a_pool_works(fake: FakeYagna) -> None:
    with Golem(1) as golem:

        def outer(machine: Instance, number: int) -> list[int]:
            with golem.pool(1, name="inner") as inner:
                return list(inner.map(lambda machine, other: number * other, range(3)))

        with golem.pool(1, name="outer") as pool:
            assert list(pool.map(outer, range(2))) == [[0, 0, 0], [0, 1, 2]]


def test_work_may_submit_more_work_and_shut_the_pool_down(fake: FakeYagna) -> None:
    with Golem(1) as golem, golem.pool(1) as pool:

        def first(machine: Instance) -> Any:
            more = pool.submit(name_of)
            pool.shutdown()  # does not block here
            return more

        assert pool.submit(first).result(SECONDS).result(SECONDS) == "pool-1"


def test_work_that_returns_after_an_item_was_cancelled_is_not_disturbed(fake: FakeYagna) -> None:
    gates = Gates()
    with Golem(1) as golem, golem.pool(1) as pool:
        futures = [pool.submit(gates.wait, number) for number in range(10)]
        gates.await_arrivals(1)
        assert [one.cancel() for one in futures] == [False] + [True] * 9
        gates.let_through(1)
        assert futures[0].result(SECONDS) == 0
        assert pool.submit(name_of).result(SECONDS) == "pool-1"


def test_a_callback_that_ends_its_thread_does_not_end_the_pool(fake: FakeYagna) -> None:
    gates = Gates()
    with Golem(1) as golem:
        pool = golem.pool(1)
        future = pool.submit(gates.wait, 1)
        gates.await_arrivals(1)
        future.add_done_callback(lambda _: sys.exit("no more"))
        gates.let_through(1)
        assert pool.submit(name_of).result(SECONDS) != ""
        assert future.result(SECONDS) == 1
        assert InThread(pool.shutdown).join().error is None
        assert pool.stats.done == 2


def test_a_pool_says_how_far_it_is(fake: FakeYagna) -> None:
    gates = Gates()
    with Golem(1) as golem, golem.pool(1, name="numbers") as pool:
        futures = [pool.submit(gates.wait, number) for number in range(3)]
        gates.await_arrivals(1)
        stats = pool.stats
        assert (stats.waiting, stats.under_way, stats.done, stats.machines) == (2, 1, 0, 1)
        assert stats.seconds_left is None
        assert repr(pool) == "<Pool numbers: 0 of 3 items done, 1 under way, 2 waiting; 1 machines>"
        gates.let_through(2)
        futures[1].result(SECONDS)
        gates.await_arrivals(2)
        stats = pool.stats
        assert (stats.answered, stats.total) == (2, 3)
        assert stats.items_per_second > 0
        assert stats.seconds_left == pytest.approx(stats.seconds / 2)
        gates.let_through(1)
    assert pool.cost.amount > 0


def test_whoever_has_an_answer_finds_it_among_the_numbers(fake: FakeYagna) -> None:
    seen: list[PoolStats] = []
    gates = Gates()
    with Golem(1) as golem, golem.pool(1) as pool:
        done, failed = pool.submit(gates.wait), pool.submit(isinstance)
        for future in (done, failed):
            future.add_done_callback(lambda _: seen.append(pool.stats))
        gates.let_through(1)
        assert isinstance(failed.exception(SECONDS), TypeError)
    numbers = [(one.done, one.failed, one.under_way, one.waiting) for one in seen]
    assert numbers == [(1, 0, 0, 1), (1, 1, 0, 0)]


def test_a_pool_knows_the_items_that_a_map_has_not_submitted_yet(fake: FakeYagna) -> None:
    gates = Gates()
    with Golem(1) as golem, golem.pool(1) as pool:
        results: Any = pool.map(gates.wait, range(10))
        assert pool.stats.total == 10
        gates.let_through(2)
        assert [next(results), next(results)] == [0, 1]
        assert pool.stats.total == 10
        gates.await_arrivals(3)
        results.close()
        gates.let_through(1)
    assert pool.stats.total == 3


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform does not fork")
def test_a_forked_child_uses_no_pool_of_its_parent(fake: FakeYagna) -> None:
    with Golem(1) as golem, golem.pool(1) as pool:
        assert pool.submit(name_of).result(SECONDS) == "pool-1"
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("fork")) as children:
            pools.append(pool)
            assert children.submit(errors_in_child).result(SECONDS) == ["ForkedGolem"] * 4
        assert pool.submit(name_of).result(SECONDS) == "pool-1"


pools: list[Pool] = []


def errors_in_child() -> list[str]:
    pool = pools[0]
    names = []
    for call in (
        lambda: pool.submit(name_of),
        lambda: pool.map(name_of, [1]),
        pool.shutdown,
        lambda: pool.stats,
    ):
        try:
            call()
        except GolemError as error:
            names.append(type(error).__name__)
    return names


def test_results_are_waited_for_in_slices_in_which_a_ctrl_c_is_heard() -> None:
    """One that comes as a wait without an end begins is not heard before the end of it."""

    class Sliced(Future[Any]):
        def result(self, timeout: float | None = None) -> Any:
            assert timeout is not None
            return super().result(timeout)

    future = Sliced()
    future.set_result(3)
    items = iter([Item(1, print, (), {}, future)])
    queue: Any = SimpleNamespace(expect=lambda number: None, drop=lambda items, error: None)
    results = OrderedResults(lambda: next(items), queue, 1, None, 1, print, print)
    assert list(results) == [3]
