"""The exe-unit, called as the bus calls it; its commands run in a real sandbox."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from itertools import groupby
from typing import Any

import pytest

from simple_golem.background.cancellation import Deadline, Scope
from simple_golem.errors import BusError
from simple_golem.local.exe_unit import exe_unit as exe_unit_module
from simple_golem.local.exe_unit import lost_tail
from simple_golem.local.exe_unit.exe_batch import Command
from simple_golem.local.exe_unit.exe_unit import ExeUnit, ExeUnitHabits, StatePair
from simple_golem.local.exe_unit.runtime import _bytes_of
from simple_golem.local.images.image_store import ImageStore
from tests.unit.conftest import eventually

ACTIVITY = "a" * 32
PACKAGE = "hash:sha3:3b1ffd19d88e9877e71546aae779daa4be2fcc3481319a194e2cb03f:http://127.0.0.1/alpine"
SIMPLE_SERVICE = "hash:sha3:8b11df59f84358d47fc6776d0bb7290b0054c15ded2d6f54cf634488:http://127.0.0.1/simple"
UP: list[Command] = [{"deploy": {}}, {"start": {"args": []}}]


class FakeBus:
    """Holds the one handler that an exe-unit registers."""

    def __init__(self) -> None:
        self.handlers: dict[str, Callable[[str, str, object], Any]] = {}

    def register(self, service_id: str, handler: Callable[[str, str, object], Any]) -> None:
        self.handlers[service_id] = handler

    def unregister(self, service_id: str) -> None:
        self.handlers.pop(service_id)


class Unit:
    """An exe-unit under test: `ask` it as the daemon would, see the states that it reported."""

    def __init__(self, package: str | None = PACKAGE, habits: Any = None) -> None:
        self.bus = FakeBus()
        self.states: list[StatePair] = []
        self.strikes: list[tuple[str, str, str]] = []
        self.unit = ExeUnit(
            self.bus,  # type: ignore[arg-type]
            ACTIVITY,
            ImageStore(),
            package,
            self.states.append,
            habits,
            on_strike=lambda rule, what, text: self.strikes.append((rule.name, what, text)),
        )
        self.handler = self.bus.handlers[f"/public/exeunit/{ACTIVITY}"]
        self.batches = 0

    def ask(self, message: str, **request: object) -> Any:
        return self.handler("0xme", f"/public/exeunit/{ACTIVITY}/{message}", request)

    def exec(self, *commands: Command, batch_id: str | None = None) -> str:
        self.batches += 1
        batch_id = batch_id or f"batch-{self.batches}"
        answer = self.ask(
            "Exec", activityId=ACTIVITY, batchId=batch_id, exeScript=list(commands), timeout=None
        )
        assert answer == {"Ok": batch_id}
        return batch_id

    def results(self, batch_id: str, timeout: float | None = 20.0, index: int | None = None) -> Any:
        answer = self.ask(
            "GetExecBatchResults", activityId=ACTIVITY, batchId=batch_id, timeout=timeout, commandIndex=index
        )
        return answer["Ok"] if "Ok" in answer else answer["Err"]

    def wait_until_busy(self) -> None:
        """Wait until a command runs that was begun last."""
        eventually(lambda: self.unit.state == ("Ready", "Ready"))

    def do(self, *commands: Command) -> Any:
        """Execute commands that succeed, or of which the last one fails."""
        return self.results(self.exec(*commands))


@pytest.fixture
def unit() -> Iterator[Unit]:
    unit = Unit()
    yield unit
    unit.unit.close()
    leftover = [thread.name for thread in threading.enumerate() if thread.name.startswith("exe-unit")]
    assert leftover == []


def sh(script: str, capture: dict[str, Any] | None = None) -> Command:
    capture = capture if capture is not None else {"stdout": {"stream": {}}, "stderr": {"stream": {}}}
    return {"run": {"entry_point": "/bin/sh", "args": ["-c", script], "capture": capture}}


def wait_for_file(path: str) -> str:
    return f"while [ ! -e {path} ]; do sleep 0.01; done"


def test_deploy_start_and_run_lead_to_their_states_and_results(unit: Unit) -> None:
    results = unit.do(*UP, sh("echo out; echo err >&2"))
    assert [(r["index"], r["result"], r["message"], r["isBatchFinished"]) for r in results] == [
        (0, "Ok", None, False),
        (1, "Ok", None, False),
        (2, "Ok", None, True),
    ]
    assert (results[2]["stdout"], results[2]["stderr"]) == ("out\n", "err\n")
    assert results[1]["stdout"] is None
    assert results[2]["eventDate"].endswith("Z")
    unit.unit.close()
    # A command that takes long is reported, and the state after it once more.
    stayed = [state for state in unit.states if state[1] is None]
    assert [state for state, _ in groupby(stayed)] == [
        ("Initialized", None),
        ("Deployed", None),
        ("Ready", None),
        ("Terminated", None),
    ]


def test_a_longer_state_of_a_command_is_reported() -> None:
    class Slow(ExeUnitHabits):
        def before(self, command: Command, scope: Scope) -> str | None:
            deadline = Deadline(20)
            while unit.states[-1:] != [unit.unit.state]:
                assert not deadline.passed
                scope.wait(0.01)
            return None

    unit = Unit(habits=Slow())
    unit.do(*UP, sh("true"))
    unit.unit.close()
    assert unit.states == [
        ("Initialized", None),
        ("Initialized", "Deployed"),
        ("Deployed", None),
        ("Deployed", "Ready"),
        ("Ready", None),
        ("Ready", "Ready"),
        ("Ready", None),
        ("Terminated", None),
    ]


def test_a_failing_command_ends_its_batch_with_its_exit_code(unit: Unit) -> None:
    batch = unit.exec(*UP, sh("exit 3"), sh("echo never"))
    assert unit.results(batch, index=2)[2]["message"] == "ExeScript command exited with code 3"
    results = unit.results(batch, timeout=0)
    assert [(r["result"], r["isBatchFinished"]) for r in results] == [
        ("Ok", False),
        ("Ok", False),
        ("Error", True),
    ]
    assert unit.unit.state == ("Ready", None)
    assert unit.do(sh("echo next"))[0]["stdout"] == "next\n"


def test_a_failure_before_the_last_command_does_not_wake_who_waits_for_the_last(unit: Unit) -> None:
    batch = unit.exec(sh("never deployed"), sh("nor this"))
    assert unit.results(batch, index=0)[0]["result"] == "Error"
    begun = time.monotonic()
    assert len(unit.results(batch, timeout=0.4)) == 1
    assert time.monotonic() - begun >= 0.4
    assert unit.results(batch, timeout=0.1, index=1) == "timeout"


def test_a_run_before_the_deploy_says_what_is_expected(unit: Unit) -> None:
    assert unit.do(sh("true"))[0]["message"] == (
        "Local service error: State error: Activity is initialized - deploy() command is expected now"
    )
    assert unit.do({"deploy": {}}, sh("true"))[1]["message"] == (
        "Local service error: State error: Activity is deployed - start() command is expected now"
    )
    assert unit.do({"start": {}}, {"deploy": {}})[1]["message"] == (
        "Local service error: State error: Cannot send command after a successful start()"
    )
    assert [(rule, what) for rule, what, _ in unit.strikes] == [
        ("command-order", "run"),
        ("command-order", "run"),
        ("command-order", "deploy"),
    ]


def test_a_second_batch_at_a_time_is_refused_as_busy(unit: Unit) -> None:
    unit.do(*UP)
    first = unit.exec(sh("touch /tmp/begun; " + wait_for_file("/tmp/go")))
    unit.wait_until_busy()
    assert unit.results(first, timeout=0) == []
    busy = unit.do(sh("touch /tmp/go"))[0]
    assert (busy["result"], busy["message"]) == (
        "Error",
        "Local service error: State error: Busy: StatePair(Ready, Some(Ready))",
    )
    assert unit.strikes == [("one-batch", "run", "Busy: StatePair(Ready, Some(Ready))")]
    assert unit.ask("GetRunningCommand", activityId=ACTIVITY, timeout=None)["Ok"] == [
        {
            "command": "Run",
            "progress": None,
            "params": ["/bin/sh", "-c", "touch /tmp/begun; " + wait_for_file("/tmp/go")],
        }
    ]


def test_terminate_ends_what_runs_and_allows_a_new_deploy(unit: Unit) -> None:
    unit.do(*UP, sh("touch /golem/work/old"))
    first = unit.exec(sh("sleep 60"), sh("echo never"))
    unit.wait_until_busy()
    assert unit.do({"terminate": {}})[0]["result"] == "Ok"
    assert [r["result"] for r in unit.results(first, index=0)] == ["Error"]
    assert unit.unit.state == ("Initialized", None)
    assert unit.do(*UP, sh("ls /golem/work"))[2]["stdout"] is None


def test_sign_is_refused_as_by_an_exe_unit_without_sgx(unit: Unit) -> None:
    assert "signing not supported" in unit.do({"sign": {}})[0]["message"]


def test_with_an_index_only_that_commands_output_is_told(unit: Unit) -> None:
    unit.do(*UP)
    batch = unit.exec(sh("echo zero"), sh("echo one"), sh("echo two"))
    results = unit.results(batch, index=1)
    assert [(r["stdout"], r["isBatchFinished"]) for r in results] == [(None, False), ("one\n", True)]


def test_an_unknown_batch_a_known_one_again_and_an_empty_one(unit: Unit) -> None:
    assert unit.results("no-such") == {"notFound": "batch_id = no-such"}
    unit.exec({"deploy": {}}, batch_id="one")
    again = unit.ask("Exec", activityId=ACTIVITY, batchId="one", exeScript=[], timeout=None)
    assert again == {"Err": {"badRequest": "Batch one already exists"}}
    assert unit.results(unit.exec()) == []
    odd = unit.ask("Exec", activityId=ACTIVITY, batchId="odd", exeScript=[{"dance": {}}], timeout=None)
    assert odd == {"Err": {"badRequest": "unknown command: dance"}}


def test_nothing_running_is_not_found(unit: Unit) -> None:
    assert "notFound" in unit.ask("GetRunningCommand", activityId=ACTIVITY, timeout=None)["Err"]


def test_a_message_that_is_none_of_an_exe_units_is_a_bad_request(unit: Unit) -> None:
    with pytest.raises(BusError, match="CallEncryptedService"):
        unit.ask("CallEncryptedService")


def test_events_are_streamed_as_they_happen_and_not_repeated(unit: Unit) -> None:
    unit.do(*UP)
    batch = unit.exec(sh(f"echo first; {wait_for_file('/tmp/go')}; echo last; exit 4"))
    stream = unit.ask("StreamExecBatchResults", activity_id=ACTIVITY, batch_id=batch)
    seen: list[dict[str, Any]] = []

    def read() -> None:
        for answer in stream:
            seen.append(answer["Ok"])

    reading = threading.Thread(target=read)
    reading.start()
    eventually(lambda: seen and seen[-1]["kind"] == {"stdout": "first\n"})
    assert unit.results(batch, timeout=0) == []
    # While it waits only the sandbox can be asked to let it go on.
    sandbox = unit.unit._runtime._sandbox
    assert sandbox is not None
    sandbox.popen(["/bin/touch", "/tmp/go"]).wait(lambda data: None, lambda data: None)
    reading.join(20)
    assert not reading.is_alive()
    kinds = [event["kind"] for event in seen]
    assert kinds[-2:] == [
        {"stdout": "last\n"},
        {"finished": {"return_code": 4, "message": "ExeScript command exited with code 4"}},
    ]
    assert {(event["batch_id"], event["index"]) for event in seen} == {(batch, 0)}
    assert list(unit.ask("StreamExecBatchResults", activity_id=ACTIVITY, batch_id=batch)) == []
    with pytest.raises(BusError, match="Unknown batch"):
        unit.ask("StreamExecBatchResults", activity_id=ACTIVITY, batch_id="no-such")


def test_a_stream_can_be_cut_as_where_events_are_lost() -> None:
    habits = ExeUnitHabits()
    habits.streams_events = 2
    unit = Unit(habits=habits)
    unit.do(*UP)
    batch = unit.exec(sh(f"{wait_for_file('/tmp/go')}; echo one; sleep 0.2; echo two"))
    stream = unit.ask("StreamExecBatchResults", activity_id=ACTIVITY, batch_id=batch)
    sandbox = unit.unit._runtime._sandbox
    assert sandbox is not None
    sandbox.popen(["/bin/touch", "/tmp/go"]).wait(lambda data: None, lambda data: None)
    *events, last = stream
    assert len(events) == 2
    assert last == {"Err": {"service": "Runtime error: stream error: channel lagged by 1"}}
    assert unit.results(batch)[0]["stdout"] == "one\ntwo\n"
    unit.unit.close()


def test_a_command_without_capture_has_no_output(unit: Unit) -> None:
    result = unit.do(*UP, {"run": {"entry_point": "/bin/echo", "args": ["unheard"]}})[2]
    assert (result["result"], result["stdout"], result["stderr"]) == ("Ok", None, None)


def test_bytes_are_told_as_numbers_where_they_are_asked_for(unit: Unit) -> None:
    capture = {"stdout": {"atEnd": {"tail": 2, "format": "bin"}}}
    assert list(unit.do(*UP, sh("printf 'abc\\377'", capture))[2]["stdout"]) == [99, 255]


def test_the_deploy_sets_environment_volumes_and_names(unit: Unit) -> None:
    deploy: dict[str, Any] = {"env": {"A": "b"}, "volumes": ["/data/in", "/golem/output"]}
    names = {"hostname": "web", "hosts": {"db": "192.168.0.3"}}
    script = "touch /data/in/x; ls -d /data/in /golem/output; echo $A$HOME; hostname; tail -n 1 /etc/hosts"
    result = unit.do({"deploy": {**deploy, **names}}, {"start": {}}, sh(script))[2]
    assert (result["stderr"], result["stdout"].splitlines()) == (
        None,
        ["/data/in", "/golem/output", "b", "web", "127.0.1.1 web"],
    )
    assert unit.strikes == [("hosts-need-network", "deploy", "db not known inside")]


def test_volumes_may_be_a_mapping(unit: Unit) -> None:
    deploy = {"deploy": {"volumes": {"/data": {"storage": {"size": 1024}}, "/": {"ram": {"size": "1GiB"}}}}}
    assert unit.do(deploy, {"start": {}}, sh("touch /data/x"))[2]["result"] == "Ok"


def test_volumes_that_are_no_folders_of_the_host_have_their_size(unit: Unit) -> None:
    volumes = {"/golem/work": {"ram": {"size": "40 KiB"}}, "/data": {"storage": {"size": "2mb"}}}
    fill = "head -c 100000 /dev/zero > $0/file 2>/dev/null; wc -c < $0/file"
    results = unit.do(
        {"deploy": {"volumes": volumes}}, {"start": {}}, *(sh(fill.replace("$0", v)) for v in volumes)
    )
    assert [result["stdout"].strip() for result in results[2:]] == ["40960", "100000"]
    # What the image has as a volume is none of the host's any more, and can't be transferred to.
    deployed = json.loads(results[0]["stdout"])
    assert [volume["path"] for volume in deployed["vols"]] == ["/golem/input", "/golem/output"]


@pytest.mark.parametrize(
    ("size", "number"),
    [
        (7, 7),
        ("7", 7),
        ("7b", 7),
        ("2k", 2000),
        ("2 KB", 2000),
        ("1.5MiB", 1_572_864),
        ("1Gi", 1 << 30),
        ("x", None),
    ],
)
def test_sizes_of_volumes_are_written_as_there(size: object, number: int | None) -> None:
    assert _bytes_of({"size": size}) == number


@pytest.mark.parametrize("path", ["/", "//", ""])
def test_the_root_can_not_be_a_folder_of_the_host(unit: Unit, path: str) -> None:
    (result,) = unit.do({"deploy": {"volumes": {path: {"host": {}}}}})
    assert result["message"] == "ExeScript command exited with code 1"
    assert "Volume of type `host` specified for path=" in result["stderr"]


@pytest.mark.parametrize("program", ["/no/such", "ls", "/golem/work"])
def test_a_program_that_is_not_there_fails_with_code_9_as_in_a_vm(unit: Unit, program: str) -> None:
    command = {"run": {"entry_point": program, "args": [], "capture": {"stderr": {"stream": {}}}}}
    result = unit.do(*UP, command)[2]
    assert result["message"] == "ExeScript command exited with code 9"
    assert not result["stderr"]
    assert unit.strikes == [("not-started", program, "code 9")]


def test_a_tail_that_is_lost_is_reported(unit: Unit, monkeypatch: pytest.MonkeyPatch) -> None:
    # On a busy machine the end of a program may be seen later than a moment after its output.
    monkeypatch.setattr(lost_tail, "MOMENT_SECONDS", 60.0)
    unit.do(*UP, sh("head -c 204800 /dev/zero"))
    assert unit.strikes == [
        ("lost-tail", "/bin/sh -c 'head -c 204800 /dev/zero'", "the last 65536 bytes of its output are lost")
    ]


def test_a_program_in_the_background_that_dies_of_its_output_is_reported(unit: Unit) -> None:
    # Its output has no reader any more when the command has ended.
    script = "(until [ -e /tmp/g ]; do sleep .1; done; echo a; echo b) & echo hi"
    unit.do(*UP, sh(script))
    unit.do(sh("touch /tmp/g"))
    deadline = Deadline(20)
    while not unit.strikes and not deadline.passed:
        unit.unit.usage()
        Scope().wait(0.05)
    unit.unit.usage()
    by = f"/bin/sh -c {script}"
    assert unit.strikes == [("background-output", f"sh in the background, left by {by}", "killed by SIGPIPE")]


def test_a_program_that_a_script_has_left_in_the_background_is_named(unit: Unit) -> None:
    unit.do(*UP, sh("echo '{ sleep 0.2; exec yes; } &' > /golem/work/server.sh"))
    unit.do({"run": {"entry_point": "/bin/sh", "args": ["/golem/work/server.sh"]}})
    deadline = Deadline(20)
    while not unit.strikes and not deadline.passed:
        unit.unit.usage()
        Scope().wait(0.05)
    left = "yes in the background, left by /bin/sh /golem/work/server.sh"
    assert unit.strikes == [("background-output", left, "killed by SIGPIPE")]


def test_a_command_that_leaves_children_behind_ends_at_once(unit: Unit) -> None:
    unit.do(*UP)
    # It never ends, so a command that waited for it would have no result.
    loop = "while true; do date > /golem/work/date.txt; sleep 5; done &"
    assert unit.do(sh(loop))[0]["result"] == "Ok"
    assert (
        unit.do(sh(f"{wait_for_file('/golem/work/date.txt')}; cat /golem/work/date.txt"))[0]["result"] == "Ok"
    )


def test_a_private_network_that_makes_no_sense_fails_the_deploy(unit: Unit) -> None:
    assert unit.do({"deploy": {"net": [{"id": "1"}]}})[0]["message"] == "Net error: KeyError: 'ip'"


def test_a_malformed_command_is_its_own_error(unit: Unit, caplog: pytest.LogCaptureFixture) -> None:
    result = unit.do(*UP, {"run": {"args": []}})[2]
    assert (result["result"], "entry_point" in result["message"]) == ("Error", True)
    assert "could not be executed" in caplog.text


def test_the_image_lies_over_golem() -> None:
    unit = Unit(SIMPLE_SERVICE)
    service = {"entry_point": "/golem/run/simple_service.py", "capture": {"stdout": {"stream": {}}}}
    added = {"run": {**service, "args": ["--add", "4"]}}
    result = unit.do(*UP, added, {"run": {**service, "args": ["--stats"]}})[3]
    unit.unit.close()
    assert '"count": 1, "mean": 4.0' in result["stdout"]


def test_an_image_nobody_has_fails_the_deploy_with_its_name() -> None:
    unit = Unit(f"hash:sha3:{'0' * 56}:http://x/y")
    message = unit.do({"deploy": {}})[0]["message"]
    unit.unit.close()
    assert f"no image {'0' * 56}" in message
    assert "--image" in message
    assert "golem/alpine:latest" in message


def test_usage_counts_seconds_and_processor_seconds_and_stands_still_at_the_end(unit: Unit) -> None:
    unit.do(*UP, sh("i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done"))
    seconds, cpu = unit.unit.usage()
    assert (seconds > 0, cpu > 0) == (True, True)
    assert unit.ask("GetActivityUsage", activityId=ACTIVITY)["Ok"]["currentUsage"][1] >= cpu
    unit.unit.close()
    assert unit.unit.usage() == unit.unit.usage()
    assert unit.unit.usage()[1] >= cpu


def test_closing_ends_a_running_command_and_everyone_who_waits(unit: Unit) -> None:
    unit.do(*UP)
    batch = unit.exec(sh("sleep 60"))
    answers: list[Any] = []
    waiting = threading.Thread(target=lambda: answers.append(unit.results(batch, timeout=60)))
    waiting.start()
    unit.wait_until_busy()
    begun = time.monotonic()
    unit.unit.close()
    unit.unit.close()
    waiting.join(20)
    assert time.monotonic() - begun < 20
    assert "activity" in answers[0] or answers[0][0]["result"] == "Error"
    assert (unit.unit.state, unit.states[-1]) == (("Terminated", None), ("Terminated", None))
    assert unit.bus.handlers == {}
    assert (
        "activity" in unit.ask("Exec", activityId=ACTIVITY, batchId="late", exeScript=[], timeout=None)["Err"]
    )


def test_a_shut_down_fails_the_running_command_in_the_words_of_a_real_exe_unit(
    unit: Unit, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Until this test ends it: the state is reported when its thread comes to it.
    monkeypatch.setattr(exe_unit_module, "_SHUT_DOWN_SECONDS", 60.0)
    unit.do(*UP)
    batch = unit.exec(sh("sleep 60"))
    unit.wait_until_busy()
    ending = threading.Thread(target=unit.unit.shut_down)
    ending.start()
    (result,) = unit.results(batch, index=0)
    eventually(lambda: unit.states[-1] == ("Ready", "Terminated"))
    unit.unit.close()
    ending.join(20)
    assert not ending.is_alive()
    assert result["result"] == "Error"
    assert result["message"] == (
        "Local service error: State error: Unexpected state: StatePair(Ready, Some(Terminated)), "
        "expected StatePair(Ready, Some(Ready))"
    )
    assert unit.states[-2:] == [("Ready", "Terminated"), ("Terminated", None)]
    assert unit.bus.handlers == {}


def test_a_shut_down_ends_by_itself_and_a_second_one_does_nothing(unit: Unit) -> None:
    unit.do(*UP)
    for _ in range(2):
        unit.unit.shut_down()
        assert unit.states[-1] == ("Terminated", None)
        assert unit.bus.handlers == {}


def test_a_dead_provider_reports_nothing() -> None:
    unit = Unit()
    unit.unit.close(report=False)
    assert ("Terminated", None) not in unit.states


def test_a_state_that_can_not_be_reported_is_logged_and_the_work_goes_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    unit = Unit()

    def broken(state: StatePair) -> None:
        raise RuntimeError("the daemon is gone")

    unit.unit._reports._report = broken
    assert unit.do(*UP)[1]["result"] == "Ok"
    unit.unit.close()
    assert "was not reported" in caplog.text


def test_habits_can_fail_a_command() -> None:
    class FailsDeploys(ExeUnitHabits):
        def before(self, command: Command, scope: Scope) -> str | None:
            return "ExeScript command error: out of disk" if "deploy" in command else None

    unit = Unit(habits=FailsDeploys())
    result = unit.do({"deploy": {}})[0]
    unit.unit.close()
    assert (result["result"], result["message"]) == ("Error", "ExeScript command error: out of disk")


def test_habits_that_wait_are_ended_by_closing() -> None:
    class Slow(ExeUnitHabits):
        def before(self, command: Command, scope: Scope) -> str | None:
            scope.wait(60)
            return None

    unit = Unit(habits=Slow())
    unit.exec({"deploy": {}})
    eventually(lambda: unit.unit.state == ("Initialized", "Deployed"))
    begun = time.monotonic()
    unit.unit.close()
    assert time.monotonic() - begun < 20
