"""For all tests: none leaves a thread or a process behind, and none writes into the user's own folders."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from coverage import Coverage
from xdist.scheduler import LoadFileScheduling

# What is else loaded late would count, for coverage, as a part of the first test that needs it.
import simple_golem.progress.bar_line
import simple_golem.services.open_golem
import simple_golem.services.pool.pool_builder  # noqa: F401
from simple_golem.background.cancellation import Deadline
from tests.helpers.child_processes import running_children

# How long threads and processes may take to end after their test; a machine may stand still meanwhile.
END_SECONDS = 10.0
# How long a thread that logs waits for the handlers of its record.
LOG_SECONDS = 30.0
UNIT_TESTS = Path(__file__).parent / "unit"
# Unit tests of which a file may take a minute.
LONG_UNIT_TESTS = UNIT_TESTS / "soak"
# Names, for coverage, the part of the tests that runs now; the processes that a test starts have it, too.
CONTEXT = "TESTS_CONTEXT"


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadFileScheduling:
    """Give workers whole files: a module's network is started once, and no worker gets all that are slow."""
    config.option.loadscopereorder = False
    return LoadFileScheduling(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the slow files: the workers then end at the same time."""
    items.sort(key=lambda item: (is_unit_test(item), LONG_UNIT_TESTS not in item.path.parents))


def is_unit_test(item: pytest.Item) -> bool:
    return UNIT_TESTS in item.path.parents


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Have coverage keep apart what unit tests execute: some of its goals are for them alone."""
    part = "unit" if is_unit_test(item) else "rest"
    if os.environ.get(CONTEXT) == part:
        return
    os.environ[CONTEXT] = part
    # Coverage hands its configuration down as it was when this process began; without that it is read anew.
    os.environ.pop("COVERAGE_PROCESS_CONFIG", None)
    coverage = Coverage.current()
    if coverage is not None:
        coverage.switch_context(part)


def pytest_sessionfinish() -> None:
    """Save what coverage has counted: a worker of xdist may be ended without the usual exit."""
    coverage = Coverage.current()
    if coverage is not None:
        coverage.save()


@pytest.fixture(autouse=True)
def nothing_is_left_running() -> Iterator[None]:
    """Fail a test after which a thread or a child process still runs that did not run before it."""
    threads, processes = set(threading.enumerate()), set(running_children())
    yield
    deadline = Deadline(END_SECONDS)
    new = set(threading.enumerate()) - threads
    for thread in new:
        while thread in threading.enumerate() and not deadline.passed:
            if thread.is_alive():
                thread.join(deadline.remaining())
            else:
                time.sleep(0.001)  # it is being started, and can't be joined yet
    left = [f"thread {thread.name}" for thread in new if thread.is_alive()]
    while (children := new_children(processes)) and not deadline.passed:
        time.sleep(0.01)
    assert not left + children, f"left running: {', '.join(sorted(left + children))}"


def new_children(before: set[int]) -> list[str]:
    return [f"process {pid} ({text})" for pid, text in running_children().items() if pid not in before]


@pytest.fixture(autouse=True)
def journals_are_the_tests_own(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sessions keep their journals in a folder of the tests; those on a network, in the network's folder."""
    monkeypatch.setenv("SIMPLE_GOLEM_STATE", str(tmp_path_factory.getbasetemp() / "journals"))


@pytest.fixture(autouse=True)
def logs_are_complete(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was logged is there when the call returns, also where the thread that calls the handlers is slow.

    A handler that blocks holds up the threads of the library for that long: a test of one sets less.
    """
    monkeypatch.setattr("simple_golem.background.log_guard._HANDLERS_SECONDS", LOG_SECONDS)
