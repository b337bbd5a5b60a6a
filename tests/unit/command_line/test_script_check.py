"""`simple-golem local check`: the line of the script that a rule has struck for."""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path

import pytest

from simple_golem.background.cancellation import Deadline
from simple_golem.command_line import main as cli
from simple_golem.command_line import script_check
from simple_golem.command_line.script_check import Call, Run, _calls, _told, placed
from simple_golem.errors import LocalNetworkError
from simple_golem.local import LocalGolem
from simple_golem.local.control import rules
from simple_golem.local.control.as_real import AsReal
from simple_golem.local.control.rules import Rule
from simple_golem.local.control.strikes import Strike
from tests.helpers.hand_deadline import HandDeadline

SCRIPT = """
from simple_golem import Golem, Run, Upload

golem = Golem(budget=1, app_key="key", subnet_tag="somewhere")
try:
    golem.rent(timeout="soon")
except Exception:
    pass

def commands():
    return [Run("/bin/sh", "-c", "head -c 9 /dev/zero"), Upload("a", "/tmp/b")]

commands()
"""


def strike(rule: Rule, what: str) -> Strike:
    return Strike(datetime.now(timezone.utc), "prov-1", rule.name, rule.row, what, "text")


@pytest.fixture(scope="module")
def calls(tmp_path_factory: pytest.TempPathFactory) -> list[Call]:
    """What the recorder writes of a script."""
    folder = tmp_path_factory.mktemp("traced")
    (folder / "script.py").write_text(SCRIPT)
    record = folder / "record"
    starter = "from simple_golem.command_line.traced_script import main; main()"
    subprocess.run(
        [sys.executable, "-c", starter, str(record), str(folder / "script.py")], check=True, timeout=60
    )
    return [Call.from_wire(json.loads(line)) for line in record.read_text().splitlines()]


def test_a_command_has_the_line_that_has_made_it(calls: list[Call]) -> None:
    assert placed(strike(rules.LOST_TAIL, "/bin/sh -c 'head -c 9 /dev/zero'"), calls)[1] == 11
    upload, line = placed(strike(rules.VOLUMES_ONLY, "upload to /tmp/b"), calls)
    assert (upload.what, line) == ("upload of a to /tmp/b", 11)
    assert placed(strike(rules.LOST_TAIL, "/bin/cat x"), calls)[1] is None


def test_the_latest_line_that_says_most_counts() -> None:
    calls = [
        Call(1, "__init__", ["/bin/sh", "-c", "one"]),
        Call(2, "__init__", ["/bin/sh", "-c", "two"]),
        Call(3, "__init__", ["/bin/sh", "-c", "two"]),
        Call(4, "__init__", ["/bin/sh"]),
    ]
    assert placed(strike(rules.LOST_TAIL, "/bin/sh -c one"), calls)[1] == 1
    assert placed(strike(rules.LOST_TAIL, "/bin/sh -c two"), calls)[1] == 3
    assert placed(strike(rules.LOST_TAIL, "an 'open quote"), calls)[1] is None


def test_a_demand_has_the_line_that_asks_for_it(calls: list[Call]) -> None:
    assert placed(strike(rules.SUBNET, "demand 1234"), calls)[1] == 6


def test_a_transfer_names_the_file_of_this_machine_if_the_script_has_named_it() -> None:
    calls = [Call(1, "__init__", ["/golem/my file", "its copy"]), Call(2, "__init__", ["/golem/made"])]
    download, line = placed(strike(rules.LINKS, "download of '/golem/my file'"), calls)
    assert (download.what, line) == ("download of '/golem/my file' to 'its copy'", 1)
    of_bytes, line = placed(strike(rules.LINKS, "upload to /golem/made"), calls)
    assert (of_bytes.what, line) == ("upload to /golem/made", 2)


def test_a_rule_about_demands_has_the_line_of_the_latest_one() -> None:
    calls = [Call(1, "rent", []), Call(2, "run_service", []), Call(3, "wait", [])]
    assert placed(strike(rules.AGREEMENT_LENGTH, "a proposal"), calls)[1] == 2
    assert placed(strike(rules.SUBNET, "demand 1234"), [])[1] is None


def test_each_rule_is_told_once_for_a_line_with_the_number_of_runs() -> None:
    lost = strike(rules.LOST_TAIL, "/bin/x")
    runs = [Run("", True, [(lost, 5), (lost, 5)]), Run("", True, [(lost, 5)]), Run("", True, [])]
    assert _told("a.py", runs) == [
        "rules of real providers that have struck:",
        "  a.py:5: lost-tail (1), 2 of 3 runs: /bin/x: text",
    ]
    assert _told("a.py", [Run("", True, [(lost, None)])])[1].startswith("  a.py: lost-tail (1), 1 of 1 runs")
    assert _told("a.py", runs[2:]) == ["no rule of real providers has struck"]


def test_a_script_that_is_not_there_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["local", "check", "no-such.py"]) == 2
    assert "there is no script no-such.py" in capsys.readouterr().err


def test_a_seed_without_a_real_network_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["local", "up", "--seed", "3"]) == 2
    assert "--seed and --pace need --as-real" in capsys.readouterr().err


@pytest.fixture
def script(tmp_path: Path) -> str:
    path = tmp_path / "script.py"
    path.write_text("import time; time.sleep(1000)")
    return str(path)


@pytest.mark.parametrize("runs", ["0", "-5"])
def test_no_runs_at_all_are_refused(runs: str, script: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["local", "check", f"--runs={runs}", script]) == 2
    assert f"--runs is {runs}: give 1 or more" in capsys.readouterr().err


def test_an_option_without_effect_is_refused(script: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["local", "check", "--chain", script])
    assert "unrecognized arguments: --chain" in capsys.readouterr().err


def test_no_run_begins_after_the_time_is_over(
    script: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    had: list[float] = []
    deadlines: list[HandDeadline] = []

    def deadline_of(seconds: float) -> HandDeadline:
        deadlines.append(HandDeadline(seconds))
        return deadlines[-1]

    def run(options: argparse.Namespace, as_real: AsReal, deadline: Deadline) -> Run:
        had.append(deadline.remaining())
        if len(had) == 2:
            for one in deadlines:
                one.left = 0.0
        return Run("succeeded", True, [])

    monkeypatch.setattr(script_check, "Deadline", deadline_of)
    monkeypatch.setattr(script_check, "_run", run)
    assert cli.main(["local", "check", "--runs", "4", script]) == 1
    assert capsys.readouterr().out.splitlines()[:3] == [
        "run 1 (seed 1): succeeded",
        "run 2 (seed 2): succeeded",
        "the time is over: 2 of 4 runs were made",
    ]
    assert len(had) == 2


class QuietNetwork(LocalGolem):
    """Starts nothing. A test says what happens once a script runs."""

    def __init__(self, guard: Callable[[int], None] = lambda process_id: None) -> None:
        self.guarded: list[int] = []
        self._guard = guard

    def __enter__(self) -> QuietNetwork:
        return self

    def __exit__(self, *error: object) -> None: ...

    @property
    def environment(self) -> dict[str, str]:
        return {}

    @property
    def strikes(self) -> tuple[Strike, ...]:
        return ()

    def guard(self, pid: int) -> None:
        self.guarded.append(pid)
        self._guard(pid)


def use(network: QuietNetwork, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(script_check, "described_network", lambda *options: network)


def test_a_script_that_the_network_does_not_guard_is_ended(
    script: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def guard(process_id: int) -> None:
        raise LocalNetworkError("it has ended")

    network = QuietNetwork(guard)
    use(network, monkeypatch)
    assert cli.main(["local", "check", script]) == 2
    assert "it has ended" in capsys.readouterr().err
    (process,) = network.guarded
    with pytest.raises(ProcessLookupError):
        os.kill(process, 0)


@pytest.mark.parametrize(
    ("text", "end"),
    [
        ("raise SystemExit(7)", "failed with status 7 after T s"),
        ("import os; os.kill(os.getpid(), 11)", "was ended by SIGSEGV after T s"),
        ("\nraise KeyError('x')", "failed with status 1 after T s: script.py:2: KeyError: 'x'"),
        ("raise ValueError('a\\n\\nb\\n\\n')", "failed with status 1 after T s: script.py:1: b"),
        ("raise SystemExit('\\x1b[31mred')", "failed with status 1 after T s: [31mred"),
        ("input()", "failed with status 1 after T s: script.py:1: EOFError: EOF when reading a line"),
        (
            "import os; os.closerange(3, 99); import simple_golem; simple_golem.Run('/bin/a')",
            "succeeded after T s",
        ),
        ("import os; os.close(2); os._exit(7)", "failed with status 7 after T s"),
    ],
)
def test_a_run_tells_how_and_in_which_line_the_script_has_ended(
    text: str,
    end: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    use(QuietNetwork(), monkeypatch)
    monkeypatch.chdir(tmp_path)
    Path("script.py").write_text(text)
    assert cli.main(["local", "check", "--runs=1", "--seed=3", "script.py"]) == (not end.startswith("succ"))
    told = capsys.readouterr()
    first, rules = re.sub(r"\d+\.\d s", "T s", told.out).splitlines()
    assert first == f"run 1 (seed 3): {end}"
    assert rules == "no rule of real providers has struck"
    again = "simple-golem local run --as-real --seed 3 --pace 0.05"
    assert (again in told.err) == end.startswith(("failed", "was"))


def test_a_long_output_of_a_script_is_cut(
    script: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    use(QuietNetwork(), monkeypatch)
    Path(script).write_text("raise SystemExit('x' * 10_000_000)")
    assert cli.main(["local", "check", "--runs=1", script]) == 1
    assert "x…\n" in (output := capsys.readouterr().out)
    assert len(output) < 1000


def test_a_script_that_is_ended_leaves_no_process(
    tmp_path: Path, script: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    child = tmp_path / "child"

    def guard(process_id: int) -> None:
        while not child.exists():
            time.sleep(0.01)
        raise SystemExit(143)

    use(QuietNetwork(guard), monkeypatch)
    Path(script).write_text(
        "import os, signal, subprocess\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "process = subprocess.Popen(['sleep', '1000'])\n"
        f"open('{child}.new', 'w').write(str(process.pid))\n"
        f"os.rename('{child}.new', '{child}')\n"
        "signal.pause()"
    )
    monkeypatch.setattr(script_check, "_SCRIPT_EXIT_SECONDS", 0.1)
    with pytest.raises(SystemExit):
        cli.main(["local", "check", script])
    await_end_of(int(child.read_text()))


def await_end_of(process_id: int) -> None:
    """A process that is killed is gone in a moment, or is a zombie that nobody waits for."""
    status = Path(f"/proc/{process_id}/stat")
    while True:
        try:
            if status.read_text().rpartition(")")[2].split()[0] == "Z":
                return
        except (FileNotFoundError, ProcessLookupError):
            return
        time.sleep(0.01)


def test_a_check_that_a_signal_ends_tells_of_the_runs_before_and_leaves_no_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def guard(process_id: int) -> None:
        if len(network.guarded) == 2:
            os.kill(os.getpid(), signal.SIGTERM)

    network = QuietNetwork(guard)
    use(network, monkeypatch)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    (tmp_path / "script.py").touch()
    with pytest.raises(SystemExit) as ended:
        cli.main(["local", "check", str(tmp_path / "script.py")])
    assert ended.value.code == 128 + signal.SIGTERM
    assert capsys.readouterr().out.splitlines()[1:] == ["no rule of real providers has struck"]
    assert [path.name for path in tmp_path.iterdir()] == ["script.py"]


def test_a_call_that_was_not_recorded_whole_is_none(tmp_path: Path) -> None:
    (tmp_path / "record").write_text('{"line": 1, "function": "rent", "texts": []}\n{"line": 2, "fun\n[]\n')
    assert _calls(tmp_path / "record") == [Call(1, "rent", [])]
