"""The contract of a yagna daemon, on the real one: what the fake one is held to."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import requests

from simple_golem.local import Answer, LocalGolem, ProviderHabits
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

MOST = 20
HABITS = {
    HONEST: ProviderHabits(most_agreements=MOST),
    REJECTS_PROPOSALS: ProviderHabits(proposals=Answer.NO, reason=REASON),
    NEVER_APPROVES: ProviderHabits(agreements=Answer.NEVER, most_agreements=MOST),
    REJECTS_AGREEMENTS: ProviderHabits(agreements=Answer.NO, reason=REASON),
    NEVER_CREATES: ProviderHabits(activities=Answer.NEVER, most_agreements=MOST),
    REFUSES_ACTIVITIES: ProviderHabits(activities=Answer.NO, reason=REASON, most_agreements=MOST),
    NEVER_DESTROYS: ProviderHabits(destroys=False, most_agreements=MOST),
}


@pytest.fixture(scope="module")
def real() -> Iterator[LocalGolem]:
    with LocalGolem([HABITS[kind] for kind in KINDS], chain=False) as network:
        yield network


@pytest.fixture
def buyer(real: LocalGolem) -> Iterator[Buyer]:
    session = requests.Session()
    session.trust_env = False
    session.headers["Authorization"] = f"Bearer {real.near.app_key}"
    node_ids = [provider.node_id for provider in real.providers]
    registry = real.environment["GOLEM_REGISTRY_URL"]
    buyer = Buyer(session, real.near.api_url, dict(zip(KINDS, node_ids, strict=True)), registry)
    yield buyer
    buyer.close()


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
