"""The private root of an activity, in the kernel's own namespaces."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from simple_golem.errors import NamespacesForbidden, SandboxGone
from simple_golem.local.sandbox import sandbox as sandbox_module
from simple_golem.local.sandbox.sandbox import Sandbox
from tests.helpers.unprivileged_user import run_by_nobody

ROOT = Path(sandbox_module.__file__).parents[2]


VOLUMES = ("/golem/work",)
PYTHON = "/usr/local/bin/python3"


@pytest.fixture
def sandbox(python_roots: Sequence[Path]) -> Iterator[Sandbox]:
    with Sandbox(python_roots, volumes=VOLUMES) as sandbox:
        yield sandbox


def run(
    sandbox: Sandbox, *argv: str, env: dict[str, str] | None = None, cwd: str = "/"
) -> tuple[int, str, str]:
    out, err = bytearray(), bytearray()
    code = sandbox.popen(argv, env, cwd).wait(out.extend, err.extend)
    return code, out.decode(), err.decode()


def sh(sandbox: Sandbox, script: str) -> str:
    code, out, err = run(sandbox, "/bin/sh", "-c", script)
    assert (code, err) == (0, "")
    return out.strip()


def eventually(fulfilled: Callable[[], bool], seconds: float = 10) -> bool:
    give_up = time.monotonic() + seconds
    while time.monotonic() < give_up:
        if fulfilled():
            return True
        time.sleep(0.01)
    return fulfilled()


def processes_with(text: str) -> list[int]:
    """The processes of this machine that have `text` in their command line."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if text.encode() in (folder / "cmdline").read_bytes():
                found.append(int(folder.name))
        except OSError:
            continue  # it has just ended
    return found


def test_a_command_has_an_exit_code_and_two_outputs(sandbox: Sandbox) -> None:
    assert run(sandbox, "/bin/sh", "-c", "echo out; echo err >&2; exit 3") == (3, "out\n", "err\n")


@pytest.mark.parametrize("begun", [b"", b'{"argv": ["/bin'])
def test_a_client_that_ends_during_a_request_ends_nothing(
    sandbox: Sandbox, begun: bytes, capfd: pytest.CaptureFixture[str]
) -> None:
    ours, theirs = socket.socketpair()
    reader, writer = os.pipe()
    with ours, theirs:
        socket.send_fds(sandbox._control, [b"r"], [theirs.fileno(), writer])
        ours.sendall(begun)
    os.close(writer)
    assert run(sandbox, "/bin/echo", "still here") == (0, "still here\n", "")
    assert os.read(reader, 1) == b""  # what came with the request is let go of
    os.close(reader)
    assert capfd.readouterr() == ("", "")


def test_a_command_is_root_in_a_machine_of_its_own(sandbox: Sandbox) -> None:
    assert sh(sandbox, "id -u; hostname; pwd; echo $HOME") == "0\ngolem\n/"
    assert sh(sandbox, "ls /golem") == "work"
    assert sh(sandbox, "echo $$") != str(os.getpid())
    assert sh(sandbox, "grep -c : /proc/net/dev") == "1"


def test_written_files_stay_inside_the_sandbox(sandbox: Sandbox, python_roots: Sequence[Path]) -> None:
    places = ("/golem/work/x", "/tmp/simple-golem-x", "/root/x", "/var/tmp/x", "/simple-golem-x")
    sh(sandbox, "touch " + " ".join(places))
    assert not [place for place in places if Path(place).exists()]
    with Sandbox(python_roots, volumes=VOLUMES) as other:
        assert run(other, "/bin/ls", "/golem/work/x")[0] != 0


def test_nothing_of_the_host_is_there(sandbox: Sandbox, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    for path in (tmp_path, ROOT / "setup.cfg", "/etc/hostname", "/usr/share", "/usr/bin/python3"):
        assert run(sandbox, "/bin/ls", str(path))[0] != 0
    assert run(sandbox, "/bin/sh", "-c", "mount -o remount,ro /")[0] != 0
    usual = (
        "bin dev etc golem home lib lib32 lib64 libx32 media mnt opt proc root run sbin srv sys tmp usr var"
    )
    assert set(sh(sandbox, "ls /").split()) <= set(usual.split())


def test_python3_is_the_interpreter_of_the_network_without_its_packages(sandbox: Sandbox) -> None:
    version = sh(sandbox, "/usr/local/bin/python3 -c 'import sys, ssl, sqlite3; print(sys.version)'")
    assert version == sys.version.replace("\n", " ") or version == sys.version
    assert run(sandbox, PYTHON, "-c", "import simple_golem")[0] != 0


def test_there_is_no_network_but_loopback(sandbox: Sandbox) -> None:
    script = (
        "import socket; s = socket.create_server(('127.0.0.1', 0)); "
        "socket.create_connection(s.getsockname()).close(); print('loopback works')\n"
        "try: socket.create_connection(('192.0.2.1', 80), 5)\n"
        "except OSError as error: print(error.strerror)"
    )
    assert run(sandbox, PYTHON, "-c", script)[1] == "loopback works\nNetwork is unreachable\n"


def test_a_service_outside_can_not_be_reached_over_loopback(sandbox: Sandbox) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        script = f"import socket; socket.create_connection(('127.0.0.1', {server.getsockname()[1]}), 5)"
        assert "refused" in run(sandbox, PYTHON, "-c", script)[2]


def test_the_devices_work(sandbox: Sandbox) -> None:
    assert (
        sh(sandbox, "echo gone > /dev/null; head -c 4 /dev/zero | wc -c; echo told > /dev/stdout")
        == "4\ntold"
    )
    assert run(sandbox, "/bin/sh", "-c", "echo first >&2; echo second > /dev/stderr")[2] == "first\nsecond\n"


def test_the_environment_is_what_is_given(sandbox: Sandbox) -> None:
    assert run(sandbox, "/usr/bin/env", env={"A": "b c"})[1] == "A=b c\n"


def test_arguments_pass_as_they_are(sandbox: Sandbox) -> None:
    arguments = ["a b", "", "ä\n'\"$x", "-n"]
    script = "import sys; print(sys.argv[1:])"
    assert run(sandbox, PYTHON, "-c", script, *arguments)[1] == f"{arguments}\n"


@pytest.mark.parametrize("program", ["/no/such", "ls", "/golem/work", "/etc/passwd"])
def test_a_program_that_can_not_be_started_is_code_9_without_a_word(sandbox: Sandbox, program: str) -> None:
    assert run(sandbox, program) == (9, "", "")


def test_a_missing_working_folder_is_code_9_without_a_word(sandbox: Sandbox) -> None:
    assert run(sandbox, "/bin/echo", cwd="/no/such") == (9, "", "")


@pytest.mark.parametrize("number", [6, 9, 11, 15])
def test_a_command_ended_by_a_signal_has_its_number(sandbox: Sandbox, number: int) -> None:
    assert run(sandbox, "/bin/sh", "-c", f"kill -{number} $$")[0] == number


def test_a_nul_in_an_argument_is_that_commands_error(sandbox: Sandbox) -> None:
    assert run(sandbox, "/bin/echo", "a\0b") == (9, "", "")
    assert sh(sandbox, "echo alive") == "alive"


def test_much_output_comes_whole(sandbox: Sandbox) -> None:
    code, out, _ = run(sandbox, "/bin/sh", "-c", "head -c 3000000 /dev/zero | tr '\\0' x")
    assert (code, len(out)) == (0, 3_000_000)


def test_output_comes_while_the_command_runs(sandbox: Sandbox) -> None:
    came = threading.Event()
    process = sandbox.popen(["/bin/sh", "-c", "echo first; while [ ! -e /tmp/go ]; do sleep 0.01; done"])
    ended = threading.Thread(target=lambda: process.wait(lambda data: came.set(), lambda data: None))
    ended.start()
    assert came.wait(10)
    assert ended.is_alive()
    sh(sandbox, "touch /tmp/go")
    ended.join(10)
    assert not ended.is_alive()


def test_a_command_ends_with_its_own_process_and_its_children_go_on(sandbox: Sandbox) -> None:
    begun = time.monotonic()
    loop = "(while true; do date +%N > /golem/work/date.txt; sleep 0.01; done) > /dev/null 2>&1 &"
    assert run(sandbox, "/bin/sh", "-c", loop)[0] == 0
    assert time.monotonic() - begun < 5
    assert eventually(lambda: run(sandbox, "/bin/cat", "/golem/work/date.txt")[1] != "")
    first = sh(sandbox, "cat /golem/work/date.txt")
    assert eventually(lambda: sh(sandbox, "cat /golem/work/date.txt") not in (first, ""))


def test_a_command_has_no_open_files_but_its_own(sandbox: Sandbox) -> None:
    # The last is the folder that it reads.
    assert run(sandbox, "/bin/ls", "/proc/self/fd") == (0, "0\n1\n2\n3\n", "")


def test_a_child_that_writes_after_the_end_of_its_command_is_killed(sandbox: Sandbox) -> None:
    loop = "while echo x; do echo $$ >> /tmp/alive; sleep 0.05; done; touch /tmp/went-on"
    code, out, _ = run(sandbox, "/bin/sh", "-c", f"echo mine; sh -c '{loop}' &")
    assert (code, out.startswith("mine\n")) == (0, True)
    assert eventually(lambda: sh(sandbox, "pgrep -f '^sh -c while' || echo none") == "none")
    assert run(sandbox, "/bin/ls", "/tmp/went-on")[0] != 0


def test_a_child_whose_output_is_redirected_goes_on_after_the_end_of_its_command(sandbox: Sandbox) -> None:
    child = "(sleep 0.2; echo late; touch /tmp/went-on) > /tmp/log 2>&1 &"
    assert run(sandbox, "/bin/sh", "-c", child)[0] == 0
    assert eventually(lambda: run(sandbox, "/bin/ls", "/tmp/went-on")[0] == 0)
    assert sh(sandbox, "cat /tmp/log") == "late"


def test_closing_ends_every_process_even_those_in_sessions_of_their_own(
    python_roots: Sequence[Path],
) -> None:
    mark = f"mark-{os.getpid()}-{time.monotonic_ns()}"
    sandbox = Sandbox(python_roots)
    sh(sandbox, f"trap '' TERM; setsid sh -c 'while true; do sleep 0.1; done' {mark} > /dev/null 2>&1 &")
    assert eventually(lambda: bool(processes_with(mark)))
    sandbox.close()
    assert processes_with(mark) == []
    assert not Path(f"/proc/{sandbox.pid}").exists()


def test_a_command_that_runs_when_it_is_closed_is_an_error(python_roots: Sequence[Path]) -> None:
    sandbox = Sandbox(python_roots)
    process = sandbox.popen(["/bin/sleep", "60"])
    threading.Timer(0.05, sandbox.close).start()
    with pytest.raises(SandboxGone):
        process.wait(lambda data: None, lambda data: None)
    with pytest.raises(SandboxGone):
        sandbox.popen(["/bin/true"])
    with pytest.raises(SandboxGone):
        sandbox.usage()


def test_a_command_that_is_let_go_of_at_once_does_not_run_on(sandbox: Sandbox) -> None:
    mark = f"mark-{os.getpid()}-{time.monotonic_ns()}"
    for _ in range(20):
        sandbox.popen(["/bin/sh", "-c", "sleep 60; true", mark]).close()
    sh(sandbox, "true")
    assert eventually(lambda: not processes_with(mark))


def test_a_command_nobody_waits_for_any_longer_is_killed(sandbox: Sandbox) -> None:
    mark = f"mark-{os.getpid()}-{time.monotonic_ns()}"
    process = sandbox.popen(["/bin/sh", "-c", "sleep 60; true", mark])
    assert eventually(lambda: bool(processes_with(mark)))
    process.close()
    assert eventually(lambda: not processes_with(mark))


def test_nothing_survives_the_death_of_its_owner(python_roots: Sequence[Path]) -> None:
    mark = f"mark-{os.getpid()}-{time.monotonic_ns()}"
    program = (
        "import sys, time; from simple_golem.local.sandbox.sandbox import Sandbox\n"
        "sandbox = Sandbox(sys.argv[2:]); "
        "command = sandbox.popen(['/bin/sh', '-c', 'setsid sleep 60 & sleep 60; true', sys.argv[1]])\n"
        "time.sleep(60)"
    )
    owner = subprocess.Popen([sys.executable, "-c", program, mark, *python_roots], cwd=ROOT)
    # The mark is in the command lines of the owner and of its command.
    assert eventually(lambda: len(processes_with(mark)) >= 2)
    owner.send_signal(signal.SIGKILL)
    owner.wait()
    assert eventually(lambda: not processes_with(mark))


def test_the_machine_knows_its_own_name_and_those_it_is_told(python_roots: Sequence[Path]) -> None:
    with Sandbox(python_roots, hostname="me", hosts={"other": "127.0.0.9"}) as sandbox:
        names = "import socket; print(*map(socket.gethostbyname, ('localhost', 'me', 'other')))"
        assert run(sandbox, PYTHON, "-c", names)[1] == "127.0.0.1 127.0.1.1 127.0.0.9\n"
        sh(sandbox, "echo 127.0.0.8 more >> /etc/hosts")


def test_processor_time_is_counted_with_that_of_the_background(sandbox: Sandbox) -> None:
    sh(sandbox, "while true; do :; done > /dev/null 2>&1 &")
    assert eventually(lambda: sandbox.usage().cpu_seconds > 0.1)


def test_an_unprivileged_user_has_one_too() -> None:
    program = (
        "from pathlib import Path\n"
        "from simple_golem.local.sandbox.sandbox import Sandbox\n"
        "with Sandbox([Path('root').resolve()], volumes=['/data']) as sandbox:\n"
        "    process = sandbox.popen(['/bin/sh', '-c', 'id -u > /data/x; cat /data/x'])\n"
        "    print(process.wait(lambda data: print(data), print))\n"
    )
    ended = run_by_nobody(program)
    assert (ended.stdout, ended.stderr) == ("b'0\\n'\n0\n", "")


@pytest.mark.parametrize(
    ("settings", "advice"),
    [
        ({"user.max_user_namespaces": "0"}, "sudo sysctl -w user.max_user_namespaces=15000"),
        ({"kernel.unprivileged_userns_clone": "0"}, "sudo sysctl -w kernel.unprivileged_userns_clone=1"),
        (
            {"kernel.apparmor_restrict_unprivileged_userns": "1", "user.max_user_namespaces": "15000"},
            "sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0",
        ),
        ({}, "--privileged"),
    ],
)
def test_the_advice_names_the_setting_that_forbids_it(settings: dict[str, str], advice: str) -> None:
    assert advice in sandbox_module._advice(settings.get)


IN_A_NAMESPACE_THAT_FORBIDS_MORE = """
import ctypes, os, sys
user, group = os.getuid(), os.getgid()
assert ctypes.CDLL(None).unshare(0x10000000) == 0
for name, text in (("setgroups", "deny"), ("uid_map", f"0 {user} 1"), ("gid_map", f"0 {group} 1")):
    with open(f"/proc/self/{name}", "w") as file:
        file.write(text)
with open("/proc/sys/user/max_user_namespaces", "w") as file:
    file.write("0")
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""


def test_the_error_names_forbidden_namespaces() -> None:
    program = "from simple_golem.local.sandbox.sandbox import Sandbox; Sandbox().close()"
    command = [sys.executable, "-c", IN_A_NAMESPACE_THAT_FORBIDS_MORE, "-c", program]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert NamespacesForbidden.__name__ in ended.stderr
    assert "user.max_user_namespaces=15000" in ended.stderr


def test_it_is_made_and_ended_quickly() -> None:
    times = []
    for _ in range(3):
        begun = time.monotonic()
        Sandbox().close()
        times.append(time.monotonic() - begun)
    assert min(times) < 1
