"""The budget: set aside, covered, topped up, released, and its end foreseen."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from decimal import Decimal

import pytest
import responses

from simple_golem.background.cancellation import Scope
from simple_golem.background.threads import WorkerPool
from simple_golem.engine.payment.budget import Budget
from simple_golem.errors import AllocationRefused
from simple_golem.model.events.budget import BudgetAllocated, BudgetChanged, BudgetReleased, BudgetUsedUp
from simple_golem.model.events.event import Event
from simple_golem.model.offers.prices import CPU, DURATION, Prices
from simple_golem.yagna.client import Yagna
from simple_golem.yagna.values import DebitNote
from tests.helpers.written_answers.fake_payments import PAYMENT, PLATFORM, Desk
from tests.helpers.written_answers.money_setup import Till
from tests.unit.conftest import API, posted

# Time alone has a price: of processor time nothing is known before the first note.
PRICES = Prices(Decimal("0.0001"), ((DURATION, Decimal("0.0001")), (CPU, Decimal(0))))


@pytest.fixture
def till(daemon: responses.RequestsMock, yagna: Yagna, workers: WorkerPool, scope: Scope) -> Till:
    Desk(daemon)
    return Till(yagna, workers, scope)


@pytest.fixture
def opened(till: Till) -> Till:
    till.budget.allocate(Decimal(1))
    return till


# the allocation


def test_an_allocation_that_is_refused_says_what_to_do(daemon: responses.RequestsMock, till: Till) -> None:
    daemon.replace(
        responses.POST, f"{API}{PAYMENT}/allocations", status=400, json={"detail": "Insufficient funds"}
    )
    with pytest.raises(AllocationRefused, match="Insufficient funds") as caught:
        till.budget.allocate(Decimal(7))
    for words in ("7 tGLM", PLATFORM, "yagna payment fund"):
        assert words in str(caught.value)


def test_without_an_allocation_there_are_no_decorations(till: Till) -> None:
    with pytest.raises(AllocationRefused):
        till.budget.decorations()


def test_the_allocation_lasts_longer_than_what_it_pays(daemon: responses.RequestsMock, opened: Till) -> None:
    now = datetime.now(timezone.utc)
    opened.budget.cover(now + timedelta(minutes=60))
    assert posted(daemon, f"{PAYMENT}/allocations/al1", "PUT") == []
    opened.budget.cover(now + timedelta(days=1))
    opened.budget.cover(now + timedelta(days=1))
    (body,) = posted(daemon, f"{PAYMENT}/allocations/al1", "PUT")
    assert isinstance(body, dict)
    assert body["totalAmount"] == "1"
    until = datetime.fromisoformat(body["timeout"].replace("Z", "+00:00"))
    assert until > now + timedelta(days=1, minutes=20)


def test_an_allocation_whose_time_is_over_is_told_in_words(
    daemon: responses.RequestsMock, opened: Till
) -> None:
    daemon.replace(responses.PUT, f"{API}{PAYMENT}/allocations/al1", status=404, json={"message": None})
    with pytest.raises(AllocationRefused, match="close it and open a new one"):
        opened.budget.cover(datetime.now(timezone.utc) + timedelta(days=1))


def test_the_allocation_is_released_once(daemon: responses.RequestsMock, opened: Till) -> None:
    daemon.delete(f"{API}{PAYMENT}/allocations/al1", status=204)
    opened.budget.release(Scope())
    opened.budget.release(Scope())
    assert len(posted(daemon, f"{PAYMENT}/allocations/al1", "DELETE")) == 1


def test_an_allocation_that_is_not_released_is_told_of(
    daemon: responses.RequestsMock, opened: Till, caplog: pytest.LogCaptureFixture
) -> None:
    daemon.delete(f"{API}{PAYMENT}/allocations/al1", status=400, json={"message": "no way"})
    opened.budget.release(Scope())
    assert "al1" in caplog.text
    assert "no way" in caplog.text


def test_a_budget_says_what_it_set_aside(opened: Till) -> None:
    assert opened.events == [BudgetAllocated("al1", Decimal(1), PLATFORM)]
    assert opened.budget.total == Decimal(1)
    assert opened.budget.left() == Decimal(1)


def test_a_top_up_is_added_exactly_and_keeps_the_allocations_end(
    daemon: responses.RequestsMock, opened: Till
) -> None:
    expiration = datetime.now(timezone.utc) + timedelta(days=1)
    opened.budget.cover(expiration)
    assert opened.budget.top_up(Decimal("0.000000000000000001")) == Decimal("1.000000000000000001")
    covered, topped_up = posted(daemon, f"{PAYMENT}/allocations/al1", "PUT")
    assert isinstance(covered, dict)
    assert topped_up == {**covered, "totalAmount": "1.000000000000000001"}
    assert opened.events[-1] == BudgetChanged("al1", Decimal("1.000000000000000001"), "tGLM")


def test_a_top_up_that_is_refused_leaves_the_budget_as_it_is(
    daemon: responses.RequestsMock, opened: Till
) -> None:
    daemon.replace(
        responses.PUT, f"{API}{PAYMENT}/allocations/al1", status=400, json={"detail": "Insufficient funds"}
    )
    with pytest.raises(AllocationRefused, match="stays at 1 tGLM") as caught:
        opened.budget.top_up(Decimal(5))
    assert "Insufficient funds" in str(caught.value)
    assert opened.budget.total == Decimal(1)
    assert len(opened.events) == 1


def test_the_allocation_of_a_suspended_agreement_is_not_released(
    daemon: responses.RequestsMock, opened: Till
) -> None:
    daemon.delete(f"{API}{PAYMENT}/allocations/al1", status=204)
    # Whether it has ended meanwhile is not known.
    daemon.get(f"{API}/market-api/v1/agreements/a1", status=403, json={"message": "no"})
    assert opened.budget.keep_for("a1") == "al1"
    opened.budget.release(Scope())
    assert posted(daemon, f"{PAYMENT}/allocations/al1", "DELETE") == []


def test_a_release_is_told(daemon: responses.RequestsMock, opened: Till) -> None:
    daemon.delete(f"{API}{PAYMENT}/allocations/al1", status=204)
    opened.budget.release(Scope())
    assert opened.events[-1] == BudgetReleased("al1")


# what is left of it


def used_up(till: Till) -> list[Event]:
    return [event for event in till.events if isinstance(event, BudgetUsedUp)]


def test_the_budget_is_not_checked_while_nothing_costs(opened: Till) -> None:
    assert opened.timer.waiting == []
    opened.watch.check_soon()
    opened.watch.check_soon()
    assert opened.timer.tick() == 0.5
    assert opened.timer.waiting == []


def test_the_budget_is_checked_after_half_of_its_remaining_time(opened: Till) -> None:
    # 0.0001 GLM a second: 1 GLM lasts 10,000 seconds.
    opened.agreement("a1", "act1", prices=PRICES)
    opened.watch.check_soon()
    opened.timer.tick()
    assert opened.timer.tick() == 60.0
    # 0.955 GLM of it are used: 450 seconds are left, and 15 of them are the reserve.
    opened.agreement("a2", "act2", prices=PRICES, ago=9550).activities["act2"].ended = datetime.now(
        timezone.utc
    )
    opened.timer.tick()
    ((pause, _),) = opened.timer.waiting
    assert pause == 60.0
    opened.agreement("a3", "act3", prices=PRICES, ago=400).activities["act3"].ended = datetime.now(
        timezone.utc
    )
    opened.timer.tick()
    ((pause, _),) = opened.timer.waiting
    assert pause == pytest.approx((448 - 400 - 15) / 2, abs=2)
    assert used_up(opened) == []


def test_a_budget_is_used_up_when_its_rest_is_needed_to_end_what_runs(
    opened: Till, caplog: pytest.LogCaptureFixture
) -> None:
    opened.agreement("a1", "act1", prices=PRICES, ago=9990)
    opened.watch.check_soon()
    opened.timer.tick()
    assert opened.used_up.is_set()
    assert used_up(opened) == [BudgetUsedUp(Decimal(1), Decimal(0), "tGLM")]
    assert opened.watch.is_used_up
    assert opened.timer.waiting == []
    assert "top_up" in caplog.text
    opened.watch.report_used_up(opened.budget.total)
    assert len(used_up(opened)) == 1


def test_a_new_cost_is_checked_soon(opened: Till) -> None:
    opened.agreement("a1", "act1", prices=PRICES)
    opened.watch.check_soon()
    opened.timer.tick()
    assert [pause for pause, _ in opened.timer.waiting] == [60.0]
    # Now something costs as much in a minute as is left.
    opened.agreement("a2", "act2", prices=PRICES, ago=9990)
    opened.watch.check_soon()
    assert [pause for pause, _ in opened.timer.waiting] == [60.0, 0.5]
    put_off = opened.timer.waiting.pop(0)
    opened.timer.tick()
    assert opened.watch.is_used_up
    put_off[1]()
    assert opened.timer.waiting == []


def test_agreements_without_a_price_for_time_use_up_no_budget(opened: Till) -> None:
    opened.agreement("a1", "act1", ago=10**6)
    opened.watch.check_soon()
    opened.timer.tick()
    assert not opened.watch.is_used_up
    assert opened.timer.waiting == []


def test_a_top_up_makes_it_look_again_and_tell_again(opened: Till) -> None:
    opened.agreement("a1", "act1", prices=PRICES, ago=9990)
    opened.watch.report_used_up(opened.budget.total)
    opened.budget.top_up(Decimal(1))
    opened.watch.topped_up()
    opened.timer.tick()
    assert not opened.watch.is_used_up
    opened.agreement("a2", "act2", prices=PRICES, ago=10000)
    opened.timer.tick()
    assert opened.watch.is_used_up
    assert len(used_up(opened)) == 2


def test_a_budget_that_is_enlarged_while_it_is_looked_at_is_not_used_up(
    opened: Till, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened.agreement("a1", "act1", prices=PRICES, ago=9990)
    outlook = opened.ledger.outlook

    def outlook_before_the_top_up() -> tuple[Decimal, Decimal]:
        found = outlook()
        opened.budget.top_up(Decimal(1))
        return found

    monkeypatch.setattr(opened.ledger, "outlook", outlook_before_the_top_up)
    opened.watch.check_soon()
    opened.timer.tick()
    assert used_up(opened) == []
    assert not opened.used_up.is_set()


def test_the_id_of_an_allocation_that_is_released_meanwhile_is_refused(opened: Till) -> None:
    class ReleasedMeanwhile(Budget):
        """Its allocation is released after the first look."""

        looks = 0

        @property
        def _allocation(self) -> object:  # type: ignore[override]
            self.looks += 1
            return opened.budget._allocation if self.looks == 1 else None

        @_allocation.setter
        def _allocation(self, value: object) -> None: ...

    budget = ReleasedMeanwhile(opened.budget._yagna, PLATFORM, opened.ledger, opened.emit)
    assert budget.allocation_id == opened.budget.allocation_id
    with pytest.raises(AllocationRefused):
        _ = budget.allocation_id


def test_a_top_up_that_is_too_small_is_used_up_at_once(opened: Till) -> None:
    opened.agreement("a1", "act1", prices=PRICES, ago=20000)
    opened.watch.report_used_up(opened.budget.total)
    opened.budget.top_up(Decimal("0.5"))
    opened.watch.topped_up()
    opened.timer.tick()
    assert len(used_up(opened)) == 2


def test_the_rest_of_the_budget_excludes_expected_costs_and_the_cost_of_the_end(opened: Till) -> None:
    opened.agreement("a1", "act1", prices=PRICES, ago=4000)
    assert float(opened.budget.left()) == pytest.approx(1 - 0.4001 - 15 * 0.0001, abs=0.0005)
    opened.agreement("a2", "act2", prices=PRICES, ago=10**6)
    opened.budget.end_reservation("0xprov")
    assert opened.budget.left() == 0


def test_glm_are_reserved_for_an_agreement_in_the_making(opened: Till) -> None:
    for provider in ("p1", "p2"):
        opened.budget.reserve(provider, Decimal("0.4"))
    assert opened.budget.left() == Decimal("0.2")
    opened.budget.end_reservation("p1")
    assert opened.budget.left() == Decimal("0.6")


def test_processor_time_is_looked_at_when_a_note_tells_of_it(opened: Till) -> None:
    only_cpu = Prices(Decimal(0), ((DURATION, Decimal(0)), (CPU, Decimal("0.05"))))
    one = opened.agreement("a1", "act1", prices=only_cpu, ago=10)
    one.accept_note("act1", Decimal(0), [10, 0])
    opened.watch.check_soon()
    opened.timer.tick()
    assert opened.timer.waiting == []  # nothing is used at this moment
    now = datetime.now(timezone.utc)
    note = DebitNote("n1", "a1", "act1", "0xp", Decimal("0.7"), "ACCEPTED", now, usage=(15, 14))
    opened.payments._answer_debit_note(note)
    opened.timer.tick()
    assert opened.watch.is_used_up
