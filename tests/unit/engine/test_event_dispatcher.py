"""Events: logged, and given to every listener in their order."""

from __future__ import annotations

import logging
import threading

import pytest

from simple_golem.engine.event_dispatcher import EventDispatcher
from simple_golem.events import AgreementMade, BatchStarted, Event

NEWS = [AgreementMade(f"Hello-{number}", f"a{number}", "0xp", "prov") for number in range(3)]


def test_every_listener_gets_the_events_in_their_order() -> None:
    dispatcher = EventDispatcher()
    first: list[Event] = []
    second: list[Event] = []
    is_added = threading.Event()
    dispatcher.emit(NEWS[0])
    dispatcher.add(lambda event: is_added.wait(10) and first.append(event))
    dispatcher.emit(NEWS[1])
    # The first listener has not heard the earlier event yet: the second one does not hear it either.
    dispatcher.add(second.append)
    is_added.set()
    dispatcher.emit(NEWS[2])
    assert dispatcher.close(20)
    assert first == NEWS[1:]
    assert second == NEWS[2:]


def test_an_error_of_a_listener_is_logged_and_the_others_hear_the_event(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def broken(event: Event) -> None:
        raise RuntimeError("no")

    heard: list[Event] = []
    dispatcher = EventDispatcher()
    dispatcher.add(broken)
    dispatcher.add(heard.append)
    for event in NEWS:
        dispatcher.emit(event)
    assert dispatcher.close(20)
    assert heard == NEWS
    assert caplog.text.count("raised an error for the event") == 1  # one traceback is enough


def test_a_listener_that_is_stuck_delays_no_one_that_emits() -> None:
    stuck = threading.Event()
    dispatcher = EventDispatcher()
    dispatcher.add(lambda event: stuck.wait(10))
    dispatcher.emit(NEWS[0])
    assert not dispatcher.close(0.02)
    stuck.set()
    assert dispatcher.close(20)


def test_events_are_logged_and_frequent_ones_for_debugging_only(caplog: pytest.LogCaptureFixture) -> None:
    dispatcher = EventDispatcher()
    with caplog.at_level(logging.DEBUG, "simple_golem.events"):
        dispatcher.emit(NEWS[0])
        dispatcher.emit(BatchStarted("Hello-1", ()))
    assert [record.levelname for record in caplog.records] == ["INFO", "DEBUG"]
    assert caplog.records[0].getMessage() == str(NEWS[0])
