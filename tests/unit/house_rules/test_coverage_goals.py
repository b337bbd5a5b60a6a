"""The goals for coverage: they name files that exist, and a missed one is reported."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from coverage import CoverageData

from tests.coverage_goals import (
    BY_ALL_TESTS,
    BY_UNIT,
    BY_UNIT_TESTS,
    CHECKOUT,
    CONFIG,
    PACKAGE,
    Goal,
    Lines,
    combined,
    exit_code,
    measured,
    report,
)


def test_each_goal_is_about_files_that_exist() -> None:
    files = [path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py")]
    about = {
        goal.name: [file for file in files if goal.includes(file)] for goal in BY_UNIT_TESTS + BY_ALL_TESTS
    }
    assert [name for name, chosen in about.items() if not chosen] == []
    assert "local/local_golem.py" in about["the package with local/"]
    assert "local/local_golem.py" not in about["the package without local/"]
    assert "model/payload/vm.py" in about["the package without local/"]


def test_a_missed_goal_is_reported_with_its_files(capsys: pytest.CaptureFixture[str]) -> None:
    files = {"a/one.py": Lines(10, 4), "a/two.py": Lines(10, 0), "b.py": Lines(20, 1)}
    goals = [
        Goal("reached", 95, ["b*"]),
        Goal("missed", 81, ["a/*"]),
        Goal("all but a", 95, ["*"], but="a/*"),
    ]
    assert not report("Lines", goals, files)
    reached, missed, all_but_a = capsys.readouterr().out.splitlines()[2:]
    assert reached.split() == ["reached", "20", "95.0%", "95%"]
    assert missed.split(maxsplit=4) == ["missed", "20", "80.0%", "81%", "missed: a/one.py 4 lines"]
    assert all_but_a.split() == ["all", "but", "a", "20", "95.0%", "95%"]


@pytest.mark.parametrize(("missed", "reached"), [(100, True), (101, False)])
def test_a_share_is_not_rounded_up_to_its_goal(missed: int, reached: bool) -> None:
    assert report("Lines", [Goal("b", 95, ["b.py"])], {"b.py": Lines(2000, missed)}) is reached


def test_a_goal_about_nothing_is_an_error() -> None:
    with pytest.raises(SystemExit, match="no file matches the coverage goal 'gone'"):
        report("Lines", [Goal("gone", 95, ["gone.py"])], {"b.py": Lines(20, 1)})


@pytest.mark.parametrize(
    ("failed", "reached", "bind", "code"),
    [(0, True, True, 0), (1, True, True, 1), (0, False, True, 1), (0, False, False, 0), (2, True, False, 1)],
)
def test_the_exit_code_tells(failed: int, reached: bool, bind: bool, code: int) -> None:
    assert exit_code(failed, reached, bind) == code


def test_what_unit_tests_execute_is_counted_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "package"
    package.mkdir()
    file = package / "one.py"
    file.write_text("a = 1\nb = 2\nc = 3\n")
    for name, context, lines in (("run.1", "rest", [1, 2]), ("run.2", "unit", [2])):
        data = CoverageData(str(tmp_path / name))
        data.set_context(context)
        data.add_lines({str(file): lines})
        data.write()
    monkeypatch.setattr("tests.coverage_goals.PACKAGE", package)
    coverage = combined(sorted(tmp_path.glob("run.*")), tmp_path / "in-one")
    assert measured(coverage) == {"one.py": Lines(3, 1)}
    assert measured(coverage, BY_UNIT) == {"one.py": Lines(3, 2)}


def test_a_unit_test_and_its_processes_are_counted_as_such(tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")}
    environment.pop("TESTS_CONTEXT")
    environment |= {"COVERAGE_PROCESS_START": str(CONFIG), "COVERAGE_FILE": str(tmp_path / "run")}
    module = "tests/unit/house_rules/test_loaded_modules.py"
    test = f"{module}::test_an_import_loads_these_modules_of_ours_and_few_others"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", test]
    subprocess.run(command, cwd=CHECKOUT, env=environment, check=True, stdout=subprocess.DEVNULL)
    contexts: list[list[str]] = []
    for path in tmp_path.iterdir():
        data = CoverageData(str(path))
        data.read()
        contexts.append(sorted(data.measured_contexts()))
    own, *processes = sorted(contexts)
    assert own == ["", "unit"]
    assert processes
    assert all(process == ["unit"] for process in processes)
