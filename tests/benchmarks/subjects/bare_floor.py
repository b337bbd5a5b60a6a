"""The floor: the least that any requestor must do, as bare loops over requests, one thread for each instance.

It checks nothing, repeats nothing, and can't be stopped.
"""

from __future__ import annotations

import json
import os
import queue
import sys
import threading
import time
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from stopwatch import Stopwatch

PLATFORM = f"erc20-{os.environ['YAGNA_PAYMENT_NETWORK']}-tglm"
SUBNET = os.environ["YAGNA_SUBNET"]
REGISTRY = os.environ["GOLEM_REGISTRY_URL"]
IMAGE = "3b1ffd19d88e9877e71546aae779daa4be2fcc3481319a194e2cb03f"
TIMEOUT = 60.0
LOOK_SECONDS = 0.05
LONGEST_LOOK_SECONDS = 2.0


class Daemon:
    """The daemon's REST API, answered with 2xx or not at all."""

    def __init__(self, connections: int) -> None:
        self._url = os.environ["YAGNA_API_URL"]
        self._session = requests.Session()
        self._session.trust_env = False
        self._session.headers["Authorization"] = f"Bearer {os.environ['YAGNA_APPKEY']}"
        self._session.mount("http://", HTTPAdapter(pool_maxsize=connections))

    def call(self, method: str, path: str, body: Any = None, seconds: float = TIMEOUT, **params: Any) -> Any:
        answer = self._session.request(method, self._url + path, json=body, params=params, timeout=seconds)
        answer.raise_for_status()
        return answer.json() if answer.content else None


class Work:
    """N lives and what they share: one allocation and one demand."""

    def __init__(self, instances: int, batches: int, life: Callable[[Work, str], Life] | None = None) -> None:
        self.batches = batches
        self.report: dict[str, Any] = {}
        self._life = life or Life
        self._instances = instances
        self.daemon = Daemon(2 * instances + 8)
        self.watch = Stopwatch()
        self.now = datetime.now(timezone.utc)
        self._lives: dict[str, Life] = {}

    def run(self) -> None:
        allocation = self.daemon.call(
            "POST", "/payment-api/v1/allocations", {"totalAmount": "50", "paymentPlatform": PLATFORM}
        )["allocationId"]
        self._publish(allocation)
        self._negotiate()
        for life in self._lives.values():
            life.join()
        self._pay(allocation)
        self.daemon.call("DELETE", f"/market-api/v1/demands/{self.demand}")
        self.daemon.call("DELETE", f"/payment-api/v1/allocations/{allocation}")

    def _publish(self, allocation: str) -> None:
        decorations = self.daemon.call("GET", "/payment-api/v1/demandDecorations", allocationIds=allocation)
        expiration = self.now + timedelta(hours=1)
        self.properties = {
            "golem.node.debug.subnet": SUBNET,
            "golem.srv.comp.expiration": int(expiration.timestamp() * 1000),
            "golem.srv.comp.task_package": f"hash:sha3:{IMAGE}:{REGISTRY}/v1/image/download?hash={IMAGE}",
            "golem.srv.caps.multi-activity": True,
            "golem.com.payment.chosen-platform": PLATFORM,
            "golem.com.payment.debit-notes.accept-timeout?": 240,
            **{entry["key"]: entry["value"] for entry in decorations["properties"]},
        }
        wanted = f"(golem.runtime.name=vm)(golem.node.debug.subnet={SUBNET})"
        self.constraints = f"(&{''.join(decorations['constraints'])}{wanted})"
        body = {"properties": self.properties, "constraints": self.constraints}
        self.demand = self.daemon.call("POST", "/market-api/v1/demands", body)

    def _negotiate(self) -> None:
        """Begin a life with each of the first N offers, and hand each the provider's answer."""
        answered = 0
        while answered < self._instances:
            path = f"/market-api/v1/demands/{self.demand}/events"
            for event in self.daemon.call("GET", path, timeout=5, maxEvents=100):
                proposal = event.get("proposal")
                if proposal is None:
                    raise SystemExit(f"a provider does not want to: {event}")
                provider = proposal["issuerId"]
                if proposal["state"] == "Draft":
                    self._lives[provider].draft.put(proposal["proposalId"])
                    answered += 1
                elif provider not in self._lives and len(self._lives) < self._instances:
                    self._lives[provider] = self._life(self, proposal["proposalId"])

    def _pay(self, allocation: str) -> None:
        unpaid = {life.agreement for life in self._lives.values()}
        while unpaid:
            since = self.now.strftime("%Y-%m-%dT%H:%M:%SZ")
            for invoice in self.daemon.call("GET", "/payment-api/v1/invoices", afterTimestamp=since):
                if invoice["agreementId"] in unpaid and invoice["status"] == "RECEIVED":
                    accepted = {"totalAmountAccepted": invoice["amount"], "allocationId": allocation}
                    path = f"/payment-api/v1/invoices/{invoice['invoiceId']}/accept"
                    self.daemon.call("POST", path, accepted)
                    unpaid.discard(invoice["agreementId"])
            if unpaid:
                time.sleep(LOOK_SECONDS)


class Life(threading.Thread):
    """One agreement, one activity, its batches, and the end of both."""

    def __init__(self, work: Work, proposal: str) -> None:
        super().__init__()
        self.draft: queue.SimpleQueue[str] = queue.SimpleQueue()
        self.agreement = ""
        self._work = work
        self._call = work.daemon.call
        self._proposal = proposal
        self.start()

    def run(self) -> None:
        self._agree()
        activity = self._call("POST", "/activity-api/v1/activity", self.agreement, timeout=30)
        self._batch(activity, [{"deploy": {}}, {"start": {}}])
        self.work(activity)
        self._work.watch.last()
        self._end(activity)

    def work(self, activity: str) -> None:
        """What is done in the activity."""
        for number in range(self._work.batches):
            began = time.monotonic()
            capture = {"stdout": {"atEnd": {}}, "stderr": {"atEnd": {}}}
            run = {"entry_point": "/bin/echo", "args": [str(number)], "capture": capture}
            result = self._batch(activity, [{"run": run}])
            self._work.watch.round_trip(time.monotonic() - began)
            if number == 0:
                self._work.watch.first()
            if result["stdout"] != f"{number}\n":
                raise SystemExit(f"not what was asked for: {result}")

    def _end(self, activity: str) -> None:
        """A provider ends the activity with the agreement, at once; a DELETE takes 750 ms to tell that."""
        self._call("POST", f"/market-api/v1/agreements/{self.agreement}/terminate", {"message": "done"})
        pause = LOOK_SECONDS
        while "Terminated" not in self._call("GET", f"/activity-api/v1/activity/{activity}/state")["state"]:
            time.sleep(pause)
            # Who asks too often holds up the providers, whom the same daemon tells of the end.
            pause = min(2 * pause, LONGEST_LOOK_SECONDS)

    def _agree(self) -> None:
        work = self._work
        body = {"properties": work.properties, "constraints": work.constraints}
        self._call("POST", f"/market-api/v1/demands/{work.demand}/proposals/{self._proposal}", body)
        until = (datetime.now(timezone.utc) + timedelta(minutes=2)).strftime("%Y-%m-%dT%H:%M:%SZ")
        proposal = {"proposalId": self.draft.get(timeout=TIMEOUT), "validTo": until}
        self.agreement = self._call("POST", "/market-api/v1/agreements", proposal)
        self._call("POST", f"/market-api/v1/agreements/{self.agreement}/confirm")
        self._call("POST", f"/market-api/v1/agreements/{self.agreement}/wait", timeout=15)

    def _batch(self, activity: str, script: list[dict[str, Any]], seconds: float = TIMEOUT) -> Any:
        path = f"/activity-api/v1/activity/{activity}/exec"
        batch = self._call("POST", path, {"text": json.dumps(script)})
        last = len(script) - 1
        for_results = {"commandIndex": last, "timeout": seconds - 10}
        result = self._call("GET", f"{path}/{batch}", seconds=seconds, **for_results)[last]
        if result["result"] != "Ok":
            raise SystemExit(f"it failed: {result}")
        return result


if __name__ == "__main__":
    work = Work(instances=int(sys.argv[1]), batches=int(sys.argv[2]))
    work.run()
    work.watch.tell()
