"""What a provider offers, charges and agrees to; and how a network is described to its supervisor."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest

from simple_golem.errors import BadSetting, LocalNetworkError, UnsupportedPlatform
from simple_golem.local.control.habits import Price, ProviderHabits, habits_of
from simple_golem.local.control.messages import DaemonAddress, LocalProvider, Plan, Report
from simple_golem.local.daemon.daemon import find_yagna
from simple_golem.local.daemon.identities import HUB, PROVIDERS, REQUESTOR
from simple_golem.local.local_golem import LocalGolem, check_machine
from simple_golem.local.provider.offer import Terms, counter_properties, offer_properties

INTERVAL = "golem.com.scheme.payu.debit-note.interval-sec?"
PAYMENT = "golem.com.scheme.payu.payment-timeout-sec?"
OFFER = offer_properties("prov-1", "0xabc", "local", ProviderHabits())
EXPIRATION = datetime(2030, 1, 1, tzinfo=timezone.utc)


def agreement(offer: dict[str, Any]) -> dict[str, Any]:
    demand = {"golem.srv.comp.expiration": int(EXPIRATION.timestamp() * 1000)}
    return {"demand": {"properties": demand}, "offer": {"properties": offer}}


def test_a_provider_is_paid_on_the_networks_of_its_account() -> None:
    named = "golem.com.payment.platform."
    assert [name for name in OFFER if name.startswith(named)] == [
        f"{named}erc20-hoodi-tglm.address",
        f"{named}erc20-holesky-tglm.address",
    ]
    offer = offer_properties("prov-1", "0xabc", "local", ProviderHabits(), payment_networks=["polygon"])
    assert offer[f"{named}erc20-polygon-glm.address"] == "0xabc"


def test_the_price_is_in_the_order_of_the_usage_vector_with_the_fixed_part_last() -> None:
    price = Price(Decimal("0.1"), Decimal("0.2"), Decimal("0.3"))
    assert price.coefficients == [0.1, 0.2, 0.3]
    assert price.of([10.0, 1.0]) == Decimal("1.5")
    assert price.of([0.0004, 0.0]) == Decimal("0.3")


def test_a_counter_repeats_what_the_demand_asks_for_and_drops_what_it_does_not() -> None:
    counter = counter_properties(OFFER, {INTERVAL: 60, "golem.other": 1})
    assert counter[INTERVAL] == 60
    assert PAYMENT not in counter
    assert "golem.other" not in counter
    assert counter["golem.node.id.name"] == "prov-1"


def test_a_counter_says_the_interval_that_is_insisted_on() -> None:
    assert counter_properties(OFFER, {INTERVAL: 60}, 600.0)[INTERVAL] == 600.0
    assert counter_properties(OFFER, {}, 600.0)[INTERVAL] == 600.0


def test_terms_without_negotiation_have_two_minutes_and_no_payment_on_the_way() -> None:
    terms = Terms.of(agreement({}))
    assert terms.expiration == EXPIRATION
    assert terms.debit_note_interval == timedelta(minutes=2)
    assert terms.debit_note_due(EXPIRATION) is None


def test_terms_are_those_of_the_offer_in_the_agreement() -> None:
    terms = Terms.of(agreement({INTERVAL: 30, PAYMENT: 100}))
    assert terms.debit_note_interval == timedelta(seconds=30)
    assert terms.debit_note_due(EXPIRATION) == EXPIRATION + timedelta(seconds=100)


def test_habits_and_plans_survive_the_way_to_another_process() -> None:
    habits = ProviderHabits(price=Price(per_second=Decimal("0.123456789012345678")), most_agreements=2)
    plan = Plan(7, [habits, ProviderHabits()], ["local"], ["hoodi"], ["a=/b"])
    assert Plan.from_wire(json.loads(json.dumps(plan.to_wire()))) == plan


def test_a_report_survives_it_too() -> None:
    daemon = DaemonAddress("http://127.0.0.1:1", "key")
    providers = (LocalProvider("prov-1", "0x1", "k"),)
    report = Report(
        daemon, daemon, "http://127.0.0.1:2", "/nowhere", providers, "/nowhere/rules", None, "why"
    )
    assert Report.from_wire(json.loads(json.dumps(report.to_wire()))) == report


def test_a_number_of_providers_means_as_many_ordinary_ones() -> None:
    assert habits_of(2, 64) == [ProviderHabits(), ProviderHabits()]
    assert habits_of([ProviderHabits(most_agreements=3)], 64)[0].most_agreements == 3


@pytest.mark.parametrize("providers", [0, -1, 201, [], True, "four", 1.5])
def test_a_senseless_number_of_providers_is_refused(providers: Any) -> None:
    with pytest.raises(LocalNetworkError, match="provider"):
        LocalGolem(providers)


@pytest.mark.parametrize("subnet", ["", "a b", "(x=1)", "a*"])
def test_a_subnet_that_no_constraint_could_name_is_refused(subnet: str) -> None:
    with pytest.raises(BadSetting, match="subnet"):
        LocalGolem(subnet=subnet)


def test_identities_are_all_different() -> None:
    identities = [REQUESTOR, HUB, *PROVIDERS]
    assert len({identity.node_id for identity in identities}) == len(identities) == 202
    assert PROVIDERS[0].name == "prov-1"
    assert all(len(identity.node_id) == 42 for identity in identities)


@pytest.mark.parametrize(
    ("system", "machine"), [("darwin", "arm64"), ("win32", "AMD64"), ("linux", "riscv64")]
)
def test_other_machines_are_refused_with_a_way_out(
    monkeypatch: pytest.MonkeyPatch, system: str, machine: str
) -> None:
    monkeypatch.setattr("sys.platform", system)
    monkeypatch.setattr("platform.machine", lambda: machine)
    with pytest.raises(UnsupportedPlatform, match=r"WSL.*YAGNA_API_URL"):
        check_machine()


def test_a_missing_golem_node_is_an_error_that_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("simple_golem.local.daemon.daemon.GOLEM_NODE", "no-such-package")
    with pytest.raises(LocalNetworkError, match=r"pip install 'simple_golem\[local\]'"):
        find_yagna()
