"""What the tests of the fake daemon share: one by hand's clock, and a buyer without a socket."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests

from simple_golem.testing import FakeProvider, FakeYagna, HandClock
from tests.contract.buyer import HONEST, Buyer


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def provider() -> FakeProvider:
    return FakeProvider(HONEST)


@pytest.fixture
def yagna(clock: HandClock, provider: FakeProvider) -> Iterator[FakeYagna]:
    fake = FakeYagna([provider], clock=clock)
    yield fake
    fake.close()


@pytest.fixture
def session(yagna: FakeYagna) -> requests.Session:
    session = requests.Session()
    session.trust_env = False
    session.headers["Authorization"] = f"Bearer {yagna.app_key}"
    session.mount("http://", yagna.adapter())
    return session


@pytest.fixture
def client(yagna: FakeYagna, session: requests.Session) -> Buyer:
    return Buyer(session, "http://in-memory", {one.name: one.node_id for one in yagna.providers})


class Meanwhile:
    """Something that blocks, on a thread of its own."""

    def __init__(self, work: Callable[[], Any]) -> None:
        self._outcome: list[Any] = []
        self._work = work
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._outcome.append(self._work())
        except Exception as error:  # noqa: BLE001 - the test looks at it
            self._outcome.append(error)

    @property
    def is_over(self) -> bool:
        return bool(self._outcome)

    def outcome(self) -> Any:
        """What it returned or raised."""
        self._thread.join(20)
        assert self._outcome, "it does not end"
        return self._outcome[0]
