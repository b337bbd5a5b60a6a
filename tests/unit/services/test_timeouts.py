"""The `timeout` of a batch holds, whoever does not answer."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from simple_golem import Golem, Instance, Run
from simple_golem.errors import BatchTimeout
from simple_golem.testing import FakeAnswer, FakeRequest, FakeYagna
from tests.helpers.recorded_services import SECONDS, InThread, programs, seconds_of, started
from tests.unit.conftest import eventually

# So long that a batch is sent in any case.
TIMEOUT = 1.5
LATE = 0.5


@pytest.fixture(autouse=True)
def late(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("simple_golem.engine.activity.activity._LATE_SECONDS", LATE)


@pytest.fixture
def golem(littered: FakeYagna) -> Iterator[Golem]:
    with Golem(1, raise_failures=False) as golem:
        yield golem


def test_a_provider_that_does_not_accept_a_batch_in_its_time(littered: FakeYagna, golem: Golem) -> None:
    instance = started(golem)
    provider = next(one for one in littered.providers if one.activities)
    provider.vanish()
    ran = InThread(lambda: seconds_of(run_in_vain, instance, "has not accepted"))
    seconds = ran.join().value
    provider.come_back()
    assert isinstance(seconds, float), ran.error
    assert seconds < 3 * TIMEOUT
    assert instance.execute(Run("/bin/later")).success


@pytest.mark.parametrize(
    ("method", "told"), [("POST", "has not accepted"), ("GET", "has not ended in its time")]
)
def test_a_daemon_that_answers_nothing(littered: FakeYagna, golem: Golem, method: str, told: str) -> None:
    over = threading.Event()

    def hang(request: FakeRequest) -> FakeAnswer | None:
        if request.method != method or "/exec" not in request.path:
            return None
        over.wait(SECONDS)
        return FakeAnswer.of_message("too late", 400)

    instance = started(golem)
    end = littered.intercept(hang)
    try:
        seconds = seconds_of(run_in_vain, instance, told)
        assert seconds < 3 * (TIMEOUT + LATE)
    finally:
        over.set()
        end()


def run_in_vain(instance: Instance, told: str) -> None:
    with pytest.raises(BatchTimeout, match=told):
        instance.execute(Run("/bin/first"), timeout=TIMEOUT)


def test_a_batch_that_is_accepted_late_is_run_all_the_same(littered: FakeYagna, golem: Golem) -> None:
    """As the message says: its provider was slow, not gone."""
    instance = started(golem)
    provider = next(one for one in littered.providers if one.activities)
    gate = threading.Event()

    def slow(request: FakeRequest) -> None:
        if request.method == "POST" and request.path.partition("?")[0].endswith("/exec"):
            gate.wait(SECONDS)

    end = littered.intercept(slow)
    run_in_vain(instance, "it may run it all the same")
    end()
    gate.set()
    eventually(lambda: "/bin/first" in programs(provider))


def test_a_command_with_an_environment_may_sleep_for_too_long(golem: Golem) -> None:
    instance = started(golem)
    with pytest.raises(BatchTimeout, match="has not ended in its time"):
        instance.execute(Run.shell("sleep 600", env={"A": "1"}, cwd="/golem/work"), timeout=TIMEOUT)
