"""Habits survive the way to the supervisor, and bad values are refused."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest

from simple_golem.errors import BadWaitTime
from simple_golem.local.control.as_real import AsReal
from simple_golem.local.control.habits import Answer, FailingCommands, Price, ProviderHabits

EVERYTHING_WRONG = ProviderHabits(
    price=Price(Decimal("0.1"), Decimal("0.2"), Decimal("0.3")),
    most_agreements=3,
    runtime="wasmtime",
    gpu="Matrox Mystique",
    gpu_mem_gib=0.5,
    claims=("inet", "vpn"),
    cpu_threads=2,
    mem_gib=1.5,
    storage_gib=10.0,
    proposals=Answer.NO,
    agreements=Answer.NEVER,
    approves_after=1.0,
    activities=Answer.NO,
    creates_after=2.0,
    reason="it rains",
    deploy_error="no disk",
    failing_commands=FailingCommands("date", 3, "no clock"),
    command_delay=0.5,
    disk_mib=64,
    transfer_speed=100.0,
    cuts_transfers_after=4096,
    streams=False,
    streams_events=3,
    silent_after=4.0,
    silent_for=6.0,
    terminates_after=7.0,
    keeps_activity=True,
    dies_after=8.0,
    destroys=False,
    debit_note_interval=0.25,
    insists_on_interval=600.0,
    overcharge=Decimal("1.5"),
    invoices=False,
    invoices_after=9.0,
    hanging_commands="sleep",
    as_real=AsReal(3, 0.5),
)


def test_every_habit_survives_the_way_to_another_process() -> None:
    wire = json.loads(json.dumps(EVERYTHING_WRONG.to_wire()))
    assert ProviderHabits.from_wire(wire) == EVERYTHING_WRONG
    honest = ProviderHabits()
    kept = [name for name in wire if getattr(honest, name) == getattr(EVERYTHING_WRONG, name)]
    assert kept == []


@pytest.mark.parametrize("field", ["approves_after", "creates_after", "command_delay", "invoices_after"])
def test_a_delay_is_a_number_of_seconds(field: str) -> None:
    for senseless in (-1, None, "1", float("nan"), float("inf")):
        with pytest.raises(BadWaitTime, match=field):
            ProviderHabits(**{field: senseless})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "field",
    [
        "silent_after",
        "silent_for",
        "terminates_after",
        "dies_after",
        "debit_note_interval",
        "insists_on_interval",
    ],
)
def test_a_habit_that_may_never_happen_takes_seconds_or_none(field: str) -> None:
    assert getattr(ProviderHabits(), field) is None
    for senseless in (-0.1, "soon"):
        with pytest.raises(BadWaitTime, match=field):
            ProviderHabits(**{field: senseless})  # type: ignore[arg-type]


def test_an_overcharge_is_a_factor_of_the_price() -> None:
    price = Price(Decimal("0.1"), Decimal("0.2"), Decimal("0.3"))
    assert ProviderHabits(price=price).charge([10, 1]) == Decimal("1.5")
    assert ProviderHabits(price=price, overcharge=Decimal(2)).charge([10, 1]) == Decimal(3)
