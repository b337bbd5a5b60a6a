"""Asks for the states of the activities, so that a provider that does not answer any more is noticed."""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING, Protocol

from ...background.cancellation import Scope, ScopeEnded
from ...background.threads import EngineThread, WorkerPool
from ...errors import ActivityLost
from .vitality import Vitality

if TYPE_CHECKING:
    from .activity import Activity

logger = logging.getLogger(__name__)

_WORKERS = 16
_STATE_TIMEOUT_SECONDS = 3.0
# Above this number of activities each is asked less often.
_MANY_ACTIVITIES = 50
_MANY_INTERVALS = 6.0
_ANSWER_TAKES_INTERVALS = 0.5


class HealthListener(Protocol):
    """A life, as it hears of the health of its activity; its methods must not block."""

    def seems_unresponsive(self, silent: float, left: float) -> None:
        """The provider has not answered for `silent` seconds; in about `left` seconds it is given up."""

    def seems_well(self) -> None:
        """The provider answers again."""

    def lose(self, error: ActivityLost) -> None:
        """The activity is gone."""


class HealthCheck:
    """One thread that asks for the state of each activity that has answered nothing for an interval.

    The answers are awaited by workers: a provider that is away delays its own answer only. An activity whose
    batch is under way is asked like any other: the daemon does not say that a provider has vanished.

    Args:
        stop: cancelling it ends the thread and all requests.
        interval: seconds without an answer after which an activity is asked; six times as many if there are
            more than 50 activities. One that has not answered is asked again after each `interval`.
        misses: after so many requests without an answer an activity is unresponsive, and after twice as many
            it is lost.
    """

    def __init__(self, stop: Scope, interval: float, misses: int) -> None:
        self._workers = WorkerPool("golem-health-worker", _WORKERS)
        self._stop = stop
        self._interval = interval
        self._misses = misses
        # Guards the collections. A listener is called without it.
        self._lock = threading.Lock()
        self._listeners: dict[Activity, HealthListener] = {}
        self._missed: dict[Activity, int] = {}
        self._asked: set[Activity] = set()
        self._thread = EngineThread("golem-health", self._run)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def join(self, timeout: float) -> list[str]:
        """Join thread and workers; returns the names of those that are stuck.

        Args:
            timeout: seconds at most for the thread, and again for the workers.
        """
        stuck = [] if self._thread.join(timeout) else [self._thread.name]
        return stuck + self._workers.close(timeout)

    def watch(self, activity: Activity, listener: HealthListener) -> None:
        """Check an activity from now on."""
        with self._lock:
            self._listeners[activity] = listener

    def unwatch(self, activity: Activity) -> None:
        """Check an activity no longer; one that is not checked changes nothing."""
        with self._lock:
            self._listeners.pop(activity, None)
            self._missed.pop(activity, None)

    def _run(self) -> None:
        while True:
            for activity in self._due():
                self._workers.post(self._check, activity)
            if self._stop.wait(self._interval):
                return

    def _due(self) -> list[Activity]:
        """Return the activities to be asked now, and note that they are."""
        now = time.monotonic()
        with self._lock:
            is_many = len(self._listeners) > _MANY_ACTIVITIES
            # An answer comes a moment after the question: without this the next round would pass it over.
            age = self._interval * ((_MANY_INTERVALS if is_many else 1.0) - _ANSWER_TAKES_INTERVALS)
            due = [
                activity
                for activity in self._listeners.keys() - self._asked
                if activity in self._missed or now - activity.last_answer >= age
            ]
            self._asked.update(due)
        return due

    def _check(self, activity: Activity) -> None:
        try:
            self._ask(activity)
        finally:
            with self._lock:
                self._asked.discard(activity)

    def _ask(self, activity: Activity) -> None:
        try:
            answer, why = activity.vitality(self._stop, _STATE_TIMEOUT_SECONDS)
        except ScopeEnded:
            return
        if answer is Vitality.ALIVE:
            self._answered(activity)
        elif answer is Vitality.GONE:
            self._lost(activity, activity.lost(answer, why))
        elif answer is not Vitality.UNKNOWN:
            self._missed_once(activity, answer, why)

    def _answered(self, activity: Activity) -> None:
        activity.last_answer = time.monotonic()
        with self._lock:
            missed = self._missed.pop(activity, 0)
            listener = self._listeners.get(activity)
        if missed >= self._misses and listener is not None:
            listener.seems_well()

    def _missed_once(self, activity: Activity, answer: Vitality, why: str) -> None:
        with self._lock:
            listener = self._listeners.get(activity)
            if listener is None:
                return
            missed = self._missed[activity] = self._missed.get(activity, 0) + 1
        logger.debug("the activity %s did not answer (%d): %s", activity.activity_id, missed, why)
        left = 2 * self._misses - missed
        if left <= 0:
            self._lost(activity, activity.lost(answer, why))
        elif missed >= self._misses:
            listener.seems_unresponsive(time.monotonic() - activity.last_answer, left * self._interval)

    def _lost(self, activity: Activity, error: ActivityLost) -> None:
        with self._lock:
            listener = self._listeners.get(activity)
        if listener is not None:
            listener.lose(error)
