"""A fake daemon that serves for long forgets what is long over."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import requests

from simple_golem.testing import FakeProvider, FakeYagna
from simple_golem.testing.daemon.records import EventLog, Records
from tests.contract.buyer import MARKET, Buyer

NOON = datetime(2026, 1, 1, 12, tzinfo=timezone.utc)


def test_the_oldest_that_are_over_are_forgotten_first() -> None:
    records: Records[bool] = Records(lambda is_over: is_over, most=10)
    for number in range(100):
        records.put(str(number), number % 10 != 0)
    kept = list(records)
    assert [key for key in kept if key.endswith("0")] == [str(number) for number in range(0, 100, 10)]
    assert [key for key in kept if not key.endswith("0")][-5:] == ["95", "96", "97", "98", "99"]
    assert len(kept) <= 10 + 11


def test_the_latest_events_are_kept() -> None:
    log = EventLog(most=10)
    dates = [NOON + timedelta(seconds=second) for second in range(100)]
    for second, date in enumerate(dates):
        log.add(date, "a" if second % 2 else "b", {"eventType": "XReceivedEvent", "at": second})
    assert [event["at"] for event in log.after(dates[96], None)] == [97, 98, 99]
    assert [event["at"] for event in log.after(dates[95], "a", most=1)] == [97]
    assert log.after(dates[95], None, kinds=["AcceptedEvent"]) == []
    assert 10 <= len(log.after(None, None)) <= 11


def test_activities_that_have_ended_hold_no_output(yagna: FakeYagna, client: Buyer) -> None:
    yagna.provider.answers = {"/bin/sh -c this": "x" * 1_000_000}
    for _ in range(3):
        agreement_id, _ = client.hire()
        client.terminate(agreement_id)
    daemon = yagna._daemon  # nothing that a user sees tells of it
    assert [one.exe_unit for one in daemon.activities.all()] == [None, None, None]
    assert daemon.world.calls_under_way == 0


def test_a_hundred_agreements_leave_nothing_at_work(session: requests.Session, yagna: FakeYagna) -> None:
    provider: FakeProvider = yagna.provider
    client = Buyer(session, "http://in-memory", {provider.name: provider.node_id})
    demand = client.publish()
    for _ in range(100):
        demand.offers.clear()
        agreement_id = client.propose_on(demand)
        path = f"{MARKET}/agreements/{agreement_id}"
        assert client.say("POST", f"{path}/confirm") == (204, "")
        client.terminate(agreement_id)
    assert provider.agreements == []
    assert len(client.get(f"{MARKET}/agreements", state="Terminated")) == 100
