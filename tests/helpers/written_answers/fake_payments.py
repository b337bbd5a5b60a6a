"""The payment API of a daemon in a test, which divides its events into pages as the test says."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Sequence
from datetime import datetime, timezone
from typing import Any
from urllib.parse import parse_qs, urlsplit

import responses
from requests import PreparedRequest

from simple_golem.model.base.wire_time import format_time, parse_time
from tests.unit.conftest import API, posted

PAYMENT = "/payment-api/v1"
PLATFORM = "erc20-hoodi-tglm"
Reply = tuple[int, dict[str, str], str]

ALLOCATION = {
    "allocationId": "al1",
    "paymentPlatform": PLATFORM,
    "address": "0xreq",
    "totalAmount": "1",
    "spentAmount": "0",
    "remainingAmount": "1",
    "timestamp": "2026-11-25T00:00:00Z",
    "timeout": None,
}


class Desk:
    """The debit notes and invoices of providers, and the answers to them.

    Attributes:
        accepting: called with the name of each document that is about to be accepted; a status that it
            returns is the daemon's refusal.
        refusal: the daemon's words with that.
    """

    def __init__(self, daemon: responses.RequestsMock) -> None:
        self.daemon = daemon
        self.changed = threading.Condition()
        self.asked: dict[str, list[str]] = {"debitNoteEvents": [], "invoiceEvents": []}
        self.at_once = 0
        self.most_at_once = 0
        self.out_of_order = False
        self.refusal = "Not enough funds. Allocated: 1, requested: 2"
        self.accepting: Callable[[str], int | None] = lambda name: None
        self._events: dict[str, list[dict[str, Any]]] = {"debitNoteEvents": [], "invoiceEvents": []}
        self._documents: dict[str, dict[str, dict[str, Any]]] = {"invoices": {}, "debitNotes": {}}
        self._closed = False
        daemon.post(f"{API}{PAYMENT}/allocations", json=ALLOCATION, status=201)
        daemon.put(f"{API}{PAYMENT}/allocations/al1", json=ALLOCATION)
        for kind in self._events:
            daemon.add_callback(responses.GET, f"{API}{PAYMENT}/{kind}", self._read)
        for folder in self._documents:
            daemon.add_callback(
                responses.GET, re.compile(re.escape(f"{API}{PAYMENT}/{folder}") + r"(\?|$)"), self._list
            )

    def close(self) -> None:
        with self.changed:
            self._closed = True
            self.changed.notify_all()

    def invoice(
        self, name: str, agreement: str, amount: str, status: str = "RECEIVED", made: datetime | None = None
    ) -> None:
        wire = {
            "invoiceId": name,
            "agreementId": agreement,
            "issuerId": "0xprov",
            "activityIds": [],
            "amount": amount,
            "status": status,
            "timestamp": format_time(made or datetime.now(timezone.utc)),
            "paymentPlatform": PLATFORM,
        }
        self._keep("invoices", name, wire)

    def note(
        self,
        name: str,
        agreement: str,
        activity: str,
        amount: str,
        usage: Sequence[float] | None = None,
        status: str = "RECEIVED",
        made: datetime | None = None,
    ) -> None:
        wire = {
            "debitNoteId": name,
            "agreementId": agreement,
            "activityId": activity,
            "issuerId": "0xprov",
            "totalAmountDue": amount,
            "usageCounterVector": usage,
            "status": status,
            "timestamp": format_time(made or datetime.now(timezone.utc)),
        }
        self._keep("debitNotes", name, wire)

    def announce(self, *names: str, at: str = "2026-01-31T12:00:00Z", event: str = "Received") -> None:
        with self.changed:
            for name in names:
                invoice = name.startswith("i")
                kind, key = ("Invoice", "invoiceId") if invoice else ("DebitNote", "debitNoteId")
                wire = {"eventType": f"{kind}{event}Event", key: name, "eventDate": at}
                self._events["invoiceEvents" if invoice else "debitNoteEvents"].append(wire)
            self.changed.notify_all()

    def accepted(self, name: str) -> list[object]:
        return self.answered(name, "accept")

    def rejected(self, name: str) -> list[object]:
        return self.answered(name, "reject")

    def answered(self, name: str, answer: str) -> list[object]:
        folder = "invoices" if name.startswith("i") else "debitNotes"
        return posted(self.daemon, f"{PAYMENT}/{folder}/{name}/{answer}")

    def _keep(self, folder: str, name: str, wire: dict[str, Any]) -> None:
        with self.changed:
            self._documents[folder][name] = wire
        self.daemon.get(f"{API}{PAYMENT}/{folder}/{name}", json=wire)
        self.daemon.add_callback(responses.POST, f"{API}{PAYMENT}/{folder}/{name}/accept", self._accept)
        self.daemon.post(f"{API}{PAYMENT}/{folder}/{name}/reject", body="")

    def _list(self, request: PreparedRequest) -> Reply:
        """As the daemon does it: those after a time, by their own time, and all of them without one."""
        url = urlsplit(request.url or "")
        asked = parse_qs(url.query).get("afterTimestamp")
        after = None if asked is None else parse_time(asked[0])
        with self.changed:
            documents = list(self._documents[url.path.rpartition("/")[2]].values())
        listed = [one for one in documents if after is None or parse_time(one["timestamp"]) > after]
        return 200, {}, json.dumps(listed)

    def _read(self, request: PreparedRequest) -> Reply:
        url = request.url or ""
        kind = url.partition("?")[0].rpartition("/")[2]
        with self.changed:
            self.asked[kind].append(url)
            if self.out_of_order:
                return 400, {}, '{"message": "out of order"}'
            self.changed.wait_for(lambda: self._closed or self._events[kind], 5)
            events, self._events[kind] = self._events[kind], []
            return 200, {}, json.dumps(events)

    def _accept(self, request: PreparedRequest) -> Reply:
        name = (request.url or "").split("/")[-2]
        with self.changed:
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
        status = self.accepting(name)
        with self.changed:
            self.at_once -= 1
        return (200, {}, "") if status is None else (status, {}, json.dumps({"message": self.refusal}))
