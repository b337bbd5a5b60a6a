"""What the tests of the daemon's APIs share."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import responses

from simple_golem.background.cancellation import Scope
from simple_golem.yagna.client import Yagna
from simple_golem.yagna.transport.http import Http
from tests.helpers.loopback import Behaviour, Loopback

API = "http://yagna.test:7465"


class Impatient(Scope):
    """A scope in which the pauses between two tries are noted, not waited for."""

    def __init__(self, on_pause: Callable[[], object] | None = None) -> None:
        super().__init__()
        self.pauses: list[float] = []
        self._on_pause = on_pause

    def wait(self, seconds: float | None = None) -> bool:
        assert seconds is not None
        self.pauses.append(seconds)
        if self._on_pause is not None:
            self._on_pause()
        return self.cancelled


@pytest.fixture
def impatient() -> Impatient:
    return Impatient()


@pytest.fixture
def serve() -> Iterator[Callable[..., Loopback]]:
    """Makes servers that are closed with the test."""
    servers: list[Loopback] = []

    def make(*behaviours: Behaviour, listening: bool = True) -> Loopback:
        servers.append(Loopback(*behaviours, listening=listening))
        return servers[-1]

    yield make
    for server in servers:
        server.close()


@pytest.fixture
def connect() -> Iterator[Callable[[Loopback], Http]]:
    """Makes sessions that are closed with the test."""
    sessions: list[Http] = []

    def make(server: Loopback) -> Http:
        sessions.append(Http(server.url, "the-key"))
        return sessions[-1]

    yield make
    for session in sessions:
        session.close()


@pytest.fixture
def daemon() -> Iterator[responses.RequestsMock]:
    """A daemon that gives the answers a test has written down, all of which must be asked for."""
    with responses.RequestsMock() as mock:
        yield mock


@pytest.fixture
def yagna(daemon: responses.RequestsMock) -> Iterator[Yagna]:
    client = Yagna(API, "the-key")
    yield client
    client.close()
