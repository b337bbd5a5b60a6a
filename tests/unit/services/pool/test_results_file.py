"""A map that keeps its results in a file goes on where it stopped."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from simple_golem import Golem, Instance
from simple_golem.background.cancellation import Deadline
from simple_golem.errors import BadJson, BadResultsFile, NotRunning
from simple_golem.services.pool.results_file import ResultsFile
from simple_golem.testing import CommandAnswer, FakeYagna
from tests.helpers.recorded_services import SECONDS
from tests.unit.conftest import eventually


class Doubling:
    """Work that notes its items, and fails for some."""

    def __init__(self) -> None:
        self.asked: list[Any] = []
        self.fails_for: set[Any] = set()

    def __call__(self, machine: Instance, item: Any) -> Any:
        self.asked.append(item)
        if item in self.fails_for:
            raise ValueError(f"not {item}")
        return 2 * item


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "work.jsonl"


def run(work: Any, items: Any, path: Path, **options: Any) -> list[Any]:
    with Golem(1) as golem, golem.pool(1) as pool:
        return list(pool.map(work, items, results_file=path, **options))


def test_answered_items_come_from_the_file(fake: FakeYagna, path: Path) -> None:
    work = Doubling()
    assert run(work, range(5), path) == [0, 2, 4, 6, 8]
    assert run(work, range(7), path) == [0, 2, 4, 6, 8, 10, 12]
    assert work.asked == list(range(7))
    head, *lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert head == {"simple_golem": 1, "work": f"{__name__}.Doubling", "key": "builtins.str"}
    assert lines == [{"key": str(item), "result": 2 * item} for item in range(7)]


def test_an_item_that_failed_is_executed_again_and_the_others_are_not(fake: FakeYagna, path: Path) -> None:
    work = Doubling()
    work.fails_for = {2}
    with pytest.raises(ValueError, match="not 2"):
        run(work, [1, 2, 3, 4], path)
    work.fails_for.clear()
    answered = {json.loads(line)["key"] for line in path.read_text().splitlines()[1:]}
    before = len(work.asked)
    assert run(work, [1, 2, 3, 4], path) == [2, 4, 6, 8]
    assert answered.isdisjoint(map(str, work.asked[before:]))


def test_results_are_what_json_makes_of_them(fake: FakeYagna, path: Path) -> None:
    def pair(machine: Instance, item: int) -> tuple[int, None]:
        return item, None

    assert run(pair, [1], path) == [[1, None]]
    assert run(pair, [1], path) == [[1, None]]


def test_a_result_without_a_json_form_is_an_error_of_its_item(fake: FakeYagna, path: Path) -> None:
    with pytest.raises(BadJson, match="the result of '1' has no JSON form"):
        run(lambda machine, item: object(), [1], path)


def test_keys_can_be_made_of_several_arguments(fake: FakeYagna, path: Path) -> None:
    def add(machine: Instance, one: int, two: int) -> int:
        return one + two

    with Golem(1) as golem, golem.pool(1) as pool:
        results = pool.map(add, [1, 2], [3, 4], results_file=path, key=lambda pair: f"{pair[0]}+{pair[1]}")
        assert list(results) == [4, 6]
    assert [json.loads(line)["key"] for line in path.read_text().splitlines()[1:]] == ["1+3", "2+4"]


def test_a_torn_last_line_is_dropped(fake: FakeYagna, path: Path) -> None:
    work = Doubling()
    run(work, [1, 2, 3], path)
    path.write_bytes(path.read_bytes()[:-5])
    assert run(work, [1, 2, 3], path) == [2, 4, 6]
    assert work.asked == [1, 2, 3, 3]


def other(machine: Instance, item: int) -> int:
    return item


def of_two(machine: Instance, item: int, factor: int) -> int:
    return factor * item


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"work": other}, "has the results of the function .*Doubling, not of .*other"),
        ({"key": repr}, "has the results of the key builtins.str, not of builtins.repr"),
        ({"items": [1, 2]}, "has results of other items, such as '3'"),
        ({"items": [1, 2, 3, 1]}, "two items have the key '1'"),
        ({"key": len, "items": [[1]], "new": True}, r"the key of \[1\] is 1: `key` has to return a text"),
    ],
)
def test_a_file_of_other_work_is_refused(
    fake: FakeYagna, path: Path, options: dict[str, Any], says: str
) -> None:
    work = Doubling()
    if not options.pop("new", False):
        run(work, [1, 2, 3], path)
    items = options.pop("items", [1, 2, 3])
    with pytest.raises(BadResultsFile, match=says):
        run(options.pop("work", work), items, path, **options)


def test_the_arguments_of_a_partial_belong_to_the_function(fake: FakeYagna, path: Path) -> None:
    assert run(partial(of_two, factor=2), [1], path) == [2]
    with pytest.raises(BadResultsFile, match=r"factor=2.*factor=3"):
        run(partial(of_two, factor=3), [1], path)


@pytest.mark.parametrize("content", ["hello\n", "[]\n", '{"simple_golem": 1}\n', '{"a": 1}\n{}\n'])
def test_any_other_file_is_refused_and_left_as_it_is(fake: FakeYagna, path: Path, content: str) -> None:
    path.write_text(content)
    with pytest.raises(BadResultsFile):
        run(other, [1], path)
    assert path.read_text() == content


def test_a_file_in_use_is_refused(fake: FakeYagna, path: Path) -> None:
    with Golem(1) as golem, golem.pool(1) as pool:
        first = pool.map(other, [1, 2], results_file=path)
        assert next(first) == 1
        # A kill at this moment loses nothing: the answer is not only in a buffer.
        assert json.loads(path.read_text().splitlines()[1]) == {"key": "1", "result": 1}
        with pytest.raises(BadResultsFile, match="in use by a run that goes on"):
            pool.map(other, [1, 2], results_file=path)
        assert list(first) == [2]
        assert list(pool.map(other, [1, 2], results_file=path)) == [1, 2]


@pytest.mark.parametrize("way", ["garbage", "closing", "shutdown", "end of the Golem"])
def test_a_file_whose_results_nobody_reads_is_free_again(fake: FakeYagna, path: Path, way: str) -> None:
    with Golem(1) as golem:
        pool = golem.pool(1)
        kept = [pool.map(other, [1, 2], results_file=path)]
        if way == "garbage":
            kept.clear()
        elif way == "closing":
            kept[0].close()  # type: ignore[attr-defined]
        elif way == "shutdown":
            pool.shutdown()
        if way != "end of the Golem":
            eventually(lambda: can_be_opened(path))
    assert run(other, [1, 2], path) == [1, 2]


def can_be_opened(path: Path) -> bool:
    try:
        ResultsFile(path, other, str).close()
    except BadResultsFile:
        return False
    return True


def test_results_that_are_read_after_the_end_of_the_pool_are_those_that_were_submitted(
    fake: FakeYagna, path: Path
) -> None:
    assert run(other, range(3), path) == [0, 1, 2]
    with Golem(1) as golem:
        with golem.pool(1) as pool:
            results = pool.map(other, range(5), results_file=path, buffersize=4)
        assert [next(results) for _ in range(4)] == [0, 1, 2, 3]
        with pytest.raises(NotRunning):
            next(results)
        with golem.pool(1) as pool:
            results = pool.map(other, range(5), results_file=path, buffersize=2)
        assert [next(results) for _ in range(2)] == [0, 1]
        with pytest.raises(NotRunning, match=r"the pool is closed, and .* with it: read all results before"):
            next(results)


SCRIPT = """
import faulthandler, logging, sys
from simple_golem import Golem

faulthandler.enable()
logging.basicConfig(level=logging.INFO, format="%(relativeCreated)d %(threadName)s: %(message)s")

def work(machine, item):
    machine.shell(f"item {item}")
    return item

with Golem(budget=1) as golem, golem.pool(2) as pool:
    results = list(pool.map(work, range(40), results_file=sys.argv[1]))
assert results == list(range(40))
"""


def answered_in(path: Path) -> set[str]:
    lines = path.read_bytes().splitlines(keepends=True)[1:] if path.exists() else []
    return {json.loads(line)["key"] for line in lines if line.endswith(b"\n")}


class Script:
    """The script in a process of its own; what it logs is told where a test fails."""

    def __init__(self, path: Path, told: Path, left: Deadline) -> None:
        self._path, self._told, self._left = path, told, left
        environment = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")}
        with told.open("wb") as stderr:
            self._process = subprocess.Popen(
                [sys.executable, "-c", SCRIPT, path], env=environment, stderr=stderr
            )

    def kill_after(self, answers: int) -> None:
        """Wait until the file has so many answers, and kill the script, at the latest when that fails."""
        try:
            while len(answered_in(self._path)) < answers:
                # What it answered before its end counts.
                has_ended = self._process.poll() is not None
                if len(answered_in(self._path)) < answers and (has_ended or self._left.passed):
                    pytest.fail(f"{len(answered_in(self._path))} of {answers} answers: {self._told_at_end()}")
                time.sleep(0.02)
        finally:
            self._process.kill()
            self._process.wait()

    def end(self) -> None:
        """Wait for its end, which has to be a good one."""
        try:
            assert self._process.wait(self._left.remaining()) == 0, self._told_at_end()
        except subprocess.TimeoutExpired:
            pytest.fail(self._told_at_end())
        finally:
            self._process.kill()
            self._process.wait()

    def _told_at_end(self) -> str:
        """What it has logged, and, if it still runs, what each of its threads does."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGABRT)
        code = self._process.wait(SECONDS)
        return f"the script ended with {code} and has told:\n{self._told.read_text(errors='replace')}"


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this platform does not kill so")
def test_a_script_that_is_killed_three_times_goes_on(littered: FakeYagna, path: Path, tmp_path: Path) -> None:
    # Four interpreters are started, one after the other, which takes long on a busy machine.
    asked, left = list[str](), Deadline(100.0)

    def answer(command: dict[str, Any]) -> CommandAnswer:
        asked.append(command["run"]["args"][-1].removeprefix("item "))
        return CommandAnswer(seconds=0.02)

    for provider in littered.providers:
        provider.answers = answer
    for run_number in range(1, 4):
        before, first = answered_in(path), len(asked)
        Script(path, tmp_path / f"told-{run_number}", left).kill_after(8 * run_number)
        assert before.isdisjoint(asked[first:])
    before, first = answered_in(path), len(asked)
    Script(path, tmp_path / "told", left).end()
    assert before.isdisjoint(asked[first:])
    assert answered_in(path) == {str(item) for item in range(40)}
