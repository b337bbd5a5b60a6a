"""The fake daemon keeps to the contract that the real one has, by both of its fronts."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from simple_golem.testing import CommandAnswer, FakeProvider, FakeYagna
from tests.contract.activities import ActivityContract, BatchContract, StreamContract
from tests.contract.agreements import AgreementContract
from tests.contract.buyer import (
    HONEST,
    KINDS,
    NEVER_APPROVES,
    NEVER_CREATES,
    NEVER_DESTROYS,
    REASON,
    REFUSES_ACTIVITIES,
    REJECTS_AGREEMENTS,
    REJECTS_PROPOSALS,
    Buyer,
)
from tests.contract.files import ServiceContract, TransferContract
from tests.contract.market import DemandContract, ProposalContract
from tests.contract.money import AllocationContract, DocumentContract, IdentityContract

HABITS: dict[str, dict[str, Any]] = {
    HONEST: {},
    REJECTS_PROPOSALS: {"proposals": "no"},
    NEVER_APPROVES: {"agreements_wanted": "never"},
    REJECTS_AGREEMENTS: {"agreements_wanted": "no"},
    NEVER_CREATES: {"activities_wanted": "never"},
    REFUSES_ACTIVITIES: {"activities_wanted": "no"},
    NEVER_DESTROYS: {"destroys": False},
}


def in_a_shell(command: dict[str, Any]) -> CommandAnswer:
    """What a command answers, from a shell on this machine."""
    run = command["run"]
    ran = subprocess.run([run["entry_point"], *run["args"]], capture_output=True, text=True, check=False)
    return CommandAnswer(ran.stdout, ran.stderr, ran.returncode)


@pytest.fixture(scope="module")
def fake() -> Iterator[FakeYagna]:
    providers = [
        FakeProvider(kind, answers=in_a_shell, reason=REASON, most_agreements=20, **HABITS[kind])
        for kind in KINDS
    ]
    with FakeYagna(providers) as fake:
        yield fake


@pytest.fixture(params=["adapter", "loopback"])
def buyer(fake: FakeYagna, request: pytest.FixtureRequest) -> Iterator[Buyer]:
    session = requests.Session()
    session.trust_env = False
    session.headers["Authorization"] = f"Bearer {fake.app_key}"
    if request.param == "adapter":
        session.mount("http://", fake.adapter())
    buyer = Buyer(session, fake.url, {one.name: one.node_id for one in fake.providers})
    yield buyer
    buyer.close()
    left = [one for one in fake.leftovers() if not re.match("agreement .* Proposal|debit note", one)]
    assert left == []


class TestIdentity(IdentityContract):
    pass


class TestAllocations(AllocationContract):
    pass


class TestDemands(DemandContract):
    pass


class TestProposals(ProposalContract):
    pass


class TestAgreements(AgreementContract):
    pass


class TestActivities(ActivityContract):
    pass


class TestBatches(BatchContract):
    pass


class TestStreams(StreamContract):
    pass


class TestDocuments(DocumentContract):
    pass


class TestServices(ServiceContract):
    pass


class TestTransfers(TransferContract):
    pass
