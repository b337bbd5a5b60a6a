"""The output of a batch while it runs: from the event stream, completed by the results."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from types import SimpleNamespace
from typing import Any

import pytest
import tenacity

from simple_golem.background.cancellation import Deadline, Scope, ScopeEnded
from simple_golem.background.threads import EngineThread
from simple_golem.engine.activity import output_stream
from simple_golem.engine.activity.output_stream import BatchOutput
from simple_golem.errors import YagnaError
from simple_golem.model.commands.commands import Command, Run
from simple_golem.model.commands.output import OutputLine
from simple_golem.yagna.transport.event_stream import RuntimeEvent
from tests.unit.conftest import eventually

BROKEN = YagnaError("GET", "/exec/b", None, "the connection broke")
REFUSED = YagnaError("GET", "/exec/b", 404, "no batch")
END = object()


def out(text: str, index: int = 0) -> RuntimeEvent:
    return RuntimeEvent(index, "stdout", list(text.encode()))


def err(text: str, index: int = 0) -> RuntimeEvent:
    return RuntimeEvent(index, "stderr", text)


def finished(index: int = 0, code: int = 0) -> RuntimeEvent:
    return RuntimeEvent(index, "finished", {"return_code": code})


def result(stdout: str | None, stderr: str | None = None, index: int = 0) -> dict[str, Any]:
    return {"index": index, "result": "Ok", "stdout": stdout, "stderr": stderr}


class Streams:
    """A daemon whose event streams bring what a test has written down, one after the other.

    An error in a stream is raised, `END` closes it; without either it stays open.
    """

    def __init__(self, *streams: Sequence[object]) -> None:
        self._streams = list(streams)
        self.asked = 0
        self.silent = threading.Event()

    def events(self, _activity_id: str, _batch_id: str, *, scope: Scope) -> Iterator[RuntimeEvent]:
        self.asked += 1
        for item in self._streams.pop(0) if self._streams else [BROKEN]:
            if isinstance(item, Exception):
                raise item
            if item is END:
                return
            if callable(item):
                item()
            else:
                assert isinstance(item, RuntimeEvent)
                yield item
        self.silent.set()
        scope.wait()
        raise ScopeEnded(scope.reason)


Follow = Callable[..., BatchOutput]


@pytest.fixture
def lines() -> list[str]:
    return []


@pytest.fixture
def follow(lines: list[str]) -> Iterator[Follow]:
    """Makes the output of a batch of commands that all hand their lines to `lines`."""
    opened: list[BatchOutput] = []

    def make(streams: Streams, commands: Sequence[Command] | None = None) -> BatchOutput:
        yagna: Any = SimpleNamespace(activity=streams)
        followed = commands or [Run("/bin/x", stream=lines.append)]
        opened.append(BatchOutput(yagna, "act1", "b1", followed, "Service-1").__enter__())
        return opened[-1]

    yield make
    for output in opened:
        output.close()


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Broken streams are opened again without a pause, and late ones are waited for a moment only."""
    monkeypatch.setattr(output_stream, "_BEFORE_RECONNECTING", tenacity.wait_none())
    monkeypatch.setattr(output_stream, "_AFTER_LOSS_SECONDS", 0.0)
    monkeypatch.setattr(output_stream, "_STREAM_DELAY_SECONDS", 0.05)


def complete(output: BatchOutput, *entries: dict[str, Any]) -> list[Any]:
    return list(output.complete(entries, Scope(), Deadline(20)))


def test_lines_come_while_the_command_runs_and_only_once(follow: Follow, lines: list[OutputLine]) -> None:
    streams = Streams([out("one\ntw"), out("o\n"), err("bad\n")])
    output = follow(streams)
    assert streams.silent.wait(20)
    assert lines == ["one", "two", "bad"]
    assert [(line.instance, line.is_stderr) for line in lines] == [
        ("Service-1", False),
        ("Service-1", False),
        ("Service-1", True),
    ]
    assert complete(output, result("one\ntwo\nrest", "bad\n"))[0]["stdout"] == "one\ntwo\nrest"
    assert lines == ["one", "two", "bad", "rest"]


def test_only_commands_that_ask_for_it_are_followed(follow: Follow, lines: list[str]) -> None:
    commands = [Run("/bin/a"), Run("/bin/b", stream=lines.append)]
    assert BatchOutput.is_wanted(commands)
    assert not BatchOutput.is_wanted(commands[:1])
    output = follow(Streams([out("no\n", 0), finished(0), out("yes\n", 1), finished(1)]), commands)
    assert complete(output, result("no\n", index=0), result("yes\n", index=1)) == [
        result("no\n", index=0),
        result("yes\n", index=1),
    ]
    assert lines == ["yes"]


@pytest.mark.parametrize("last", [finished(1), finished(0, code=3)], ids=["the last one", "a failure"])
def test_the_stream_is_left_when_nothing_more_can_come(
    follow: Follow, lines: list[str], last: RuntimeEvent
) -> None:
    streams = Streams([out("x\n"), last, lambda: pytest.fail("it is still read")])
    output = follow(streams, [Run("/bin/a", stream=lines.append), Run("/bin/b", stream=lines.append)])
    assert output._thread.join(20)
    assert output._thread.exception is None
    assert (lines, streams.asked) == (["x"], 1)


def test_lines_missed_by_a_broken_stream_come_from_the_result(
    follow: Follow, lines: list[str], at_once: None, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    streams = Streams([out("one\n"), BROKEN], [out("four\n"), finished()])
    output = follow(streams)
    assert output._thread.join(20)
    complete(output, result("one\ntwo\nthree\nfour\n"))
    assert streams.asked == 2
    assert sorted(lines) == sorted(["one", "four", "two", "three"])
    assert caplog.text.count("does not come as it is written (GET /exec/b: no answer") == 1


def test_a_stream_that_the_daemon_ends_is_opened_again(
    follow: Follow, lines: list[str], at_once: None
) -> None:
    streams = Streams([out("one\n"), END], [BROKEN], [out("two\n"), finished()])
    output = follow(streams)
    assert output._thread.join(20)
    assert (lines, streams.asked) == (["one", "two"], 3)


def test_a_stream_that_is_refused_is_not_asked_for_again(
    follow: Follow, lines: list[str], at_once: None
) -> None:
    streams = Streams([REFUSED])
    output = follow(streams)
    assert output._thread.join(20)
    assert streams.asked == 1
    complete(output, result("all\nof it\n"))
    assert lines == ["all", "of it"]


def test_a_stream_that_never_works_is_given_up(
    follow: Follow, at_once: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(output_stream, "_BEFORE_RECONNECTING", tenacity.wait_exponential(multiplier=0.1))
    monkeypatch.setattr(output_stream, "_wait", lambda scope, seconds: pauses.append(seconds))
    streams = Streams()
    output = follow(streams)
    assert output._thread.join(20)
    assert output._stream_is_lost
    assert streams.asked == output_stream._MOST_FAILURES
    assert pauses[:4] == [0.1, 0.2, 0.4, 0.8]


def test_a_pause_between_two_tries_ends_with_the_batch(
    follow: Follow, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[int] = []

    def a_minute(state: tenacity.RetryCallState) -> float:
        pauses.append(state.attempt_number)
        return 60.0

    monkeypatch.setattr(output_stream, "_BEFORE_RECONNECTING", a_minute)
    output = follow(Streams())
    eventually(lambda: pauses)
    output.close()
    assert output._thread.join(20)
    assert (pauses, output._thread.exception) == ([1], None)


def test_a_result_waits_for_the_stream_as_long_as_anything_comes(
    follow: Follow, lines: list[str], at_once: None
) -> None:
    go_on = threading.Event()
    streams = Streams([out("one\n"), lambda: go_on.wait(20), out("two\n"), finished()])
    output = follow(streams)
    eventually(lambda: lines == ["one"])
    completing = EngineThread("completing", complete, output, result("one\ntwo\n")).start()
    go_on.set()
    assert completing.join(20)
    assert lines == ["one", "two"]


def test_a_result_does_not_wait_for_a_stream_that_says_nothing_more(
    follow: Follow, lines: list[str], at_once: None
) -> None:
    output = follow(Streams([out("one\n")]))
    eventually(lambda: lines == ["one"])
    began = time.monotonic()
    complete(output, result("one\ntwo\n"))
    # The wrong way takes twenty seconds.
    assert time.monotonic() - began < 10.0
    assert lines == ["one", "two"]


def test_a_provider_that_keeps_nothing_of_what_it_streams_gives_a_result_all_the_same(
    follow: Follow,
) -> None:
    output = follow(Streams([out("one\n"), finished()]))
    eventually(lambda: output.events == 2)
    (entry,) = complete(output, result(None))
    assert bytes(entry["stdout"]) == b"one\n"
    assert entry["stderr"] is None


def test_a_provider_that_streams_nothing_is_logged(
    follow: Follow, lines: list[str], at_once: None, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    streams = Streams([])
    output = follow(streams)
    assert streams.silent.wait(20)
    time.sleep(0.06)  # longer than the delay that a stream may have
    complete(output, result("all\n"))
    assert lines == ["all"]
    assert "the provider reports nothing while they run" in caplog.text


def test_an_incomplete_line_comes_when_nobody_waits_any_more(follow: Follow, lines: list[str]) -> None:
    streams = Streams([out("no end")])
    output = follow(streams)
    assert streams.silent.wait(20)
    assert lines == []
    output.close()
    assert lines == ["no end"]


def test_a_function_that_does_not_return_holds_up_neither_results_nor_closing(
    follow: Follow,
    monkeypatch: pytest.MonkeyPatch,
    at_once: None,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(output_stream, "_USER_FUNCTION_SECONDS", 0.05)
    go_on, received = threading.Event(), list[str]()

    def slow(line: OutputLine) -> None:
        received.append(line)
        go_on.wait(20)

    output = follow(Streams([out("one\ntwo\n")]), [Run("/bin/x", stream=slow)])
    eventually(lambda: received == ["one"])
    entry = result("one\ntwo\n")
    assert output.complete([entry], Scope(), Deadline(0.0)) == [entry]
    output.close()
    assert "the function that receives its output has not returned in time" in caplog.text
    go_on.set()
    assert output._thread.join(20)
    assert received == ["one"]


def test_at_the_end_of_the_program_the_result_has_all(
    lines: list[str], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(EngineThread, "started", lambda self: False)
    yagna: Any = SimpleNamespace(activity=Streams())
    with BatchOutput(yagna, "act1", "b1", [Run("/bin/x", stream=lines.append)], "Service-1") as output:
        complete(output, result("all\n"))
    assert lines == ["all"]
    assert "the program is at its end" in caplog.text
