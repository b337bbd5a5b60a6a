"""What an instance is at present, when several threads change it at the same moment."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from simple_golem.background.cancellation import Scope
from simple_golem.engine.shutdown_times import ShutdownTimes
from simple_golem.errors import StartTimeout
from simple_golem.events import StateChanged
from simple_golem.model.service.states import ServiceState
from simple_golem.services.cluster_context import ClusterContext, InstanceNumbers
from simple_golem.services.instance_record import InstanceRecord
from tests.helpers.guarded_dict import is_free

TIMES = ShutdownTimes.ordinary()


def record_of(session: Any) -> InstanceRecord:
    none: Any = None
    context = ClusterContext(session, none, none, 0.0, None, none, "Hello", InstanceNumbers())
    return InstanceRecord(context, "Hello-1")


def test_a_state_is_told_before_anybody_can_wait_for_its_end() -> None:
    """Else the end of the Golem may come first, after which nothing is told."""
    told: list[tuple[ServiceState, bool]] = []

    def emit(event: object) -> None:
        if isinstance(event, StateChanged):
            told.append((event.new, is_free(record._context.changed)))

    record = record_of(SimpleNamespace(emit=emit))
    record.enter(ServiceState.starting)
    record.enter(ServiceState.terminated)
    assert told == [(ServiceState.starting, False), (ServiceState.terminated, False)]


def test_a_life_that_begins_while_the_instance_is_ended_hears_the_reason() -> None:
    reasons: list[str] = []
    life: Any = SimpleNamespace(end=lambda times, reason: reasons.append(reason))
    record = record_of(SimpleNamespace(emit=lambda event: None))

    class BegunMeanwhile(Scope):
        def cancel(self, reason: str = "") -> None:
            record.begin_life(life)
            super().cancel(reason)

    record.stop_scope = BegunMeanwhile()
    record.end(TIMES, "stop() was called")
    assert reasons == ["stop() was called"]


def test_an_instance_that_has_just_come_up_has_no_start_timeout() -> None:
    record = record_of(SimpleNamespace(emit=lambda event: None))
    record.enter(ServiceState.starting)
    record.enter(ServiceState.running)
    record.cut_off(TIMES, StartTimeout("too late"), unless_has_run=True)
    assert record.cut_off_by is None
    assert not record.is_ending
