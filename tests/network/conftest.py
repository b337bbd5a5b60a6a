"""The local network that these tests share, and the proof that each leaves nothing on it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from simple_golem.background.cancellation import Deadline, Scope
from simple_golem.command_line.image_commands import advice_about_busybox
from simple_golem.local.local_golem import LocalGolem
from tests.network.helpers.leftovers import left_on
from tests.network.helpers.requestor import Requestor

# An invoice may come late, and an activity end late, where the machine is busy.
SETTLE_SECONDS = 15.0


@pytest.fixture(scope="session")
def network() -> Iterator[LocalGolem]:
    """A network of four providers, one for each worker process."""
    with LocalGolem(chain=False) as network:
        yield network


@pytest.fixture(scope="session", autouse=True)
def busybox_is_advised() -> None:
    """The tool says once for each machine what to install: not in the middle of a test."""
    advice_about_busybox()


@pytest.fixture(autouse=True)
def nothing_is_left_on_the_network(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail a test that leaves a demand, an allocation, an agreement, an activity or an unpaid invoice."""
    yield
    if "network" not in request.fixturenames:
        return
    network: LocalGolem = request.getfixturevalue("network")
    deadline, scope = Deadline(SETTLE_SECONDS), Scope()
    while (left := left_on(network)) and not deadline.passed:
        scope.wait(0.2)
    assert not left, f"left on the requestor's daemon: {left}"


@pytest.fixture
def requestor(network: LocalGolem) -> Iterator[Requestor]:
    """A requestor by bare REST, which releases all it holds at the end of the test."""
    requestor = Requestor(network)
    yield requestor
    requestor.close()


@pytest.fixture
def golem_environment(network: LocalGolem, monkeypatch: pytest.MonkeyPatch) -> None:
    """What `simple-golem local run` sets for a script, set for a test."""
    for name, value in network.environment.items():
        monkeypatch.setenv(name, value)
