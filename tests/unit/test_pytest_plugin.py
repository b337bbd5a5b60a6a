"""The plugin for pytest, without a network: what it loads, whose fixture wins, what it says."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

import pytest

import simple_golem_pytest
from simple_golem.errors import BadHabit
from simple_golem.local import ProviderHabits
from tests.helpers.pytest_run import outcomes, run_pytest

LOADS_NOTHING = """
import sys

def test_nothing_of_the_package_is_loaded():
    ours = [name for name in sys.modules if name.startswith("simple_golem")]
    assert ours == ["simple_golem_pytest"]
"""
OWN_GOLEM = """
import pytest

@pytest.fixture
def golem():
    return "mine"

def test_it_is_mine(golem):
    assert golem == "mine"
"""
IN_MEMORY = """
import os
import pytest
from simple_golem import Golem
from simple_golem.testing import FakeProvider, FakeYagna

golems = []

@pytest.fixture(scope="module")
def golem_network():
    with FakeYagna([FakeProvider(f"prov-{n}", answers=lambda command: "Monday") for n in (1, 2)]) as fake:
        yield fake
        golems[1].close()
        assert fake.leftovers() == []

@pytest.mark.golem(budget=5)
def test_a_golem_is_closed(golem, golem_network):
    golems.append(golem)
    assert golem.rent().shell("date").stdout == "Monday"
    assert os.environ["YAGNA_API_URL"] == golem_network.environment["YAGNA_API_URL"]
    assert golem.budget == 5

def test_it_leaves_a_golem_open(golem):
    assert golems[0] is not golem
    golems.append(Golem(budget=1).open())

def test_it_leaves_nothing(golem):
    golem.rent()

def test_the_environment_is_as_before():
    assert "YAGNA_API_URL" not in os.environ
"""
WITHOUT_A_NETWORK = """
import platform
import pytest
import simple_golem.local
from simple_golem.errors import NamespacesForbidden

@pytest.fixture(scope="session", autouse=True)
def machine_without_a_network():
    with pytest.MonkeyPatch.context() as patch:
        REASON
        yield

def test_it_needs_a_golem(golem):
    assert golem.rent()

def test_it_needs_a_network(golem_network):
    assert golem_network.providers

def test_it_needs_nothing():
    pass
"""
FOR_ANOTHER_DAEMON = """
import os

os.environ.update(
    YAGNA_APPKEY="mine",
    YAGNA_API_URL="http://127.0.0.1:1",
    YAGNA_MARKET_URL="http://127.0.0.1:1",
    YAGNA_ACTIVITY_URL="http://127.0.0.1:1",
    YAGNA_PAYMENT_URL="http://127.0.0.1:1",
    YAGNA_PAYMENT_DRIVER="zksync",
    YAGNA_PAYMENT_NETWORK="polygon",
    YAGNA_SUBNET="mine",
)
"""
ON_THE_NETWORK = """
import os
import pytest
from simple_golem.testing import FakeYagna

@pytest.fixture
def golem_network():
    with FakeYagna() as fake:
        yield fake

def test_it_runs_on_the_network(golem, golem_network):
    golem.rent(10)
    assert golem_network.requests

def test_the_environment_is_as_before():
    assert os.environ["YAGNA_MARKET_URL"] == "http://127.0.0.1:1"
"""
OTHER_MACHINE = 'patch.setattr(platform, "machine", lambda: "sparc")'
NO_NAMESPACES = """
        def start(network):
            raise NamespacesForbidden("user namespaces are off")

        patch.setattr(simple_golem.local.LocalGolem, "start", start)
"""
MARKED_GOLEM = """
import pytest
from simple_golem.testing import FakeYagna

class TestInMemory:
    @pytest.fixture
    def golem_network(self):
        with FakeYagna() as fake:
            yield fake

# TEST
    @pytest.mark.golem(ARGUMENTS)
    def test_it(self, golem):
        pass
"""
FAILING = """import pytest
from simple_golem import Run, Service
from simple_golem.testing import CommandAnswer, FakeProvider, FakeYagna

def answers(command):
    return CommandAnswer(exit_code=3)

@pytest.fixture
def golem_network():
    with FakeYagna([FakeProvider(answers=answers)]) as fake:
        yield fake

def test_command(golem):
    golem.rent().shell("false")

def test_function_of_a_pool(golem):
    with golem.pool(1, attempts=1) as pool:
        list(pool.map(work, [1]))

def work(machine, number):
    machine.shell(f"exit {number}")

def test_service(golem):
    golem.run_service(Failing).wait()

class Failing(Service):
    def run(self):
        self.execute(Run("/bin/false"))

def test_error_after_another_one(golem):
    machine = golem.rent()
    try:
        machine.shell("false")
    except Exception:
        machine.wrong()
"""
UNHEARD_MARKS = """
import unittest
import pytest
from simple_golem.testing import FakeYagna

pytestmark = pytest.mark.golem_network(providers=1)

@pytest.fixture(scope="session")
def golem_network():
    with FakeYagna() as fake:
        yield fake

class TestOfUnittest(unittest.TestCase):
    @pytest.fixture(autouse=True)
    def has_golem(self, golem):
        pass

    def test_it(self):
        pass

def test_dynamic(request):
    request.getfixturevalue("golem")

def test_heard(golem):
    pass

def test_without():
    pass
"""
ENDED_BY_A_SIGNAL = """
import os
import signal
import threading
import pytest
from simple_golem import Run, Service
from simple_golem.testing import FakeProvider, FakeYagna

@pytest.fixture
def golem_network():
    with FakeYagna([FakeProvider()]) as fake:
        yield fake
        assert fake.leftovers() == []
        print("nothing is left")

class Sleeper(Service):
    def run(self):
        self.execute(Run("/bin/sh", "-c", "sleep 1000"))

# Without the signal, the end of the Golem would wait for the command.
@pytest.mark.golem(stop_grace=600)
def test_it(golem):
    golem.run_service(Sleeper).wait_until_running()
    os.kill(os.getpid(), signal.SIGNAL)
    threading.Event().wait()

def test_next(golem):
    print("the next test has run")
"""
LIBRARY = ("simple_golem_pytest.py", "forks.py", "instance.py", "golem.py", "lifecycle.py", "tenacity")
MARKED = """
import pytest
from simple_golem.local import ProviderHabits

# TEST
@pytest.mark.golem_network(ARGUMENTS)
def test_it(golem_network):
    pass
"""


def written(folder: Path, text: str, ini: str = "") -> Path:
    (folder / "pytest.ini").write_text(f"[pytest]\n{ini}\n")
    (folder / "test_it.py").write_text(text)
    return folder


def test_a_run_without_its_fixtures_loads_nothing_of_the_package(tmp_path: Path) -> None:
    run = run_pytest(written(tmp_path, LOADS_NOTHING))
    assert outcomes(run) == ["PASSED test_it.py::test_nothing_of_the_package_is_loaded"], run.stdout


def test_a_fixture_of_the_users_own_wins(tmp_path: Path) -> None:
    run = run_pytest(written(tmp_path, OWN_GOLEM))
    assert outcomes(run) == ["PASSED test_it.py::test_it_is_mine"], run.stdout


def test_a_golem_is_closed_after_its_test_and_a_test_that_leaves_something_fails(tmp_path: Path) -> None:
    run = run_pytest(written(tmp_path, IN_MEMORY), "--strict-markers")
    assert run.returncode == 1
    error, *passed = outcomes(run)
    assert error.startswith(
        "ERROR test_it.py::test_it_leaves_a_golem_open - Failed: the test has left on the network: allocation"
    )
    assert passed == [
        "PASSED test_it.py::test_a_golem_is_closed",
        "PASSED test_it.py::test_it_leaves_a_golem_open",
        "PASSED test_it.py::test_it_leaves_nothing",
        "PASSED test_it.py::test_the_environment_is_as_before",
    ], run.stdout


def test_what_is_set_for_another_daemon_does_not_lead_to_it(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text(FOR_ANOTHER_DAEMON)
    run = run_pytest(written(tmp_path, ON_THE_NETWORK))
    assert outcomes(run) == [
        "PASSED test_it.py::test_it_runs_on_the_network",
        "PASSED test_it.py::test_the_environment_is_as_before",
    ], run.stdout


@pytest.mark.parametrize(
    ("machine", "reason"),
    [(OTHER_MACHINE, "the local network runs on Linux"), (NO_NAMESPACES, "user namespaces are off")],
)
def test_where_no_network_can_run_its_tests_are_skipped_with_the_reason(
    tmp_path: Path, machine: str, reason: str
) -> None:
    run = run_pytest(written(tmp_path, WITHOUT_A_NETWORK.replace("REASON", machine)))
    assert run.returncode == 0
    assert "1 passed, 2 skipped" in run.stdout
    assert f"no Golem network can run here: {reason}" in run.stdout


NETWORK_MISTAKES = {
    "providers=[ProviderHabits()], habits=['prov-1=dies-after:5']": "give habits, or a list of",
    "habits='prov-1=dies-after:5'": "give a list of texts such as ['prov-2=dies-after:5']",
    "habits=[ProviderHabits()]": "give a list of texts such as ['prov-2=dies-after:5']",
    "habits=['prov-1=dies-after:5'], providers=0": "a local network has 1 to 200 providers, not 0",
    "images=['me/mine:1=mine']": "images is ['me/mine:1=mine']: give a dictionary",
    "provider=2": "argument 'provider'; `help(simple_golem.local.LocalGolem)` describes them",
}
GOLEM_MISTAKES = {
    "2": "write the arguments of the mark golem with their names, such as golem(budget=5)",
    "bugdet=2": "argument 'bugdet'; `help(simple_golem.Golem)` describes them",
    "budget='much'": "the Golem of the test can't be made: budget is 'much'",
}


@pytest.mark.parametrize(
    ("template", "mistakes"),
    [(MARKED, NETWORK_MISTAKES), (MARKED_GOLEM, GOLEM_MISTAKES)],
    ids=["golem_network", "golem"],
)
def test_a_mistake_in_a_mark_is_told_without_a_traceback(
    tmp_path: Path, template: str, mistakes: dict[str, str]
) -> None:
    run = run_pytest(written(tmp_path, marked(template, mistakes)))
    assert_told(run.stdout, mistakes.values())


def test_a_mark_that_pytest_does_not_hear_is_told(tmp_path: Path) -> None:
    run = run_pytest(written(tmp_path, UNHEARD_MARKS))
    assert outcomes(run)[2:] == ["PASSED test_it.py::test_heard", "PASSED test_it.py::test_without"], (
        run.stdout
    )
    for test in ("TestOfUnittest::test_it", "test_dynamic"):
        assert f"{test}: the mark golem_network has no effect on a method of unittest.TestCase" in run.stdout
    assert "simple_golem_pytest.py:" not in run.stdout


def test_a_mark_without_names_is_no_internal_error_of_a_worker(tmp_path: Path) -> None:
    run = run_pytest(written(tmp_path, marked(MARKED, ["2"])), "-n", "2")
    assert run.returncode == 1
    told = "test_it0: write the arguments of the mark golem_network with their names, such as "
    assert told + "golem_network(providers=2)" in run.stdout
    assert "simple_golem_pytest.py" not in run.stdout
    assert "INTERNALERROR" not in run.stdout + run.stderr


def marked(module: str, marks: Iterable[str]) -> str:
    """A module with a test for each of the arguments of a mark."""
    head, test = module.split("# TEST\n")
    return head + "\n".join(
        test.replace("ARGUMENTS", text).replace("_it", f"_it{n}") for n, text in enumerate(marks)
    )


def assert_told(output: str, messages: Collection[str]) -> None:
    assert f"{len(messages)} errors in" in output
    for message in messages:
        assert message in output
    for traceback in ("simple_golem_pytest.py:", "local_golem.py:", "direct cause", "entries are hidden"):
        assert traceback not in output


def test_a_failure_in_the_library_shows_the_lines_of_the_user_alone(tmp_path: Path) -> None:
    run = run_pytest(written(tmp_path, FAILING), "--show-capture=no")
    assert len(outcomes(run)) == 5
    for line in (
        "test_it.py:14: CommandFailed",  # a call of the user's
        "test_it.py:21: CommandFailed",  # a function of the user's that the library has called
        "test_it.py:33: CommandFailed",
        "test_it.py:35: AttributeError",  # an error after another one
    ):
        assert line in run.stdout
    for file in LIBRARY:
        assert file not in run.stdout
    assert "E   simple_golem.errors.ServiceFailed: 1 of 1 instances failed" in run.stdout


def test_a_line_of_the_user_is_shown_whatever_name_their_module_has(tmp_path: Path) -> None:
    (tmp_path / "profile.py").write_text("def work(machine, number):\n    return 1 / number\n")
    text = "import profile\n" + FAILING.replace("pool.map(work, [1])", "pool.map(profile.work, [0])")
    run = run_pytest(written(tmp_path, text), "-k", "pool")
    assert "profile.py:2: ZeroDivisionError" in run.stdout
    assert "threads.py" not in run.stdout


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_a_signal_ends_the_run_at_once_and_nothing_is_left(tmp_path: Path, name: str) -> None:
    run = run_pytest(written(tmp_path, ENDED_BY_A_SIGNAL.replace("SIGNAL", name)), "-s", "-p", "no:randomly")
    assert run.returncode == pytest.ExitCode.INTERRUPTED
    assert "nothing is left" in run.stdout
    assert "the next test has run" not in run.stdout
    assert "Traceback" not in run.stdout + run.stderr


def test_a_full_trace_shows_the_lines_of_the_library(tmp_path: Path) -> None:
    written(tmp_path, FAILING)
    for option in ("--full-trace", "--tb=native"):
        run = run_pytest(tmp_path, option, "-k", "command")
        assert "instance.py" in run.stdout


@pytest.mark.parametrize(
    ("ini", "message"),
    [
        ("golem_providers = two", "golem_providers is 'two': give a whole number"),
        ("golem_habits = prov-2=dies-aftr:5", "there is no habit 'dies-aftr': did you mean dies-after"),
        ("golem_images = me/mine:1=no-such-file", "no-such-file: there is no image"),
    ],
)
def test_a_mistake_in_the_ini_file_is_told_without_the_frames_of_the_plugin(
    tmp_path: Path, ini: str, message: str
) -> None:
    run = run_pytest(written(tmp_path, MARKED.replace("ARGUMENTS", ""), ini))
    (error,) = outcomes(run)
    assert error.startswith("ERROR test_it.py::test_it")
    assert "the network of the tests can't be made: " in run.stdout
    assert message in run.stdout
    assert "simple_golem_pytest.py" not in run.stdout
    assert "--image" not in run.stdout


class IniOptions:
    """What the plugin asks a `pytest.Config` for."""

    rootpath = Path("/root-of-the-tests")
    inipath: Path | None = Path("/folder-of-the-ini-file/pytest.ini")

    def __init__(self, **options: object) -> None:
        self.getini = {"golem_providers": "4", "golem_habits": [], "golem_images": [], **options}.__getitem__


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"golem_providers": "many"}, pytest.UsageError, "golem_providers is 'many': give a whole number"),
        ({"golem_images": ["mine"]}, pytest.UsageError, "golem_images has 'mine': write TAG_OR_HASH=PATH"),
        ({"golem_habits": ["prov-9=dies-after:1"]}, BadHabit, "a provider from prov-1 to prov-4"),
    ],
)
def test_a_mistake_in_the_ini_file_is_told(options: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        network_options(IniOptions(**options))


def network_options(config: Any, **marked: Any) -> dict[str, Any]:
    return simple_golem_pytest._network_options(config, marked)


def test_marks_win_over_the_ini_file() -> None:
    ini = IniOptions(golem_providers="2", golem_images=["me/mine:1 = images/mine"])
    mine = {"me/mine:1": Path("/folder-of-the-ini-file/images/mine")}
    assert network_options(ini) == {"providers": 2, "images": mine}
    assert network_options(ini, providers=3, chain=False) == {"providers": 3, "images": mine, "chain": False}
    options = network_options(ini, habits=["prov-2=dies-after:5"], images={})
    assert options["providers"] == [ProviderHabits(), ProviderHabits(dies_after=5)]


def test_the_providers_of_a_mark_have_no_habits_of_the_ini_file() -> None:
    ini = IniOptions(golem_habits=["prov-2=dies-after:5"])
    assert network_options(ini)["providers"][1] == ProviderHabits(dies_after=5)
    assert network_options(ini, providers=1)["providers"] == 1
    mine = [ProviderHabits(dies_after=1)]
    assert network_options(ini, providers=mine)["providers"] == mine
    habits = ["prov-1=dies-after:7"]
    assert network_options(ini, providers=1, habits=habits)["providers"] == [ProviderHabits(dies_after=7)]


def test_without_an_ini_file_the_images_are_in_the_root_folder() -> None:
    options = IniOptions(golem_images=["me/mine:1=mine"])
    options.inipath = None
    assert network_options(options)["images"] == {"me/mine:1": IniOptions.rootpath / "mine"}
