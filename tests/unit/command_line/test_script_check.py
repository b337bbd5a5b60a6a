"""`simple-golem local check`: the line of the script that a rule has struck for."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from datetime import datetime, timezone
from pathlib import Path

import pytest

from simple_golem.background.cancellation import Deadline
from simple_golem.command_line import main as cli
from simple_golem.command_line import script_check
from simple_golem.command_line.script_check import Call, Run, _told, placed
from simple_golem.errors import LocalNetworkError
from simple_golem.local import LocalGolem
from simple_golem.local.control import rules
from simple_golem.local.control.as_real import AsReal
from simple_golem.local.control.rules import Rule
from simple_golem.local.control.strikes import Strike

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

    def run(options: argparse.Namespace, as_real: AsReal, deadline: Deadline) -> Run:
        had.append(deadline.remaining())
        if len(had) == 2:
            time.sleep(deadline.remaining() + 0.01)
        return Run("succeeded", True, [])

    monkeypatch.setattr(script_check, "_SHORTEST_LIMIT_SECONDS", 0.3)
    monkeypatch.setattr(script_check, "_run", run)
    assert cli.main(["local", "check", "--runs", "4", script]) == 1
    assert capsys.readouterr().out.splitlines()[:3] == [
        "run 1 (seed 1): succeeded",
        "run 2 (seed 2): succeeded",
        "the time is over: 2 of 4 runs were made",
    ]
    assert len(had) == 2


class NetworkWithoutGuard(LocalGolem):
    """Can't end the script with itself."""

    def __init__(self) -> None:
        self.guarded: list[int] = []

    def __enter__(self) -> NetworkWithoutGuard:
        return self

    def __exit__(self, *error: object) -> None: ...

    @property
    def environment(self) -> dict[str, str]:
        return {}

    def guard(self, process_id: int) -> None:
        self.guarded.append(process_id)
        raise LocalNetworkError("it has ended")


def test_a_script_that_the_network_does_not_guard_is_ended(
    script: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    network = NetworkWithoutGuard()
    monkeypatch.setattr(script_check, "described_network", lambda *options: network)
    assert cli.main(["local", "check", script]) == 2
    assert "it has ended" in capsys.readouterr().err
    (process,) = network.guarded
    with pytest.raises(ProcessLookupError):
        os.kill(process, 0)
