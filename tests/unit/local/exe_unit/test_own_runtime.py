"""A runtime of the user's own: how its program is called, and what becomes of what it does."""

from __future__ import annotations

import json
import os
import stat
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from simple_golem.background.cancellation import Deadline, Scope
from simple_golem.errors import BadSetting, LocalNetworkError
from simple_golem.local.control.runtime_options import checked_runtimes, runtimes_of
from simple_golem.local.exe_unit.own_runtime import HostFiles, OwnRuntime
from simple_golem.local.exe_unit.runtime import CommandError
from simple_golem.local.exe_unit.runtime_program import RuntimeProgram

PROGRAM = f"""#!{sys.executable}
import json, os, signal, sys, time
words = sys.argv[1:]
with open(os.environ["CALLS"], "a") as calls:
    calls.write(json.dumps([os.getcwd(), *words]) + "\\n")
if "deploy" in words:
    vols = [{{"name": "data", "path": "/golem/data"}}]
    print("warming up", json.dumps({{"valid": {{"Err": "ignored"}}, "vols": vols, "startMode": "empty"}}))
elif "run" in words:
    wanted = words[words.index("--entrypoint") + 1]
    if wanted == "fail":
        print("no such thing", file=sys.stderr)
        sys.exit(7)
    if wanted == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if wanted == "sleep":
        time.sleep(60)
    if wanted == "work":
        while time.process_time() < 0.2: pass
    print("did", wanted, *words[words.index("--") + 1:], flush=True)
"""
Calls = Callable[[], list[list[str]]]


@pytest.fixture
def program(tmp_path: Path) -> Path:
    return written(tmp_path / "program", PROGRAM)


def written(path: Path, text: str) -> Path:
    path.write_text(text)
    path.chmod(0o755)
    return path


@pytest.fixture
def calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Calls:
    monkeypatch.setenv("CALLS", str(tmp_path / "calls"))
    return lambda: [json.loads(line) for line in (tmp_path / "calls").read_text().splitlines()]


class Moves:
    """Keeps the volumes that transfers are asked with."""

    def transfer(self, files: HostFiles, details: object, report: object, volumes: Sequence[str]) -> None:
        self.files, self.volumes = files, volumes


@pytest.fixture
def runtime(program: Path, tmp_path: Path, calls: Calls) -> Iterator[OwnRuntime]:
    moves: Any = Moves()
    runtime = OwnRuntime(program, moves, lambda: Path("/image.gvmi"), tmp_path)
    yield runtime
    runtime.close()


def do(runtime: OwnRuntime, name: str, **details: object) -> tuple[str, str]:
    output = {"stdout": bytearray(), "stderr": bytearray()}
    runtime.execute(name, details, lambda kind, data: output[kind].extend(data), print)
    return output["stdout"].decode(), output["stderr"].decode()


def test_the_program_is_called_as_a_real_exe_unit_calls_it(runtime: OwnRuntime, calls: Calls) -> None:
    do(runtime, "deploy", volumes=["/a", "/b"], hostname="me")
    do(runtime, "start", args=["--dir", "x"])
    assert do(runtime, "run", entry_point="echo", args=["a b", "-n", ""]) == ("did echo a b -n \n", "")
    deploy, start, run = calls()
    folder = deploy[0]
    begin = [folder, "--workdir", folder, "--task-package", "/image.gvmi"]
    volumes = json.dumps({"/a": {"host": {}}, "/b": {"host": {}}})
    assert deploy == [*begin, "--volume-override", volumes, "--hostname", "me", "deploy", "--"]
    assert start == [*begin, "start", "--", "--dir", "x"]
    assert run == [*begin, "run", "--entrypoint", "echo", "--", "a b", "-n", ""]


def test_without_an_image_there_is_no_package(program: Path, tmp_path: Path, calls: Calls) -> None:
    unused: Any = None
    runtime = OwnRuntime(program, unused, lambda: None, tmp_path)
    do(runtime, "deploy")
    runtime.close()
    [[folder, *words]] = calls()
    assert words == ["--workdir", folder, "deploy", "--"]
    assert not Path(folder).exists()


def test_codes_and_signals_are_those_of_the_real_exe_unit(runtime: OwnRuntime) -> None:
    with pytest.raises(CommandError, match="ExeScript command exited with code 7") as failed:
        do(runtime, "run", entry_point="fail")
    assert failed.value.return_code == 7
    with pytest.raises(CommandError, match="ExeScript command exited with code -1") as died:
        do(runtime, "run", entry_point="die")
    assert died.value.return_code == -1


def test_files_go_to_the_volumes_that_deploy_prints(runtime: OwnRuntime, calls: Calls) -> None:
    do(runtime, "deploy")
    do(runtime, "transfer")
    moves: Any = runtime._transfers
    assert moves.volumes == ["/golem/data"]
    descriptor = moves.files.open_file("/golem/data/deep/file", "w", "/golem/data")
    os.write(descriptor, b"sent")
    os.close(descriptor)
    descriptor = moves.files.open_file("/golem/data/deep/file", "a", "/golem/data")
    os.write(descriptor, b" more")
    os.close(descriptor)
    descriptor = moves.files.open_file("/golem/data/deep/file", "r", "/golem/data")
    assert os.read(descriptor, 100) == b"sent more"
    os.close(descriptor)
    assert (Path(calls()[0][0]) / "data" / "deep" / "file").exists()
    with pytest.raises(IsADirectoryError):
        moves.files.open_file("/golem/data/deep", "r", "/golem/data")
    with pytest.raises(FileNotFoundError):
        moves.files.open_file("/golem/data/none", "r", "/golem/data")


def test_a_stop_ends_a_command_that_runs(runtime: OwnRuntime, calls: Calls) -> None:
    failures: list[CommandError] = []

    def run() -> None:
        try:
            do(runtime, "run", entry_point="sleep")
        except CommandError as error:
            failures.append(error)

    running = threading.Thread(target=run)
    running.start()
    deadline, scope = Deadline(20), Scope()
    while not (Path(os.environ["CALLS"]).exists() and calls()):
        assert not deadline.passed
        scope.wait(0.02)
    runtime.stop()
    running.join(10)
    assert not running.is_alive()
    assert failures[0].return_code == -1


def test_the_processor_time_of_its_commands_is_counted(runtime: OwnRuntime) -> None:
    do(runtime, "run", entry_point="work")
    assert runtime.cpu_seconds() >= 0.2


@pytest.mark.parametrize(
    ("printed", "message"),
    [
        ("hello", "ExeScript command error: invalid deploy response: hello\n"),
        ("{no json", "ExeScript command error: Expecting property name"),
        ('{"vols": []}', "ExeScript command error: missing field `valid`"),
        (
            '{"valid": {"Ok": ""}, "startMode": "never"}',
            "ExeScript command error: unknown variant `never`, expected `empty` or `blocking`",
        ),
    ],
)
def test_a_deploy_that_prints_something_else_fails(tmp_path: Path, printed: str, message: str) -> None:
    unused: Any = None
    path = written(tmp_path / "odd", f"#!/bin/sh\necho '{printed}'\n")
    runtime = OwnRuntime(path, unused, lambda: None, tmp_path)
    with pytest.raises(CommandError, match=message):
        do(runtime, "deploy")
    runtime.close()


def test_a_deploy_that_prints_nothing_has_no_volumes(tmp_path: Path) -> None:
    moves: Any = Moves()
    runtime = OwnRuntime(written(tmp_path / "silent", "#!/bin/sh\n"), moves, lambda: None, tmp_path)
    assert do(runtime, "deploy") == ("", "")
    do(runtime, "transfer")
    assert moves.volumes == []
    runtime.close()


def properties_of(path: Path) -> Mapping[str, Any]:
    return RuntimeProgram.tested("mine", path, path.parent).properties


def test_a_program_is_tested_and_its_template_read(tmp_path: Path) -> None:
    template = '{"properties": {"golem.srv.x": 1}, "constraints": ""}'
    good = f"#!/bin/sh\n[ \"$1\" = offer-template ] && echo '{template}'\nexit 0\n"
    assert properties_of(written(tmp_path / "good", good)) == {"golem.srv.x": 1}
    no_template = '#!/bin/sh\n[ "$1" = test ]\n'
    assert properties_of(written(tmp_path / "plain", no_template)) == {}


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("echo it is broken >&2; exit 3", "test` ends with code 3: it is broken"),
        ('[ "$1" = test ] || echo no template', "prints no offer template"),
    ],
)
def test_a_program_that_fails_its_test_is_an_error(tmp_path: Path, script: str, message: str) -> None:
    with pytest.raises(LocalNetworkError, match=message):
        properties_of(written(tmp_path / "bad", f"#!/bin/sh\n{script}\n"))


def test_a_program_that_can_not_be_executed_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(LocalNetworkError, match="the runtime mine"):
        properties_of(written(tmp_path / "bad", "no program"))


def test_options_name_a_runtime_and_its_program(tmp_path: Path) -> None:
    path = written(tmp_path / "mine", "#!/bin/sh\n")
    assert checked_runtimes({"a-b.c": path}) == [f"a-b.c={path}"]
    assert runtimes_of([f"a-b.c={path}"]) == {"a-b.c": path}
    path.chmod(stat.S_IRUSR)
    with pytest.raises(BadSetting, match=r"no program .* that can be executed: run chmod \+x .*mine"):
        checked_runtimes({"mine": path})
    with pytest.raises(BadSetting, match=r"no program .* that can be executed$"):
        checked_runtimes({"mine": tmp_path / "nothing"})
    with pytest.raises(BadSetting, match="and is not vm or vm-nvidia"):
        checked_runtimes({"vm": "/bin/sh"})
    with pytest.raises(BadSetting, match="write it as NAME=PROGRAM"):
        runtimes_of(["mine"])


def test_the_runtime_of_the_tutorial_writes_roman_digits(tmp_path: Path) -> None:
    moves: Any = Moves()
    program = Path(__file__).parents[4] / "tutorials" / "runtimes" / "roman.py"
    assert properties_of(program) == {"golem.srv.roman.largest": 3999}
    runtime = OwnRuntime(program, moves, lambda: None, tmp_path)
    do(runtime, "deploy")
    assert do(runtime, "start") == ("", "")
    assert do(runtime, "run", entry_point="years", args=["1969", "2026"]) == ("MCMLXIX\nMMXXVI\n", "")
    do(runtime, "transfer")
    (volume,) = moves.volumes
    descriptor = moves.files.open_file(f"{volume}/years.txt", "r", volume)
    assert os.read(descriptor, 100) == b"MCMLXIX\nMMXXVI\n"
    os.close(descriptor)
    runtime.close()
