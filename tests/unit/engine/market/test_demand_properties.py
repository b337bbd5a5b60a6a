"""What a demand says on the market."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

from simple_golem.engine.market.demand_properties import SESSION_MARK, demand_constraints, demand_properties
from simple_golem.model.payload.payload import Payload
from simple_golem.model.settings import Settings
from simple_golem.yagna.values import Decorations

SETTINGS = Settings.resolve("key", subnet_tag="mine", environ={})
DECORATIONS = Decorations({"golem.com.x": "1"}, ("(a=1)", "(b=2)"))


def test_a_demand_says_when_it_ends_and_where_it_is() -> None:
    noon = datetime(2126, 1, 31, 12, tzinfo=timezone.utc)
    payload = Payload({"golem.srv.x": 5, "golem.node.id.name": "own"})
    assert demand_properties(payload, DECORATIONS, SETTINGS, noon, "s1") == {
        "golem.srv.comp.expiration": 4925534400000 + 360_000,
        SESSION_MARK: "s1",
        "golem.srv.caps.multi-activity": True,
        "golem.node.debug.subnet": "mine",
        "golem.node.id.name": "own",
        "golem.srv.x": 5,
        "golem.com.x": "1",
    }


def test_an_agreement_lasts_longer_than_providers_refuse() -> None:
    now = datetime.now(timezone.utc)
    properties = demand_properties(Payload({}), DECORATIONS, SETTINGS, now + timedelta(seconds=30), "s1")
    ends = datetime.fromtimestamp(properties["golem.srv.comp.expiration"] / 1000, timezone.utc)
    assert timedelta(minutes=5, seconds=30) < ends - now < timedelta(minutes=7)


def test_a_demand_asks_for_all_constraints_together() -> None:
    constraints = demand_constraints(Payload({}, ("(golem.runtime.name=vm)",)), DECORATIONS, SETTINGS)
    assert constraints.startswith("(&(")
    assert constraints.endswith("))")
    assert constraints.count("(") == constraints.count(")") == 6
    for part in (
        "(golem.runtime.name=vm)",
        "(golem.node.debug.subnet=mine)",
        "(golem.com.pricing.model=linear)",
        "(a=1)",
        "(b=2)",
    ):
        assert part in constraints
