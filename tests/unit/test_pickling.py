"""What a worker of `multiprocessing` hands back: errors, events, results, commands, offers, reports."""

from __future__ import annotations

import copy
import dataclasses
import logging
import multiprocessing
import pickle
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from decimal import Decimal
from typing import Any, get_args, get_origin, get_type_hints

import pytest

from simple_golem import (
    Cost,
    CostReport,
    Deploy,
    Download,
    Offer,
    OutputLine,
    Payload,
    Result,
    Results,
    Run,
    ServiceState,
    Start,
    Strategy,
    SuspendedInstance,
    Terms,
    Upload,
    UploadBytes,
    UploadJson,
    Usage,
    constraint,
    errors,
    events,
    vm,
)

NOON = datetime(2026, 1, 1, 12, tzinfo=timezone.utc)
RESULT = Result(
    stdout="out", stderr="err", success=False, command=Run("/bin/x", stream=True), finished_at=NOON
)
SAMPLES: dict[object, object] = {
    str: "text",
    int: 3,
    float: 1.5,
    bool: True,
    Decimal: Decimal("0.1"),
    datetime: NOON,
    ServiceState: ServiceState.running,
}


def error_of(name: str) -> BaseException:
    kind = getattr(errors, name)
    if kind is errors.CommandFailed:
        return errors.CommandFailed("failed", command=RESULT.command, results=[RESULT], provider="prov-1")
    if kind is errors.YagnaError:
        return errors.YagnaError("GET", "/path", 500, "boom")
    error: BaseException = kind("a message")
    return error


def sample(hint: Any) -> object:
    """A value of the type that a field of an event has."""
    if hint in SAMPLES:
        return SAMPLES[hint]
    if type(None) in get_args(hint):
        return sample(next(one for one in get_args(hint) if one is not type(None)))
    if get_origin(hint) is not None:
        return (RESULT,)
    return RESULT.command


def event_of(name: str) -> object:
    kind = getattr(events, name)
    hints = get_type_hints(kind)
    return kind(**{field.name: sample(hints[field.name]) for field in dataclasses.fields(kind)})


VALUES: dict[str, object] = {
    "result": RESULT,
    "results": Results([RESULT, Result()]),
    "line": OutputLine("text", "Hello-1", is_stderr=True),
    "run": Run("/bin/x", "a", keep_first=3, binary=True),
    "run by name": Run("name", absolute=False),
    "run with a logger": Run("/bin/x", stream=logging.getLogger("simple_golem.test")),
    "upload": Upload("a", "/golem/input/a"),
    "bytes": UploadBytes(b"1", "/golem/input/a"),
    "json": UploadJson({"a": [1]}, "/golem/input/a"),
    "download": Download("/golem/output/a", "a"),
    "vm": vm.repo(min_mem_gib=1, gpu=True),
    "payload": Payload(
        runtime="own",
        properties={"a": "b"},
        constraints=[constraint("golem.inf.mem.gib", ">=", 2)],
        deploy=Deploy(env={"A": "b"}),
        start=Start("x"),
    ),
    "strategy": Strategy(block=["prov-1"], max_price_per_hour=1),
    "terms": Terms(debit_note_interval=60),
    "offer": Offer.of("0x1", {"golem.node.id.name": "prov-1", "golem.inf.mem.gib": 4}),
    "suspended": SuspendedInstance("Hello-1", "agreement", "activity", "session", None),
    "report": CostReport((), Cost(Decimal("0.1"), "tGLM", "hoodi", True)),
    "usage": Usage.of(["golem.usage.duration_sec"], [1.5]),
}


def copies_of(value: object) -> Iterator[object]:
    for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
        yield pickle.loads(pickle.dumps(value, protocol))
    yield copy.copy(value)
    yield copy.deepcopy(value)


@pytest.mark.parametrize("name", errors.__all__)
def test_every_error_survives(name: str) -> None:
    error = error_of(name)
    for other in copies_of(error):
        assert isinstance(other, BaseException)
        assert (type(other), str(other), other.args, vars(other)) == (
            type(error),
            str(error),
            error.args,
            vars(error),
        )


@pytest.mark.parametrize("name", events.__all__)
def test_every_event_survives(name: str) -> None:
    event = event_of(name)
    for other in copies_of(event):
        assert other == event
        assert other.at == event.at  # type: ignore[attr-defined]
        assert str(other) == str(event)


@pytest.mark.parametrize("value", VALUES.values(), ids=list(VALUES))
def test_every_value_survives(value: object) -> None:
    for other in copies_of(value):
        assert type(other) is type(value)
        assert other == value
        assert repr(other) == repr(value)


def test_a_line_of_output_keeps_where_it_comes_from() -> None:
    for other in copies_of(VALUES["line"]):
        assert isinstance(other, OutputLine)
        assert (other.instance, other.is_stderr) == ("Hello-1", True)


def test_a_function_that_can_not_be_pickled_stays_behind() -> None:
    lines: list[str] = []
    command = Run("/bin/x", "a", stream=lines.append)
    local: Callable[[object], object] = lambda line: None  # noqa: E731
    assert pickle.loads(pickle.dumps(Run("/bin/x", "a", stream=local))) == Run("/bin/x", "a")
    assert copy.copy(command).stream == lines.append
    assert copy.deepcopy(command).stream == lines.append


def fail(name: str) -> None:
    raise error_of(name)


@pytest.mark.parametrize("name", ["YagnaError", "CommandFailed"])
def test_an_error_of_a_worker_process_reaches_its_parent(name: str) -> None:
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        raised = pool.map_async(fail, [name])
        with pytest.raises(type(error_of(name)), match=str(error_of(name))):
            raised.get(timeout=30)
        pool.close()
        pool.join()


def test_a_failed_command_has_what_it_wrote() -> None:
    error = errors.CommandFailed("failed", results=[Result(stdout="before"), RESULT])
    assert (error.stdout, error.stderr, error.exit_code) == ("out", "err", None)
    assert (errors.CommandFailed("x").stdout, errors.CommandFailed("x").stderr) == ("", "")
