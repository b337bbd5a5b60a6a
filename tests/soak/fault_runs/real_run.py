"""Runs with faults on a local network, whose daemons and activities are the real ones."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor

from simple_golem.local import LocalGolem
from simple_golem.yagna.client import Yagna
from tests.faults.proxy import FaultProxy
from tests.soak.fault_runs.jobs import JOBS
from tests.soak.fault_runs.one_run import Run, RunOutcome, clean_up_after, go_through, plan_of

# No server that echoes is in the image.
REAL_JOBS = sorted(JOBS.keys() - {"network"})
# Each of them has at most three instances.
AT_ONCE = 2
PROVIDERS = 6
# A machine that is busy with other tests may pause.
CLEANUP_SECONDS = 20.0


def run_real_seeds(network: LocalGolem, seeds: Iterable[int], at_once: int = AT_ONCE) -> Iterator[RunOutcome]:
    """Run the seeds, several at the same time; yields their outcomes in order.

    The variables of the network's environment have to be set.
    """
    with ThreadPoolExecutor(at_once) as pool:
        yield from pool.map(lambda seed: run_real_seed(network, seed), seeds)


def run_real_seed(network: LocalGolem, seed: int) -> RunOutcome:
    """Do what the seed says; blocks until it has ended, or hangs."""
    of_random = random.Random(seed)
    kind, plan = plan_of(seed, of_random)
    jobs = of_random.sample(REAL_JOBS, of_random.choice((1, 1, 2)))
    outcome = RunOutcome(seed, kind, jobs)
    app_key = network.near.app_key
    with FaultProxy(network.near.api_url, plan) as proxy:
        run = Run(outcome, of_random, proxy.url, app_key)
        go_through(run, outcome, plan)
        if outcome.ended != "hung":
            outcome.broken += [
                f"cleanup: {one}" for one in clean_up_after(proxy.url, app_key, CLEANUP_SECONDS)
            ]
            with contextlib.closing(Yagna(network.near.api_url, app_key)) as yagna:
                outcome.broken += run.wrong_agreements(yagna)
    return outcome
