"""Many items on machines of real providers that vanish, end their agreements and fail commands."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from simple_golem import Golem, Instance, Pool
from simple_golem.background.cancellation import Deadline, Scope
from simple_golem.local.control.habits import FailingCommands, ProviderHabits
from simple_golem.local.local_golem import LocalGolem
from tests.network.helpers.leftovers import left_on

PROVIDERS = 10
SETTLE_SECONDS = 5.0
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
    at_work = {machine.provider_name for machine in pool.machines}
    name = next(one for one in victims if one in at_work)
    victims.remove(name)
    provider = network.provider(name)
    if what == "dies":
        provider.die()
    else:
        provider.terminate_agreement()


def number(machine: Instance, item: int) -> int:
    return int(machine.shell(f"echo {item} is an item").stdout.split()[0])


@pytest.fixture
def failing_network(monkeypatch: pytest.MonkeyPatch, seed: int) -> Iterator[LocalGolem]:
    with LocalGolem(habits(seed)) as network:
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


@pytest.mark.parametrize("seed", [1])
@pytest.mark.parametrize("kill_daemon", [False, True], ids=["the daemon lives", "the daemon is killed once"])
def test_each_item_is_answered_once_whatever_providers_do(
    failing_network: LocalGolem, seed: int, kill_daemon: bool
) -> None:
    all_items_are_answered(failing_network, seed, FEW, kill_daemon=kill_daemon)


@pytest.mark.long
@pytest.mark.parametrize("seed", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("kill_daemon", [False, True], ids=["the daemon lives", "the daemon is killed once"])
def test_each_of_many_items_is_answered_once(
    failing_network: LocalGolem, seed: int, kill_daemon: bool
) -> None:
    all_items_are_answered(failing_network, seed, MANY, kill_daemon=kill_daemon)


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
