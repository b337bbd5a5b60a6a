"""The demands that a provider refuses, in the words of the real one (ya-provider 0.17.6), or does not answer.

The numbers are those of the rows in which each behaviour was seen on real providers.
"""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from simple_golem.local.control import rules
from simple_golem.local.control.habits import ProviderHabits
from simple_golem.local.provider.demand_rules import CHOSEN_PLATFORM, Refusal, duration_text, refusal_of
from simple_golem.local.provider.offer import (
    ACCEPT_TIMEOUT,
    DEBIT_NOTE_INTERVAL,
    EXPIRATION,
    PAYMENT_TIMEOUT,
    offer_properties,
)

NOW = datetime(2026, 11, 29, 2, 59, 13, 869_000, tzinfo=timezone.utc)
OFFER = offer_properties("prov-1", "0x1", "local", ProviderHabits())


def after(**duration: float) -> int:
    return int((NOW + timedelta(**duration)).timestamp() * 1000)


def demand(**changes: Any) -> dict[str, Any]:
    """A demand that is accepted, with changes; None leaves a property out."""
    names = {
        "ends": EXPIRATION,
        "accept": ACCEPT_TIMEOUT,
        "interval": DEBIT_NOTE_INTERVAL,
        "payment": PAYMENT_TIMEOUT,
        "platform": CHOSEN_PLATFORM,
    }
    usual = {"ends": after(hours=3), "accept": 240, "platform": "erc20-hoodi-tglm"}
    changed = usual | changes
    return {names[name]: value for name, value in changed.items() if value is not None}


LENGTH = "Proposal expires at: {} UTC which is less than 5m or more than {} from now"
REFUSED = {
    "47-four-minutes": (
        demand(ends=after(minutes=4)),
        Refusal(rules.AGREEMENT_LENGTH, LENGTH.format("2026-11-29 03:03:13.869", "100years"), is_final=True),
    ),
    "47-over-a-century": (
        demand(ends=after(days=36600), payment=600),
        Refusal(rules.AGREEMENT_LENGTH, LENGTH.format("2127-02-13 02:59:13.869", "100years"), is_final=False),
    ),
    "48-twelve-hours": (
        demand(ends=after(hours=12)),
        Refusal(
            rules.PAYMENTS_REQUIRED,
            "Expiration time 2026-11-29T14:59:13.869+00:00 exceeds the 10h threshold of enforcing "
            "mid-agreement payments but the required property "
            "'golem.com.scheme.payu.payment-timeout-sec?' was not present in the Demand",
            is_final=True,
        ),
    ),
    "49-no-accept-timeout": (
        demand(ends=after(minutes=45), accept=None),
        Refusal(
            rules.LENGTH_WITHOUT_ACCEPTANCE, LENGTH.format("2026-11-29 03:44:13.869", "30m"), is_final=False
        ),
    ),
    "50-too-late": (
        demand(accept=600),
        Refusal(rules.ACCEPT_TIMEOUT, "DebitNote acceptance deadline should be less than 4m.", is_final=True),
    ),
    "50-too-soon": (
        demand(accept=3),
        Refusal(rules.ACCEPT_TIMEOUT, "To low DebitNotes timeout: 3s", is_final=True),
    ),
    "51-interval": (
        demand(interval=2 * 86400),
        Refusal(
            rules.DEBIT_NOTE_INTERVAL,
            "Demand DebitNote interval 2days not in acceptable range of [1s; 1day]",
            is_final=True,
        ),
    ),
    "51-no-interval": (
        demand(interval=0),
        Refusal(
            rules.DEBIT_NOTE_INTERVAL,
            "Demand DebitNote interval 0s not in acceptable range of [1s; 1day]",
            is_final=True,
        ),
    ),
    "51-payment": (
        demand(payment=3 * 86400),
        Refusal(
            rules.PAYMENT_TIMEOUT,
            "Demand DebitNote payment timeout 3days not in acceptable range of [1s; 1day]",
            is_final=True,
        ),
    ),
    "53-platform": (
        demand(platform=None),
        Refusal(rules.CHOSEN_PLATFORM, "Missing fields: /golem/com/payment/chosen-platform", is_final=False),
    ),
}
NOT_ANSWERED = {
    "52-a-fraction": demand(interval=60.5),
    "52-a-float": demand(accept=60.0),
    "52-a-text": demand(payment="90"),
    "52-a-truth": demand(interval=True),
    "52-negative": demand(payment=-1),
    "52-no-expiration": demand(ends=None),
    "52-expiration-as-text": demand(ends="soon"),
}
ACCEPTED = {
    "usual": demand(),
    "five-and-a-half-minutes": demand(ends=after(minutes=5.5)),
    "twelve-hours-with-payments": demand(ends=after(hours=12), payment=86400, interval=120),
    "accept-timeout-30": demand(accept=30),
    "interval-30": demand(interval=30),
    "payment-timeout-4000": demand(payment=4000),
    "half-an-hour-without-accept-timeout": demand(ends=after(minutes=29), accept=None),
}


@pytest.mark.parametrize(("asked", "refusal"), REFUSED.values(), ids=REFUSED)
def test_a_demand_is_refused_in_the_words_of_the_real_provider(
    asked: dict[str, Any], refusal: Refusal
) -> None:
    assert refusal_of(asked, OFFER, NOW) == refusal


@pytest.mark.parametrize("asked", NOT_ANSWERED.values(), ids=NOT_ANSWERED)
def test_a_demand_that_the_real_provider_can_not_read_is_not_answered(asked: dict[str, Any]) -> None:
    assert refusal_of(asked, OFFER, NOW) == Refusal(rules.WHOLE_NUMBERS, None, is_final=False)


@pytest.mark.parametrize("asked", ACCEPTED.values(), ids=ACCEPTED)
def test_a_demand_that_the_real_provider_accepts_is_accepted(asked: dict[str, Any]) -> None:
    assert refusal_of(asked, OFFER, NOW) is None


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0s"), (61, "1m 1s"), (86400, "1day"), (2 * 86400 + 3600, "2days 1h"), (36525 * 86400, "100years")],
)
def test_durations_are_written_as_there(seconds: int, text: str) -> None:
    assert duration_text(seconds) == text
