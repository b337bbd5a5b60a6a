"""States, costs and times."""

from __future__ import annotations

import ast
import decimal
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path

import pytest

import simple_golem.model
from simple_golem.model.base.wire_time import format_time, parse_time
from simple_golem.model.cost import Cost
from simple_golem.model.service.states import TRANSITIONS, ServiceState
from simple_golem.model.usage import Usage


def test_a_state_equals_and_prints_as_its_name() -> None:
    assert ServiceState.running == "running"
    assert str(ServiceState.running) == f"{ServiceState.running}" == "running"


def test_only_suspended_and_terminated_are_final() -> None:
    assert {state for state in ServiceState if state.is_final} == {"suspended", "terminated"}


def test_every_state_has_its_followers_and_all_but_the_first_can_be_reached() -> None:
    assert set(TRANSITIONS) == set(ServiceState)
    reachable = frozenset().union(*TRANSITIONS.values())
    assert reachable == set(ServiceState)
    # An instance whose provider has ended the agreement is started again after its `shutdown()`.
    assert TRANSITIONS[ServiceState.stopping] == {"pending", "terminated"}
    assert ServiceState.stopping not in TRANSITIONS[ServiceState.pending]


def test_a_cost_says_its_unit_and_whether_it_is_test_money() -> None:
    assert str(Cost(Decimal("0.00420"), "tGLM", "hoodi", True)) == "0.0042 tGLM (test money) on hoodi"
    assert str(Cost(Decimal("1E+2"), "GLM", "polygon", False)) == "100 GLM on polygon"
    assert (
        str(Cost(Decimal("0.1"), "tGLM", "hoodi", True, accrued=Decimal("0.00050")))
        == "0.1 tGLM accepted, and 0.0005 tGLM come up since (test money) on hoodi"
    )
    assert str(Cost(Decimal(1), "GLM", "mainnet", False, accrued=Decimal("1E-12"))) == "1 GLM on mainnet"
    assert str(Cost(Decimal("0E-18"), "GLM", "mainnet", False)) == "0 GLM on mainnet"


def test_a_cost_is_added_up_exactly_in_any_context() -> None:
    with decimal.localcontext() as context:
        context.prec = 3
        cost = Cost(Decimal(1000000), "tGLM", "hoodi", True).add(Decimal("0.000000000000000001"))
        assert str(cost) == "1000000.000000000000000001 tGLM (test money) on hoodi"


def test_a_usage_is_read_by_the_names_of_the_counters_whatever_their_order() -> None:
    usage = Usage.of(["golem.usage.cpu_sec", "own.counter", "golem.usage.duration_sec"], [0.25, 7.0, 12.0])
    assert (usage.seconds, usage.cpu_seconds, usage.counters["own.counter"]) == (12.0, 0.25, 7.0)
    assert str(usage) == "12.0 s, 0.2 s of processor time"
    assert Usage.of(["golem.usage.duration_sec"], []).seconds == 0.0


@pytest.mark.parametrize(
    ("text", "microsecond"),
    [
        ("2026-01-31T12:00:00Z", 0),
        ("2026-01-31T12:00:00.5Z", 500000),
        ("2026-01-31T12:00:00.123Z", 123000),
        ("2026-01-31T12:00:00.123456789Z", 123456),
        ("2026-01-31T14:30:00.123456+02:30", 123456),
        ("2026-01-31T10:00:00-0200", 0),
        ("2026-01-31T12:00:00.25", 250000),
    ],
)
def test_the_daemons_times_are_read_as_utc(text: str, microsecond: int) -> None:
    moment = parse_time(text)
    assert moment == datetime(2026, 1, 31, 12, 0, 0, microsecond, tzinfo=timezone.utc)
    assert moment.utcoffset() == timedelta(0)


@pytest.mark.parametrize("text", ["", "now", "2026-01-31", "2026-13-31T12:00:00Z", "2026-01-31T12:00:00Zx"])
def test_text_that_is_not_a_time_is_an_error(text: str) -> None:
    with pytest.raises(ValueError, match=r"time|month"):
        parse_time(text)


def test_a_time_is_written_in_utc_and_read_back() -> None:
    east = timezone(timedelta(hours=2))
    moment = datetime(2026, 1, 31, 14, 0, 0, 250000, tzinfo=east)
    assert format_time(moment) == "2026-01-31T12:00:00.250000Z"
    assert parse_time(format_time(moment)) == moment
    with pytest.raises(ValueError, match="time zone"):
        format_time(datetime(2026, 1, 31))


def test_the_model_needs_no_thread_no_request_and_no_file() -> None:
    folder = Path(simple_golem.model.__file__).parent
    allowed = {"__future__", "abc", "collections", "dataclasses", "datetime", "decimal", "enum", "inspect"}
    allowed |= {
        "base64",
        "codecs",
        "json",
        "logging",
        "math",
        "os",
        "pathlib",
        "re",
        "shlex",
        "typing",
        "urllib",
    }
    for file in folder.glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                assert {alias.name.split(".")[0] for alias in node.names} <= allowed, file.name
            if isinstance(node, ast.ImportFrom) and node.level == 0:
                assert str(node.module).split(".")[0] in allowed, file.name
            if isinstance(node, ast.ImportFrom) and node.level == 2:
                assert node.module == "errors", file.name
