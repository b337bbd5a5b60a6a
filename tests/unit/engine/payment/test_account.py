"""An agreement's account: what may be asked for by the agreed prices, and what will be."""

from __future__ import annotations

import decimal
import json
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta, timezone, tzinfo
from decimal import Decimal

import pytest

from simple_golem.engine.payment import account as account_module
from simple_golem.engine.payment.account import Account, ActivityAccount, total
from simple_golem.model.offers.offer import Offer
from simple_golem.model.offers.prices import COEFFICIENTS, CPU, DURATION, USAGE_VECTOR, Prices
from tests.helpers.hand_time import hand_time
from tests.helpers.written_answers.sample_offers import offered

# 0.0001 a second, 0.0002 a second of processor time, 0.0001 for the start; four threads.
THREADS = {"golem.inf.cpu.threads": 4}
# As Account has it: two clocks, a slow answer, a daemon that looks once in 750 ms.
MARGIN_SECONDS = 5
# A second with all four threads busy, and as many as a virtual machine may use for itself.
SECOND = Decimal("0.0001") + (4 + 2) * Decimal("0.0002")


# The time stands still.
NOW = datetime(2026, 1, 31, 12, tzinfo=timezone.utc)
AT = 5000.0


class StoppedDate(datetime):
    """Stands for `datetime`, at noon."""

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
        return NOW


@pytest.fixture(autouse=True)
def no_time_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(account_module, "datetime", StoppedDate)
    hand_time(monkeypatch, account_module.__name__).now = AT


def account(ago: float = 100.0, more: Mapping[str, object] | None = None) -> Account:
    """An agreement made `ago` seconds ago, with one activity `act1` since then."""
    agreed = NOW - timedelta(seconds=ago)
    made = Account.made(
        "a1", Offer.of("0xp", offered({**THREADS, **(more or {})})), "Hello", "Hello-1", agreed
    )
    made.activities["act1"] = ActivityAccount(agreed)
    return made


def objection(amount: str, usage: Sequence[object] | None, ago: float = 100.0) -> str | None:
    return account(ago).objection_to_note("act1", Decimal(amount), usage)


# debit notes


@pytest.mark.parametrize(
    ("amount", "usage"),
    [
        ("0.0101", [100.0, 0.0]),
        ("0.0301", [100.0, 100.0]),
        ("0.0901", [100.0, 400.0]),
        ("0.0001", [0.0, 0.0]),
        ("0.001", [100.0, 0.0]),
        ("0", [0.0, 0.0]),
        ("0.010100001", [100.0, 0.0]),
    ],
    ids=["time", "one thread", "all threads", "the start", "less than due", "nothing", "a rounding"],
)
def test_a_correct_note_is_accepted(amount: str, usage: Sequence[object]) -> None:
    assert objection(amount, usage) is None


def test_a_note_above_the_price_of_its_usage_says_both_amounts() -> None:
    assert objection("0.0102", [100.0, 0.0]) == (
        "it asks for 0.0102 GLM, where the agreed price of the usage it states is 0.0101"
    )


def test_a_note_may_count_a_little_more_time_than_has_passed_and_no_more() -> None:
    assert objection("0", [106.0, 0.0]) is None
    said = objection("0", [110.0, 0.0])
    assert said is not None
    assert said.startswith("it counts 110.0 s of an activity that began 100.")


def test_a_note_may_not_count_more_processor_time_than_threads_and_virtual_machine_can_use() -> None:
    most = (100 * 1.02 + MARGIN_SECONDS) * (4 + 2)
    assert objection("0", [100.0, 440.0]) is None
    assert objection("0", [100.0, most]) is None
    said = objection("0", [100.0, most + 5])
    assert said is not None
    assert "s of processor time, where 4 threads and the virtual machine itself can use 642." in said


@pytest.mark.parametrize("threads", [1, 3, 64])
def test_a_whole_machine_that_is_busy_from_the_first_second_is_no_matter(threads: int) -> None:
    """A provider offers one thread fewer than it has, and the first note may come early."""
    for seconds in (0.0, 2.0, 1000.0):
        one = account(seconds, {"golem.inf.cpu.threads": threads})
        assert one.objection_to_note("act1", Decimal(0), [seconds, seconds * (threads + 1)]) is None
        too_much = (seconds * 1.02 + MARGIN_SECONDS + 1) * (threads + 2)
        assert one.objection_to_note("act1", Decimal(0), [seconds, too_much]) is not None


@pytest.mark.parametrize(
    "usage",
    [None, [], [1.0], [1.0, 2.0, 3.0], [-1.0, 0.0], [True, 0.0], ["x", 0.0], [float("nan"), 0.0]],
    ids=str,
)
def test_a_note_with_no_usage_that_is_understood_may_ask_for_all_of_the_time_at_most(
    usage: Sequence[object] | None,
) -> None:
    most = Decimal("0.0001") + (Decimal(100) * Decimal("1.02") + MARGIN_SECONDS) * SECOND
    assert objection(str(most), usage) is None
    said = objection(str(most + Decimal("0.001")), usage)
    assert said is not None
    assert "the price of all the time since it began" in said


def test_a_counter_that_costs_is_charged_whatever_its_name() -> None:
    own = {USAGE_VECTOR: [DURATION, "golem.usage.gib"], COEFFICIENTS: [0.0001, 0.5, 0]}
    one = account(more=own)
    assert one.objection_to_note("act1", Decimal("1.01"), [100.0, 2.0]) is None
    assert one.objection_to_note("act1", Decimal("1.02"), [100.0, 2.0]) is not None


def test_counters_are_in_the_order_of_the_offer() -> None:
    turned = {USAGE_VECTOR: [CPU, DURATION], COEFFICIENTS: [0.0002, 0.0001, 0.0001]}
    one = account(more=turned)
    assert one.objection_to_note("act1", Decimal("0.0101"), [0.0, 100.0]) is None
    assert one.objection_to_note("act1", Decimal("0.0501"), [200.0, 100.0]) is None
    assert one.objection_to_note("act1", Decimal("0"), [0.0, 120.0]) is not None


def test_without_prices_that_are_understood_nothing_can_be_said() -> None:
    one = account(more={COEFFICIENTS: [1]})
    assert one.prices is None
    assert one.objection_to_note("act1", Decimal(1000), None) is None
    assert one.objection_to_invoice(Decimal(1000)) is None


def test_an_activity_of_which_only_the_provider_knows_began_with_the_agreement() -> None:
    one = account(100.0)
    one.activities.clear()
    assert one.objection_to_note("unknown", Decimal("0.0101"), [100.0, 0.0]) is None
    assert one.objection_to_note("unknown", Decimal("0.0201"), [200.0, 0.0]) is not None


def test_a_note_for_a_second_activity_has_an_objection_and_raises_no_invoice() -> None:
    one = account(100.0)
    said = one.objection_to_note("act2", Decimal("0.0001"), [1.0, 0.0])
    assert said == "it is for the activity act2, but this agreement has another one"
    one.refuse_note("act2", [1.0, 0.0])
    assert list(one.activities) == ["act1"]
    assert one.objection_to_invoice(Decimal("0.1391")) is None
    assert one.objection_to_invoice(Decimal("0.1393")) is not None


def test_an_activity_that_its_provider_has_invented_costs_nothing_once_the_real_one_is_known() -> None:
    one = account(100.0)
    del one.activities["act1"]
    one.accept_note("invented", Decimal("0.001"), [9.0, 0.0])
    one.activities["act1"] = ActivityAccount(one.agreed)
    assert one.objection_to_note("invented", Decimal("0.002"), [19.0, 0.0]) is not None
    assert one.objection_to_invoice(Decimal("0.1401")) is None
    assert one.objection_to_invoice(Decimal("0.1403")) is not None
    assert one.outlook()[1] == Decimal("0.0003")


def test_an_invoice_below_the_accepted_notes_saves_nothing() -> None:
    one = account()
    one.accept_note("act1", Decimal("0.003"), [20.0, 1.0])
    one.invoice = Decimal("0.001")
    assert one.cost() == Decimal("0.003")


def test_an_activity_that_has_ended_grows_no_older() -> None:
    one = account(100.0)
    act1 = one.activity("act1")
    act1.ended = act1.began + timedelta(seconds=10)
    assert act1.seconds() == 10
    assert one.objection_to_note("act1", Decimal("0.0021"), [20.0, 0.0]) is not None


def test_a_wall_clock_that_is_set_back_makes_no_activity_younger() -> None:
    ahead = NOW + timedelta(hours=1)
    activity = ActivityAccount(ahead, AT - 50)
    assert 50 <= activity.seconds() < 51
    assert ActivityAccount(ahead).seconds() == 0


def test_a_wall_clock_that_was_set_back_makes_no_ended_activity_younger() -> None:
    one = account(100.0)
    act1 = one.activity("act1")
    act1.began, act1.began_at = NOW + timedelta(hours=1), AT - 100
    act1.ended, act1.ended_at = NOW, AT
    assert 100 <= act1.seconds() < 101
    assert one.objection_to_note("act1", Decimal("0.0101"), [100.0, 0.0]) is None


def test_a_note_is_judged_exactly_whatever_the_threads_context() -> None:
    with decimal.localcontext() as context:
        context.prec = 3
        assert objection("0.0301", [100.0, 100.0]) is None
        assert objection("0.0302", [100.0, 100.0]) is not None


# sums


def test_notes_of_an_activity_are_sums_so_far_and_activities_add_up() -> None:
    one = account()
    assert one.cost() == 0
    one.accept_note("act1", Decimal("0.003"), [20.0, 1.0])
    one.accept_note("act1", Decimal("0.001"), [10.0, 1.0])
    one.accept_note("act2", Decimal("0.0000000001"), None)
    assert one.cost() == Decimal("0.0030000001")
    one.invoice = Decimal("0.005")
    assert one.cost() == Decimal("0.005")


def test_a_sum_is_exact_in_any_context() -> None:
    with decimal.localcontext() as context:
        context.prec = 2
        assert total([Decimal(1000), Decimal("0.0000001")]) == Decimal("1000.0000001")


def test_an_entry_of_the_report_says_what_it_was_and_cost() -> None:
    one = account(100.0)
    one.activities["act1"].ended = one.agreed + timedelta(seconds=90)
    one.accept_note("act1", Decimal("0.003"), None)
    entry = one.entry()
    assert (entry.cluster, entry.instance, entry.agreement_id) == ("Hello", "Hello-1", "a1")
    assert (entry.provider_name, entry.provider_id) == ("prov", "0xp")
    assert (entry.seconds, entry.amount, entry.is_invoiced) == (90.0, Decimal("0.003"), False)
    one.invoice = Decimal("0.004")
    assert (one.entry().amount, one.entry().is_invoiced) == (Decimal("0.004"), True)


# invoices


def test_an_invoice_of_the_sum_of_the_notes_has_no_objection() -> None:
    one = account(0.0)
    one.accept_note("act1", Decimal("0.5"), None)
    assert one.objection_to_invoice(Decimal("0.5")) is None


def test_an_invoice_may_ask_for_the_time_since_the_last_note() -> None:
    one = account(100.0)
    one.accept_note("act1", Decimal("0.0091"), [90.0, 0.0])
    one.activities["act1"].ended = one.agreed + timedelta(seconds=100)
    most = Decimal("0.0091") + (10 * Decimal("1.02") + MARGIN_SECONDS) * SECOND
    assert one.objection_to_invoice(most) is None
    said = one.objection_to_invoice(most + Decimal("0.001"))
    assert said is not None
    assert said == "it asks for 0.02986 GLM, where its debit notes and the agreed prices allow 0.02886"


def test_an_invoice_without_any_note_may_ask_for_all_of_the_time() -> None:
    one = account(100.0)
    most = Decimal("0.0001") + (100 * Decimal("1.02") + MARGIN_SECONDS) * SECOND
    assert one.objection_to_invoice(most) is None
    assert one.objection_to_invoice(most + Decimal("0.001")) is not None


def test_after_a_refused_note_an_invoice_may_ask_for_the_usage_it_stated_and_no_more() -> None:
    one = account(100.0)
    one.refuse_note("act1", [50.0, 10.0])
    assert one.cost() == 0
    assert one.objection_to_invoice(Decimal("0.0071")) is None
    assert one.objection_to_invoice(Decimal("0.0072")) is not None


def test_a_refused_note_that_states_more_usage_than_can_be_gains_nothing_by_it() -> None:
    one = account(100.0)
    usage = [1_000_000.0, 1_000_000.0]
    assert one.objection_to_note("act1", Decimal("300.0001"), usage) is not None
    one.refuse_note("act1", usage)
    assert one.objection_to_invoice(Decimal("300.0001")) is not None
    assert one.objection_to_invoice(Decimal("0.2")) is not None


GPU: Mapping[str, object] = {
    COEFFICIENTS: [0.0001, 0.0002, 0.01, 0.0001],
    USAGE_VECTOR: [DURATION, CPU, "golem.usage.gpu-sec"],
}


def test_usage_other_than_time_is_not_checked() -> None:
    one = account(100.0, GPU)
    assert one.objection_to_note("act1", Decimal("1.0101"), None) is None
    assert one.objection_to_invoice(Decimal("1.0101")) is None
    one.accept_note("act1", Decimal("0.9090"), [89.0, 0.0, 90.0])
    assert one.objection_to_invoice(Decimal("1.0101")) is None
    assert one.objection_to_note("act1", Decimal("1.1"), [100.0, 0.0, 100.0]) is not None


def test_a_provider_that_charges_for_other_usage_gets_what_that_usage_costs() -> None:
    one = account(100.0, GPU)
    one.refuse_note("act1", [100.0, 0.0, 100.0])
    assert one.objection_to_invoice(Decimal("1.0101")) is None
    assert one.objection_to_invoice(Decimal("1.02")) is not None


def test_the_invoice_of_an_agreement_without_activities_asks_for_nothing() -> None:
    one = account()
    one.activities.clear()
    assert one.objection_to_invoice(Decimal(0)) is None
    assert one.objection_to_invoice(Decimal("0.0001")) is not None


# the outlook


def test_the_outlook_without_any_note_is_the_time() -> None:
    now, per_second = account(100.0).outlook()
    # Of processor time nothing is known yet: one thread is taken to be busy.
    assert float(now) == pytest.approx(0.0301, abs=0.0001)
    assert per_second == Decimal("0.0003")


def test_the_outlook_takes_the_load_of_the_last_note_for_granted() -> None:
    one = account(100.0)
    one.accept_note("act1", Decimal("0.0251"), [50.0, 100.0])
    now, per_second = one.outlook()
    assert per_second == Decimal("0.0005")
    assert float(now) == pytest.approx(0.0251 + 50 * 0.0005, abs=0.0002)


def test_the_outlook_of_an_activity_that_has_ended_grows_no_more() -> None:
    one = account(100.0)
    one.activities["act1"].ended = one.agreed + timedelta(seconds=50)
    assert one.outlook() == (Decimal("0.0151"), Decimal(0))


def test_the_outlook_of_an_agreement_is_that_of_the_activity_to_come_until_it_ends() -> None:
    one = account()
    one.activities.clear()
    assert one.outlook() == (Decimal("0.0001"), Decimal("0.0003"))
    one.ended = True
    assert one.outlook() == (Decimal(0), Decimal(0))


def test_the_outlook_after_the_invoice_is_the_invoice() -> None:
    one = account(100.0)
    one.invoice = Decimal("0.02")
    assert one.outlook() == (Decimal("0.02"), Decimal(0))


def test_a_refused_account_expects_no_further_cost() -> None:
    one = account(100.0)
    one.refused = "too much"
    assert one.outlook() == (Decimal(0), Decimal(0))


# what has come up since the last note


def test_what_has_come_up_without_any_note_is_the_start_and_the_time() -> None:
    assert float(account(100.0).accrued()) == pytest.approx(0.0301, abs=0.0001)


def test_what_has_come_up_after_a_note_is_the_time_since_then() -> None:
    one = account(100.0)
    one.accept_note("act1", Decimal("0.0251"), [50.0, 100.0])
    assert float(one.accrued()) == pytest.approx(50 * 0.0005, abs=0.0002)


def test_what_has_come_up_grows_no_more_after_the_end_and_is_nothing_after_the_invoice() -> None:
    one = account(100.0)
    one.activities["act1"].ended = one.agreed + timedelta(seconds=50)
    assert one.accrued() == one.entry().accrued == Decimal("0.0151")
    one.invoice = Decimal("0.02")
    assert one.accrued() == 0


def test_nothing_comes_up_without_an_activity_or_where_an_invoice_is_refused() -> None:
    one = account(100.0)
    one.refused = "too much"
    assert one.accrued() == 0
    one.refused = None
    one.activities.clear()
    assert one.accrued() == 0


# in the journal


@pytest.mark.parametrize("properties", [{}, {COEFFICIENTS: [1]}], ids=["priced", "not priced"])
def test_an_account_is_read_back_as_it_was_written(properties: dict[str, object]) -> None:
    one = account(more=properties)
    again = Account.from_json(json.loads(json.dumps(one.to_json())))
    one.activities.clear()
    assert again == one


def test_prices_are_read_back_to_the_last_digit() -> None:
    exact = Prices(Decimal("0.000000000000000001"), ((DURATION, Decimal("1E-18")),))
    assert Prices.from_json(json.loads(json.dumps(exact.to_json()))) == exact
