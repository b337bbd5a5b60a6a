"""The plugin for pytest on the real daemon: the tests of its page, ini options, marks, workers of xdist."""

from __future__ import annotations

from pathlib import Path

from tests.helpers.pytest_run import outcomes, run_pytest
from tests.helpers.snippets import ROOT, snippets_of

PAGE = ROOT / "docs" / "how-to" / "tests.md"
INI = """[pytest]
golem_providers = 2
golem_habits =
    prov-1=fails-commands:bad
    prov-2=fails-commands:bad
golem_images = me/mine:1=images/mine
"""
TESTS = """
import os
from pathlib import Path

import pytest
from simple_golem import CommandFailed

networks = []

def see(golem_network):
    networks.append(golem_network)
    worker = os.environ.get("PYTEST_XDIST_WORKER", "one")
    Path(f"urls-{worker}").open("a").write(golem_network.near.api_url + "\\n")

def test_the_options_of_the_ini_file_count(golem, golem_network):
    see(golem_network)
    assert len(golem_network.providers) == 2
    machine = golem.rent(image_tag="me/mine:1")
    assert machine.shell("cat /golem/greeting").stdout == "hello"
    with pytest.raises(CommandFailed):
        machine.shell("echo bad")

def test_the_next_test_has_the_same_network(golem_network):
    see(golem_network)

@pytest.mark.golem_network(providers=1, habits=[])
class TestMarked:
    def test_a_mark_wins(self, golem, golem_network):
        see(golem_network)
        assert len(golem_network.providers) == 1
        assert golem.rent().shell("echo bad").stdout == "bad\\n"

    def test_the_mark_of_a_class_is_for_all_its_tests(self, golem_network):
        see(golem_network)

@pytest.mark.golem_network(providers=1, habits=[])
def test_an_equal_mark_has_the_same_network(golem_network):
    see(golem_network)

def test_there_were_two_networks():
    assert len(set(networks)) == 2
"""


def test_the_tests_of_the_page_pass(tmp_path: Path) -> None:
    """All snippets of the page are one file, so that the later ones have the imports of the earlier ones."""
    (tmp_path / "test_page.py").write_text("\n".join(source.strip("\n") for _, source in snippets_of(PAGE)))
    run = run_pytest(tmp_path, "-W", "error", "--strict-markers")
    assert run.returncode == 0, run.stdout
    assert outcomes(run) == [
        "PASSED test_page.py::TestInMemory::test_the_machine_knows_the_day",
        "PASSED test_page.py::test_a_picture_that_can_not_be_converted",
        "PASSED test_page.py::test_hello",
        "PASSED test_page.py::test_the_clock_keeps_the_time",
        "PASSED test_page.py::test_the_machine_can_count",
        "PASSED test_page.py::test_the_network_is_there",
    ]


def written(folder: Path) -> None:
    (folder / "images" / "mine").mkdir(parents=True)
    (folder / "images" / "mine" / "greeting").write_text("hello")
    (folder / "pytest.ini").write_text(INI)
    (folder / "test_it.py").write_text(TESTS)


def test_ini_options_and_marks_describe_the_network(tmp_path: Path) -> None:
    written(tmp_path)
    run = run_pytest(tmp_path, "-p", "no:randomly")
    assert run.returncode == 0, run.stdout
    assert "6 passed" in run.stdout
    urls = (tmp_path / "urls-one").read_text().splitlines()
    assert [urls[0] == url for url in urls] == [True, True, False, False, False]


def test_each_worker_of_xdist_has_a_network_of_its_own(tmp_path: Path) -> None:
    written(tmp_path)
    run = run_pytest(tmp_path, "-n", "2", "-k", "ini_file or same_network and not equal", "--dist", "each")
    assert run.returncode == 0, run.stdout
    first, second = (set((tmp_path / f"urls-gw{n}").read_text().splitlines()) for n in (0, 1))
    assert len(first) == len(second) == 1
    assert first != second
