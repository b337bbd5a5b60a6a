"""What a pool tells of an item whose time is over."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from simple_golem.events import ItemRetried
from simple_golem.services.pool.occupation import PoolOccupation


def test_an_item_that_is_begun_once_more_is_told_though_another_machine_has_answered_it_meanwhile() -> None:
    told: list[object] = []
    none: Any = None
    # The other machine was quicker than the thread that tells.
    queue: Any = SimpleNamespace(give_up=lambda attempt, error: True, stats=lambda: None)
    occupation = PoolOccupation("pool", queue, 1.0, 0.0, none, none, told.append)
    machine = SimpleNamespace(name="pool-1", instance=None)
    attempt: Any = SimpleNamespace(machine=machine, item=SimpleNamespace(number=1, is_answered=True))
    occupation._give_up(attempt)
    assert [type(one) for one in told] == [ItemRetried]
