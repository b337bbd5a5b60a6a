"""What the tests of the engine share: a daemon that answers what a test has written down."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator

import pytest
import responses

from simple_golem.background.cancellation import Scope
from simple_golem.background.threads import WorkerPool
from simple_golem.testing import FakeYagna, HandClock
from simple_golem.yagna.client import Yagna

API = "http://yagna.test:7465"


@pytest.fixture
def daemon() -> Iterator[responses.RequestsMock]:
    with responses.RequestsMock(assert_all_requests_are_fired=False) as mock:
        yield mock


@pytest.fixture
def yagna(daemon: responses.RequestsMock) -> Iterator[Yagna]:
    client = Yagna(API, "the-key")
    yield client
    client.close()


@pytest.fixture
def scope() -> Iterator[Scope]:
    """One that is cancelled with the test, so that nothing waits in it any longer."""
    scope = Scope()
    yield scope
    scope.cancel("the test is over")


@pytest.fixture
def workers(scope: Scope) -> Iterator[WorkerPool]:
    pool = WorkerPool("test-worker", 4)
    yield pool
    scope.cancel("the test is over")
    assert pool.close(10) == []


@pytest.fixture
def littered(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeYagna]:
    """A daemon in memory with three honest providers, which `Golem` finds; something may be left on it."""
    monkeypatch.setattr("simple_golem.engine.activity.activity._BEFORE_END_QUESTION_SECONDS", 0.002)
    with FakeYagna(3) as fake:
        for name, value in fake.environment.items():
            monkeypatch.setenv(name, value)
        yield fake


@pytest.fixture
def fake(littered: FakeYagna) -> Iterator[FakeYagna]:
    """The same; a test that leaves something on it fails."""
    yield littered
    assert littered.leftovers() == []


@pytest.fixture
def losing(littered: FakeYagna) -> Iterator[FakeYagna]:
    """The same, for a test whose providers are lost: nobody waits for their invoices.

    A later session pays those.
    """
    yield littered
    assert [one for one in littered.leftovers() if not one.startswith(("invoice", "debit note"))] == []


@pytest.fixture
def frozen(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeYagna]:
    """The same, with a clock that stands still until the test moves it."""
    with FakeYagna(3, clock=HandClock()) as fake:
        for name, value in fake.environment.items():
            monkeypatch.setenv(name, value)
        yield fake
        assert fake.leftovers() == []


def eventually(fulfilled: Callable[[], object], seconds: float = 20.0) -> None:
    """Block until `fulfilled()`; a test fails that waits for `seconds` in vain."""
    until = time.monotonic() + seconds
    while not fulfilled():
        assert time.monotonic() < until, "it did not happen"
        time.sleep(0.002)


def posted(daemon: responses.RequestsMock, path: str, method: str = "POST") -> list[object]:
    """The bodies that were sent to a path, in order."""
    return [
        json.loads(call.request.body) if call.request.body else None
        for call in list(daemon.calls)
        if call.request.method == method and (call.request.url or "").partition("?")[0] == API + path
    ]
