"""Tells the far daemon now and then what the activities have used; one that is silent is taken for dead."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence

from ...background.cancellation import Scope, ScopeEnded
from ...background.threads import EngineThread
from ...errors import NoDaemon, YagnaError
from ...yagna.client import Yagna

logger = logging.getLogger(__name__)

# The real exe-unit's pace; the daemon calls an activity unresponsive after five seconds of silence, and where
# providers are a crowd after sixty. It takes milliseconds for each report: a crowd would leave it no time.
_INTERVAL_SECONDS = 1.0
_MOST_IN_A_SECOND = 20

Usage = Callable[[], Sequence[float]]


class UsageReporter:
    """One thread that reports for all the activities of a network."""

    def __init__(self, daemon: Yagna, scope: Scope, providers: int) -> None:
        """Args:
        daemon: the providers'.
        scope: of the network; the thread ends with it.
        providers: how many there are. So many activities may slow the reports down, and no more: the
            daemon's patience goes by the providers too.
        """
        self._daemon = daemon
        self._scope = scope
        self._providers = providers
        self._lock = threading.Lock()
        self._activities: dict[str, Usage] = {}
        self._thread = EngineThread("usage", self._run).start()

    def add(self, activity_id: str, usage: Usage) -> None:
        with self._lock:
            self._activities[activity_id] = usage

    def remove(self, activity_id: str) -> None:
        with self._lock:
            self._activities.pop(activity_id, None)

    def join(self, timeout: float) -> bool:
        """Block until the thread has ended, which it does with the scope."""
        return self._thread.join(timeout)

    def _run(self) -> None:
        activities: list[tuple[str, Usage]] = []
        while not self._scope.wait(self._pause(len(activities))):
            with self._lock:
                activities = list(self._activities.items())
            for activity_id, usage in activities:
                self._report(activity_id, usage())

    def _pause(self, activities: int) -> float:
        return max(_INTERVAL_SECONDS, min(activities, self._providers) / _MOST_IN_A_SECOND)

    def _report(self, activity_id: str, counters: Sequence[float]) -> None:
        usage = {"currentUsage": list(counters), "timestamp": int(time.time())}
        message = {"activityId": activity_id, "usage": usage, "timeout": None}
        try:
            self._daemon.bridge.call("local/activity/SetActivityUsage", message, scope=self._scope)
        except ScopeEnded:
            return
        except (NoDaemon, YagnaError) as error:
            logger.warning("the usage of activity %s was not reported: %s", activity_id, error)


class ProviderUsage:
    """What one provider has reported, and may keep to itself."""

    def __init__(self, reporter: UsageReporter) -> None:
        self._reporter = reporter
        self._lock = threading.Lock()
        self._activities: dict[str, Usage] = {}
        self._silent: set[str] = set()
        self._stopped = False

    def add(self, activity_id: str, usage: Usage) -> None:
        with self._lock:
            self._activities[activity_id] = usage
            self._tell(activity_id)

    def remove(self, activity_id: str) -> None:
        with self._lock:
            self._activities.pop(activity_id, None)
            self._silent.discard(activity_id)
            self._reporter.remove(activity_id)

    def silence(self, activity_id: str) -> None:
        """Report this activity no longer."""
        with self._lock:
            self._silent.add(activity_id)
            self._reporter.remove(activity_id)

    def resume(self, activity_id: str) -> None:
        """Report this activity again, if it is still there."""
        with self._lock:
            self._silent.discard(activity_id)
            self._tell(activity_id)

    def stop(self) -> None:
        """Report nothing, of the activities to come neither."""
        with self._lock:
            self._stopped = True
            for activity_id in self._activities:
                self._reporter.remove(activity_id)

    def start(self) -> None:
        """Report everything again."""
        with self._lock:
            self._stopped = False
            self._silent.clear()
            for activity_id in self._activities:
                self._tell(activity_id)

    def _tell(self, activity_id: str) -> None:
        if activity_id in self._activities and activity_id not in self._silent and not self._stopped:
            self._reporter.add(activity_id, self._activities[activity_id])
