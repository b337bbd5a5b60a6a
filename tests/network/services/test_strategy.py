"""Who is taken, of providers with different prices, names and terms."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal

import pytest

from simple_golem import Golem, Service, vm
from simple_golem.errors import BadPayload, BadStrategy, BadTerms
from simple_golem.local.control.habits import Price, ProviderHabits
from simple_golem.local.local_golem import LocalGolem
from simple_golem.model.events.market import ProposalRejected
from simple_golem.model.offers.strategy import Strategy
from simple_golem.model.offers.terms import Terms
from simple_golem.yagna.client import Yagna
from tests.network.helpers.leftovers import left_on

pytestmark = pytest.mark.usefixtures("golem_environment")

ORDINARY = Price()
# By what each of them differs from an ordinary provider; `prov-1` is the first.
HABITS = {
    "dear time": ProviderHabits(price=Price(per_second=Decimal("0.01"))),
    "dear processor time": ProviderHabits(price=Price(per_cpu_second=Decimal("0.01"))),
    "dear start": ProviderHabits(price=Price(start=Decimal("0.5"))),
    "second cheapest": ProviderHabits(price=Price(per_second=Decimal("0.0002"))),
    "cheapest": ProviderHabits(),
    "dear in all": ProviderHabits(
        price=Price(Decimal("0.0003"), Decimal("0.0004"), Decimal("0.1")), insists_on_interval=600
    ),
}
NAMES = {habit: f"prov-{number}" for number, habit in enumerate(HABITS, 1)}


@pytest.fixture(scope="module")
def network() -> Iterator[LocalGolem]:
    """Six providers of different prices, of which one insists on terms of its own."""
    with LocalGolem(list(HABITS.values()), chain=False) as network:
        yield network


class Idle(Service):
    """Stays running until it is stopped."""


def node_id(network: LocalGolem, habit: str) -> str:
    return next(one.node_id for one in network.providers if one.name == NAMES[habit])


def agreements_with(network: LocalGolem, habit: str) -> int:
    """How many agreements, of whatever state, the provider's own side knows."""
    (provider,) = [one for one in network.providers if one.name == NAMES[habit]]
    yagna = Yagna(network.far.api_url, provider.app_key)
    try:
        return len(yagna.market.agreements())
    finally:
        yagna.close()


def patient(**rules) -> Strategy:
    """A strategy for a machine that may be busy: it ends its collecting when all have answered."""
    return Strategy(collect_seconds=10, **rules)


def reasons(events: list[object]) -> set[str]:
    return {event.reason for event in events if isinstance(event, ProposalRejected)}


def eventually(fulfilled, seconds: float = 15.0) -> None:
    until = time.monotonic() + seconds
    while not fulfilled():
        assert time.monotonic() < until, "it did not happen"
        time.sleep(0.05)


def test_the_cheapest_is_chosen_again_and_again(network):
    with Golem(budget=5, strategy=patient()) as golem:
        for _ in range(3):
            (instance,) = golem.run_service(Idle).wait_until_running(timeout=60)
            assert instance.provider_name == NAMES["cheapest"]
            assert instance.provider_id == node_id(network, "cheapest")
            instance.stop()
        assert agreements_with(network, "cheapest") >= 3


def test_several_instances_have_the_cheapest_providers():
    with Golem(budget=5, strategy=patient()) as golem:
        cluster = golem.run_service(Idle, num_instances=2)
        cluster.wait_until_running(timeout=60)
        names = {instance.provider_name for instance in cluster}
    assert names == {NAMES["cheapest"], NAMES["second cheapest"]}


def test_the_cheapest_provider_depends_on_time_and_load():
    with Golem(budget=5, strategy=patient()) as golem:
        idle = patient(expected_seconds=1000, expected_load=0, block=[NAMES["cheapest"]])
        (one,) = golem.run_service(Idle, strategy=idle).wait_until_running(timeout=60)
        # With no load, what it costs is without meaning.
        assert one.provider_name == NAMES["dear processor time"]
        brief = patient(
            expected_seconds=0.01, expected_load=0, allow=[NAMES["dear start"], NAMES["dear time"]]
        )
        (other,) = golem.run_service(Idle, strategy=brief).wait_until_running(timeout=60)
        assert other.provider_name == NAMES["dear time"]


def test_the_block_list_holds_by_name_and_by_id(network):
    blocked = [NAMES["cheapest"].upper(), node_id(network, "second cheapest").upper().replace("0X", "0x")]
    before = [agreements_with(network, habit) for habit in ("cheapest", "second cheapest")]
    with Golem(budget=5, strategy=patient(block=blocked)) as golem:
        (instance,) = golem.run_service(Idle).wait_until_running(timeout=60)
        assert instance.provider_name == NAMES["dear start"]
    assert [agreements_with(network, habit) for habit in ("cheapest", "second cheapest")] == before


def test_the_allow_list_holds_by_name_and_by_id(network):
    for who in (NAMES["dear time"], node_id(network, "dear time")):
        with Golem(budget=5, strategy=patient(allow=[who])) as golem:
            (instance,) = golem.run_service(Idle).wait_until_running(timeout=60)
            assert instance.provider_name == NAMES["dear time"]


def test_a_provider_over_a_ceiling_is_never_confirmed(network):
    dear = ("dear time", "dear processor time", "dear start", "dear in all")
    before = [agreements_with(network, habit) for habit in dear]
    strategy = patient(
        max_price_per_hour=2, max_price_per_cpu_hour=2, max_start_price="0.2", max_total_price=2
    )
    events = []
    # An instance that was waited for and never ran is a failure.
    with Golem(budget=5, strategy=strategy, raise_failures=False) as golem:
        golem.on_event(events.append)
        # One more than there are providers that may be taken.
        cluster = golem.run_service(Idle, num_instances=3)
        cluster.wait_until_running(timeout=60, count=2)
        eventually(lambda: len(reasons(events)) >= 4)
        assert not cluster.wait(1.5)
        assert sorted(one.state.value for one in cluster) == ["pending", "running", "running"]
        names = {one.provider_name for one in cluster if one.state == "running"}
    assert names == {NAMES["cheapest"], NAMES["second cheapest"]}
    assert [agreements_with(network, habit) for habit in dear] == before
    assert reasons(events) >= {
        "A price of 36 GLM per hour is above 2",
        "A price of 36 GLM per hour of processor time is above 2",
        "A start price of 0.5 GLM is above 0.2",
        "An estimated total of 2.62 GLM is above 2",
    }


def test_a_function_scores_and_refuses(network):
    before = agreements_with(network, "dear start")

    def score(offer):
        # The dearest start, but for the one that is too much.
        return None if offer.prices.start > Decimal("0.4") else float(offer.prices.start)

    with Golem(budget=5, strategy=patient(score=score)) as golem:
        (instance,) = golem.run_service(Idle).wait_until_running(timeout=60)
        assert instance.provider_name == NAMES["dear in all"]
    assert agreements_with(network, "dear start") == before


def test_a_filter_refuses_and_a_clusters_strategy_beats_that_of_the_golem():
    strategy = patient(accept=lambda offer: offer.prices.start >= Decimal("0.1"))
    with Golem(budget=5, strategy=strategy) as golem:
        cluster = golem.run_service(Idle)
        other = golem.run_service(Idle, strategy=patient())
        (one,) = cluster.wait_until_running(timeout=60)
        (two,) = other.wait_until_running(timeout=60)
        assert one.provider_name == NAMES["dear start"]
        assert two.provider_name == NAMES["cheapest"]


def test_a_beginner_does_not_wait_for_the_collecting():
    """All six have answered long before the forty seconds that they have for it."""
    with Golem(budget=5) as golem:
        began = time.monotonic()
        cluster = golem.run_service(Idle, strategy=Strategy(collect_seconds=40))
        cluster.wait_until_running(timeout=60)
        assert time.monotonic() - began < 20


def test_terms_that_the_provider_answers_otherwise_are_turned_down(network):
    before = agreements_with(network, "dear in all")
    events = []
    strategy = patient(allow=[NAMES["dear in all"]])
    terms = Terms(debit_note_interval=60)
    with Golem(budget=5, strategy=strategy, terms=terms, raise_failures=False) as golem:
        golem.on_event(events.append)
        cluster = golem.run_service(Idle)
        words = "golem.com.scheme.payu.debit-note.interval-sec? must be 60, not 600"
        eventually(lambda: words in reasons(events))
        assert not cluster.wait(0.5)
        assert [one.state.value for one in cluster] == ["pending"]
    assert agreements_with(network, "dear in all") == before


def test_terms_of_ones_own_are_agreed_to_by_an_ordinary_provider(network):
    terms = Terms(debit_note_interval=30, debit_note_accept_timeout=60, payment_timeout=3600)
    with Golem(budget=5, terms=terms) as golem:
        (instance,) = golem.run_service(Idle).wait_until_running(timeout=60)
        (entry,) = golem.cost_report.entries
        yagna = Yagna(network.near.api_url, network.near.app_key)
        try:
            agreement = yagna.market.agreement(entry.agreement_id)
        finally:
            yagna.close()
        assert instance.provider_id == agreement.provider_id
    for properties in (agreement.demand_properties, agreement.offer_properties):
        assert properties["golem.com.scheme.payu.debit-note.interval-sec?"] == 30
        assert properties["golem.com.payment.debit-notes.accept-timeout?"] == 60
        assert properties["golem.com.scheme.payu.payment-timeout-sec?"] == 3600


def test_the_longest_and_the_shortest_clusters_find_providers(network):
    """Real ones reject ten hours without payments in between, and less than five minutes."""
    with Golem(budget=5) as golem:
        long = golem.run_service(Idle, expiration=timedelta(hours=12))
        short = golem.run_service(Idle, expiration=timedelta(minutes=2))
        for cluster in (long, short):
            cluster.wait_until_running(timeout=60)
        short.spawn()
        short.wait_until_running(timeout=60)
        short.stop()
    assert left_on(network) == []


# looking before buying


def test_offers_lists_all_that_is_on_the_market_cheapest_first_and_leaves_nothing(network):
    golem = Golem(budget=1)
    began = time.monotonic()
    offers = golem.offers()
    assert time.monotonic() - began < 3 * 5
    # Of the two dearest, processor time costs 0.36 less in an hour.
    order = ("cheapest", "second cheapest", "dear start", "dear in all", "dear processor time", "dear time")
    assert [offer.provider_name for offer in offers] == [NAMES[habit] for habit in order]
    for offer in offers:
        (habits,) = [habits for habit, habits in HABITS.items() if NAMES[habit] == offer.provider_name]
        assert offer.prices.start == habits.price.start
        assert offer.prices.per_second == habits.price.per_second
        assert offer.prices.per_cpu_second == habits.price.per_cpu_second
        assert offer.prices.per_hour == habits.price.per_second * 3600
        assert offer.provider_id in {provider.node_id for provider in network.providers}
    assert left_on(network) == []


def test_offers_can_be_looked_at_while_something_runs(network):
    with Golem(budget=1, strategy=patient(block=[NAMES["cheapest"]])) as golem:
        golem.run_service(Idle).wait_until_running(timeout=60)
        offers = golem.offers(vm.repo(min_mem_gib=1))
        # What is refused comes last, and is shown all the same.
        assert offers[-1].provider_name == NAMES["cheapest"]
        assert len(offers) >= len(HABITS) - 1
    assert golem.cost.amount > 0


def test_nothing_on_the_market_is_an_empty_list_in_the_time_given(network):
    began = time.monotonic()
    assert Golem(budget=1).offers(vm.repo(min_mem_gib=5000), timeout=1.5) == ()
    assert 1.4 < time.monotonic() - began < 3 * 1.5
    assert left_on(network) == []


# bad ones, before anything is spent


def test_a_strategy_or_terms_that_can_not_be_are_refused_at_the_call():
    for strategy in (7, "cheapest", Strategy):
        with pytest.raises(BadStrategy):
            Golem(budget=1, strategy=strategy)
    with pytest.raises(BadTerms):
        Golem(budget=1, terms=60)
    with Golem(budget=1) as golem:
        with pytest.raises(BadStrategy):
            golem.run_service(Idle, strategy=7)
        with pytest.raises(BadTerms):
            golem.run_service(Idle, terms={"debit_note_interval": 60})
        with pytest.raises(BadPayload):
            golem.offers(7)
        assert golem.clusters == ()


def test_what_keeps_providers_away_is_explained_and_the_advice_is_right(network: LocalGolem) -> None:
    dear = [NAMES[one] for one in ("dear time", "dear in all", "second cheapest")]
    golem = Golem(1, strategy=Strategy(max_price_per_hour="0.36", block=[NAMES["cheapest"]]))
    explanation = golem.explain(vm.repo(min_mem_gib=1000))
    assert (explanation.providers, explanation.matching) == (len(HABITS), 0)
    found = {one.condition: one.keeps_away for one in explanation.obstacles}
    assert found == {
        "(golem.inf.mem.gib>=1000)": len(HABITS),
        "max_price_per_hour=0.36": len(dear),
        "block": 1,
    }
    (nearest,) = explanation.nearest
    assert explanation.nearest_matching == len(HABITS) - len(dear) - 1
    advised = float(nearest.partition(">=")[2].partition(")")[0])
    assert golem.explain(vm.repo(min_mem_gib=advised)).matching == explanation.nearest_matching
    assert left_on(network) == []
