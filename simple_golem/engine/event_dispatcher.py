"""Hands events to the log and to the user's callables, in order, on a thread of its own."""

from __future__ import annotations

import logging
import queue
from collections.abc import Callable

from ..background.forks import user_code
from ..background.threads import EngineThread
from ..model.events.event import Event

# A user who wants to read along sets this one logger to INFO, or to DEBUG for every batch.
logger = logging.getLogger("simple_golem.events")

Listener = Callable[[Event], object]
Emit = Callable[[Event], None]


class EventDispatcher:
    """Takes events from any thread without blocking it, and gives them to every listener in that order."""

    def __init__(self) -> None:
        # Each event with those who hear it: who is added later hears later ones only.
        self._queue: queue.SimpleQueue[tuple[Event, tuple[Listener, ...]] | None] = queue.SimpleQueue()
        self._listeners: tuple[Listener, ...] = ()
        self._broken: list[Listener] = []
        self._thread = EngineThread("golem-events", self._run)
        self._started = False

    def add(self, listener: Listener) -> None:
        """Call `listener` with every event from now on."""
        self._listeners += (listener,)
        if not self._started:
            self._started = True
            self._thread.start()

    def emit(self, event: Event) -> None:
        """Log an event, and queue it for the listeners; never blocks."""
        logger.log(logging.DEBUG if event.is_frequent else logging.INFO, "%s", event)
        listeners = self._listeners
        if listeners:
            self._queue.put((event, listeners))

    def close(self, timeout: float) -> bool:
        """Give out what is queued and join the thread; False if a listener holds it up."""
        self._queue.put(None)
        return self._thread.join(timeout)

    def _run(self) -> None:
        while (queued := self._queue.get()) is not None:
            event, listeners = queued
            for listener in listeners:
                try:
                    with user_code():
                        listener(event)
                except BaseException as error:
                    # A sys.exit() in it must not end this thread. One traceback is enough: events are many.
                    is_first = listener not in self._broken
                    logger.log(
                        logging.ERROR if is_first else logging.DEBUG,
                        "%r raised an error for the event: %s",
                        listener,
                        event,
                        exc_info=error,
                    )
                    if is_first:
                        self._broken.append(listener)
