"""The market of a daemon that `responses` stands in for: events happen when the test says so."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs, urlsplit

import responses
from requests import PreparedRequest

API = "http://yagna.test:7465"
DEMANDS = "/market-api/v1/demands"
_LONGEST_READ_SECONDS = 5
Reply = tuple[int, dict[str, str], str]


def event(proposal: str, provider: str, state: str, properties: Mapping[str, Any]) -> dict[str, Any]:
    """A `ProposalEvent` as the daemon writes it."""
    return {
        "eventType": "ProposalEvent",
        "proposal": {
            "proposalId": proposal,
            "issuerId": provider,
            "state": state,
            "properties": properties,
            "constraints": "()",
            "timestamp": "2026-01-31T12:00:00Z",
        },
    }


def rejection(proposal: str, reason: str | None = None) -> dict[str, Any]:
    """A `ProposalRejectedEvent` as the daemon writes it."""
    said = None if reason is None else {"message": reason}
    return {"eventType": "ProposalRejectedEvent", "proposalId": proposal, "reason": said}


class FakeMarket:
    """Demands `d1`, `d2`, …: one is alive at a time, and its reader waits until there is something."""

    def __init__(self, daemon: responses.RequestsMock) -> None:
        self.changed = threading.Condition()
        self.alive: str | None = None
        self.published = 0
        self.events: list[dict[str, Any]] = []
        self.failures: list[int] = []
        # Statuses with which the next publications fail.
        self.refusals: list[int] = []
        daemon.add_callback(responses.POST, f"{API}{DEMANDS}", self._publish)
        # Where a publication fails, this is asked for the demand.
        daemon.get(f"{API}{DEMANDS}", json=[])
        for number in range(1, 4):
            one = f"{API}{DEMANDS}/d{number}"
            daemon.add_callback(responses.GET, f"{one}/events", self._read)
            daemon.add_callback(responses.DELETE, one, self._delete)

    def happens(self, *events: dict[str, Any]) -> None:
        with self.changed:
            self.events += events
            self.changed.notify_all()

    def fails(self, *statuses: int) -> None:
        """Have the next reads fail."""
        with self.changed:
            self.failures += statuses
            self.changed.notify_all()

    def restart(self) -> None:
        """Demands live in the daemon's memory."""
        with self.changed:
            self.alive = None
            self.changed.notify_all()

    def _publish(self, request: PreparedRequest) -> Reply:
        with self.changed:
            if self.refusals:
                return self.refusals.pop(0), {}, '{"message": "not now"}'
            self.published += 1
            self.alive = f"d{self.published}"
            return 201, {}, json.dumps(self.alive)

    def _read(self, request: PreparedRequest) -> Reply:
        url = urlsplit(str(request.url))
        demand = url.path.split("/")[-2]
        seconds = float(parse_qs(url.query)["timeout"][0])
        with self.changed:
            self.changed.wait_for(
                lambda: self.alive != demand or self.events or self.failures,
                min(seconds, _LONGEST_READ_SECONDS),
            )
            if self.alive != demand:
                return 404, {}, '{"message": "no subscription"}'
            if self.failures:
                return self.failures.pop(0), {}, '{"message": "out of order"}'
            events, self.events = self.events, []
            return 200, {}, json.dumps(events)

    def _delete(self, request: PreparedRequest) -> Reply:
        self.restart()
        return 204, {}, ""
