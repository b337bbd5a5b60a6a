"""The goals for coverage: they name files that exist, and a missed one is reported."""

from __future__ import annotations

import pytest

from tests.coverage_goals import BY_ALL_TESTS, BY_UNIT_TESTS, PACKAGE, Goal, Lines, exit_code, report


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
