"""Who hears which events."""

from __future__ import annotations

from typing import Any

import pytest

from simple_golem import Golem, UploadBytes
from simple_golem.errors import BadListener
from simple_golem.events import (
    AgreementEnded,
    AgreementMade,
    BudgetAllocated,
    BudgetReleased,
    Event,
    InstanceEvent,
    InvoiceAccepted,
)
from simple_golem.testing import FakeYagna
from tests.helpers.recorded_services import SECONDS


def test_a_golem_has_a_listener_from_the_first_event_to_the_last(fake: FakeYagna) -> None:
    events: list[Event] = []
    with Golem(1, on_event=events.append) as golem:
        golem.rent(SECONDS)
    assert isinstance(events[0], BudgetAllocated)
    assert isinstance(events[-1], BudgetReleased)


def test_a_listener_hears_only_the_events_that_it_asks_for(fake: FakeYagna) -> None:
    made: list[Event] = []
    of_instances: list[Event] = []
    money: list[Event] = []
    with Golem(1) as golem:
        golem.on_event(made.append, only=AgreementMade)
        golem.on_event(of_instances.append, only=InstanceEvent)
        golem.on_event(money.append, only=(InvoiceAccepted, BudgetReleased))
        golem.rent(SECONDS)
    assert [type(one) for one in made] == [AgreementMade]
    assert len(of_instances) > 5
    assert all(isinstance(one, InstanceEvent) for one in of_instances)
    assert [type(one) for one in money] == [InvoiceAccepted, BudgetReleased]


@pytest.mark.parametrize(
    ("listener", "only", "says"),
    [
        (AgreementMade, None, r"write golem\.on_event\(listener, only=AgreementMade\)"),
        ("print", None, "'print' can't be called"),
        (print, int, "only is <class 'int'>"),
        (print, "AgreementMade", "only is 'AgreementMade'"),
        (print, (AgreementMade, 3), "give a class of simple_golem.events, or a tuple of them"),
    ],
)
def test_a_listener_that_makes_no_sense_is_refused(listener: Any, only: Any, says: str) -> None:
    with pytest.raises(BadListener, match=says):
        Golem(1, app_key="x").on_event(listener, only=only)


def test_a_golem_refuses_a_listener_that_can_not_be_called() -> None:
    with pytest.raises(BadListener):
        Golem(1, app_key="x", on_event=3)  # type: ignore[arg-type]


@pytest.mark.parametrize("by_provider", [False, True])
def test_the_end_of_an_agreement_is_told_once(fake: FakeYagna, by_provider: bool) -> None:
    ended: list[Event] = []
    with Golem(1, raise_failures=False) as golem:
        golem.on_event(ended.append, only=AgreementEnded)
        machine = golem.rent(SECONDS)
        if by_provider:
            (provider,) = (one for one in fake.providers if one.agreements)
            provider.terminate_agreement()
            machine.wait_for("terminated", SECONDS)
        else:
            machine.stop()
    assert [one.by_provider for one in ended if isinstance(one, AgreementEnded)] == [by_provider]


def test_the_content_of_bytes_is_shown_to_nobody() -> None:
    assert repr(UploadBytes(bytes(1000), "/golem/input/x")) == "UploadBytes(1000 bytes, '/golem/input/x')"
