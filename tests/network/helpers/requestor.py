"""A requestor that uses nothing but the daemon's REST API."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta, timezone
from typing import Any

from simple_golem.background.cancellation import Deadline
from simple_golem.errors import YagnaError
from simple_golem.local.local_golem import LocalGolem
from simple_golem.yagna.client import Yagna
from simple_golem.yagna.values import Approval, Invoice, Proposal, ProposalRejected, ProposalState

PLATFORM = "erc20-hoodi-tglm"
ALPINE_IMAGE = "3b1ffd19d88e9877e71546aae779daa4be2fcc3481319a194e2cb03f"
WAIT_SECONDS = 20.0


class Demand:
    """A demand with its properties and constraints, as it was published."""

    def __init__(self, demand_id: str, properties: Mapping[str, Any], constraints: str) -> None:
        self.demand_id = demand_id
        self.properties = properties
        self.constraints = constraints


class Requestor:
    """Buys from providers, one request after the other, and releases all of it when it is closed."""

    def __init__(self, network: LocalGolem) -> None:
        self.yagna = Yagna(network.near.api_url, network.near.app_key)
        self._registry = network.environment["GOLEM_REGISTRY_URL"]
        self.allocation_id: str = self.yagna.http.request(
            "POST",
            "/payment-api/v1/allocations",
            body={"totalAmount": "1", "paymentPlatform": PLATFORM},
        )["allocationId"]
        self._demands: list[str] = []
        self._agreements: list[str] = []

    def publish_demand(
        self,
        subnet: str = "local",
        *,
        seconds: float = 3600,
        image: str = ALPINE_IMAGE,
        url: str | None = None,
        **extra: Any,
    ) -> Demand:
        url = url or f"{self._registry}/v1/image/download?hash={image}"
        decorations = self.yagna.http.request(
            "GET", "/payment-api/v1/demandDecorations", params={"allocationIds": self.allocation_id}
        )
        expiration = datetime.now(timezone.utc) + timedelta(seconds=seconds)
        properties = {
            "golem.node.debug.subnet": subnet,
            "golem.srv.comp.expiration": int(expiration.timestamp() * 1000),
            "golem.srv.comp.task_package": f"hash:sha3:{image}:{url}",
            "golem.srv.caps.multi-activity": True,
            "golem.com.payment.chosen-platform": PLATFORM,
            "golem.com.payment.debit-notes.accept-timeout?": 240,
            **{entry["key"]: entry["value"] for entry in decorations["properties"]},
            **extra,
        }
        properties = {name: value for name, value in properties.items() if value is not None}
        wanted = f"(golem.runtime.name=vm)(golem.node.debug.subnet={subnet})"
        constraints = f"(&{''.join(decorations['constraints'])}{wanted})"
        demand_id = self.yagna.market.publish_demand(properties, constraints)
        self._demands.append(demand_id)
        return Demand(demand_id, properties, constraints)

    def proposals(self, demand: Demand) -> list[Proposal]:
        """Wait for one or more events of a demand; returns the proposals among them."""
        events = self.yagna.market.demand_events(demand.demand_id, timeout=1.0)
        return [event for event in events if isinstance(event, Proposal)]

    def offers(self, demand: Demand, count: int) -> list[Proposal]:
        """Wait for the first proposals of `count` providers."""
        found: dict[str, Proposal] = {}
        deadline = Deadline(WAIT_SECONDS)
        while len(found) < count:
            assert not deadline.passed, f"{len(found)} of {count} offers came: {sorted(found)}"
            for proposal in self.proposals(demand):
                if proposal.state is ProposalState.INITIAL:
                    found[proposal.issuer_id] = proposal
        return list(found.values())

    def counter(self, demand: Demand, proposal: Proposal) -> str:
        return self.yagna.market.counter(
            demand.demand_id, proposal.proposal_id, demand.properties, demand.constraints
        )

    def draft(self, demand: Demand, provider_id: str | None = None) -> Proposal:
        """Answer proposals until a provider, or this one, has answered back; returns that answer."""
        deadline = Deadline(WAIT_SECONDS)
        while not deadline.passed:
            for proposal in self.proposals(demand):
                if provider_id not in (None, proposal.issuer_id):
                    continue
                if proposal.state is ProposalState.DRAFT:
                    return proposal
                self._try(demand, proposal.proposal_id)
        raise AssertionError("no provider has answered back")

    def rejection(self, demand: Demand, *proposal_ids: str) -> str:
        """Wait until a provider has turned one of these answers down; returns why."""
        deadline = Deadline(WAIT_SECONDS)
        while not deadline.passed:
            for event in self.yagna.market.demand_events(demand.demand_id, timeout=1.0):
                if isinstance(event, ProposalRejected) and event.proposal_id in proposal_ids:
                    return event.reason
        raise AssertionError("the answer was not turned down")

    def refusal(self, demand: Demand) -> Mapping[str, Any]:
        """Answer each offer until a provider has turned an answer down; returns why, as the daemon has it."""
        answers: set[str | None] = set()
        deadline = Deadline(WAIT_SECONDS)
        path = f"/market-api/v1/demands/{demand.demand_id}/events"
        while not deadline.passed:
            for event in self.yagna.http.request("GET", path, params={"timeout": 1}, timeout=10):
                if event["eventType"] == "ProposalEvent":
                    answers.add(self._try(demand, event["proposal"]["proposalId"]))
                elif event["eventType"] == "ProposalRejectedEvent" and event["proposalId"] in answers:
                    reason: Mapping[str, Any] = event["reason"]
                    return reason
        raise AssertionError("no answer was turned down")

    def _try(self, demand: Demand, proposal_id: str) -> str | None:
        """Answer a proposal; returns the answer's id, None if the provider has withdrawn its offer."""
        try:
            return self.yagna.market.counter(
                demand.demand_id, proposal_id, demand.properties, demand.constraints
            )
        except YagnaError as error:
            # That is heard of a moment later than the offer itself.
            if "unsubscribed" not in error.detail:
                raise
            return None

    def propose(self, proposal: Proposal, timeout: float = 10.0) -> tuple[str, Approval, str]:
        """Make an agreement of a proposal: its id, and what the provider says."""
        valid_to = datetime.now(timezone.utc) + timedelta(minutes=5)
        agreement_id = self.yagna.market.create_agreement(proposal.proposal_id, valid_to)
        self._agreements.append(agreement_id)
        self.yagna.market.confirm(agreement_id, "tests")
        approval, reason = self.yagna.market.wait_for_approval(agreement_id, timeout=timeout)
        return agreement_id, approval, reason

    def agreement(self, demand: Demand, provider_id: str | None = None) -> str:
        """Negotiate up to an approved agreement; returns its id."""
        agreement_id, approval, reason = self.propose(self.draft(demand, provider_id))
        assert approval is Approval.APPROVED, reason
        return agreement_id

    def run(self, activity_id: str, *commands: Mapping[str, Any]) -> list[Mapping[str, Any]]:
        """Run a batch to its end; returns the results of its commands."""
        batch = self.yagna.activity.execute(activity_id, commands)
        last = len(commands) - 1
        results = self.yagna.activity.results(activity_id, batch, timeout=WAIT_SECONDS, command_index=last)
        assert results is not None, "the batch did not end in time"
        return results

    def invoice(self, agreement_id: str) -> Invoice:
        """Wait for the invoice of an agreement."""
        deadline = Deadline(WAIT_SECONDS)
        while not deadline.passed:
            for invoice in self.yagna.payment.invoices():
                if invoice.agreement_id == agreement_id:
                    return invoice
        raise AssertionError("no invoice came")

    def accept(self, invoice: Invoice) -> None:
        self.yagna.http.request(
            "POST",
            f"/payment-api/v1/invoices/{invoice.invoice_id}/accept",
            body={"totalAmountAccepted": str(invoice.amount), "allocationId": self.allocation_id},
        )

    def abandon(self, agreement_id: str) -> None:
        """End an agreement for which no invoice will come."""
        self.yagna.market.cancel(agreement_id, "the test is over")
        self.yagna.market.terminate(agreement_id, "the test is over")
        self._agreements.remove(agreement_id)

    def close(self) -> None:
        """End the agreements, pay what is owed, withdraw the demands, release the allocation."""
        for agreement_id in self._agreements:
            self.yagna.market.terminate(agreement_id, "the test is over")
            if self.yagna.activity.of_agreement(agreement_id):
                invoice = self.invoice(agreement_id)
                if invoice.status != "ACCEPTED":
                    self.accept(invoice)
        for demand_id in self._demands:
            self.yagna.market.unsubscribe(demand_id)
        self.yagna.http.request("DELETE", f"/payment-api/v1/allocations/{self.allocation_id}")
        self.yagna.close()


def shell(script: str) -> Mapping[str, Any]:
    """A command that runs a line of shell, with its output in the result."""
    capture = {"stdout": {"atEnd": {}}, "stderr": {"atEnd": {}}}
    return {"run": {"entry_point": "/bin/sh", "args": ["-c", script], "capture": capture}}


DEPLOY: Mapping[str, Any] = {"deploy": {}}
START: Mapping[str, Any] = {"start": {}}
READY: Sequence[Mapping[str, Any]] = (DEPLOY, START)
