"""Clusters that live longer than a demand does in the daemon's memory."""

from __future__ import annotations

import threading

import pytest

from simple_golem import Golem, Run, Service
from simple_golem.local.local_golem import LocalGolem
from tests.network.helpers.leftovers import left_on

DEMAND_SECONDS = 4


class Idle(Service):
    pass


def test_an_instance_started_after_the_demand_has_expired_finds_a_provider(monkeypatch: pytest.MonkeyPatch):
    """A demand lives one hour in a daemon; in this one, four seconds."""
    # Its end is noticed with that of a poll.
    monkeypatch.setattr("simple_golem.engine.market.demand._OFFER_POLL_SECONDS", 2.0)
    settings = {"DEFAULT_SUBSCRIPTION_TTL": f"{DEMAND_SECONDS}s"}
    published, renewed = [], threading.Event()
    with LocalGolem(providers=2, daemon_settings=settings, chain=False) as network:
        for name, value in network.environment.items():
            monkeypatch.setenv(name, value)
        golem = Golem(1)

        @golem.on_event
        def count(event):
            if type(event).__name__ == "DemandPublished":
                published.append(event.demand_id)
                if len(published) == 2:
                    renewed.set()

        with golem:
            cluster = golem.run_service(Idle)
            (first,) = cluster.wait_until_running(timeout=30)
            assert renewed.wait(10 * DEMAND_SECONDS)
            (second,) = cluster.spawn()
            second.wait_for("running", timeout=30)
            assert first.execute(Run("/bin/echo", "still here")).stdout == "still here\n"
        assert left_on(network) == []
    assert len(set(published)) == len(published) >= 2
