"""The plugin for pytest, without a network: what it loads, whose fixture wins, what it says."""

from __future__ import annotations

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
MARKED = """
import pytest
from simple_golem.local import ProviderHabits

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


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("providers=[ProviderHabits()], habits=['prov-1=dies-after:5']", "give habits, or a list of"),
        ("2", "write the arguments of the mark golem_network with their names"),
    ],
)
def test_a_mistake_in_a_mark_is_told(tmp_path: Path, arguments: str, message: str) -> None:
    run = run_pytest(written(tmp_path, MARKED.replace("ARGUMENTS", arguments)))
    assert run.returncode != 0
    assert message in run.stdout + run.stderr


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
