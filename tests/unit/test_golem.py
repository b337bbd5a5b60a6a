"""A Golem on a daemon in memory: opened, closed in every way, its money, its events, and its signals."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

import simple_golem
from simple_golem import Golem, Instance, Run, Service, ServiceFailed, vm
from simple_golem.background.forks import current_process
from simple_golem.engine.shutdown_times import ShutdownTimes
from simple_golem.errors import (
    AllocationRefused,
    BadAppKey,
    BadBudget,
    BadListener,
    BadSetting,
    BadStrategy,
    BadTerms,
    BadWaitTime,
    NoAppKey,
    NoDaemon,
    NotRunning,
    OutOfBudget,
    UnknownImage,
    UnknownNetwork,
    WaitTimeout,
)
from simple_golem.services.lifecycle import Lifecycle
from simple_golem.testing import FakeAnswer, FakeProvider, FakeRequest, FakeYagna
from tests.helpers.guarded_dict import GuardedDict
from tests.helpers.recorded_services import (
    NORMAL_LIFE,
    SECONDS,
    Idle,
    InThread,
    Sleeping,
    await_sleep,
    begun,
    calls,
    gate_of,
    seconds_of,
    started,
    states,
)
from tests.unit.conftest import eventually

# Windows has the first two only.
END_SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]

ROOT = Path(simple_golem.__file__).resolve().parents[1]
# What an interruption may take for the batch of an instance, at three times its length.
INTERRUPTED_SECONDS = 3 * 1.0
ABORTED_SECONDS = 3 * 1.5


class Broken(Idle):
    def run(self) -> Any:
        raise LookupError("no such luck")


# --- open and close ----------------------------------------------------------------------------------


def test_it_can_be_opened_and_closed_without_with_from_any_thread(fake: FakeYagna) -> None:
    golem = Golem(1)
    assert repr(golem) == "<Golem: not open>"
    assert golem.budget == 1
    assert golem.cost.amount == 0
    assert golem.cost_report.entries == ()
    assert InThread(golem.open).join().value is golem
    assert golem.open() is golem
    instance = started(golem)
    assert repr(golem).startswith("<Golem: open, 1 instance, cost 0 tGLM accepted, and ")
    assert InThread(golem.close).join().error is None
    golem.close()
    assert states(instance) == NORMAL_LIFE
    assert fake.leftovers() == []
    assert repr(golem).startswith("<Golem: closed, 1 instance, cost ")
    assert golem.cost.amount > 0
    assert golem.instances == (instance,)
    assert [entry.is_invoiced for entry in golem.cost_report.entries] == [True]
    posted = [
        one for one in fake.requests if (one.method, one.path) == ("POST", "/payment-api/v1/allocations")
    ]
    assert len(posted) == 1


def test_a_cost_report_can_be_read_while_other_threads_change_the_accounts(fake: FakeYagna) -> None:
    with Golem(1) as golem:
        started(golem)
        opened = golem._lifecycle.opened
        assert opened is not None
        ledger = opened.session.money.ledger
        (account,) = ledger.accounts()
        account.activities = guarded = GuardedDict(ledger.lock, account.activities)
        report = golem.cost_report
        assert sum(entry.amount for entry in report.entries) == report.total.amount
        assert guarded.looks > 0
        assert guarded.unguarded == 0


def test_an_interruption_right_after_the_opening_leaves_nothing(
    fake: FakeYagna, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Interrupted(set[Any]):
        def add(self, _: object) -> None:
            raise KeyboardInterrupt

    monkeypatch.setattr("simple_golem.services.lifecycle._open", Interrupted())
    with pytest.raises(KeyboardInterrupt):
        Golem(1).open()
    assert fake.leftovers() == []


def test_a_golem_that_another_thread_closes_while_it_is_opened_is_not_open_at_the_end_of_the_program(
    fake: FakeYagna, monkeypatch: pytest.MonkeyPatch
) -> None:
    golem = Golem(1)

    class ClosedMeanwhile(set[Any]):
        def add(self, one: object) -> None:
            assert InThread(golem.close).join().error is None
            super().add(one)

    still_open = ClosedMeanwhile()
    monkeypatch.setattr("simple_golem.services.lifecycle._open", still_open)
    golem.open()
    assert still_open == set()


def test_what_can_be_read_before_the_opening_can_be_read_while_that_fails(
    fake: FakeYagna, monkeypatch: pytest.MonkeyPatch
) -> None:
    class FailsMeanwhile:
        """Is there at the first look, and not at the second one."""

        looks = 0

        def __get__(self, lifecycle: object, kind: object) -> object:
            self.looks += 1
            return opened if self.looks % 2 == 1 else None

        def __set__(self, lifecycle: object, value: object) -> None: ...

    with Golem(1) as open_golem:
        opened = open_golem._lifecycle.opened
        lifecycle = Golem(1)._lifecycle
        with monkeypatch.context() as patch:
            patch.setattr(Lifecycle, "opened", FailsMeanwhile(), raising=False)
            assert lifecycle.instances == ()
        with monkeypatch.context() as patch:
            patch.setattr(Lifecycle, "opened", FailsMeanwhile(), raising=False)
            assert lifecycle.made_in is current_process()
        golem = Golem(1)
        with monkeypatch.context() as patch:
            looks = FailsMeanwhile()
            patch.setattr(Lifecycle, "opened", looks, raising=False)
            looks.looks = 1  # the first look is that of the decorator of the class
            assert golem.cost.amount == 0


def test_methods_that_need_an_open_golem_say_so_before_and_after(fake: FakeYagna) -> None:
    golem = Golem(1)
    uses: list[Callable[[], object]] = [
        lambda: golem.run_service(Idle),
        lambda: golem.top_up(1),
        lambda: golem.resume_service(Idle, [SUSPENDED]),
    ]
    for use in uses:
        with pytest.raises(NotRunning, match="this Golem is not open: write `with Golem"):
            use()
    with golem:
        pass
    for use in uses:
        with pytest.raises(NotRunning, match="this Golem is closed; make a new one"):
            use()
    with pytest.raises(NotRunning, match="make a new one"):
        golem.open()


SUSPENDED = simple_golem.SuspendedInstance("Idle-1", "a", "b", "c", "d")


def test_one_that_was_closed_before_it_was_opened_stays_closed(fake: FakeYagna) -> None:
    golem = Golem(1)
    golem.close()
    with pytest.raises(NotRunning, match="this Golem was closed"):
        golem.open()
    assert fake.requests == []


def test_closing_from_a_method_or_an_event_does_not_hang(fake: FakeYagna) -> None:
    class Closing(Idle):
        def run(self) -> Any:
            golem.close()
            self.calls.append("closed")

    golem = Golem(1)
    with golem:
        cluster, instance = begun(golem, Closing)
        assert cluster.wait(SECONDS)
    assert calls(instance) == ["start", "closed", "shutdown"]

    other = Golem(1)

    @other.on_event
    def close(event: object) -> None:
        if type(event).__name__ == "InstanceFailed":
            other.close()

    with pytest.raises(ServiceFailed, match="no such luck"), other:
        other.run_service(Broken).wait(SECONDS)


def test_a_stop_from_an_event_does_not_hang(fake: FakeYagna) -> None:
    golem = Golem(1)

    @golem.on_event
    def stop_when_running(event: object) -> None:
        if getattr(event, "new", None) == "running":
            golem.clusters[0].stop()

    with golem:
        cluster, instance = begun(golem)
        assert cluster.wait(SECONDS)
    assert calls(instance) == ["start", "shutdown"]


def test_an_invoice_that_does_not_come_is_named_in_one_warning_and_not_waited_for_long(
    fake: FakeYagna, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("simple_golem.engine.shutdown_times._INVOICE_SECONDS", 1.0)
    for provider in fake.providers:
        provider.sends_invoice = False
    with Golem(1) as golem:
        instance = started(golem)
        instance.stop()
        began = time.monotonic()
    assert 1.0 <= time.monotonic() - began < 3 * 1.0
    (warning,) = [one.getMessage() for one in caplog.records if "no invoice" in one.getMessage()]
    assert str(instance.provider_name) in warning


def test_nothing_is_run_while_it_is_being_closed(fake: FakeYagna) -> None:
    gate = gate_of(fake)

    class Slow(Idle):
        def shutdown(self) -> Any:
            return Run("/bin/gate")

    golem = Golem(1).open()
    started(golem, Slow)
    closing = InThread(golem.close)
    assert gate.reached.wait(SECONDS)
    with pytest.raises(NotRunning, match="closed"):
        golem.run_service(Idle)
    gate.open()
    assert closing.join().error is None
    assert len(golem.instances) == 1


def test_a_second_close_shortens_the_first_one(fake: FakeYagna) -> None:
    golem = Golem(1).open()
    instance = started(golem, Sleeping)
    await_sleep(fake)
    first = InThread(golem.close)
    eventually(lambda: golem.instances[0].service.stopping)
    assert seconds_of(golem.close, timeout=0) < ABORTED_SECONDS
    assert first.join().error is None
    let_a_later_session_pay(fake)
    assert calls(instance) == ["start", "run"]
    assert instance.failure is None


def test_closing_in_no_time_ends_the_agreements_all_the_same(fake: FakeYagna) -> None:
    golem = Golem(1).open()
    cluster = golem.run_service(Sleeping, num_instances=3)
    cluster.wait_until_running(SECONDS)
    assert seconds_of(golem.close, timeout=0) < ABORTED_SECONDS
    assert {one.state.value for one in cluster} == {"terminated"}
    assert [one for one in fake.leftovers() if one.startswith(("agreement", "allocation", "demand"))] == []
    let_a_later_session_pay(fake)


def let_a_later_session_pay(fake: FakeYagna) -> None:
    """Have a later session answer what has come too late for this one."""
    with Golem(1):
        # Only its own allocation: that from which it has paid is released a moment later.
        eventually(lambda: [one.partition(" ")[0] for one in fake.leftovers()] == ["allocation"])


# --- failures ----------------------------------------------------------------------------------------


def test_a_failure_is_raised_once_after_everything_was_released(fake: FakeYagna) -> None:
    golem = Golem(1).open()
    whole = started(golem)
    broken = golem.run_service(Broken)
    assert broken.wait(SECONDS)
    assert whole.state == "running"
    with pytest.raises(ServiceFailed) as raised:
        golem.close()
    assert fake.leftovers() == []
    golem.close()
    instance = broken.instances[0]
    where = f"Broken-1 on {instance.provider_name}, {__file__}:{Broken.run.__code__.co_firstlineno + 1}"
    assert str(raised.value) == f"1 of 2 instances failed:\n  {where}: LookupError: no such luck"
    assert raised.value.failures == (instance.failure,)


def test_python_prints_a_short_text_for_a_failure_at_the_end(fake: FakeYagna) -> None:
    def script() -> None:
        with Golem(1) as golem:
            golem.run_service(Broken).wait(SECONDS)

    with pytest.raises(ServiceFailed) as raised:
        script()
    printed = "".join(traceback.format_exception(raised.value))
    # The log has told it already, with the lines of the user's code.
    assert printed.count("no such luck") == 1
    assert "direct cause" not in printed
    assert printed.count(f"{os.sep}simple_golem{os.sep}") <= 2  # its last call, and where this test lies


def test_one_that_was_waited_for_and_never_ran_has_failed_for_the_reasons_of_the_market(
    fake: FakeYagna, caplog: pytest.LogCaptureFixture
) -> None:
    for provider in fake.providers:
        provider.proposals = "no"
        provider.reason = "on holiday"
    golem = Golem(1).open()
    cluster, instance = begun(golem)
    eventually(lambda: "3 rejected" in cluster.market_report())
    assert not cluster.wait(0.01)
    with pytest.raises(ServiceFailed) as raised:
        golem.close()
    assert str(raised.value) == "1 of 1 instances failed:\n  Idle-1 has never run"
    assert raised.value.__cause__ is instance.failure
    assert re.fullmatch(
        r"Idle-1 was pending still after a wait of 0\.01 s; 3 offers seen .* rejected because: on holiday",
        str(instance.failure),
    )
    assert "wait for it inside the `with`" not in caplog.text
    with Golem(1, raise_failures=False) as golem:
        assert not golem.run_service(Idle).wait(0.01)
    assert caplog.text.count("Idle-1 was pending still after a wait of 0.01 s") == 1


def test_a_warning_of_a_stopped_daemon_is_not_repeated(
    fake: FakeYagna, caplog: pytest.LogCaptureFixture
) -> None:
    for provider in fake.providers:
        provider.proposals = "never"
    with Golem(1) as golem:
        cluster, instance = begun(golem)
        with pytest.raises(WaitTimeout):
            cluster.wait_until_running(0.01)
        with pytest.raises(WaitTimeout):
            instance.wait_for("running", 0.01)
        assert not cluster.wait(0)  # this is no wait
    assert instance.failure is None
    assert "wait for it inside the `with`" not in caplog.text


def test_leaving_with_raises_it_unless_it_was_told_or_is_not_wanted(fake: FakeYagna) -> None:
    with pytest.raises(ServiceFailed, match="no such luck"), Golem(1) as golem:
        golem.run_service(Broken).wait(SECONDS)
    with Golem(1, raise_failures=False) as golem:
        golem.run_service(Broken).wait(SECONDS)
    with Golem(1) as golem:
        _, instance = begun(golem, Broken)
        with pytest.raises(ServiceFailed):
            instance.wait_for("suspended", SECONDS)
    assert isinstance(instance.failure, LookupError)


def test_an_error_in_the_block_hides_no_clean_up_and_is_not_hidden_itself(fake: FakeYagna) -> None:
    golem = Golem(1)

    def divide() -> None:
        with golem:
            golem.run_service(Broken).wait(SECONDS)
            started(golem)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        divide()
    assert [states(one) for one in golem.instances] == [NORMAL_LIFE] * 2


# --- what can't be opened ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "error", "what"),
    [
        ({"budget": 0}, BadBudget, "budget"),
        ({"budget": "much"}, BadBudget, "budget"),
        ({"stop_grace": -1}, BadWaitTime, "stop_grace"),
        ({"stop_grace": None}, BadWaitTime, "stop_grace"),
        ({"health_interval": 0}, BadSetting, "health_interval"),
        ({"health_misses": 0}, BadSetting, "health_misses"),
        ({"health_misses": True}, BadSetting, "health_misses"),
        ({"strategy": 1}, BadStrategy, "strategy"),
        ({"terms": 1}, BadTerms, "terms"),
        ({"payment_network": "moonnet"}, UnknownNetwork, "moonnet"),
    ],
)
def test_a_bad_argument_is_named_at_once(
    fake: FakeYagna, options: dict[str, Any], error: type[Exception], what: str
) -> None:
    with pytest.raises(error, match=what):
        Golem(**{"budget": 1, **options})
    assert fake.requests == []


def test_without_a_key_or_a_daemon_it_says_what_to_do(
    fake: FakeYagna, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(BadAppKey, match="yagna app-key list"):
        Golem(1, app_key="nobody-knows-this").open()
    with pytest.raises(NoDaemon, match=r"http://127\.0\.0\.1:1"), Golem(1, api_url="http://127.0.0.1:1"):
        pytest.fail("must not be entered")
    monkeypatch.delenv("YAGNA_APPKEY")
    with pytest.raises(NoAppKey, match="YAGNA_APPKEY"):
        Golem(1)


def test_funds_that_do_not_suffice_are_said_and_a_golem_may_be_opened_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with FakeYagna(1, funds=Decimal(2)) as fake:
        for name, value in fake.environment.items():
            monkeypatch.setenv(name, value)
        rich = Golem(3)
        with pytest.raises(AllocationRefused, match="did not allocate 3 tGLM on erc20-hoodi-tglm"):
            rich.open()
        assert fake.leftovers() == []
        with Golem(1) as golem:
            assert golem.top_up("0.5") == golem.budget == Decimal("1.5")
            end = fake.intercept(no_amendment)
            with pytest.raises(AllocationRefused, match=r"no more funds; the budget stays at 1\.5 tGLM"):
                golem.top_up(5)
            end()
            assert golem.budget == Decimal("1.5")
            with pytest.raises(BadBudget, match="amount"):
                golem.top_up(0)
        assert fake.leftovers() == []


def no_amendment(request: FakeRequest) -> FakeAnswer | None:
    return FakeAnswer.of_message("no more funds", 400) if request.method == "PUT" else None


def test_an_image_that_nobody_has_is_named(fake: FakeYagna) -> None:
    fake.unknown_images.add("no/such:image")
    with Golem(1) as golem:
        with pytest.raises(UnknownImage, match="no/such:image"):
            golem.run_service(Service, payload=vm.repo(image_tag="no/such:image"))
        assert golem.clusters == ()


# --- two of them -----------------------------------------------------------------------


def test_a_second_open_golem_is_announced_with_the_instances_of_the_first(
    fake: FakeYagna, caplog: pytest.LogCaptureFixture
) -> None:
    with Golem(1) as first:
        started(first)
        assert "another Golem" not in caplog.text
        with Golem(1) as second:
            other = started(second)
            assert other.state == "running"
        assert first.instances[0].state == "running"
    assert "another Golem is open in this process, with Idle-1" in caplog.text
    assert first.instances[0].provider_id != other.provider_id


# --- no asyncio ---------------------------------------------------------------------------------------


def test_await_and_async_with_are_refused_with_what_to_write(fake: FakeYagna) -> None:
    async def entered(thing: Any) -> None:
        async with thing:
            raise AssertionError("it was entered")

    async def awaited(thing: Any) -> None:
        await thing

    with Golem(1) as golem:
        instance = started(golem)
        for thing in (golem, golem.clusters[0], instance):
            for use in (entered, awaited):
                with pytest.raises(
                    TypeError, match=f"no await here: this {type(thing).__name__} is used without"
                ):
                    asyncio.run(use(thing))
        assert instance.state == "running"


# --- events ------------------------------------------------------------------------------------------


def test_everything_is_told_in_order_and_a_bad_listener_harms_nobody(
    fake: FakeYagna, caplog: pytest.LogCaptureFixture
) -> None:
    told: list[Any] = []
    late: list[Any] = []
    golem = Golem(1)

    @golem.on_event
    def broken(event: object) -> None:
        raise RuntimeError("a bad listener")

    assert golem.on_event(told.append) is not None
    with golem:
        golem.on_event(late.append)
        started(golem).stop()
        with pytest.raises(BadListener, match="can't be called"):
            golem.on_event("print")  # type: ignore[arg-type]
    order = [
        "BudgetAllocated",
        "DemandPublished",
        "AgreementMade",
        "StateChanged",
        "ActivityCreated",
        "AgreementEnded",
        "ActivityDestroyed",
        "BudgetReleased",
    ]
    kinds = [type(event).__name__ for event in told]
    assert [kind for kind in dict.fromkeys(kinds) if kind in order] == order
    # The invoice is accepted by another thread than that which tells of the end of the agreement.
    assert kinds.index("ActivityCreated") < kinds.index("InvoiceAccepted") < kinds.index("BudgetReleased")
    assert kinds.count("InvoiceAccepted") == 1
    assert [event.method for event in told if hasattr(event, "method")] == ["deploy", "start", "shutdown"]
    assert [str(event.new) for event in told if hasattr(event, "new")] == NORMAL_LIFE[1:]
    assert told[-len(late) :] == late
    assert kinds[0] not in {type(event).__name__ for event in late}
    assert "a bad listener" in caplog.text


def test_a_progress_bar_is_there_where_there_is_a_terminal(
    fake: FakeYagna, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with capsys.disabled():
        pass
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    with Golem(1, progress=False) as golem:
        started(golem)
    quiet = capsys.readouterr().err
    with Golem(1) as golem:
        started(golem)
    assert "Idle" not in quiet
    assert "Idle" in capsys.readouterr().err


# --- money -------------------------------------------------------------------------------------------


def test_the_offers_on_the_market_are_shown_cheapest_first(fake: FakeYagna) -> None:
    fake.providers[0].per_second = Decimal("0.01")
    fake.providers[2].per_second = Decimal("0.00001")
    names = [offer.provider_name for offer in Golem(1).offers(timeout=30)]
    assert names == ["prov-3", "prov-2", "prov-1"]
    assert Golem(1).offers(vm.repo(min_mem_gib=100_000), timeout=0.05) == ()
    with pytest.raises(BadWaitTime, match="timeout"):
        Golem(1).offers(timeout=-1)


def test_a_budget_too_small_for_any_provider_is_an_error_at_once(fake: FakeYagna) -> None:
    with Golem("0.00001", raise_failures=False) as golem:
        cluster, instance = begun(golem)
        with pytest.raises(ServiceFailed, match="give Golem a larger `budget`, or top it up"):
            cluster.wait_until_running(SECONDS)
    assert isinstance(instance.failure, OutOfBudget)
    assert states(instance) == ["pending", "terminated"]
    assert golem.cost.amount == 0


def test_a_budget_that_is_used_up_stops_everything_until_it_is_topped_up(
    fake: FakeYagna, caplog: pytest.LogCaptureFixture
) -> None:
    told: list[str] = []
    with Golem("0.9", raise_failures=False) as golem:
        golem.on_event(lambda event: told.append(type(event).__name__))
        cluster, instance = begun(golem)
        instance.wait_for("running", SECONDS)
        provider = next(one for one in fake.providers if one.activities)
        end = fake.intercept(no_funds)
        provider.send_debit_note()
        assert cluster.wait(SECONDS)
        end()
        with pytest.raises(OutOfBudget, match=r"the budget of 0\.9 tGLM is used up: call golem\.top_up"):
            golem.run_service(Idle)
        golem.top_up(1)
        assert golem.budget == Decimal("1.9")
        started(golem).stop()
    assert isinstance(instance.failure, OutOfBudget)
    assert states(instance) == NORMAL_LIFE
    assert calls(instance) == ["start", "shutdown"]
    assert told.count("BudgetUsedUp") == 1
    assert "the budget of 0.9 tGLM is used up, and all clusters are stopped" in caplog.text


def no_funds(request: FakeRequest) -> FakeAnswer | None:
    if "/debitNotes/" in request.path and request.path.endswith("/accept"):
        return FakeAnswer.of_message("Not enough funds", 400)
    return None


# --- signals -----------------------------------------------------------------------------------------


@pytest.fixture
def ctrl_c() -> Iterator[None]:
    """Ctrl-C is Python's own, also where the tests run in the background of a shell, which ignores it."""
    old = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, old)


@pytest.mark.usefixtures("ctrl_c")
@pytest.mark.parametrize(
    ("number", "error"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, SystemExit)]
)
def test_a_signal_while_waiting_ends_everything_in_short_times(
    fake: FakeYagna, number: signal.Signals, error: type[BaseException], caplog: pytest.LogCaptureFixture
) -> None:
    before = [signal.getsignal(one) for one in END_SIGNALS]

    golem = Golem(1)

    def wait_and_be_interrupted() -> None:
        with golem:
            started(golem, Sleeping)
            await_sleep(fake)
            started(golem)
            signal.raise_signal(number)
            pytest.fail("the signal must not be swallowed")

    with pytest.raises(error):
        wait_and_be_interrupted()
    assert "interrupted: stopping 2 instances and paying what is owed" in caplog.text
    assert [states(one) for one in golem.instances] == [NORMAL_LIFE] * 2
    first, second = golem.instances
    assert seconds_of_the_end(first) < INTERRUPTED_SECONDS
    # The batch of the first one was cut after a second; the other had time for its shutdown().
    assert [calls(first)[-1], calls(second)[-1]] == ["run", "shutdown"]
    assert fake.leftovers() == []
    assert [signal.getsignal(one) for one in END_SIGNALS] == before


@pytest.mark.usefixtures("ctrl_c")
@pytest.mark.parametrize(
    ("number", "error"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, SystemExit)]
)
def test_a_signal_while_closing_shortens_it_and_is_raised_when_it_is_done(
    fake: FakeYagna, number: signal.Signals, error: type[BaseException]
) -> None:
    golem = Golem(1)

    def leave() -> None:
        with golem:
            started(golem, Sleeping)
            raise_when_stopping(golem, fake, number)

    with pytest.raises(error):
        leave()
    assert fake.leftovers() == []
    assert states(golem.instances[0]) == NORMAL_LIFE
    assert seconds_of_the_end(golem.instances[0]) < INTERRUPTED_SECONDS


def seconds_of_the_end(instance: Instance) -> float:
    (_, stopping), (_, terminated) = instance.history[-2:]
    return (terminated - stopping).total_seconds()


def raise_when_stopping(golem: Golem, fake: FakeYagna, number: signal.Signals) -> None:
    """Send this process a signal as soon as the first instance, which sleeps, is being stopped."""
    service = golem.instances[0].service
    # Without a command under way it would end at once, and the signal would come after that.
    await_sleep(fake)

    def send() -> None:
        eventually(lambda: service.stopping)
        os.kill(os.getpid(), number)

    threading.Thread(target=send).start()


@pytest.fixture
def long_interruption(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first Ctrl-C leaves a minute for everything: only a second one ends it before."""
    longer = {part: 60 + limit for part, limit in ShutdownTimes.interrupted()._seconds.items()}
    monkeypatch.setattr(ShutdownTimes, "interrupted", lambda: ShutdownTimes(longer, since_begun=True))


@pytest.mark.usefixtures("ctrl_c", "long_interruption")
def test_a_second_ctrl_c_leaves_at_once(fake: FakeYagna) -> None:
    golem = Golem(1)

    def leave() -> None:
        with golem:
            started(golem, Sleeping)
            raise_when_stopping(golem, fake, signal.SIGINT)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        leave()
    assert seconds_of_the_end(golem.instances[0]) < ABORTED_SECONDS
    assert [one for one in fake.leftovers() if not one.startswith(("invoice", "debit note"))] == []
    let_a_later_session_pay(fake)
    assert calls(golem.instances[0]) == ["start", "run"]


@pytest.mark.usefixtures("ctrl_c")
def test_an_interrupted_open_releases_what_it_made(fake: FakeYagna) -> None:
    def interrupt(request: FakeRequest) -> None:
        if (request.method, request.path) == ("POST", "/payment-api/v1/allocations"):
            os.kill(os.getpid(), signal.SIGINT)

    fake.intercept(interrupt)
    with pytest.raises(KeyboardInterrupt), Golem(1):
        pytest.fail("must not be entered")
    posted = [one for one in fake.requests if one.path == "/payment-api/v1/allocations"]
    assert len(posted) >= 1
    assert fake.leftovers() == []


@pytest.mark.usefixtures("ctrl_c")
def test_ctrl_c_in_close_without_with_shortens_it(fake: FakeYagna) -> None:
    golem = Golem(1).open()
    started(golem, Sleeping)
    raise_when_stopping(golem, fake, signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        golem.close()
    assert fake.leftovers() == []
    assert golem.instances[0].state == "terminated"


# --- the end of the program --------------------------------------------------------------------------

SCRIPT = """
from simple_golem import Golem, Service

class Quiet(Service):
    def shutdown(self):
        print("shutdown", flush=True)

golem = Golem(1).open()
golem.run_service(Quiet).wait_until_running(20)
print("running", flush=True)
"""


def test_one_that_is_open_at_the_end_of_the_program_is_closed_with_a_warning(fake: FakeYagna) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["running", "shutdown"]
    assert "a Golem was still open at the end of the program and is closed now" in done.stderr
    assert fake.leftovers() == []


def test_a_provider_without_a_name_of_its_own_is_fine(fake: FakeYagna) -> None:
    provider = fake.add(FakeProvider(properties={"golem.node.id.name": ""}))
    with Golem(1) as golem:
        instance = started(
            golem, strategy=lambda offer: 1.0 if offer.provider_id == provider.node_id else None
        )
        assert instance.provider_name == "unnamed"
