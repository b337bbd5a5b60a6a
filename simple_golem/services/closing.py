"""The end of an open Golem: stops the clusters, waits for the invoices, and ends the session."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from functools import partial

from ..background.log_guard import drain_log
from ..background.threads import EngineThread, on_engine_thread
from ..engine.session import Session
from ..engine.shutdown_times import ShutdownTimes
from .cluster import Cluster

logger = logging.getLogger(__name__)

_JOIN_INSTANCE_SECONDS = 2.0
# How long a closed Golem waits for log handlers that are slow: they can't go on when the program ends.
_SLOW_LOG_SECONDS = 1.0


class Closing:
    """Closes one Golem, once; further calls shorten the closing that is under way.

    The work is done by a thread of its own: an interruption of the caller does not interrupt it.

    Args:
        session: the session to close.
        clusters: returns all clusters; none is added after the closing has begun.
        on_closed: called when the session is closed.
    """

    def __init__(
        self,
        session: Session,
        clusters: Callable[[], Sequence[Cluster]],
        on_closed: Callable[[], object],
    ) -> None:
        self._session = session
        self._clusters = clusters
        self._on_closed = on_closed
        self._lock = threading.Lock()
        self._thread: EngineThread | None = None
        # Assigned without the lock, because a signal handler reads and assigns it, too.
        self._is_interrupted = False

    def close(self, times: ShutdownTimes) -> None:
        """Close the Golem in the given times, or shorten a closing to them; blocks until it is done.

        An engine thread is not blocked: the closing waits for it.
        """
        try:
            thread = self._begin(times)
            if not on_engine_thread():
                thread.join()
        except BaseException:
            # Ctrl-C may come as soon as the closing thread has started.
            if self._thread is not None and not on_engine_thread():
                self._shorten(ShutdownTimes.interrupted())
                self._thread.join()
            raise

    def _begin(self, times: ShutdownTimes) -> EngineThread:
        """Start the closing thread, or shorten the closing that is under way; returns the thread."""
        with self._lock:
            thread, is_started = self._thread, True
            is_first = thread is None
            if thread is None:
                self._is_interrupted = self._is_interrupted or times.is_shortened
                thread = self._thread = EngineThread("golem-closer", self._close, times)
                is_started = thread.started()
        if is_first and not is_started:
            thread.run_here()  # the interpreter is ending and starts no threads any more
        elif not is_first and thread.alive:
            self._shorten(times)
        return thread

    def shorten_by_signal(self) -> None:
        """Shorten the closing; at the second signal skip all but the releases.

        A signal handler calls this at any moment, so it takes no lock: the timer's thread does the work.
        """
        times = ShutdownTimes.aborted() if self._is_interrupted else ShutdownTimes.interrupted()
        self._is_interrupted = True
        self._session.timer.call_in(0.0, partial(self._shorten, times))

    # --- on the closing thread ------------------------------------------------------------------------

    def _close(self, times: ShutdownTimes) -> None:
        if times.is_shortened:
            self._session.shorten(times)
            self._log_interruption()
        else:
            self._session.bound(times)
            self._log_clusters_that_never_ran()
        self._end_clusters(times)
        self._session.demands.withdraw_all()
        for cluster in self._clusters():
            cluster.wait()
        self._session.close(times)
        self._on_closed()
        for cluster in self._clusters():
            for name in cluster._join(_JOIN_INSTANCE_SECONDS):
                logger.warning("the thread %s has not ended; it was left behind", name)
        drain_log(_SLOW_LOG_SECONDS)

    def _shorten(self, times: ShutdownTimes) -> None:
        if times.is_shortened:
            self._is_interrupted = True
        self._end_clusters(times)
        self._session.shorten(times)

    def _end_clusters(self, times: ShutdownTimes) -> None:
        for cluster in self._clusters():
            cluster._end(times, "the Golem is being closed")

    def _log_interruption(self) -> None:
        alive = sum(not one.state.is_final for cluster in self._clusters() for one in cluster)
        if alive:
            logger.warning(
                "interrupted: stopping %d instance%s and paying what is owed, for five seconds at most; "
                "another Ctrl-C leaves without paying",
                alive,
                "" if alive == 1 else "s",
            )

    def _log_clusters_that_never_ran(self) -> None:
        for cluster in self._clusters():
            if cluster._is_untouched:
                logger.warning(
                    "%r is stopped before anything of it ran (%s): wait for it inside the `with`, "
                    "e.g. with cluster.wait(60) or cluster.wait_until_running()",
                    cluster,
                    cluster.market_report(),
                )
