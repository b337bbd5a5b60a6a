"""Reports the usage of activities to the far daemon, which destroys activities without reports."""

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

# As the real exe-unit. The daemon marks an activity as unresponsive after 5 seconds without a report;
# with many providers the limit is 60 seconds (see `supervisor/main.py`). Each report costs the daemon
# milliseconds, so there is a limit of reports per second.
_REPORT_INTERVAL_SECONDS = 1.0
_MOST_REPORTS_PER_SECOND = 20

Usage = Callable[[], Sequence[float]]


class UsageReporter:
    """A thread that reports the usage of all activities of a network."""

    def __init__(self, daemon: Yagna, scope: Scope, providers: int) -> None:
        """Args:
        daemon: the far daemon.
        scope: the scope of the network; the thread ends with it.
        providers: the number of providers. At most this number of activities makes the reports less
            frequent, because the daemon's limits depend on the number of providers too.
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
        """Block until the thread has ended, for `timeout` seconds at most; returns whether it has ended."""
        return self._thread.join(timeout)

    def _run(self) -> None:
        activities: list[tuple[str, Usage]] = []
        while not self._scope.wait(self._pause(len(activities))):
            with self._lock:
                activities = list(self._activities.items())
            for activity_id, usage in activities:
                try:
                    self._report(activity_id, usage())
                except Exception:
                    # The daemon would take the activities of all providers for unresponsive.
                    logger.exception("the usage of activity %s could not be reported", activity_id)

    def _pause(self, activities: int) -> float:
        return max(_REPORT_INTERVAL_SECONDS, min(activities, self._providers) / _MOST_REPORTS_PER_SECOND)

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
    """The usage reports of one provider, which can be stopped for one activity or for all."""

    def __init__(self, reporter: UsageReporter) -> None:
        self._reporter = reporter
        self._lock = threading.Lock()
        self._activities: dict[str, Usage] = {}
        self._silent: set[str] = set()
        self._stopped = False

    def add(self, activity_id: str, usage: Usage) -> None:
        with self._lock:
            self._activities[activity_id] = usage
            self._report_if_allowed(activity_id)

    def remove(self, activity_id: str) -> None:
        with self._lock:
            self._activities.pop(activity_id, None)
            self._silent.discard(activity_id)
            self._reporter.remove(activity_id)

    def silence(self, activity_id: str) -> None:
        """Stop the reports of an activity."""
        with self._lock:
            self._silent.add(activity_id)
            self._reporter.remove(activity_id)

    def resume(self, activity_id: str) -> None:
        """Resume the reports of an activity, if it still exists."""
        with self._lock:
            self._silent.discard(activity_id)
            self._report_if_allowed(activity_id)

    def stop(self) -> None:
        """Stop the reports of all activities, also of later ones."""
        with self._lock:
            self._stopped = True
            for activity_id in self._activities:
                self._reporter.remove(activity_id)

    def start(self) -> None:
        """Resume the reports of all activities."""
        with self._lock:
            self._stopped = False
            self._silent.clear()
            for activity_id in self._activities:
                self._report_if_allowed(activity_id)

    def _report_if_allowed(self, activity_id: str) -> None:
        if activity_id in self._activities and activity_id not in self._silent and not self._stopped:
            self._reporter.add(activity_id, self._activities[activity_id])
