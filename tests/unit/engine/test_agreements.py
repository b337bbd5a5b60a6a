"""Agreements that go on, when two threads resume them at the same moment."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from simple_golem.background.cancellation import Scope
from simple_golem.background.threads import EngineThread
from simple_golem.engine.agreements import Agreements
from simple_golem.errors import NotRunning
from simple_golem.model.service.suspended import SuspendedInstance

SUSPENDED = SuspendedInstance("Hello-1", "a1", "act1", "s1", "al1")


def test_an_instance_that_two_threads_resume_is_resumed_once() -> None:
    resumed: list[str] = []
    others: list[EngineThread] = []

    def take_over(_session: str, agreement_id: str, _scope: Scope) -> object:
        if agreement_id in resumed:
            raise NotRunning("it was resumed before")
        if not others:
            others.append(EngineThread("other", agreements.take_over, [SUSPENDED]))
            others[0].start().join(0.3)
        return SimpleNamespace()

    def ignore(*_: object) -> None: ...

    money: Any = SimpleNamespace(
        journals=SimpleNamespace(take_over=take_over, resumed=lambda _, name: resumed.append(name)),
        ledger=SimpleNamespace(add_resumed=ignore),
        budget=SimpleNamespace(replace_allocation_of=ignore),
    )
    none: Any = None
    agreements = Agreements(none, "s2", money, none, none, none, Scope())
    agreements.take_over([SUSPENDED])
    assert others[0].join(20)
    assert isinstance(others[0].exception, NotRunning)
    assert resumed == ["a1"]
