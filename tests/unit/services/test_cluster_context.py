"""What is told of the start of a cluster; its session and its instances are those of the test."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from simple_golem.events import StartProgress
from simple_golem.model.service.states import ServiceState
from simple_golem.services.cluster_context import ClusterContext, InstanceNumbers


class Unasked:
    """An instance that says its state to nobody: thousands of them each change it some times."""

    @property
    def state(self) -> ServiceState:
        raise AssertionError("all instances are looked at after a change of one")


def test_instances_that_run_are_counted_step_by_step() -> None:
    told: list[StartProgress] = []
    none: Any = None
    session: Any = SimpleNamespace(emit=told.append)
    context = ClusterContext(session, none, none, 0.0, None, none, "Hello", InstanceNumbers())

    def enters(instance: Unasked, *states: ServiceState) -> list[tuple[int, int]]:
        told.clear()
        with context.changed:
            for state in states:
                context.state_changed_locked(instance, state)
        return [(one.running, one.total) for one in told]

    first, second, third = instances = [Unasked() for _ in range(3)]
    context.add_living(instances)
    assert told == [StartProgress("Hello", 0, 3)]
    state = ServiceState
    assert enters(first, state.starting, state.running) == [(1, 3)]
    assert enters(second, state.starting, state.running, state.stopping) == [(2, 3)]
    # It has lost its provider, and looks for another one.
    assert enters(first, state.pending, state.starting, state.running) == [(1, 3), (2, 3)]
    context.remove_living(second)
    assert enters(second, state.terminated) == [(1, 2)]
    context.remove_living(third)
    assert enters(third, state.terminated) == [(1, 1)]
    assert enters(first, state.stopping) == []
