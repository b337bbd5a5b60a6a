"""The output of commands while they run, from a daemon in memory."""

from __future__ import annotations

import logging
import threading
from typing import Any

import pytest

from simple_golem import CommandFailed, Golem, Instance, Run
from simple_golem.errors import BatchLost
from simple_golem.testing import CommandAnswer, FakeAnswer, FakeRequest, FakeYagna
from tests.helpers.recorded_services import SECONDS, Gate, InThread, started
from tests.unit.conftest import eventually


def followed(instance: Instance, lines: list[Any], program: str = "/bin/count") -> str:
    """The whole output of a command whose lines are put into a list as they come."""
    return instance.execute(Run(program, stream=lines.append)).stdout


def test_lines_are_given_out_before_the_command_has_ended(frozen: FakeYagna) -> None:
    """The clock stands still: the program begins when its output is listened to, and not before."""
    gate = Gate()

    def pieces(command: dict[str, Any]) -> Any:
        yield "one\ntw"
        yield "o\n"
        gate.wait()
        yield "three"

    for provider in frozen.providers:
        provider.answers = lambda command: pieces(command) if "count" in str(command) else None
    lines: list[Any] = []

    def take(line: Any) -> None:
        lines.append(line)
        if len(lines) == 2:
            gate.open()

    with Golem(1) as golem:
        assert started(golem).execute(Run("/bin/count", stream=take)).stdout == "one\ntwo\nthree"
    assert lines == ["one", "two", "three"]


@pytest.mark.parametrize("habit", ["no stream", "refused", "broken"])
def test_lines_not_streamed_come_at_the_end_of_the_command(
    fake: FakeYagna, habit: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "simple_golem")
    asked = threading.Event()

    def refuse(request: FakeRequest) -> FakeAnswer | None:
        if request.headers.get("accept") != "text/event-stream":
            return None
        asked.set()
        if habit == "refused":
            return FakeAnswer.of_message("no such thing", 404)
        return FakeAnswer.of_message("out of order", 500) if habit == "broken" else None

    fake.intercept(refuse)
    for provider in fake.providers:
        provider.streams = habit != "no stream"
        # It has not ended before somebody wants to listen.
        provider.answers = lambda command: "one\ntwo\n" if asked.wait(SECONDS) else None
    lines: list[Any] = []
    with Golem(1) as golem:
        assert followed(started(golem), lines) == "one\ntwo\n"
        assert lines == ["one", "two"]
        if habit != "no stream":
            eventually(lambda: "does not come as it is written" in caplog.text)


def test_a_command_that_fails_has_given_out_what_it_wrote(fake: FakeYagna) -> None:
    for provider in fake.providers:
        provider.answers = {"/bin/count": CommandAnswer(stdout="one\n", stderr="oh dear\n", exit_code=3)}
    lines: list[Any] = []
    with Golem(1) as golem:
        instance = started(golem)
        with pytest.raises(CommandFailed) as failed:
            followed(instance, lines)
        assert instance.execute(Run("/bin/true")).success
    assert failed.value.exit_code == 3
    assert failed.value.stderr == "oh dear\n"
    assert sorted(lines) == ["oh dear", "one"]


def test_a_function_that_does_not_return_holds_up_no_stop(
    frozen: FakeYagna, caplog: pytest.LogCaptureFixture
) -> None:
    stuck = threading.Event()
    for provider in frozen.providers:
        provider.answers = {"/bin/count": CommandAnswer(stdout="one\n", seconds=600)}
    golem = Golem(1, stop_grace=0.05).open()
    asked = threading.Event()

    def never_returns(line: Any) -> None:
        asked.set()
        assert stuck.wait(SECONDS)

    try:
        instance = started(golem)
        batch = InThread(instance.execute, Run("/bin/count", stream=never_returns))
        assert asked.wait(SECONDS)
        golem.close()
        assert isinstance(batch.join().error, BatchLost)
        assert "its output has not returned in time" in caplog.text
    finally:
        stuck.set()
