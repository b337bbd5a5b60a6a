"""A requestor by bare `requests`, on whatever daemon there is."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta, timezone
from typing import Any

import requests

MARKET = "/market-api/v1"
ACTIVITY = "/activity-api/v1"
PAYMENT = "/payment-api/v1"
PLATFORM = "erc20-hoodi-tglm"
SESSION = "contract"
IMAGE = "3b1ffd19d88e9877e71546aae779daa4be2fcc3481319a194e2cb03f"
WAIT_SECONDS = 20.0
# Of the right form, and of nothing that is there.
NO_UUID = "6fc1b4a5-7c0e-4c36-9d4b-111111111111"
NO_DEMAND = f"{'0' * 32}-{'1' * 64}"
NO_PROPOSAL = f"R-{'2' * 64}"
NO_AGREEMENT = "3" * 64
NO_ACTIVITY = "a" * 32
NO_JSON: Any = object()

# The providers that a daemon of these tests has, by what they do.
HONEST, REJECTS_PROPOSALS, NEVER_APPROVES, REJECTS_AGREEMENTS = "honest", "proposals", "never", "agreements"
NEVER_CREATES, REFUSES_ACTIVITIES, NEVER_DESTROYS = "creates", "activities", "destroys"
KINDS = (
    HONEST,
    REJECTS_PROPOSALS,
    NEVER_APPROVES,
    REJECTS_AGREEMENTS,
    NEVER_CREATES,
    REFUSES_ACTIVITIES,
    NEVER_DESTROYS,
)
REASON = "not in this contract"

CAPTURE = {"stdout": {"atEnd": {}}, "stderr": {"atEnd": {}}}
STREAM = {"stdout": {"stream": {}}, "stderr": {"stream": {}}}


def date(seconds: float = 0) -> str:
    """The date in so many seconds, as the daemon reads it."""
    moment = datetime.now(timezone.utc) + timedelta(seconds=seconds)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def shell(script: str, capture: Mapping[str, Any] = CAPTURE) -> dict[str, Any]:
    return {"run": {"entry_point": "/bin/sh", "args": ["-c", script], "capture": capture}}


def said(answer: requests.Response) -> tuple[int, Any]:
    """The status of an answer and what it says: its message, its JSON, or its text."""
    try:
        body = answer.json()
    except ValueError:
        return answer.status_code, answer.text
    is_message = isinstance(body, dict) and body.keys() == {"message"}
    return answer.status_code, body["message"] if is_message else body


class Demand:
    """A demand, and its offers by the kind of their provider."""

    def __init__(self, demand_id: str, properties: Mapping[str, Any], constraints: str) -> None:
        self.demand_id = demand_id
        self.path = f"{MARKET}/demands/{demand_id}"
        self.terms = {"properties": dict(properties), "constraints": constraints}
        self.offers: dict[str, dict[str, Any]] = {}


class Buyer:
    """Makes requests, goes as far as a test wants, and leaves nothing.

    Args:
        session: with the app key.
        url: the daemon's.
        providers: their node ids by what they do.
        registry: the URL of the image registry.
    """

    def __init__(
        self,
        session: requests.Session,
        url: str,
        providers: Mapping[str, str],
        registry: str = "http://127.0.0.1:1",
    ) -> None:
        self._image = f"hash:sha3:{IMAGE}:{registry}/v1/image/download?hash={IMAGE}"
        self.session = session
        self.url = url
        self.providers = providers
        self._kinds = {node_id: kind for kind, node_id in providers.items()}
        self._allocations: list[str] = []
        self._demands: list[str] = []
        self._agreements: list[str] = []

    def ask(
        self,
        method: str,
        path: str,
        body: Any = NO_JSON,
        headers: Mapping[str, Any] | None = None,
        **query: Any,
    ) -> requests.Response:
        options: dict[str, Any] = {} if body is NO_JSON else {"json": body}
        return self.session.request(
            method, self.url + path, params=query or None, headers=headers, timeout=30, **options
        )

    def say(self, method: str, path: str, body: Any = NO_JSON, **query: Any) -> tuple[int, Any]:
        """Make a request: the status and what the daemon says."""
        return said(self.ask(method, path, body, **query))

    def say_alone(self, method: str, path: str, body: Any) -> tuple[int, Any]:
        """The same over a connection of its own.

        The daemon may answer without reading a body that it has no use for. Then it hears no other request on
        that connection.
        """
        return said(self.ask(method, path, body, {"Connection": "close"}))

    def get(self, path: str, **query: Any) -> Any:
        """The JSON of a GET that succeeds."""
        status, body = self.say("GET", path, **query)
        assert status == 200, body
        return body

    # --- steps ------------------------------------------------------------------------------------------

    def allocate(self, amount: str = "5") -> dict[str, Any]:
        body = {"totalAmount": amount, "paymentPlatform": PLATFORM, "timeout": date(3600)}
        status, allocation = self.say("POST", f"{PAYMENT}/allocations", body)
        assert status == 201, allocation
        self._allocations.append(allocation["allocationId"])
        return dict(allocation)

    def publish(self) -> Demand:
        decorations = self.get(f"{PAYMENT}/demandDecorations", allocationIds=self.allocate()["allocationId"])
        properties = {
            "golem.node.debug.subnet": "local",
            "golem.srv.comp.expiration": int((time.time() + 3600) * 1000),
            "golem.srv.comp.task_package": self._image,
            "golem.srv.caps.multi-activity": True,
            "golem.com.payment.chosen-platform": PLATFORM,
            "golem.com.payment.debit-notes.accept-timeout?": 240,
            **{entry["key"]: entry["value"] for entry in decorations["properties"]},
        }
        wanted = "(golem.runtime.name=vm)(golem.node.debug.subnet=local)"
        constraints = f"(&{''.join(decorations['constraints'])}{wanted})"
        status, demand_id = self.say(
            "POST", f"{MARKET}/demands", {"properties": properties, "constraints": constraints}
        )
        assert status == 201, demand_id
        self._demands.append(demand_id)
        return Demand(demand_id, properties, constraints)

    def events(self, demand: Demand) -> list[dict[str, Any]]:
        """The next events of a demand; offers are kept."""
        events: list[dict[str, Any]] = self.get(f"{demand.path}/events", timeout=2, maxEvents=100)
        for event in events:
            proposal = event.get("proposal", {})
            if proposal.get("state") == "Initial":
                demand.offers[self._kinds[proposal["issuerId"]]] = proposal
        return events

    def offer(self, demand: Demand, kind: str = HONEST) -> dict[str, Any]:
        """Wait for the offer of a provider."""
        deadline = time.monotonic() + WAIT_SECONDS
        while kind not in demand.offers:
            assert time.monotonic() < deadline, f"no offer of {kind}"
            self.events(demand)
        return demand.offers[kind]

    def all_offers(self, demand: Demand) -> None:
        """Wait for the offers of all providers."""
        for kind in self.providers:
            self.offer(demand, kind)

    def counter(self, demand: Demand, kind: str = HONEST) -> str:
        """Answer the offer of a provider; the id of the answer."""
        proposal_id = self.offer(demand, kind)["proposalId"]
        status, counter = self.say("POST", f"{demand.path}/proposals/{proposal_id}", demand.terms)
        assert status == 200, counter
        return str(counter)

    def next_event(self, demand: Demand) -> dict[str, Any]:
        """Wait for an event of a demand that is no offer."""
        deadline = time.monotonic() + WAIT_SECONDS
        while True:
            assert time.monotonic() < deadline, "nothing happened"
            for event in self.events(demand):
                if event.get("proposal", {}).get("state") != "Initial":
                    return event

    def draft(self, demand: Demand, kind: str = HONEST) -> dict[str, Any]:
        """What a provider answers to an answer."""
        self.counter(demand, kind)
        proposal: dict[str, Any] = self.next_event(demand)["proposal"]
        return proposal

    def propose(self, kind: str = HONEST) -> str:
        """An agreement that the requestor has made and not confirmed."""
        return self.propose_on(self.publish(), kind)

    def propose_on(self, demand: Demand, kind: str = HONEST) -> str:
        body = {"proposalId": self.draft(demand, kind)["proposalId"], "validTo": date(300)}
        status, agreement_id = self.say("POST", f"{MARKET}/agreements", body)
        assert status == 200, agreement_id
        self._agreements.append(agreement_id)
        return str(agreement_id)

    def confirm(self, kind: str = HONEST) -> str:
        """One that is confirmed."""
        agreement_id = self.propose(kind)
        path = f"{MARKET}/agreements/{agreement_id}/confirm"
        assert self.say("POST", path, appSessionId=SESSION) == (204, "")
        return agreement_id

    def agree(self, kind: str = HONEST) -> str:
        """One that is approved."""
        agreement_id = self.confirm(kind)
        assert self.say("POST", f"{MARKET}/agreements/{agreement_id}/wait", timeout=10) == (204, "")
        return agreement_id

    def create(self, agreement_id: str) -> str:
        """An activity under an agreement."""
        status, activity_id = self.say("POST", f"{ACTIVITY}/activity", agreement_id, timeout=10)
        assert status == 200, activity_id
        return str(activity_id)

    def hire(self, kind: str = HONEST) -> tuple[str, str]:
        """An agreement, and an activity that is ready."""
        agreement_id = self.agree(kind)
        activity_id = self.create(agreement_id)
        results = self.run(activity_id, {"deploy": {}}, {"start": {}})
        assert [result["result"] for result in results] == ["Ok", "Ok"]
        return agreement_id, activity_id

    def execute(self, activity_id: str, *commands: Mapping[str, Any]) -> str:
        """Send a batch; the path of its results."""
        path = f"{ACTIVITY}/activity/{activity_id}/exec"
        status, batch_id = self.say("POST", path, {"text": json.dumps(commands)}, timeout=5)
        assert status == 200, batch_id
        return f"{path}/{batch_id}"

    def run(self, activity_id: str, *commands: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
        """Run a batch that succeeds; its results."""
        results: list[dict[str, Any]] = self.get(self.execute(activity_id, *commands), timeout=10)
        return results

    def state(self, activity_id: str, awaited: str) -> list[str | None]:
        """Wait until an activity has a state; returns it with what follows, or what it is after the time.

        Its exe-unit reports a state a moment after the results that led to it.
        """
        deadline = time.monotonic() + WAIT_SECONDS
        while True:
            state: list[str | None] = self.get(f"{ACTIVITY}/activity/{activity_id}/state")["state"]
            if state == [awaited, None] or time.monotonic() >= deadline:
                return state
            time.sleep(0.02)

    def wait_until_busy(self, activity_id: str) -> None:
        """Wait until an activity that is ready has begun its next command."""
        deadline = time.monotonic() + WAIT_SECONDS
        while self.get(f"{ACTIVITY}/activity/{activity_id}/state") != {"state": ["Ready", "Ready"]}:
            assert time.monotonic() < deadline, "no command has begun"

    def usage(self, activity_id: str) -> dict[str, Any]:
        """Wait for the usage of an activity: the daemon has none before its provider's first report."""
        deadline = time.monotonic() + WAIT_SECONDS
        while True:
            usage: dict[str, Any] = self.get(f"{ACTIVITY}/activity/{activity_id}/usage")
            if usage.keys() != {"timestamp"}:
                return usage
            assert time.monotonic() < deadline, "no usage was reported"
            time.sleep(0.02)

    def terminate(self, agreement_id: str) -> None:
        reason = {"message": "over", "golem.requestor.code": "Success"}
        path = f"{MARKET}/agreements/{agreement_id}/terminate"
        assert self.say("POST", path, reason) == (200, "")

    def invoice(self, agreement_id: str) -> dict[str, Any]:
        """Wait for the invoice of an agreement."""
        deadline = time.monotonic() + WAIT_SECONDS
        while True:
            for invoice in self.get(f"{PAYMENT}/invoices"):
                if invoice["agreementId"] == agreement_id:
                    return dict(invoice)
            assert time.monotonic() < deadline, "no invoice came"
            time.sleep(0.02)

    def close(self) -> None:
        """End agreements, pay what is owed, withdraw demands and allocations."""
        for agreement_id in self._agreements:
            self.ask("POST", f"{MARKET}/agreements/{agreement_id}/cancel", {"message": "over"})
            self.ask("POST", f"{MARKET}/agreements/{agreement_id}/terminate", {"message": "over"})
            if self.get(f"{ACTIVITY}/activity", agreementId=agreement_id):
                self._pay(self.invoice(agreement_id))
        for demand_id in self._demands:
            self.ask("DELETE", f"{MARKET}/demands/{demand_id}")
        for allocation_id in self._allocations:
            self.ask("DELETE", f"{PAYMENT}/allocations/{allocation_id}")
        self.session.close()

    def _pay(self, invoice: Mapping[str, Any]) -> None:
        if invoice["status"] == "RECEIVED":
            allocation_id = self.allocate()["allocationId"]
            body = {"totalAmountAccepted": invoice["amount"], "allocationId": allocation_id}
            path = f"{PAYMENT}/invoices/{invoice['invoiceId']}/accept"
            assert self.say("POST", path, body, timeout=5) == (200, None)
