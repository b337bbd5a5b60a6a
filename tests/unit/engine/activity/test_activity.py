"""One activity's batches: one after the other, their failures told at once, what is lost told apart."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
import requests
import responses

from simple_golem.background.cancellation import Deadline, Scope, ScopeEnded
from simple_golem.background.threads import EngineThread
from simple_golem.engine.activity import activity as module
from simple_golem.engine.activity.activity import Activity, _Batch, _BatchQueue
from simple_golem.engine.activity.vitality import Vitality
from simple_golem.errors import ActivityLost, BatchLost, BatchTimeout, CommandFailed
from simple_golem.model.commands.commands import Command, Run
from simple_golem.model.commands.results import Results
from simple_golem.model.commands.transfers import Upload
from simple_golem.yagna.client import Yagna
from tests.helpers.written_answers.fake_provider import ACTIVITY, FakeProvider
from tests.unit.conftest import eventually

# The wrong ways take five seconds and more.
AT_ONCE = 4.0
LONG = 30.0
FIRST, SECOND, THIRD = Run("/bin/first"), Run("/bin/second"), Run("/bin/third")
LOST = requests.exceptions.ConnectionError("Remote end closed connection without response")


@pytest.fixture
def provider(daemon: responses.RequestsMock) -> FakeProvider:
    return FakeProvider(daemon)


@pytest.fixture
def activity(yagna: Yagna) -> Activity:
    return Activity(yagna, "act1", "prov-1 (0xprov)")


@pytest.fixture
def out_of_time(provider: FakeProvider, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Makes the time of each further batch be up when a result was asked for so often, and not before."""

    def when_asked(index: int, times: int = 1) -> None:
        class UntilAsked(Deadline):
            def __init__(self, seconds: float | None = None) -> None:
                super().__init__(None if seconds is None else LONG)
                self._before = len(provider.asked)
                self._is_limited = seconds is not None

            @property
            def passed(self) -> bool:
                asked = [number for _, number in provider.asked[self._before :]]
                return self._is_limited and asked.count(index) >= times

            def remaining(self) -> float:
                return 0.0 if self.passed else super().remaining()

        provider.patience = 0.005
        monkeypatch.setattr(module, "Deadline", UntilAsked)

    return when_asked


Running = Callable[..., "EngineThread"]


@pytest.fixture
def running(activity: Activity, scope: Scope) -> Running:
    """Starts a thread that runs a batch; what it raises is its exception."""

    def start(
        *commands: Command, scope: Scope = scope, unsent: Scope = scope, timeout: float | None = None
    ) -> EngineThread:
        def run() -> Results | Exception:
            try:
                return activity.run(commands, scope, unsent, timeout)
            except Exception as error:  # noqa: BLE001 - the test looks at it
                return error

        queued = len(activity._queue._queue)
        thread = EngineThread(f"running {commands[0]!r}", run).start()
        eventually(lambda: len(activity._queue._queue) > queued or not thread.alive)
        return thread

    return start


def outcome(thread: EngineThread) -> object:
    assert thread.join(20)
    return thread.result


def sent(provider: FakeProvider, batches: int) -> bool:
    return len(provider.scripts) == batches


def programs(provider: FakeProvider) -> list[list[str]]:
    return [[command["run"]["entry_point"] for command in script] for script in provider.scripts]


def test_a_batch_is_sent_once_and_asked_for_command_by_command(
    provider: FakeProvider, activity: Activity, scope: Scope
) -> None:
    for text in ("one", "two", "three"):
        provider.end("b1", stdout=text)
    results = activity.run([FIRST, SECOND, THIRD], scope, scope)
    assert programs(provider) == [["/bin/first", "/bin/second", "/bin/third"]]
    assert provider.asked == [("b1", 0), ("b1", 1), ("b1", 2)]
    assert [(result.stdout, result.command, result.index) for result in results] == [
        ("one", FIRST, 0),
        ("two", SECOND, 1),
        ("three", THIRD, 2),
    ]


def test_a_result_is_told_as_soon_as_it_is_there(provider: FakeProvider, running: Running) -> None:
    thread = running(FIRST)
    eventually(lambda: provider.asked)
    began = time.monotonic()
    provider.end("b1", stdout="there")
    result = outcome(thread)
    assert time.monotonic() - began < AT_ONCE
    assert isinstance(result, Results)
    assert result.stdout == "there"


def test_the_first_commands_failure_is_told_at_once(
    provider: FakeProvider, activity: Activity, scope: Scope
) -> None:
    provider.end("b1", error="ExeScript command exited with code 3")
    began = time.monotonic()
    with pytest.raises(CommandFailed) as caught:
        activity.run([FIRST, SECOND, THIRD], scope, scope)
    assert time.monotonic() - began < AT_ONCE
    assert provider.asked == [("b1", 0)]
    error = caught.value
    assert (error.command, error.exit_code, len(error.results)) == (FIRST, 3, 1)
    assert "prov-1 (0xprov)" in str(error)


def test_a_later_commands_failure_carries_the_results_so_far(
    provider: FakeProvider, activity: Activity, scope: Scope
) -> None:
    provider.end("b1", stdout="fine")
    provider.end("b1", error="broken")
    with pytest.raises(CommandFailed, match="broken") as caught:
        activity.run([FIRST, SECOND, THIRD], scope, scope)
    assert [(result.stdout, result.success) for result in caught.value.results] == [
        ("fine", True),
        ("", False),
    ]
    assert caught.value.command == SECOND


def test_a_failure_harms_nothing(provider: FakeProvider, activity: Activity, scope: Scope) -> None:
    provider.end("b1", error="broken")
    provider.end("b2", stdout="fine")
    with pytest.raises(CommandFailed):
        activity.run([FIRST, SECOND], scope, scope)
    assert activity.run([THIRD], scope, scope).stdout == "fine"


def test_an_empty_answer_is_not_asked_for_again_at_once(
    provider: FakeProvider, activity: Activity, scope: Scope, out_of_time: Callable[..., None]
) -> None:
    provider.failures = [408] * 1000
    out_of_time(0, times=5)
    began = time.monotonic()
    with pytest.raises(BatchTimeout):
        activity.run([FIRST], scope, scope, timeout=LONG)
    assert time.monotonic() - began >= 4 * 0.05


# output that is given out


def test_before_a_command_that_streams_there_is_time_to_listen(
    provider: FakeProvider, activity: Activity, scope: Scope
) -> None:
    lines: list[str] = []
    command = Run("/bin/first", stream=lines.append)
    for text in ("", "one\ntwo", "three"):
        provider.end("b1", stdout=text)
    results = activity.run([command, SECOND], scope, scope)
    assert programs(provider) == [["/bin/sh", "/bin/first", "/bin/second"]]
    assert [(result.index, result.command) for result in results] == [(0, command), (1, SECOND)]
    assert lines == ["one", "two"]


def test_without_a_shell_the_commands_are_sent_alone_and_run_once(
    provider: FakeProvider, activity: Activity, scope: Scope
) -> None:
    command = Run("/bin/first", stream=[].append)
    provider.end("b1", error="no such file: /bin/sh")
    provider.end("b2", stdout="one")
    provider.end("b3", stdout="again")
    assert activity.run([command], scope, scope).stdout == "one"
    assert activity.run([command], scope, scope).stdout == "again"
    assert programs(provider) == [["/bin/sh", "/bin/first"], ["/bin/first"], ["/bin/first"]]


def test_a_failure_of_a_command_that_streams_is_told_as_any_other(
    provider: FakeProvider, activity: Activity, scope: Scope
) -> None:
    command = Run("/bin/first", stream=[].append)
    provider.end("b1")
    provider.end("b1", error="ExeScript command exited with code 3")
    with pytest.raises(CommandFailed, match="/bin/first") as caught:
        activity.run([command, SECOND], scope, scope)
    assert (caught.value.exit_code, len(caught.value.results)) == (3, 1)


@pytest.mark.parametrize("ended", [0, 1])
def test_a_command_that_streams_is_named_when_its_time_is_up(
    provider: FakeProvider,
    activity: Activity,
    scope: Scope,
    ended: int,
    out_of_time: Callable[..., None],
) -> None:
    out_of_time(ended)
    for _ in range(ended):
        provider.end("b1")
    with pytest.raises(BatchTimeout, match="/bin/first"):
        activity.run([Run("/bin/first", stream=[].append)], scope, scope, timeout=LONG)


# out of time


def test_a_batch_whose_daemon_is_gone_ends_in_its_time(scope: Scope) -> None:
    yagna = Yagna("http://127.0.0.1:9", "the-key")
    activity = Activity(yagna, "act1", "prov-1 (0xprov)")
    activity._unfinished = _Batch("b1", (FIRST,), (FIRST,))
    began = time.monotonic()
    with pytest.raises(BatchTimeout, match="/bin/first"):
        activity.run([SECOND], scope, scope, timeout=0.2)
    assert time.monotonic() - began < 0.2 + AT_ONCE
    yagna.close()


def test_a_batch_that_takes_too_long_names_its_command(
    provider: FakeProvider, activity: Activity, scope: Scope, out_of_time: Callable[..., None]
) -> None:
    out_of_time(1)
    provider.end("b1")
    with pytest.raises(BatchTimeout, match="/bin/second"):
        activity.run([FIRST, SECOND], scope, scope, timeout=LONG)


@pytest.mark.parametrize("stream", [False, [].append], ids=["silent", "streaming"])
def test_errors_name_what_the_user_wrote(
    provider: FakeProvider,
    activity: Activity,
    scope: Scope,
    stream: bool | Callable[[str], object],
    out_of_time: Callable[..., None],
) -> None:
    out_of_time(2 if stream else 1)
    known_as = [FIRST, Upload("a", "/golem/a")]
    for _ in range(2 if stream else 1):
        provider.end("b1")
    with pytest.raises(BatchTimeout, match=r"^Upload\('a', '/golem/a'\) has not ended in its time"):
        activity.run([Run("/x", stream=stream), SECOND], scope, scope, timeout=LONG, known_as=known_as)


def test_after_a_timeout_the_next_batch_waits_for_what_is_left(
    provider: FakeProvider,
    activity: Activity,
    scope: Scope,
    running: Running,
    out_of_time: Callable[..., None],
) -> None:
    out_of_time(0)
    with pytest.raises(BatchTimeout):
        activity.run([FIRST], scope, scope, timeout=LONG)
    asked = len(provider.asked)
    provider.end("b2", stdout="next")
    thread = running(SECOND)
    eventually(lambda: len(provider.asked) > asked)
    assert provider.asked[-1] == ("b1", 0)
    assert programs(provider) == [["/bin/first"]]
    provider.end("b1", error="too late, and it failed")
    result = outcome(thread)
    assert isinstance(result, Results)
    assert result.stdout == "next"
    assert programs(provider) == [["/bin/first"], ["/bin/second"]]


def test_waiting_for_what_is_left_counts_as_the_next_batchs_time(
    provider: FakeProvider, activity: Activity, scope: Scope, out_of_time: Callable[..., None]
) -> None:
    out_of_time(0)
    for _ in range(2):
        with pytest.raises(BatchTimeout):
            activity.run([FIRST], scope, scope, timeout=LONG)
    assert programs(provider) == [["/bin/first"]]


def test_a_batch_without_any_answer_ends_in_time(
    provider: FakeProvider, activity: Activity, scope: Scope
) -> None:
    provider.failures = [500] * 1000
    began = time.monotonic()
    with pytest.raises(BatchTimeout):
        activity.run([FIRST], scope, scope, timeout=0.15)
    assert time.monotonic() - began < 0.15 + AT_ONCE


# turns


def test_batches_go_first_come_first_served(provider: FakeProvider, running: Running) -> None:
    commands = [Run(f"/bin/no{number}") for number in range(5)]
    threads = [running(command) for command in commands]
    for number in range(len(commands)):
        eventually(partial(sent, provider, number + 1))
        provider.end(f"b{number + 1}", stdout=str(number))
    assert [getattr(outcome(thread), "stdout", None) for thread in threads] == ["0", "1", "2", "3", "4"]
    assert programs(provider) == [[command.program] for command in commands]


def test_a_waiter_that_is_cancelled_leaves_the_queue(provider: FakeProvider, running: Running) -> None:
    first = running(FIRST)
    gone = Scope()
    second = running(SECOND, unsent=gone)
    third = running(THIRD)
    began = time.monotonic()
    gone.cancel("stopped")
    assert isinstance(outcome(second), ScopeEnded)
    assert time.monotonic() - began < AT_ONCE
    provider.end("b1")
    provider.end("b2", stdout="third")
    assert isinstance(outcome(first), Results)
    assert getattr(outcome(third), "stdout", None) == "third"
    assert programs(provider) == [["/bin/first"], ["/bin/third"]]


def test_a_waiter_whose_time_is_up_leaves_the_queue_and_says_it_was_not_sent(
    provider: FakeProvider, running: Running
) -> None:
    first = running(FIRST)
    second = running(SECOND, timeout=0.05)
    error = outcome(second)
    assert isinstance(error, BatchTimeout)
    assert "not sent" in str(error)
    provider.end("b1")
    assert isinstance(outcome(first), Results)
    assert programs(provider) == [["/bin/first"]]


def test_a_batch_under_way_is_not_ended_by_what_ends_the_unsent(
    provider: FakeProvider, running: Running
) -> None:
    unsent = Scope()
    thread = running(FIRST, unsent=unsent)
    eventually(lambda: provider.asked)
    unsent.cancel("stopped")
    provider.end("b1", stdout="in the end")
    assert getattr(outcome(thread), "stdout", None) == "in the end"


def test_cancelling_gives_a_batch_under_way_up(
    daemon: responses.RequestsMock, provider: FakeProvider, running: Running
) -> None:
    provider.patience = 0.02
    ended = Scope()
    thread = running(FIRST, scope=ended, unsent=Scope())
    eventually(lambda: provider.asked)
    began = time.monotonic()
    ended.cancel("abort")
    assert isinstance(outcome(thread), ScopeEnded)
    assert time.monotonic() - began < AT_ONCE


def test_nothing_is_sent_in_a_scope_that_has_ended(
    provider: FakeProvider, activity: Activity, scope: Scope
) -> None:
    ended = Scope()
    ended.cancel()
    with pytest.raises(ScopeEnded):
        activity.run([FIRST], scope, ended)
    assert provider.scripts == []


# lost


def test_a_batch_that_the_provider_did_not_take_in_time_may_have_been_run(
    daemon: responses.RequestsMock, provider: FakeProvider, activity: Activity, scope: Scope
) -> None:
    daemon.replace(responses.POST, f"{ACTIVITY}/exec", json={"message": "Timeout"}, status=408)
    with pytest.raises(BatchLost, match="nobody can know"):
        activity.run([FIRST], scope, scope)


def test_a_batch_whose_sending_was_not_answered_is_lost_while_the_activity_lives(
    daemon: responses.RequestsMock, provider: FakeProvider, activity: Activity, scope: Scope
) -> None:
    daemon.replace(responses.POST, f"{ACTIVITY}/exec", body=LOST)
    with pytest.raises(BatchLost, match="/bin/first"):
        activity.run([SECOND], scope, scope, known_as=[FIRST])
    assert [call.request.method for call in daemon.calls].count("POST") == 1


@pytest.mark.parametrize("state", [["Terminated", None], ["Ready", "Terminated"]])
def test_an_activity_that_has_ended_is_lost_when_a_batch_is_sent(
    daemon: responses.RequestsMock,
    provider: FakeProvider,
    activity: Activity,
    scope: Scope,
    state: list[str | None],
) -> None:
    provider.state = state
    daemon.replace(responses.POST, f"{ACTIVITY}/exec", body=LOST)
    with pytest.raises(ActivityLost, match="act1"):
        activity.run([FIRST], scope, scope)


def test_an_activity_that_has_ended_is_lost_when_its_results_are_asked_for(
    provider: FakeProvider, activity: Activity, scope: Scope
) -> None:
    provider.failures = [500] * 10
    provider.state = ["Terminated", None]
    began = time.monotonic()
    with pytest.raises(ActivityLost, match="is gone: its provider has ended it"):
        activity.run([FIRST], scope, scope)
    assert time.monotonic() - began < AT_ONCE
    assert len(provider.asked) == 1


def test_results_are_asked_for_again_while_the_activity_lives(
    provider: FakeProvider, activity: Activity, scope: Scope
) -> None:
    provider.failures = [500, 404]
    provider.end("b1", stdout="after all")
    assert activity.run([FIRST], scope, scope).stdout == "after all"
    assert provider.asked == [("b1", 0)] * 3


def test_a_batch_nobody_answers_for_is_lost_and_the_next_one_is_sent(
    provider: FakeProvider, activity: Activity, scope: Scope, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_BATCH_RETRY_SECONDS", 0.05)
    provider.failures = [404] * 1000  # how many are asked for in that time depends on the machine
    with pytest.raises(BatchLost, match="/bin/first"):
        activity.run([SECOND], scope, scope, known_as=[FIRST])
    assert len(provider.failures) < 1000
    provider.failures.clear()
    provider.end("b2", stdout="next")
    assert activity.run([SECOND], scope, scope, timeout=LONG).stdout == "next"


def test_a_lost_earlier_batch_does_not_fail_the_next_one(
    provider: FakeProvider,
    activity: Activity,
    scope: Scope,
    monkeypatch: pytest.MonkeyPatch,
    out_of_time: Callable[..., None],
) -> None:
    out_of_time(0)
    with pytest.raises(BatchTimeout):
        activity.run([FIRST], scope, scope, timeout=LONG)
    monkeypatch.setattr(module, "Deadline", Deadline)
    # One failure is enough to give it up, however long that takes.
    monkeypatch.setattr(module, "_BATCH_RETRY_SECONDS", 0.0)
    provider.failures = [404]
    provider.end("b2", stdout="next")
    assert activity.run([SECOND], scope, scope, timeout=LONG).stdout == "next"


NOBODY_THERE = {
    "message": "GSB error: Remote service at `/net/0xprov/exeunit/act1/Exec` error: GSB failure: "
    "Bad request: endpoint address not found"
}


def test_a_batch_that_has_reached_nobody_is_sent_again(
    daemon: responses.RequestsMock, provider: FakeProvider, activity: Activity, scope: Scope
) -> None:
    """It can't have been run; the exe-unit comes back with its network."""
    daemon.replace(responses.POST, f"{ACTIVITY}/exec", status=500, json=NOBODY_THERE)
    tried = daemon.registered()[0]
    again = daemon.post(f"{ACTIVITY}/exec", json="b1")
    provider.end("b1", stdout="after all")
    assert activity.run([FIRST], scope, scope).stdout == "after all"
    assert (tried.call_count, again.call_count) == (1, 1)


@pytest.fixture
def nobody_there(
    daemon: responses.RequestsMock, provider: FakeProvider, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    """An exe-unit that is not there, on a provider whose daemon does not know it."""
    monkeypatch.setattr(module, "_BATCH_RETRY_SECONDS", 0.3)
    daemon.replace(responses.POST, f"{ACTIVITY}/exec", status=500, json=NOBODY_THERE)
    yield
    assert provider.scripts == []


@pytest.mark.usefixtures("nobody_there")
def test_an_exe_unit_that_stays_away_is_a_lost_activity(activity: Activity, scope: Scope) -> None:
    with pytest.raises(ActivityLost, match="its exe-unit does not answer any more"):
        activity.run([FIRST], scope, scope)


@pytest.mark.usefixtures("nobody_there")
def test_a_batch_that_could_not_be_sent_in_its_time_is_said_so(activity: Activity, scope: Scope) -> None:
    with pytest.raises(BatchTimeout, match=r"Run\('/bin/first'\) could not be sent to prov-1"):
        activity.run([FIRST], scope, scope, timeout=0.1)


@pytest.mark.usefixtures("nobody_there")
def test_a_stop_ends_the_tries_of_a_batch_that_was_not_sent(activity: Activity, scope: Scope) -> None:
    unsent = Scope()
    unsent.cancel("stop")
    with pytest.raises(ScopeEnded):
        activity._send(_Batch((FIRST,), (FIRST,)), scope, unsent, Deadline())


def test_results_that_nobody_has_any_more_are_a_lost_activity(
    daemon: responses.RequestsMock,
    provider: FakeProvider,
    activity: Activity,
    scope: Scope,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Agent and exe-unit have died, and the daemon says `Ready` for ever."""
    monkeypatch.setattr(module, "_BATCH_RETRY_SECONDS", 0.3)
    provider.failures = [500] * 100
    provider.failure_message = NOBODY_THERE["message"]
    with pytest.raises(ActivityLost, match="its exe-unit does not answer any more"):
        activity.run([FIRST], scope, scope)
    assert len(provider.asked) > 1


@pytest.mark.parametrize(
    ("answer", "expected", "why"),
    [
        ({"json": {"state": ["Ready", "Ready"]}}, Vitality.ALIVE, ""),
        ({"json": {"state": ["Ready", "Terminated"]}}, Vitality.GONE, "its provider has ended it"),
        (
            {
                "json": {
                    "state": ["Terminated", None],
                    "reason": "execution aborted",
                    "errorMessage": "exit code None",
                }
            },
            Vitality.GONE,
            "exit code None",
        ),
        ({"json": {"state": ["Unresponsive", None]}}, Vitality.UNRESPONSIVE, "does not report"),
        ({"status": 404, "json": {"message": "unknown"}}, Vitality.GONE, "unknown"),
        ({"status": 408, "json": {"message": "Timeout"}}, Vitality.SILENT, "Timeout"),
        ({"status": 500, "json": NOBODY_THERE}, Vitality.SILENT, "the provider is gone"),
        ({"body": LOST}, Vitality.UNKNOWN, "Remote end closed"),
        ({"body": requests.exceptions.ConnectTimeout("away")}, Vitality.UNKNOWN, "no yagna daemon"),
    ],
)
def test_what_the_daemon_says_of_an_activity(
    daemon: responses.RequestsMock,
    activity: Activity,
    scope: Scope,
    answer: dict[str, Any],
    expected: Vitality,
    why: str,
) -> None:
    asked = daemon.get(f"{ACTIVITY}/state", **answer)
    vitality, reason = activity.vitality(scope)
    assert vitality is expected
    assert why in reason
    assert asked.call_count == 1


def test_what_is_lost_is_told_from_what_does_not_answer(activity: Activity) -> None:
    assert str(activity.lost(Vitality.GONE, "why")) == "the activity act1 on prov-1 (0xprov) is gone: why"
    assert "does not answer any more: why" in str(activity.lost(Vitality.SILENT, "why"))


# the end


def test_an_activity_is_destroyed_within_the_time_it_is_given(
    daemon: responses.RequestsMock, activity: Activity, scope: Scope, caplog: pytest.LogCaptureFixture
) -> None:
    daemon.delete(ACTIVITY, json=None)
    activity.destroy(scope, timeout=7.0)
    assert "timeout=7.0" in (daemon.calls[0].request.url or "")
    assert caplog.records == []


def test_an_activity_that_is_not_destroyed_is_told_of(
    daemon: responses.RequestsMock, activity: Activity, scope: Scope, caplog: pytest.LogCaptureFixture
) -> None:
    daemon.delete(ACTIVITY, status=500, json={"message": "no way"})
    with caplog.at_level(logging.WARNING, "simple_golem"):
        activity.destroy(scope, timeout=1.0)
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    for words in ("prov-1 (0xprov)", "act1", "no way"):
        assert words in record.getMessage()


def test_that_a_lost_provider_does_not_confirm_it_is_no_news(
    daemon: responses.RequestsMock, activity: Activity, scope: Scope, caplog: pytest.LogCaptureFixture
) -> None:
    daemon.delete(ACTIVITY, status=408, json={"message": "Timeout"})
    began = time.monotonic()
    with caplog.at_level(logging.INFO, "simple_golem"):
        assert not activity.destroy(scope, timeout=0.5, expected=False)
    assert time.monotonic() - began < AT_ONCE
    assert caplog.records == []


def test_an_activity_that_ended_with_its_agreement_needs_no_destroying(
    provider: FakeProvider, activity: Activity, scope: Scope
) -> None:
    provider.state = ["Terminated", None]
    activity.await_end(scope)
    # A DELETE would not be answered here.
    assert activity.destroy(scope, timeout=1.0)


def test_an_activity_that_is_about_to_end_or_does_not_end_is_destroyed(
    provider: FakeProvider, daemon: responses.RequestsMock, activity: Activity, scope: Scope
) -> None:
    deleted = daemon.delete(ACTIVITY, json=None)
    for state in (["Ready", "Terminated"], ["Ready", None], ["Unresponsive", None]):
        provider.state = list(state)
        activity.await_end(scope)
        assert activity.destroy(scope, timeout=1.0)
    assert deleted.call_count == 3


def test_a_provider_that_does_not_tell_is_asked_only_once(
    daemon: responses.RequestsMock, activity: Activity, scope: Scope
) -> None:
    asked = daemon.get(f"{ACTIVITY}/state", status=408, json={"message": "timeout"})
    activity.await_end(scope)
    assert asked.call_count == 1


def test_an_end_is_not_awaited_in_a_scope_that_has_ended(activity: Activity, scope: Scope) -> None:
    scope.cancel("no time left")
    activity.await_end(scope)


def test_a_wait_for_a_turn_that_is_interrupted_at_its_beginning_keeps_nobody_waiting() -> None:
    class Interrupted(Scope):
        def on_cancel(self, callback: Any) -> Any:
            raise KeyboardInterrupt

    queue = _BatchQueue()
    with pytest.raises(KeyboardInterrupt), queue.turn(Interrupted(), Deadline()):
        pass
    assert queue.is_empty
