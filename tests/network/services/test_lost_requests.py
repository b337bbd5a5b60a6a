"""Requests that are lost on their way to the real daemon, or whose answers are: nothing is made twice.

What each test leaves on the network is counted by the fixture of the whole folder.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import tenacity

from simple_golem.local.local_golem import LocalGolem
from tests.faults.plan import Fault, Hit, OnceEach
from tests.faults.proxy import FaultProxy
from tests.faults.small_run import Outcome, run_once

pytestmark = pytest.mark.usefixtures("golem_environment")

DEMANDS = "POST /market-api/v1/demands"
EVENTS = "GET /market-api/v1/demands/*/events"
AGREEMENTS = "POST /market-api/v1/agreements"
ACTIVITY = "POST /activity-api/v1/activity"


@pytest.fixture(autouse=True)
def journals(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, golem_environment: None) -> Path:
    monkeypatch.setenv("SIMPLE_GOLEM_STATE", str(tmp_path))
    return tmp_path


def run_through(network: LocalGolem, monkeypatch: pytest.MonkeyPatch, *hits: Hit) -> Outcome:
    """A whole small run behind a proxy that injects these faults; all of them take place."""
    plan = OnceEach(*hits)
    with FaultProxy(network.near.api_url, plan) as proxy:
        monkeypatch.setenv("YAGNA_API_URL", proxy.url)
        outcome = run_once(respawn_wait=tenacity.wait_none())
    assert set(plan.done) == set(hits)
    return outcome


@pytest.mark.parametrize(
    "endpoint",
    [
        "POST /payment-api/v1/allocations",
        DEMANDS,
        "POST /market-api/v1/demands/*/proposals/*",
        AGREEMENTS,
        f"{AGREEMENTS}/*/confirm",
        f"{AGREEMENTS}/*/wait",
        ACTIVITY,
        "POST /gsb-api/v1/services",
    ],
)
def test_what_was_made_is_found_by_its_mark_when_the_answer_is_lost(
    network: LocalGolem, monkeypatch: pytest.MonkeyPatch, journals: Path, endpoint: str
) -> None:
    outcome = run_through(network, monkeypatch, Hit(Fault.LOST, endpoint))
    assert outcome.went_well, outcome
    assert (outcome.demands, outcome.agreements, outcome.activities) == (1, 1, 1)
    assert list(journals.glob("*.jsonl")) == []


@pytest.mark.parametrize("fault", [Fault.RESET, Fault.LOST], ids=lambda fault: fault.name)
def test_proposals_that_are_lost_come_again_for_a_new_demand(
    network: LocalGolem, monkeypatch: pytest.MonkeyPatch, fault: Fault
) -> None:
    # The providers answer within milliseconds, in one answer or in several ones.
    outcome = run_through(network, monkeypatch, Hit(fault, EVENTS, 1), Hit(fault, EVENTS, 2))
    assert outcome.went_well, outcome
    assert outcome.demands in (2, 3)


def test_a_daemon_that_refuses_and_resets_at_each_step_is_asked_again(
    network: LocalGolem, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = (DEMANDS, AGREEMENTS, f"{AGREEMENTS}/*/confirm", f"{AGREEMENTS}/*/terminate")
    resets = [Hit(Fault.RESET, step, nth) for step in steps for nth in (1, 2)]
    outcome = run_through(
        network,
        monkeypatch,
        *resets,
        Hit(Fault.REFUSED, "POST /payment-api/v1/allocations"),
        Hit(Fault.UNAVAILABLE, "POST /activity-api/v1/activity/*/exec", 3),
    )
    assert outcome.went_well, outcome
    assert (outcome.agreements, outcome.activities) == (1, 1)


def test_a_batch_whose_answer_is_lost_before_the_service_runs_is_run_elsewhere(
    network: LocalGolem, monkeypatch: pytest.MonkeyPatch
) -> None:
    outcome = run_through(network, monkeypatch, Hit(Fault.LOST, "POST /activity-api/v1/activity/*/exec", 2))
    assert outcome.went_well, outcome
    assert (outcome.agreements, outcome.activities) == (2, 2)
