"""A Golem on a machine whose clock differs from the daemon's by minutes."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from simple_golem import Golem, Run
from simple_golem.errors import WaitTimeout
from simple_golem.model.base.wire_time import parse_time
from simple_golem.testing import Clock, FakeYagna
from tests.helpers.recorded_services import Idle, started
from tests.unit.conftest import eventually

EXACTNESS = timedelta(seconds=5)


class OwnClock(Clock):
    """The real clock, set wrong by some minutes."""

    def __init__(self, ahead: timedelta) -> None:
        super().__init__()
        self.ahead = ahead

    def now(self) -> datetime:
        return super().now() + self.ahead


@pytest.fixture(params=[-10, 10, 300], ids=["behind", "ahead", "hours ahead"])
def skewed(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeYagna]:
    with FakeYagna(2, clock=OwnClock(timedelta(minutes=request.param))) as fake:
        for name, value in fake.environment.items():
            monkeypatch.setenv(name, value)
        yield fake
        assert fake.leftovers() == []


def bodies(fake: FakeYagna, path: str) -> list[dict[str, Any]]:
    return [json.loads(one.body) for one in fake.requests if one.method == "POST" and one.path.endswith(path)]


def test_all_times_that_are_sent_are_those_of_the_daemon(
    skewed: FakeYagna, caplog: pytest.LogCaptureFixture
) -> None:
    begun = datetime.now(timezone.utc)
    with Golem(1) as golem:
        instance = started(golem, expiration=timedelta(minutes=30))
        assert instance.execute(Run("/bin/date")).success
        # A user reads the clock of this machine.
        assert abs(golem.clusters[0].expiration - begun - timedelta(minutes=30)) < EXACTNESS
    (warning,) = [one for one in caplog.records if "the clock of this machine is" in one.message]
    assert warning.levelno == logging.WARNING
    now = skewed.clock.now()
    (demand,) = bodies(skewed, "/demands")
    milliseconds = demand["properties"]["golem.srv.comp.expiration"]
    ends = datetime.fromtimestamp(milliseconds / 1000, timezone.utc)
    # The agreements could last some minutes longer than the cluster.
    assert timedelta(minutes=29) < ends - now < timedelta(minutes=40)
    (agreement,) = bodies(skewed, "/agreements")
    assert timedelta(minutes=1) < parse_time(agreement["validTo"]) - now < timedelta(minutes=3)
    (allocation,) = bodies(skewed, "/allocations")
    assert timedelta(hours=3) < parse_time(allocation["timeout"]) - now < timedelta(hours=4)


def test_offers_can_be_looked_at(skewed: FakeYagna) -> None:
    assert len(Golem(1).offers(timeout=30)) == 2
    (demand,) = bodies(skewed, "/demands")
    ends = datetime.fromtimestamp(demand["properties"]["golem.srv.comp.expiration"] / 1000, timezone.utc)
    assert timedelta(minutes=5) < ends - skewed.clock.now() < timedelta(hours=1)


def test_a_clock_that_is_right_is_not_mentioned(fake: FakeYagna, caplog: pytest.LogCaptureFixture) -> None:
    with Golem(1) as golem:
        started(golem)
    assert "clock" not in caplog.text


def test_agreements_that_fail_are_in_the_market_report_with_their_reason(fake: FakeYagna) -> None:
    for provider in fake.providers:
        provider.agreements_wanted = "no"
        provider.reason = "no room left"
    with Golem(1) as golem:
        cluster = golem.run_service(Idle)
        reason = "no agreement was made: rejected by the provider: no room left"
        eventually(lambda: reason in cluster.market_report())
        with pytest.raises(WaitTimeout, match=reason):
            cluster.wait_until_running(0.05)
