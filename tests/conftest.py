"""What holds for all tests: none leaves a thread behind, or writes into the user's own folders."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest
from xdist.scheduler import LoadFileScheduling

from simple_golem.background.cancellation import Deadline

JOIN_SECONDS = 3.0


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadFileScheduling:
    """Give workers whole files: a module's network is started once, and no worker gets all that are slow."""
    return LoadFileScheduling(config, log)


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    """Fail a test after which a thread is still there that was not there before it."""
    before = set(threading.enumerate())
    yield
    deadline = Deadline(JOIN_SECONDS)
    new = set(threading.enumerate()) - before
    for thread in new:
        thread.join(deadline.remaining())
    left = sorted(thread.name for thread in new if thread.is_alive())
    assert not left, f"threads left behind: {left}"


@pytest.fixture(autouse=True)
def journals_are_the_tests_own(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a session writes down goes to a folder of the tests; those on a network use the network's."""
    monkeypatch.setenv("SIMPLE_GOLEM_STATE", str(tmp_path_factory.getbasetemp() / "journals"))
