"""Each item is answered once, however often it is begun: machines are lost, fail, or take too long."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from simple_golem import CommandFailed, Golem, Instance, Run
from simple_golem.background.timer import Timer
from simple_golem.errors import ActivityLost, BatchLost, BatchTimeout, ItemTimeout, TransferFailed
from simple_golem.events import Event, ItemDone, ItemEvent, ItemRetried, ItemStarted
from simple_golem.services.pool import pool, pool_builder, renter
from simple_golem.services.pool.item import Attempt, Item, Machine
from simple_golem.services.pool.item_queue import ItemQueue
from simple_golem.services.pool.occupation import PoolOccupation
from simple_golem.testing import FakeProvider, FakeRequest, FakeYagna
from tests.helpers.hand_timer import HandTimer
from tests.helpers.recorded_services import SECONDS
from tests.unit.conftest import eventually

# The time of an item, which a test rings itself.
LONG = 600.0


def with_providers(monkeypatch: pytest.MonkeyPatch, fake: FakeYagna) -> FakeYagna:
    fake.serve()
    for name, value in fake.environment.items():
        monkeypatch.setenv(name, value)
    return fake


def agreements(fake: FakeYagna) -> int:
    return sum(one.method == "POST" and one.path.endswith("/agreements") for one in fake.requests)


def provider_of(fake: FakeYagna, machine: Instance) -> FakeProvider:
    return next(one for one in fake.providers if one.node_id == machine.provider_id)


class Attempts:
    """Work that notes on which machine each item was begun, and does what the test says."""

    def __init__(self, do: Any) -> None:
        self.of: dict[object, list[str]] = {}
        self._lock = threading.Lock()
        self._do = do

    def __call__(self, machine: Instance, item: Any = None) -> Any:
        with self._lock:
            began = self.of.setdefault(item, [])
            began.append(machine.provider_name or "")
            number = len(began)
        return self._do(machine, item, number)

    @property
    def number(self) -> int:
        return sum(map(len, self.of.values()))


# --- machines that are lost --------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["terminate_agreement", "kill_exe_unit"])
def test_an_item_whose_machine_was_lost_goes_to_another(losing: FakeYagna, how: str) -> None:
    def lose_first(machine: Instance, item: int, number: int) -> int:
        if item == 3 and number == 1:
            getattr(provider_of(losing, machine), how)()
            machine.execute(Run("/bin/sleep", "600"))
        return item

    work = Attempts(lose_first)
    events: list[Event] = []
    with Golem(1, health_interval=0.1) as golem:
        golem.on_event(events.append)
        with golem.pool(1) as pool:
            assert list(pool.map(work, range(10))) == list(range(10))
            assert pool.stats.repeated == 1
    assert [len(work.of[item]) for item in range(10)] == [1, 1, 1, 2, 1, 1, 1, 1, 1, 1]
    assert len(set(work.of[3])) == 2
    # No failure of the Golem, although the machine is one.
    assert any(one.failure for one in golem.instances)
    (retried,) = (one for one in events if isinstance(one, ItemRetried))
    assert (retried.item, retried.pool, retried.instance) == (4, "pool", "pool-1")


def test_it_is_begun_next_also_if_others_wait(losing: FakeYagna) -> None:
    order: list[int] = []
    waiting_again = threading.Event()

    def create_when_it_waits_again(request: FakeRequest) -> None:
        # The next machine may come before the thread of the first one has noticed that it is lost.
        if order and (request.method, request.path) == ("POST", "/activity-api/v1/activity"):
            eventually(lambda: pool.stats.waiting == 4, SECONDS)
            waiting_again.set()

    losing.intercept(create_when_it_waits_again)

    def lose_first(machine: Instance, item: int, number: int) -> int:
        order.append(item)
        if item == 0 and number == 1:
            provider_of(losing, machine).terminate_agreement()
            machine.shell("sleep 600")
        return item

    with Golem(1) as golem, golem.pool(1) as pool:
        list(pool.map(Attempts(lose_first), range(4)))
    assert waiting_again.is_set()
    assert order == [0, 0, 1, 2, 3]


def test_attempts_are_counted_and_used_up(losing: FakeYagna) -> None:
    def lose(machine: Instance, item: int, number: int) -> int:
        if item == 1:
            provider_of(losing, machine).terminate_agreement()
            machine.shell("sleep 600")
        return item

    work = Attempts(lose)
    with Golem(1) as golem, golem.pool(1, attempts=2) as pool:
        futures = [pool.submit(work, item) for item in range(3)]
        with pytest.raises(ActivityLost, match="has ended while it worked on the item"):
            futures[1].result(SECONDS)
        assert [futures[0].result(SECONDS), futures[2].result(SECONDS)] == [0, 2]
        assert pool.stats.failed == 1
    assert [len(work.of[item]) for item in range(3)] == [1, 2, 1]


def test_a_machine_that_can_not_start_is_not_replaced_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool_builder, "_START_ATTEMPTS", 1)
    good = threading.Event()

    def wait_for_it(machine: Instance, item: int) -> int:
        assert good.wait(SECONDS)
        return item

    providers = [FakeProvider(), FakeProvider(deploy_error="no space left", per_second=Decimal(1))]
    with (
        with_providers(monkeypatch, FakeYagna(providers)) as fake,
        Golem(20) as golem,
        golem.pool(2) as pool,
    ):
        results = pool.map(wait_for_it, range(3))
        eventually(lambda: any(one.failure for one in golem.instances))
        time.sleep(0.3)  # the next one comes after 30 seconds: each costs something
        assert len(golem.instances) == 2
        assert agreements(fake) == 2
        good.set()
        assert list(results) == [0, 1, 2]


def test_a_lost_machine_is_final_without_retry(littered: FakeYagna) -> None:
    # Nobody waits for the invoice of a provider that has gone.
    fake = littered

    def lose(machine: Instance, item: object, number: int) -> None:
        provider_of(fake, machine).terminate_agreement()
        machine.shell("sleep 600")

    work = Attempts(lose)
    with Golem(1) as golem, golem.pool(1, retry=()) as pool, pytest.raises(ActivityLost):
        pool.submit(work).result(SECONDS)
    assert work.number == 1


def test_what_a_lost_machine_makes_the_work_raise_is_no_answer(losing: FakeYagna) -> None:
    def wrapped(machine: Instance, item: object, number: int) -> str:
        if number == 1:
            provider_of(losing, machine).terminate_agreement()
            try:
                machine.shell("sleep 600")
            except BaseException as error:
                raise ValueError("the user's own words") from error
        return "done"

    with Golem(1) as golem, golem.pool(1) as pool:
        assert pool.submit(Attempts(wrapped)).result(SECONDS) == "done"


def test_a_machine_that_the_work_stops_is_replaced(fake: FakeYagna) -> None:
    def stop(machine: Instance, item: int, number: int) -> str:
        machine.stop()
        return machine.name

    with Golem(1) as golem, golem.pool(1) as pool:
        assert list(pool.map(Attempts(stop), range(3))) == ["pool-1", "pool-2", "pool-3"]


# --- commands that fail ------------------------------------------------------------------------------


def run_it(machine: Instance, item: object, number: int) -> str | None:
    machine.execute(Run("/bin/it", str(item)))
    return machine.provider_name


def test_a_failed_command_is_tried_on_one_other_provider(fake: FakeYagna) -> None:
    fake.providers[0].answers = {"/bin/it": 1}
    work = Attempts(run_it)
    with Golem(1) as golem, golem.pool(3) as pool:
        names = set(pool.map(work, range(30)))
    assert names <= {"prov-2", "prov-3"}
    assert all(len(set(began)) == len(began) <= 2 for began in work.of.values())


def test_the_second_failure_is_the_answer(fake: FakeYagna) -> None:
    for number, provider in enumerate(fake.providers):
        provider.answers = {"/bin/it": 10 + number}
    work = Attempts(run_it)
    with Golem(1) as golem, golem.pool(3) as pool, pytest.raises(CommandFailed) as caught:
        pool.submit(work).result(SECONDS)
    first, second = work.of[None]
    assert first != second
    assert second in caught.value.provider


def test_a_pool_of_one_machine_goes_to_another_provider(fake: FakeYagna) -> None:
    bad: list[str] = []

    def fail_on_first(machine: Instance, item: object, number: int) -> str | None:
        if not bad:
            provider = provider_of(fake, machine)
            provider.answers = {"/bin/it": 1}
            bad.append(provider.name)
        return run_it(machine, item, number)

    work = Attempts(fail_on_first)
    with Golem(1) as golem, golem.pool(1) as pool:
        name = pool.submit(work).result(SECONDS)
    assert bad == [work.of[None][0]]
    assert name == work.of[None][1] != bad[0]
    assert len(golem.instances) == 2


def test_the_first_failure_is_the_answer_if_no_other_provider_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(renter, "OTHER_PROVIDER_SECONDS", 0.2)
    with with_providers(monkeypatch, FakeYagna([FakeProvider(answers={"/bin/it": 7})])) as fake:
        work = Attempts(run_it)
        with Golem(1) as golem, golem.pool(1) as pool:
            with pytest.raises(CommandFailed, match="exit code 7"):
                pool.submit(work).result(SECONDS)
            # Meanwhile the provider on which it has failed was not rented again, since that costs something.
            assert agreements(fake) == 1
            # The pool goes on, also with the same provider.
            fake.provider.answers = None
            assert pool.submit(work, 2).result(SECONDS) == "prov-1"
        assert work.number == 2
        assert fake.leftovers() == []


def test_another_provider_is_looked_for_also_while_the_first_one_does_other_items(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with with_providers(monkeypatch, FakeYagna([FakeProvider(answers={"/bin/it": 1})])) as fake:
        work = Attempts(run_it)
        with Golem(1) as golem, golem.pool(2) as pool:
            failing = pool.submit(work)
            eventually(lambda: work.number == 1 and pool.stats.waiting == 1)
            # The machine is as good as any again, but not for the item that has failed there.
            assert pool.submit(lambda machine: machine.provider_name).result(SECONDS) == fake.provider.name
            other = fake.add(FakeProvider())
            assert failing.result(SECONDS) == other.name


@pytest.mark.parametrize("options", [{"retry": ()}, {"attempts": 1}, {"retry": OSError}])
def test_a_failed_command_can_be_final(fake: FakeYagna, options: dict[str, Any]) -> None:
    for provider in fake.providers:
        provider.answers = {"/bin/it": 1}
    work = Attempts(run_it)
    with Golem(1) as golem, golem.pool(2, **options) as pool, pytest.raises(CommandFailed):
        pool.submit(work).result(SECONDS)
    assert work.number == 1


def test_a_transfer_that_failed_is_tried_on_one_other_provider(fake: FakeYagna) -> None:
    def transfer(machine: Instance, item: object, number: int) -> None:
        raise TransferFailed("not all of it came")

    work = Attempts(transfer)
    with Golem(1) as golem, golem.pool(2) as pool, pytest.raises(TransferFailed):
        pool.submit(work).result(SECONDS)
    assert len(set(work.of[None])) == len(work.of[None]) == 2


def test_a_machine_that_fails_fast_gets_no_more_items_than_the_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with with_providers(monkeypatch, FakeYagna(2)) as fake:
        bad = fake.providers[0]
        bad.answers = {"/bin/it": 1}
        ready = threading.Barrier(2)
        order: list[str] = []
        begin = ItemQueue._begin_locked

        def noted(queue: ItemQueue, item: Item, machine: Machine) -> Attempt:
            # Under the lock. The threads of the machines begin their work in any order.
            order.append(machine.provider_id)
            return begin(queue, item, machine)

        monkeypatch.setattr(ItemQueue, "_begin_locked", noted)

        def slowly(machine: Instance, item: int, number: int) -> int:
            if item < 2 and number == 1:
                ready.wait(SECONDS)  # both machines are there
            if machine.provider_name != bad.name:
                time.sleep(0.01)
            machine.execute(Run("/bin/it"))
            return item

        with Golem(1) as golem, golem.pool(2) as pool:
            assert list(pool.map(Attempts(slowly), range(20))) == list(range(20))
        begun = Counter[str]()
        good = fake.providers[1]
        for provider_id in order:
            begun[provider_id] += 1
            assert begun[bad.node_id] <= max(1, begun[good.node_id]), order
        assert begun[good.node_id] == 20
        assert fake.leftovers() == []


# --- other errors ------------------------------------------------------------------------------------


def fail_twice(machine: Instance, item: object, number: int) -> int:
    if number < 3:
        raise OSError(f"attempt {number}")
    return number


def test_other_errors_are_final(fake: FakeYagna) -> None:
    work = Attempts(fail_twice)
    with Golem(1) as golem, golem.pool(2) as pool, pytest.raises(OSError, match="attempt 1"):
        pool.submit(work).result(SECONDS)
    assert work.number == 1


def test_other_errors_can_be_tried_again(fake: FakeYagna) -> None:
    with Golem(1) as golem:
        with golem.pool(2, retry=(*golem.pool(1).default_retry, ConnectionError, OSError)) as pool:
            assert pool.submit(Attempts(fail_twice)).result(SECONDS) == 3
        with golem.pool(2, retry=OSError, attempts=2) as pool, pytest.raises(OSError, match="attempt 2"):
            pool.submit(Attempts(fail_twice)).result(SECONDS)


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), GeneratorExit()])
def test_even_the_end_of_a_program_ends_one_item_only(fake: FakeYagna, error: BaseException) -> None:
    def leave(machine: Instance) -> None:
        raise error

    with Golem(1) as golem, golem.pool(1) as pool:
        future = pool.submit(leave)
        assert future.exception(SECONDS) is error
        assert pool.submit(lambda machine: machine.name).result(SECONDS) == "pool-1"


def test_a_machine_whose_batch_timed_out_gets_no_more_items(fake: FakeYagna) -> None:
    def impatient(machine: Instance) -> None:
        machine.shell("sleep 600", timeout=0.05)

    with Golem(1, stop_grace=0.1) as golem, golem.pool(1) as pool:
        with pytest.raises(BatchTimeout):
            pool.submit(impatient).result(SECONDS)
        assert pool.submit(lambda machine: machine.name).result(SECONDS) == "pool-2"


def test_a_machine_that_may_be_gone_gets_no_more_items(fake: FakeYagna) -> None:
    def lose_a_batch(machine: Instance, item: object, number: int) -> str:
        if number == 1:
            raise BatchLost("nobody can know whether it ran")
        return machine.name

    with Golem(1) as golem, golem.pool(1) as pool:
        assert pool.submit(Attempts(lose_a_batch)).result(SECONDS) == "pool-2"


# --- items that take too long ------------------------------------------------------------------------


@pytest.fixture
def time_is_up(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Called by an item: the time of all items that are under way is over."""
    alarms = HandTimer()

    def occupation(name: str, queue: Any, limit: float, grace: float, _: Timer, *more: Any) -> PoolOccupation:
        return PoolOccupation(name, queue, limit, grace, alarms, *more)

    monkeypatch.setattr(pool, "PoolOccupation", occupation)
    return alarms.ring_all


def test_an_item_that_takes_too_long_goes_to_another_machine(
    fake: FakeYagna, time_is_up: Callable[[], None]
) -> None:
    def hang(machine: Instance, item: int, number: int) -> int:
        if item == 1 and number == 1:
            time_is_up()
            machine.shell("sleep 600")
        return item

    work = Attempts(hang)
    with Golem(1, stop_grace=0.1) as golem, golem.pool(1, item_timeout=LONG) as pool:
        assert list(pool.map(work, range(4))) == [0, 1, 2, 3]
        # The machine does not go on with what nobody waits for.
        eventually(lambda: golem.instances[0].state.is_final)
        assert pool.stats.machines == 1
    assert [len(work.of[item]) for item in range(4)] == [1, 2, 1, 1]


def test_an_item_that_always_takes_too_long_fails(fake: FakeYagna, time_is_up: Callable[[], None]) -> None:
    def hang(machine: Instance) -> None:
        time_is_up()
        machine.shell("sleep 600")

    with Golem(1, stop_grace=0.1) as golem, golem.pool(2, item_timeout=LONG, attempts=2) as pool:
        future = pool.submit(hang)
        with pytest.raises(ItemTimeout, match=r"item 1 took longer than 600 s on pool-. on prov-.|pool-"):
            future.result(SECONDS)


def test_a_result_that_comes_late_counts_if_it_is_the_first(
    fake: FakeYagna, time_is_up: Callable[[], None]
) -> None:
    late, elsewhere, counted = threading.Event(), threading.Event(), threading.Event()

    def work(machine: Instance, item: object, number: int) -> str:
        if number == 1:
            time_is_up()
            assert late.wait(SECONDS)
            return "late"
        elsewhere.set()
        assert counted.wait(SECONDS)
        return "second"

    with Golem(1) as golem, golem.pool(2, item_timeout=LONG, attempts=2) as pool:
        future = pool.submit(Attempts(work))
        assert elsewhere.wait(SECONDS)
        late.set()
        assert future.result(SECONDS) == "late"
        counted.set()
        eventually(lambda: pool.stats.under_way == 0)
        assert (pool.stats.done, pool.stats.failed) == (1, 0)


def test_a_result_that_comes_late_is_not_waited_for_elsewhere(
    monkeypatch: pytest.MonkeyPatch, time_is_up: Callable[[], None]
) -> None:
    late, begun = threading.Event(), threading.Event()

    def work(machine: Instance) -> str:
        fake.providers[0].agreements_wanted = "never"
        time_is_up()
        begun.set()
        assert late.wait(SECONDS)
        return "late"

    with (
        with_providers(monkeypatch, FakeYagna(1)) as fake,
        Golem(1, stop_grace=0.1) as golem,
        golem.pool(1, item_timeout=LONG) as pool,
    ):
        future = pool.submit(work)
        assert begun.wait(SECONDS)
        eventually(lambda: pool.stats.waiting == 1)
        late.set()
        assert future.result(SECONDS) == "late"
        assert (pool.stats.waiting, pool.stats.under_way, pool.stats.done) == (0, 0, 1)


def test_a_result_that_comes_late_changes_nothing_once_there_is_an_answer(
    fake: FakeYagna, tmp_path: Path, caplog: pytest.LogCaptureFixture, time_is_up: Callable[[], None]
) -> None:
    late, returned = threading.Event(), threading.Event()

    def work(machine: Instance, item: object, number: int) -> str:
        if number == 1:
            time_is_up()
            assert late.wait(SECONDS)
            returned.set()
            return "late"
        return "second"

    with Golem(1) as golem, golem.pool(2, item_timeout=LONG) as pool:
        results = pool.map(Attempts(work), ["item"], results_file=tmp_path / "work.jsonl")
        assert next(results) == "second"
        late.set()
        assert returned.wait(SECONDS)
    assert (pool.stats.done, pool.stats.failed) == (1, 0)
    assert len((tmp_path / "work.jsonl").read_text().splitlines()) == 2  # what it is, and one answer
    assert not [one for one in caplog.records if one.levelname == "ERROR"]


# --- events ------------------------------------------------------------------------------------------


def test_events_tell_of_each_item(fake: FakeYagna) -> None:
    fake.providers[0].answers = {"/bin/it": 1}
    events: list[Event] = []
    with Golem(1) as golem:
        golem.on_event(events.append)
        with golem.pool(2, name="its") as pool:
            list(pool.map(Attempts(run_it), range(5)))
            with pytest.raises(OSError, match="attempt 1"):
                pool.submit(Attempts(fail_twice)).result(SECONDS)
    of_items = [one for one in events if isinstance(one, ItemEvent)]
    assert {one.pool for one in of_items} == {"its"}
    assert sorted(one.item for one in of_items if isinstance(one, ItemDone)) == [1, 2, 3, 4, 5, 6]
    for number in range(1, 7):
        kinds = [type(one) for one in of_items if one.item == number]
        retried = kinds.count(ItemRetried)
        assert kinds.count(ItemStarted) == retried + 1
        assert kinds[0] is ItemStarted
        assert kinds[-1] is ItemDone
    (failed,) = (one for one in of_items if isinstance(one, ItemDone) and one.failure)
    assert str(failed).endswith("item 6 of its failed: attempt 1")
    assert failed.stats.answered == 6
