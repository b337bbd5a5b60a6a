"""One item of a pool, the machines that work on items, and the attempts at them: plain records."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

from ..cluster_context import StatefulInstance
from ..instance import Instance

Work = Callable[..., Any]


class ItemFuture(Future[Any]):
    """The Future of an item, which tells the queue when the user cancels it.

    Attributes:
        on_cancel: called once when it is cancelled; taken away when the item is answered.
    """

    on_cancel: Callable[[], object] | None = None

    def cancel(self) -> bool:
        """Cancel the item, unless a machine has begun it; returns whether it is cancelled."""
        is_cancelled = super().cancel()
        on_cancel, self.on_cancel = self.on_cancel, None
        if is_cancelled and on_cancel is not None:
            on_cancel()
        return is_cancelled


@dataclass(eq=False, slots=True)
class Item:
    """What one call of `submit` asks for; all that changes does so under the lock of the queue.

    Attributes:
        number: in the order of submission, from 1.
        future: has the answer.
        keep: called with a result before the future has it; its error is the answer then. None: not called.
        attempts: how often it was begun.
        is_answered: whether an outcome was recorded; no other one counts then.
        is_dropped: whether nobody waits for its answer any more, so that it is not begun once more.
        failed_on: the providers on which a command of it has failed.
        failure: what it has failed of last.
        machine_name: the machine that has begun it last.
        searched_since: since when another provider is looked for, None while that is not the case.
    """

    number: int
    work: Work
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    future: Future[Any]
    keep: Callable[[Any], Any] | None = None
    attempts: int = 0
    is_answered: bool = False
    is_dropped: bool = False
    failed_on: frozenset[str] = frozenset()
    failure: BaseException | None = None
    machine_name: str = ""
    searched_since: float | None = None


@dataclass(eq=False, slots=True)
class Attempt:
    """One start of the work on an item.

    Attributes:
        is_given_up: whether it has failed already; only a result counts from then on.
    """

    item: Item
    machine: Machine
    number: int
    is_given_up: bool = False


@dataclass(eq=False, slots=True)
class Machine:
    """A machine of the pool; all is read and written under the queue's lock.

    Attributes:
        record: the record of its instance.
        wake: notified when the machine should look for an item.
        last_start: when it may begin its last item, on the monotonic clock.
        instance, provider_id, thread_ident: as soon as it serves.
        is_leaving: whether it takes no more items.
        is_suspect: whether a command of its last item failed.
        started: how many items it has begun.
        attempt: what it works on.
    """

    record: StatefulInstance
    wake: threading.Condition
    last_start: float
    instance: Instance | None = None
    provider_id: str = ""
    thread_ident: int | None = None
    is_leaving: bool = False
    is_suspect: bool = False
    started: int = 0
    attempt: Attempt | None = None

    @property
    def name(self) -> str:
        """The name of its instance."""
        return "" if self.instance is None else self.instance.name

    @property
    def is_serving(self) -> bool:
        """Whether it is there for items."""
        return self.instance is not None and not self.is_leaving

    @property
    def is_coming(self) -> bool:
        """Whether it will be there for items, if nothing happens to it."""
        return self.instance is None and not self.is_leaving
