"""Many items on machines of real providers that vanish, end their agreements and fail commands."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from simple_golem import Golem, Instance, Pool
from simple_golem.background.cancellation import Deadline, Scope
from simple_golem.local.control.habits import FailingCommands, ProviderHabits
from simple_golem.local.local_golem import LocalGolem
from tests.network.helpers.leftovers import left_on

PROVIDERS = 10
SETTLE_SECONDS = 15.0
WAIT_SECONDS = 30.0
FEW, MANY = 200, 1000
# Silent providers are noticed within some seconds.
HEALTH = {"health_interval": 1.0, "health_misses": 3}


def habits(seed: int) -> list[ProviderHabits]:
    """Eight providers that do what they are told, and two that fail some of the items."""
    digits = random.Random(seed).sample("0123456789", 2)
    honest = [ProviderHabits()] * (PROVIDERS - len(digits))
    failing = [ProviderHabits(failing_commands=FailingCommands(f"{digit} is an item")) for digit in digits]
    return [*honest, *failing]


def moments(seed: int, items: int) -> dict[int, str]:
    """After which results something happens to the network."""
    chosen = random.Random(seed).sample(range(items // 10, items - items // 10), 5)
    return dict(zip(chosen, ["dies"] * 3 + ["ends its agreement"] * 2, strict=True))


def happens(network: LocalGolem, pool: Pool, what: str, victims: list[str]) -> None:
    """Let something happen to one of these providers that works at present."""
    left, scope = Deadline(WAIT_SECONDS), Scope()
    while not (at_work := [one for one in victims if one in providers_at_work(pool)]):
        assert not left.passed, f"none of {victims} works"
        scope.wait(0.05)
    name = at_work[0]
    victims.remove(name)
    provider = network.provider(name)
    if what == "dies":
        provider.die()
    else:
        provider.terminate_agreement()


def providers_at_work(pool: Pool) -> set[str]:
    return {machine.provider_name for machine in pool.machines if machine.state == "running"}


def number(machine: Instance, item: int) -> int:
    return int(machine.shell(f"echo {item} is an item").stdout.split()[0])


@pytest.fixture
def failing_network(monkeypatch: pytest.MonkeyPatch, seed: int) -> Iterator[LocalGolem]:
    with LocalGolem(habits(seed), chain=False) as network:
        for name, value in network.environment.items():
            monkeypatch.setenv(name, value)
        yield network
        deadline, scope = Deadline(SETTLE_SECONDS), Scope()
        while (left := left_on_the_living(network)) and not deadline.passed:
            scope.wait(0.2)
        assert not left, f"left on the requestor's daemon: {left}"


def left_on_the_living(network: LocalGolem) -> list[str]:
    """What is left, but for the activities of dead providers: nobody is there to destroy them."""
    return [one for one in left_on(network) if not one.startswith("activity ")]


def all_items_are_answered(network: LocalGolem, seed: int, items: int, *, kill_daemon: bool) -> None:
    random_order = random.Random(seed)
    victims = [f"prov-{place}" for place in range(1, PROVIDERS - 1)]
    random_order.shuffle(victims)
    events = moments(seed, items)
    if kill_daemon:
        events[random_order.choice([n for n in range(items // 2) if n not in events])] = "daemon"
    results = []
    with Golem(budget=10, **HEALTH) as golem, golem.pool(PROVIDERS) as pool:
        for result in pool.map(number, range(items)):
            results.append(result)
            what = events.get(result)
            if what == "daemon":
                network.kill_requestor_daemon()
                network.restart_requestor_daemon()
            elif what is not None:
                happens(network, pool, what, victims)
        assert (pool.stats.done, pool.stats.failed) == (items, 0)
        assert pool.stats.repeated > 0
    assert results == list(range(items))


@pytest.mark.parametrize("seed", [2])
def test_each_item_is_answered_once_whatever_providers_and_the_daemon_do(
    failing_network: LocalGolem, seed: int
) -> None:
    all_items_are_answered(failing_network, seed, FEW, kill_daemon=True)


@pytest.mark.long
@pytest.mark.parametrize("seed", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("kill_daemon", [False, True], ids=["the daemon lives", "the daemon is killed once"])
def test_each_of_many_items_is_answered_once(
    failing_network: LocalGolem, seed: int, kill_daemon: bool
) -> None:
    all_items_are_answered(failing_network, seed, MANY, kill_daemon=kill_daemon)


SCRIPT = """
import sys
from simple_golem import Golem

def number(machine, item):
    with open(sys.argv[1] + ".asked", "a") as asked:
        asked.write(f"{item}\\n")
    return int(machine.shell(f"echo {item}").stdout)

items = range(int(sys.argv[2]))
with Golem(budget=10) as golem, golem.pool(10) as pool:
    results = list(pool.map(number, items, results_file=sys.argv[1]))
assert results == list(items)
"""


def answered_in(path: Path) -> list[str]:
    lines = path.read_bytes().splitlines(keepends=True)[1:] if path.exists() else []
    return [json.loads(line)["key"] for line in lines if line.endswith(b"\n")]


@pytest.mark.long
@pytest.mark.timeout(350)
def test_a_script_that_is_killed_three_times_asks_for_no_answered_item_again(tmp_path: Path) -> None:
    answers, asked = tmp_path / "work.jsonl", tmp_path / "work.jsonl.asked"
    with LocalGolem(providers=PROVIDERS, chain=False) as network:
        environment = {**os.environ, **network.environment}
        command = [sys.executable, "-c", SCRIPT, str(answers), str(MANY)]
        for run_number in range(1, 4):
            before, first = set(answered_in(answers)), len(asked.read_text()) if asked.exists() else 0
            with subprocess.Popen(command, env=environment) as script:
                deadline, scope = Deadline(120), Scope()
                while len(answered_in(answers)) < MANY * run_number // 4:
                    assert not deadline.passed
                    scope.wait(0.05)
                script.kill()
            assert before.isdisjoint(asked.read_text()[first:].split())
        before, first = set(answered_in(answers)), len(asked.read_text())
        done = subprocess.run(command, env=environment, timeout=120, check=False)
        assert done.returncode == 0
        assert before.isdisjoint(asked.read_text()[first:].split())
        assert sorted(map(int, answered_in(answers))) == list(range(MANY))
        cleanup = [sys.executable, "-m", "simple_golem.command_line.main", "cleanup"]
        assert subprocess.run(cleanup, env=environment, timeout=60, check=False).returncode == 0
        assert left_on(network) == []


@pytest.mark.usefixtures("golem_environment")
def test_the_shortest_program_runs(network: LocalGolem) -> None:
    with Golem(budget=1) as golem:
        assert str(golem.rent().shell("uname -s")) == "Linux"


@pytest.mark.usefixtures("golem_environment")
def test_a_pool_computes_squares(network: LocalGolem) -> None:
    def square(machine: Instance, n: int) -> int:
        return int(machine.shell(f"echo $(({n} * {n}))").stdout)

    with Golem(budget=1) as golem, golem.pool(3) as pool:
        assert list(pool.map(square, range(10))) == [n * n for n in range(10)]
    assert golem.cost.amount > 0
