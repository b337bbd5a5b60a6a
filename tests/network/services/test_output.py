"""Output: captured, limited, as bytes, and line by line while the command runs, on the real daemon."""

from __future__ import annotations

import logging
import os
import re
import resource
import subprocess
import sys
import threading
import time
from collections import Counter

import pytest

from simple_golem import CommandFailed, Golem, Run, Service
from simple_golem.background.cancellation import Deadline
from simple_golem.background.log_guard import drain_log
from simple_golem.errors import BatchLost, BatchTimeout, NoBytes, NotRunning
from simple_golem.local.control.habits import ProviderHabits
from simple_golem.local.local_golem import LocalGolem
from simple_golem.model.events.instances import StartProgress
from tests.helpers.terminal import run_in_terminal, seen
from tests.network.helpers.commands import Talker
from tests.network.helpers.gate import Gate, Streams

pytestmark = pytest.mark.usefixtures("golem_environment")

SOON = 30.0


class Shell(Service):
    """Waits for commands from outside."""


class Heard:
    """Collects lines, and can be waited for."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self._changed = threading.Condition()

    def __call__(self, line) -> None:
        with self._changed:
            self.lines.append(line)
            self._changed.notify_all()

    def until(self, *lines: str) -> None:
        with self._changed:
            got = self._changed.wait_for(lambda: set(lines) <= set(self.lines), SOON)
            assert got, f"{lines} did not come, these did: {self.lines}"


@pytest.fixture
def instance():
    with Golem(budget=1, stop_grace=0.2) as golem:
        (one,) = golem.run_service(Shell).wait_until_running(timeout=30)
        yield one


@pytest.fixture
def gate(network, monkeypatch):
    with Gate(network.environment["YAGNA_API_URL"]) as gate:
        monkeypatch.setenv("YAGNA_API_URL", gate.url)
        yield gate


def in_background(instance, command, timeout=None):
    """Run a command on a thread of the test's; returns the thread, whose `outcome` is filled at its end."""
    outcome = []

    def run() -> None:
        try:
            outcome.append(instance.execute(command, timeout=timeout))
        except Exception as error:  # noqa: BLE001 - the test looks at it
            outcome.append(error)

    thread = threading.Thread(target=run)
    thread.outcome = outcome
    thread.start()
    return thread


def ended(thread):
    thread.join(SOON)
    assert not thread.is_alive()
    return thread.outcome[0]


# capture


def test_output_can_be_had_as_bytes_and_is_readable_as_text(instance):
    result = instance.execute(Run.shell(r"printf 'a\377\n'; printf '\001\000' >&2", binary=True))
    assert (result.stdout_bytes, result.stderr_bytes) == (b"a\xff\n", b"\x01\x00")
    assert result.stdout == "a\ufffd\n"
    assert instance.execute(Run("/bin/true", binary=True)).stdout_bytes == b""
    with pytest.raises(NoBytes, match="binary=True"):
        _ = instance.execute(Run("/bin/echo", "x")).stdout_bytes


def test_output_that_is_no_text_is_no_error(instance):
    assert "caf" in instance.execute(Run.shell(r"printf 'caf\351 \360\237'")).stdout


def test_only_the_first_or_last_bytes_are_kept_where_that_is_asked_for(instance):
    count = "i=1; while test $i -le 300; do echo $i; i=$((i+1)); done"
    assert instance.execute(Run.shell(count, keep_first=6)).stdout == "1\n2\n3\n"
    assert instance.execute(Run.shell(count, keep_last=8)).stdout == "299\n300\n"
    both = instance.execute(Run.shell(f"{count}; echo oops >&2", keep_last=5))
    assert (both.stdout, both.stderr) == ("\n300\n", "oops\n")
    # The limit falls into the middle of a character.
    assert instance.execute(Run.shell("printf 'xää'", keep_last=3)).stdout == "\ufffdä"


def test_a_hundred_megabytes_of_output_stay_with_the_provider(instance):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    result = instance.execute(Run.shell("yes | head -c 100000000", keep_last=1000), timeout=60)
    assert result.stdout == "y\n" * 500
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 20_000


def test_a_command_that_writes_for_ever_ends_in_its_time(instance):
    with pytest.raises(BatchTimeout, match="yes"):
        instance.execute(Run("/usr/bin/yes", keep_first=1000), timeout=0.5)


# line by line


@pytest.fixture
def talker():
    return Talker()


def nothing_lost_and_nothing_twice(heard, result) -> bool:
    by_source = {False: result.stdout, True: result.stderr}
    return all(
        Counter(line for line in heard.lines if line.is_stderr is source) == Counter(text.splitlines())
        for source, text in by_source.items()
    )


def test_lines_come_while_their_command_runs(instance, talker):
    heard = Heard()
    thread = in_background(instance, talker.command(stream=heard))
    heard.until("tick", "tock")
    assert "end" not in heard.lines
    talker.tell()
    result = ended(thread)
    assert result.stdout.endswith("tick\nthe\nend")
    assert nothing_lost_and_nothing_twice(heard, result)
    assert {(line.instance, line.is_stderr) for line in heard.lines if line == "tock"} == {("Shell-1", True)}


def test_three_instances_print_side_by_side_each_under_its_name(talker, capsys):
    with Golem(budget=1) as golem:
        cluster = golem.run_service(Shell, num_instances=3)
        cluster.wait_until_running(timeout=30)
        results = {}
        thread = threading.Thread(target=lambda: results.update(cluster.execute(talker.command(stream=True))))
        thread.start()
        talker.tell(instances=3)
        thread.join(SOON)
    out, err = capsys.readouterr()
    for instance, result in results.items():
        for text, written in ((out, result.stdout), (err, result.stderr)):
            mine = [line for line in text.splitlines() if line.startswith(f"{instance.name}: ")]
            assert Counter(mine) == Counter(f"{instance.name}: {line}" for line in written.splitlines())
    assert sorted(instance.name for instance in results) == ["Shell-1", "Shell-2", "Shell-3"]
    assert len(out.splitlines()) == sum(len(result.stdout.splitlines()) for result in results.values())


def test_lines_go_to_the_log(instance, caplog):
    with caplog.at_level(logging.INFO, "my.service"):
        instance.execute(Run.shell("echo hi; echo 'b\x07ell' >&2", stream=logging.getLogger("my.service")))
    assert sorted(record.getMessage() for record in caplog.records if record.name == "my.service") == [
        "Shell-1: b ell",
        "Shell-1: hi",
    ]


def test_a_short_command_loses_nothing(instance):
    for number in range(6):
        heard = Heard()
        result = instance.execute(Run.shell(f"echo {number}; echo x >&2; printf y", stream=heard))
        assert nothing_lost_and_nothing_twice(heard, result), heard.lines
        assert result.stdout == f"{number}\ny"


def test_a_batch_of_several_commands_is_followed_to_its_failure(instance):
    first, second, never = Heard(), Heard(), Heard()
    with pytest.raises(CommandFailed) as caught:
        instance.execute(
            Run.shell("echo one", stream=first),
            Run("/bin/echo", "silent"),
            Run.shell("echo two; exit 3", stream=second),
            Run.shell("echo three", stream=never),
        )
    assert (first.lines, second.lines, never.lines) == (["one"], ["two"], [])
    assert [result.stdout for result in caught.value.results] == ["one\n", "silent\n", "two\n"]


def test_a_megabyte_is_given_out_to_the_last_line(instance):
    heard = Heard()
    result = instance.execute(Run.shell("yes 123456789 | head -n 100000; sleep 1", stream=heard), timeout=60)
    assert len(result.stdout) == 1_000_000
    # The stream may have been opened in the middle of a line.
    assert sum(map(len, heard.lines)) == 9 * 100_000
    assert len(heard.lines) <= 100_001


def test_an_error_in_what_is_called_breaks_nothing(instance, caplog):
    def fail(line):
        raise ValueError(f"no {line}")

    assert instance.execute(Run.shell("echo one; echo two", stream=fail)).stdout == "one\ntwo\n"
    assert drain_log(SOON)
    told = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert len(told) == 1
    assert "Shell-1" in told[0].getMessage()
    assert instance.execute(Run("/bin/echo", "fine")).stdout == "fine\n"


def test_a_function_that_receives_output_can_not_run_commands(instance):
    errors = []

    def execute(line):
        try:
            instance.execute(Run("/bin/true"))
        except NotRunning as error:
            errors.append(error)

    assert instance.execute(Run.shell("echo x; sleep 0.3; echo y", stream=execute)).exit_code == 0
    assert len(errors) == 2
    assert "can't run commands" in str(errors[0])


def test_the_output_of_an_endless_command_is_limited_and_its_stream_ends_with_its_time(instance):
    heard = Heard()
    with pytest.raises(BatchTimeout):
        instance.execute(Run("/usr/bin/yes", keep_first=1001, stream=heard), timeout=1.0)
    lines = len(heard.lines)
    assert lines <= 501
    assert set(heard.lines) <= {"y"}


def test_a_stop_ends_a_stream_at_once(instance, talker):
    heard = Heard()
    thread = in_background(instance, talker.command(stream=heard))
    heard.until("tick")
    began = time.monotonic()
    instance.stop(wait=False)
    assert isinstance(ended(thread), BatchLost)
    assert time.monotonic() - began < 3.0
    left = Deadline(SOON)
    while alive := [one.name for one in threading.enumerate() if one.name.endswith("-output")]:
        assert not left.passed, alive
        time.sleep(0.02)


# where streams don't work


@pytest.mark.parametrize("streams", [Streams.SILENT, Streams.REFUSED, Streams.LISTED, Streams.BROKEN])
def test_without_a_stream_the_output_comes_at_the_end(gate, caplog, streams):
    gate.streams = streams
    caplog.set_level(logging.INFO, "simple_golem.engine")
    with Golem(budget=1) as golem:
        (instance,) = golem.run_service(Shell).wait_until_running(timeout=30)
        before, heard = gate.executed, Heard()
        results = instance.execute(
            Run.shell("echo one; echo two >&2; sleep 1.2", stream=heard),
            Run.shell("printf three", stream=heard),
        )
        assert gate.executed == before + 1
    assert heard.lines == ["one", "two", "three"]
    assert [result.stdout for result in results] == ["one\n", "three"]
    told = [record for record in caplog.records if "does not come as it is written" in record.getMessage()]
    assert len(told) == 1


def test_a_stream_that_is_cut_is_opened_again(gate, talker):
    with Golem(budget=1) as golem:
        (instance,) = golem.run_service(Shell).wait_until_running(timeout=30)
        heard = Heard()
        thread = in_background(instance, talker.command(stream=heard))
        for number in (1, 2, 3):
            gate.wait_until_opened(number, SOON)
            heard.lines.clear()
            heard.until("tick")
            gate.cut()
        opened, executed = gate.opened, gate.executed
        heard.lines.clear()
        talker.tell()
        result = ended(thread)
    assert opened >= 3
    assert gate.executed == executed
    assert result.stdout.endswith("the\nend")


def test_lines_missed_while_a_stream_was_cut_come_at_the_end(gate, talker):
    with Golem(budget=1) as golem:
        (instance,) = golem.run_service(Shell).wait_until_running(timeout=30)
        heard = Heard()
        thread = in_background(instance, talker.command(stream=heard))
        heard.until("tick")
        gate.cut()
        heard.until("tock")
        talker.tell()
        result = ended(thread)
    assert nothing_lost_and_nothing_twice(heard, result)


def test_a_provider_that_can_not_stream_is_polled(caplog, monkeypatch):
    caplog.set_level(logging.INFO, "simple_golem.engine")
    with LocalGolem([ProviderHabits(streams=False)], chain=False) as network:
        for name, value in network.environment.items():
            monkeypatch.setenv(name, value)
        heard = Heard()
        with Golem(budget=1) as golem:
            (instance,) = golem.run_service(Shell).wait_until_running(timeout=30)
            assert (
                instance.execute(Run.shell("echo one; sleep 1.2; echo two", stream=heard)).stdout
                == "one\ntwo\n"
            )
    assert heard.lines == ["one", "two"]
    assert any("does not come as it is written" in record.getMessage() for record in caplog.records)


# progress

SCRIPT = """
import sys
from simple_golem import Golem, Run, Service
class Shell(Service):
    pass
with Golem(budget=1{arguments}) as golem:
    print("looking for three")
    cluster = golem.run_service(Shell, num_instances=3)
    cluster.wait_until_running(timeout=30)
    for instance in cluster:
        instance.execute(Run.shell("echo ready", stream=True))
    print("they run")
"""
SAID = ["looking for three", "Shell-1: ready", "Shell-2: ready", "Shell-3: ready", "they run"]


def test_a_script_in_a_terminal_shows_a_bar_and_leaves_nothing_of_it(network):
    code, written = run_in_terminal(SCRIPT.format(arguments=""), network.environment)
    assert code == 0, written
    assert seen(written) == SAID
    assert "starting Shell:   0%" in written
    assert "of 3" in written


def test_a_script_may_have_no_bar(network):
    code, written = run_in_terminal(SCRIPT.format(arguments=", progress=False"), network.environment)
    assert (code, written.splitlines()) == (0, SAID)


def test_without_a_terminal_there_is_no_bar(network):
    run = subprocess.run(
        [sys.executable, "-c", SCRIPT.format(arguments="")],
        env={**os.environ, **network.environment},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (run.returncode, run.stdout.splitlines(), run.stderr) == (0, SAID, "")


def test_the_progress_of_a_start_is_told(golem_environment):
    told = []
    with Golem(budget=1) as golem:
        golem.on_event(lambda event: told.append(event) if isinstance(event, StartProgress) else None)
        golem.run_service(Shell, num_instances=2).wait_until_running(timeout=30)
    steps = [(event.cluster, event.running, event.total) for event in told]
    assert steps[0] == ("Shell", 0, 2)
    assert ("Shell", 2, 2) in steps
    assert re.fullmatch(r"\d\d:\d\d:\d\d Shell: 0 of 2 running", str(told[0]))
