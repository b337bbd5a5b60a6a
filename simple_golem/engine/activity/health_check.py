"""Asks for the states of the activities, so that a provider that does not answer any more is noticed."""

from __future__ import annotations

import logging
import threading
import time
from typing import Protocol

from ...background.cancellation import Scope, ScopeEnded
from ...background.threads import EngineThread, WorkerPool
from ...errors import ActivityLost, NoDaemon, YagnaError
from ...yagna.transport.retry import Repeat
from .activity import Activity

logger = logging.getLogger(__name__)

_WORKERS = 8
_STATE_TIMEOUT_SECONDS = 5.0
# Above this number of activities each is asked less often.
_MANY_ACTIVITIES = 50
_MANY_INTERVALS = 3.0
_UNRESPONSIVE = "Unresponsive"


class HealthListener(Protocol):
    """A life, as it hears of the health of its activity; its methods must not block."""

    def seems_unresponsive(self) -> None:
        """The provider has not answered for a while."""

    def seems_well(self) -> None:
        """The provider answers again."""

    def lose(self, error: ActivityLost) -> None:
        """The activity is gone."""


class HealthCheck:
    """One thread that asks for the state of each activity that has answered nothing for an interval.

    The answers are awaited by workers: a provider that is away delays its own answer only.

    Args:
        stop: cancelling it ends the thread and all requests.
        interval: seconds without an answer after which an activity is asked; three times as many if there are
            more than 50 activities.
        misses: after so many requests without an answer an activity is unresponsive, and after twice as many
            it is lost.
    """

    def __init__(self, stop: Scope, interval: float, misses: int) -> None:
        self._workers = WorkerPool("golem-health-worker", _WORKERS)
        self._stop = stop
        self._interval = interval
        self._misses = misses
        # Guards the two dictionaries. A listener is called without it.
        self._lock = threading.Lock()
        self._listeners: dict[Activity, HealthListener] = {}
        self._missed: dict[Activity, int] = {}
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
            with self._lock:
                activities = list(self._listeners)
            interval = self._interval * (_MANY_INTERVALS if len(activities) > _MANY_ACTIVITIES else 1.0)
            for activity in activities:
                if time.monotonic() - activity.last_answer >= interval:
                    self._workers.post(self._check, activity)
            if self._stop.wait(interval):
                return

    def _check(self, activity: Activity) -> None:
        try:
            status = activity.status(_STATE_TIMEOUT_SECONDS, self._stop, Repeat.NEVER)
        except (ScopeEnded, NoDaemon):
            return  # the requestor's own daemon does not answer: nothing is known of the provider
        except YagnaError as error:
            self._missed_once(activity, str(error))
            return
        if not status.alive:
            why = status.error_message or status.reason or "its provider has ended it"
            self._lost(activity, why)
        elif status.state == _UNRESPONSIVE:
            self._missed_once(activity, "its provider does not report its state any more")
        else:
            self._answered(activity)

    def _answered(self, activity: Activity) -> None:
        activity.last_answer = time.monotonic()
        with self._lock:
            missed = self._missed.pop(activity, 0)
            listener = self._listeners.get(activity)
        if missed >= self._misses and listener is not None:
            listener.seems_well()

    def _missed_once(self, activity: Activity, why: str) -> None:
        with self._lock:
            listener = self._listeners.get(activity)
            if listener is None:
                return
            missed = self._missed[activity] = self._missed.get(activity, 0) + 1
        logger.debug("the activity %s did not answer (%d): %s", activity.activity_id, missed, why)
        if missed >= 2 * self._misses:
            self._lost(activity, why)
        elif missed >= self._misses:
            listener.seems_unresponsive()

    def _lost(self, activity: Activity, why: str) -> None:
        with self._lock:
            listener = self._listeners.get(activity)
        if listener is not None:
            listener.lose(
                ActivityLost(f"the activity {activity.activity_id} on {activity.provider} is gone: {why}")
            )
