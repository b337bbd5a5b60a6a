"""The items of a pool."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ..pool_stats import PoolStats
from .event import InstanceEvent


@dataclass(frozen=True, slots=True)
class ItemEvent(InstanceEvent):
    """The base of what happens to one item of a pool; `instance` is the machine that works on it.

    Attributes:
        pool: the name of the pool.
        item: the number of the item, from 1, in the order of submission.
        stats: the numbers of the pool after this.
    """

    pool: str
    item: int
    stats: PoolStats


@dataclass(frozen=True, slots=True)
class ItemStarted(ItemEvent):
    """A machine begins to work on an item; `attempt` counts from 1."""

    is_frequent: ClassVar[bool] = True
    attempt: int

    def _text(self) -> str:
        again = f", attempt {self.attempt}" if self.attempt > 1 else ""
        return f"{self.instance}: item {self.item} of {self.pool} begun{again}"


@dataclass(frozen=True, slots=True)
class ItemDone(ItemEvent):
    """An item is answered, for good; `failure` says what its exception is, None if it has a result."""

    is_frequent: ClassVar[bool] = True
    failure: str | None

    def _text(self) -> str:
        how = "done" if self.failure is None else f"failed: {self.failure}"
        return f"{self.instance}: item {self.item} of {self.pool} {how}"


@dataclass(frozen=True, slots=True)
class ItemRetried(ItemEvent):
    """An attempt has failed, and the item is begun once more, on this machine or another one."""

    reason: str

    def _text(self) -> str:
        return f"{self.instance}: item {self.item} of {self.pool} is begun once more: {self.reason}"
