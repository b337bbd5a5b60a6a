"""One run behind the proxy, and the judgement on it."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from functools import partial

from simple_golem import Golem
from simple_golem.background.cancellation import Scope
from simple_golem.engine.cleanup.clean_up import clean_up
from simple_golem.engine.payment.journal_record import JournalOwner
from simple_golem.errors import GolemError
from simple_golem.testing import FakeYagna
from simple_golem.yagna.client import Yagna
from tests.faults.plan import Fault
from tests.faults.proxy import FaultProxy
from tests.soak.fault_runs.jobs import JOBS, Setting
from tests.soak.fault_runs.lives import AskedAgreements, InForce, approved_in_memory, approved_of_session
from tests.soak.fault_runs.plans import RunPlan
from tests.soak.fault_runs.providers import providers

# A run that has not ended after so many seconds hangs.
HANGS_SECONDS = 150.0
# How long the clean-up after a run waits for invoices.
_CLEANUP_SECONDS = 5.0
SHARE = 0.05
MIXED = "5 %"
PLATFORM = "erc20-hoodi-tglm"
# What most runs ask for: one of them is hit by a single fault.
ENDPOINTS = (
    "DELETE /gsb-api/v1/services/*",
    "DELETE /market-api/v1/demands/*",
    "DELETE /net-api/v2/vpn/net/*",
    "DELETE /payment-api/v1/allocations/*",
    "GET /activity-api/v1/activity/*/exec/*",
    "GET /activity-api/v1/activity/*/state",
    "GET /gsb-api/v1/services/*",
    "GET /market-api/v1/agreementEvents",
    "GET /market-api/v1/agreements/*",
    "GET /market-api/v1/demands/*/events",
    "GET /me",
    "GET /net-api/v2/vpn/net/*/tcp/192.168.0.2/7",
    "GET /payment-api/v1/debitNoteEvents",
    "GET /payment-api/v1/debitNotes/*",
    "GET /payment-api/v1/demandDecorations",
    "GET /payment-api/v1/invoiceEvents",
    "GET /payment-api/v1/invoices/*",
    "POST /activity-api/v1/activity",
    "POST /activity-api/v1/activity/*/exec",
    "POST /gsb-api/v1/services",
    "POST /market-api/v1/agreements",
    "POST /market-api/v1/agreements/*/confirm",
    "POST /market-api/v1/agreements/*/terminate",
    "POST /market-api/v1/agreements/*/wait",
    "POST /market-api/v1/demands",
    "POST /market-api/v1/demands/*/proposals/*",
    "POST /net-api/v2/vpn/net",
    "POST /net-api/v2/vpn/net/*/addresses",
    "POST /net-api/v2/vpn/net/*/nodes",
    "POST /payment-api/v1/allocations",
    "POST /payment-api/v1/debitNotes/*/accept",
    "POST /payment-api/v1/invoices/*/accept",
    "PUT /payment-api/v1/allocations/*",
)


@dataclass
class RunOutcome:
    """How a run has ended.

    Attributes:
        kind: the kind of its only fault, or "5 %".
        jobs: what it did.
        hits: what was hit by what.
        ended: "well", "batch lost" (it may have run, which only the script can judge), "error" (another
            GolemError), "wrong" (another error) or "hung".
        told: the error.
        left: what was left before the clean-up.
        broken: what must never be, in words.
    """

    seed: int
    kind: str
    jobs: Sequence[str]
    hits: list[tuple[str, Fault]] = field(default_factory=list)
    ended: str = "hung"
    told: str = ""
    seconds: float = 0.0
    left: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)


def plan_of(seed: int, of_random: random.Random) -> tuple[str, RunPlan]:
    """The kind of a run and the plan of its faults: two of three are hit once, the third again and again."""
    faults = list(Fault)
    if not seed % 3:
        return MIXED, RunPlan(seed, share=SHARE, faults=faults)
    single = faults[seed // 3 % len(faults)]
    only = of_random.choice(ENDPOINTS), of_random.choice((1, 1, 1, 2, 3))
    return single.name, RunPlan(seed, only=only, faults=[single])


def run_seed(seed: int) -> RunOutcome:
    """Do what the seed says; blocks until it has ended, or hangs."""
    of_random = random.Random(seed)
    kind, plan = plan_of(seed, of_random)
    jobs = of_random.sample(sorted(JOBS), of_random.choice((1, 1, 2)))
    outcome = RunOutcome(seed, kind, jobs)
    with FakeYagna(providers(), seed=f"soak {seed}") as fake, FaultProxy(fake.url, plan) as proxy:
        run = Run(outcome, of_random, proxy.url, fake.app_key)
        go_through(run, outcome, plan)
        outcome.left = fake.leftovers()
        if outcome.ended != "hung":
            outcome.broken += [f"cleanup: {one}" for one in clean_up_after(proxy.url, fake.app_key)]
            outcome.broken += [f"left after cleanup: {one}" for one in fake.leftovers()]
        outcome.broken += run.what_must_not_be(fake)
    return outcome


def go_through(run: Run, outcome: RunOutcome, plan: RunPlan) -> None:
    """Have a run do its jobs, and note its time and what was hit; blocks until it ends, or hangs."""
    thread = threading.Thread(target=run.go, name=f"run-{outcome.seed}", daemon=True)
    began = time.monotonic()
    thread.start()
    thread.join(HANGS_SECONDS)
    outcome.seconds = time.monotonic() - began
    plan.stop()
    outcome.hits = list(plan.done)


class Run:
    """Does the jobs of a run, and notes the agreements of its lives."""

    def __init__(self, outcome: RunOutcome, of_random: random.Random, url: str, app_key: str) -> None:
        self._outcome = outcome
        self._random = of_random
        self._url = url
        self._app_key = app_key
        self._asked = AskedAgreements()
        self._golems: list[Golem] = []
        self._job = ""

    def go(self) -> None:
        outcome = self._outcome
        try:
            with self._open_golem() as golem:
                setting = Setting(self._open_golem, self._random)
                for self._job in outcome.jobs:
                    JOBS[self._job](golem, setting)
                self._job = ""
            outcome.ended = "well"
        except GolemError as error:
            outcome.told = f"{type(error).__name__}: {error}"
            # A pool begins such an item once more.
            is_lost = "BatchLost" in outcome.told and self._job != "work"
            outcome.ended = "batch lost" if is_lost else "error"
        except Exception as error:  # noqa: BLE001 - the outcome has it
            outcome.ended, outcome.told = "wrong", f"{type(error).__name__}: {error}"

    def _open_golem(self) -> Golem:
        note = partial(self._asked.note, len(self._golems))
        golem = Golem(2, api_url=self._url, app_key=self._app_key, progress=False, on_event=note)
        self._golems.append(golem)
        return golem

    def wrong_agreements(self, yagna: Yagna) -> list[str]:
        """What is wrong with the agreements of the lives, in words, by what the real daemon says."""
        approved: dict[str, InForce] = {}
        for golem in self._golems:
            if (opened := golem._lifecycle.opened) is not None:
                approved |= approved_of_session(yagna, opened.session.app_session_id)
        return self._asked.what_must_not_be(approved)

    def what_must_not_be(self, fake: FakeYagna) -> list[str]:
        """What has happened on the daemon that must never happen, in words."""
        daemon = fake._daemon
        with daemon.world.lock:
            activities = list(daemon.activities.all())
            approved = approved_in_memory(daemon.agreements.all())
            spent = sum((one.spent for one in daemon.allocations._allocations.values()), Decimal(0))
        told = []
        per_agreement = [one.agreement.agreement_id for one in activities]
        doubled = {one for one in per_agreement if per_agreement.count(one) > 1}
        if doubled:
            told.append(f"two activities in the agreements {doubled}")
        # An agreement whose approval came too late, or whose answer was lost, belongs to no life: it has
        # to be ended, without an activity.
        stray = {one.agreement.agreement_id for one in activities} - self._asked.made
        if stray:
            told.append(f"activities in agreements of no life: {stray}")
        told += self._asked.what_must_not_be(approved)
        if self._outcome.ended == "well":
            # What was resumed is in two reports, and the later one contains the earlier one.
            costs: dict[str, Decimal] = {}
            for entry in (entry for golem in self._golems for entry in golem.cost_report.entries):
                costs[entry.agreement_id] = max(costs.get(entry.agreement_id, Decimal(0)), entry.amount)
            cost = sum(costs.values(), Decimal(0))
            if cost != spent and not self._outcome.left:
                told.append(f"the Golems say that they have spent {cost}, and it was {spent}")
        return told


def clean_up_after(url: str, app_key: str, wait: float = _CLEANUP_SECONDS) -> list[str]:
    """Do what `simple-golem cleanup` does, without faults; returns what could not be done.

    Args:
        wait: for how many seconds at most it waits for invoices.
    """
    yagna = Yagna(url, app_key)
    try:
        owner = JournalOwner(url, yagna.identity.me().node_id, PLATFORM)
        return clean_up(yagna, owner, Scope(), _ignore, wait=wait, end_suspended=True).problems
    finally:
        yagna.close()


def _ignore(event: object) -> None:
    """Nobody listens."""
