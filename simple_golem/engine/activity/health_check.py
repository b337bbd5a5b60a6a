"""Reads the activities' states in turn, so that a provider that is gone is noticed."""

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

_ANSWER_SECONDS = 5.0
# So many activities are asked less often.
_MANY = 50
_SLOWER = 3.0
_UNRESPONSIVE = "Unresponsive"


class Patient(Protocol):
    """A life, as its health is looked after."""

    def seems_unresponsive(self) -> None: ...
    def seems_well(self) -> None: ...
    def lose(self, error: ActivityLost) -> None: ...


class HealthCheck:
    """One thread that asks for the state of each activity that has not answered anything lately."""

    def __init__(self, workers: WorkerPool, stop: Scope, interval: float, misses: int) -> None:
        self._workers = workers
        self._stop = stop
        self._interval = interval
        self._misses = misses
        self._lock = threading.Lock()
        self._patients: dict[Activity, Patient] = {}
        self._missed: dict[Activity, int] = {}
        self._thread = EngineThread("golem-health", self._run)

    def start(self) -> None:
        self._thread.start()

    def join(self, timeout: float) -> bool:
        return self._thread.join(timeout)

    def watch(self, activity: Activity, patient: Patient) -> None:
        with self._lock:
            self._patients[activity] = patient

    def unwatch(self, activity: Activity) -> None:
        with self._lock:
            self._patients.pop(activity, None)
            self._missed.pop(activity, None)

    def _run(self) -> None:
        while True:
            with self._lock:
                activities = list(self._patients)
            interval = self._interval * (_SLOWER if len(activities) > _MANY else 1.0)
            silent = [one for one in activities if time.monotonic() - one.last_answer >= interval]
            for activity in silent:
                self._workers.post(self._look_at, activity)
            if self._stop.wait(interval):
                return

    def _look_at(self, activity: Activity) -> None:
        try:
            status = activity.status(_ANSWER_SECONDS, self._stop, Repeat.NEVER)
        except (ScopeEnded, NoDaemon):
            return  # that the requestor's own daemon is away says nothing of the provider
        except YagnaError as error:
            self._miss(activity, str(error))
            return
        if not status.alive:
            why = status.error_message or status.reason or "its provider has ended it"
            self._lose(activity, why)
        elif status.state == _UNRESPONSIVE:
            self._miss(activity, "its provider does not report any more")
        else:
            self._answered(activity)

    def _answered(self, activity: Activity) -> None:
        activity.last_answer = time.monotonic()
        with self._lock:
            missed = self._missed.pop(activity, 0)
            patient = self._patients.get(activity)
        if missed >= self._misses and patient is not None:
            patient.seems_well()

    def _miss(self, activity: Activity, why: str) -> None:
        with self._lock:
            patient = self._patients.get(activity)
            if patient is None:
                return
            missed = self._missed[activity] = self._missed.get(activity, 0) + 1
        logger.debug("the activity %s did not answer (%d): %s", activity.activity_id, missed, why)
        if missed >= 2 * self._misses:
            self._lose(activity, why)
        elif missed >= self._misses:
            patient.seems_unresponsive()

    def _lose(self, activity: Activity, why: str) -> None:
        with self._lock:
            patient = self._patients.get(activity)
        if patient is not None:
            patient.lose(
                ActivityLost(f"the activity {activity.activity_id} on {activity.provider} is gone: {why}")
            )
