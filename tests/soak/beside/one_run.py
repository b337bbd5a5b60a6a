"""One script behind the proxy, and how it has ended."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from simple_golem.testing import FakeYagna
from tests.benchmarks.subject import SIMPLE_GOLEM, YAPAPI
from tests.faults.plan import Fault
from tests.faults.proxy import FaultProxy
from tests.helpers.unmeasured import own_environment
from tests.soak.daemon_process import CHECKOUT
from tests.soak.fault_runs.one_run import MIXED, SHARE
from tests.soak.fault_runs.plans import RunPlan
from tests.soak.fault_runs.providers import providers

SCRIPTS = Path(__file__).with_name("scripts")
JOBS = ("work", "services")
RESULTS = "0 1 2 3 4 5"
# Both take some seconds without faults.
HANGS_SECONDS = 120.0
# Who is interrupted may still release what it has.
_INTERRUPTED_SECONDS = 30.0
# What both ask for.
ENDPOINTS = (
    "DELETE /market-api/v1/demands/*",
    "DELETE /payment-api/v1/allocations/*",
    "GET /activity-api/v1/activity/*/exec/*",
    "GET /market-api/v1/demands/*/events",
    "GET /me",
    "GET /payment-api/v1/debitNoteEvents",
    "GET /payment-api/v1/debitNotes/*",
    "GET /payment-api/v1/demandDecorations",
    "GET /payment-api/v1/invoiceEvents",
    "GET /payment-api/v1/invoices/*",
    "POST /activity-api/v1/activity",
    "POST /activity-api/v1/activity/*/exec",
    "POST /market-api/v1/agreements",
    "POST /market-api/v1/agreements/*/confirm",
    "POST /market-api/v1/agreements/*/terminate",
    "POST /market-api/v1/agreements/*/wait",
    "POST /market-api/v1/demands",
    "POST /market-api/v1/demands/*/proposals/*",
    "POST /payment-api/v1/allocations",
    "POST /payment-api/v1/debitNotes/*/accept",
    "POST /payment-api/v1/invoices/*/accept",
)


@dataclass(frozen=True)
class Program:
    """One of the two.

    Attributes:
        name: as the table calls it.
        script: a file in `scripts`.
        python: the interpreter.
        environment: what it needs beside that of the daemon.
    """

    name: str
    script: str
    python: str = sys.executable
    environment: Mapping[str, str] = field(default_factory=dict)


THE_LIBRARY = Program(SIMPLE_GOLEM, "with_simple_golem.py", environment={"PYTHONPATH": str(CHECKOUT)})


def the_peer(python: str, environment: Mapping[str, str]) -> Program:
    """yapapi, in an environment of its own."""
    return Program(YAPAPI, "with_yapapi.py", python, environment)


@dataclass(frozen=True)
class Ended:
    """How a run has ended.

    Attributes:
        kind: the kind of its only fault, or "5 %".
        hits: what was hit by what.
        how: "well", "error" (its exit code says so), "incomplete" (results are missing, and no error says so)
            or "hung".
        told: the last line of its errors.
        left: what the daemon had when it had ended.
    """

    program: str
    seed: int
    kind: str
    job: str
    hits: Sequence[tuple[str, Fault]]
    how: str
    told: str
    left: Sequence[str]
    seconds: float


def run_seed(program: Program, seed: int) -> Ended:
    """Have a program do what the seed says; blocks until it has ended, or hangs."""
    of_random = random.Random(seed)
    kind, plan = _plan(seed, of_random)
    job = of_random.choice(JOBS)
    began = time.monotonic()
    with (
        FakeYagna(providers(), seed=f"beside {program.name} {seed}") as fake,
        FaultProxy(fake.url, plan) as proxy,
        tempfile.TemporaryDirectory() as folder,
    ):
        environment = {
            **own_environment(),
            **fake.environment,
            "YAGNA_API_URL": proxy.url,
            "YAGNA_SUBNET": "public",
            "YAGNA_PAYMENT_NETWORK": "hoodi",
            "SIMPLE_GOLEM_STATE": folder,
            **program.environment,
        }
        how, told = _run([program.python, str(SCRIPTS / program.script), job], environment)
        seconds = time.monotonic() - began
        left = fake.leftovers()
    return Ended(program.name, seed, kind, job, list(plan.done), how, told, left, seconds)


def _plan(seed: int, of_random: random.Random) -> tuple[str, RunPlan]:
    """Two of three are hit once, the third again and again."""
    faults = list(Fault)
    if not seed % 3:
        return MIXED, RunPlan(seed, share=SHARE, faults=faults)
    single = faults[seed // 3 % len(faults)]
    return single.name, RunPlan(seed, only=(of_random.choice(ENDPOINTS), 1), faults=[single])


def _run(command: Sequence[str], environment: Mapping[str, str]) -> tuple[str, str]:
    with tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(
            command,
            env=environment,
            cwd=os.sep,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
        is_hung = False
        try:
            output, _ = process.communicate(timeout=HANGS_SECONDS)
        except subprocess.TimeoutExpired:
            is_hung, output = True, ""
            _interrupt(process)
        errors.seek(0)
        told = (errors.read().strip().splitlines() or [""])[-1]
    if is_hung:
        return "hung", told
    if process.returncode:
        return "error", told
    return ("well" if output.strip() == RESULTS else "incomplete"), told


def _interrupt(process: subprocess.Popen[str]) -> None:
    """End it as its user would."""
    process.send_signal(signal.SIGINT)
    try:
        process.communicate(timeout=_INTERRUPTED_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
