"""Follows the daemon's three lists of events: agreements, debit notes, invoices."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Collection
from datetime import datetime, timezone
from typing import Any, NamedTuple, Protocol

import tenacity

from ..background.cancellation import Deadline, Scope, ScopeEnded
from ..background.threads import EngineThread
from .client import Yagna
from .values import AgreementEvent, PaymentEvent

logger = logging.getLogger(__name__)

_POLL_SECONDS = 20.0
# Between two requests that brought nothing new.
_SHORTEST_POLL_SECONDS = 0.05
_AFTER_ERROR_SECONDS = 1.0
_ALL_EVENTS = datetime(1970, 1, 1, tzinfo=timezone.utc)


class _Read(Protocol):
    """The three requests have the same form."""

    def __call__(
        self, after: datetime, *, timeout: float, app_session_id: str | None, scope: Scope | None
    ) -> list[Any]: ...


class _List(NamedTuple):
    """One list of events.

    Attributes:
        thread_name: of the thread that follows it.
        read: the long poll.
        handle: what is called with each event.
    """

    thread_name: str
    read: _Read
    handle: Callable[[Any], object]


class DaemonEvents:
    """Calls a function with every event of some app sessions, oldest first, until `stop` is cancelled.

    Each list of each app session has a thread of its own. A handler may block for a request to the daemon: it
    delays the events of its own list only. What a handler raises is logged.

    Args:
        yagna: the daemon.
        stop: cancelling it ends all threads.
        on_agreement, on_debit_note, on_invoice: called with each event of that list.
    """

    def __init__(
        self,
        yagna: Yagna,
        stop: Scope,
        *,
        on_agreement: Callable[[AgreementEvent], object],
        on_debit_note: Callable[[PaymentEvent], object],
        on_invoice: Callable[[PaymentEvent], object],
    ) -> None:
        self._absence = yagna.absence
        self._stop = stop
        self._lists = (
            _List("golem-agreement-events", yagna.market.agreement_events, on_agreement),
            _List("golem-debit-notes", yagna.payment.debit_note_events, on_debit_note),
            _List("golem-invoices", yagna.payment.invoice_events, on_invoice),
        )
        self._lock = threading.Lock()
        self._threads: dict[str, list[EngineThread]] = {}

    def follow(self, app_session_id: str) -> None:
        """Follow the lists of an app session, from its first event on; a second call does nothing."""
        with self._lock:
            if app_session_id in self._threads:
                return
            self._threads[app_session_id] = [
                EngineThread(one.thread_name, self._follow_list, one, app_session_id).start()
                for one in self._lists
            ]

    def join(self, timeout: float) -> list[str]:
        """Join all threads, `timeout` seconds at most for each; returns the names of those that are stuck."""
        with self._lock:
            all_threads = [thread for threads in self._threads.values() for thread in threads]
        return [thread.name for thread in all_threads if not thread.join(timeout)]

    def _follow_list(self, one: _List, app_session_id: str) -> None:
        after, known = _ALL_EVENTS, set[Any]()
        while not self._stop.cancelled:
            pause = Deadline(_SHORTEST_POLL_SECONDS)
            try:
                events = self._read(one, after, app_session_id)
            except ScopeEnded:
                return
            # The daemon's times are finer than the ones it is asked for: it repeats the latest events.
            new = [event for event in dict.fromkeys(events) if event not in known]
            for event in new:
                self._handle(one, event)
            after = max((event.date for event in events), default=after)
            known = {event for event in (*known, *events) if event.date == after}
            if not new:
                self._stop.wait(pause.remaining())

    def _read(self, one: _List, after: datetime, app_session_id: str) -> Collection[Any]:
        """Block for the next events, through all errors of the daemon."""

        def failed(state: tenacity.RetryCallState) -> None:
            error = state.outcome.exception() if state.outcome is not None else None
            self._absence.failed((one, app_session_id), error or RuntimeError("no answer"))

        reading = tenacity.Retrying(
            retry=tenacity.retry_if_exception(_is_to_be_read_again),
            wait=tenacity.wait_fixed(_AFTER_ERROR_SECONDS),
            sleep=self._sleep,
            before_sleep=failed,
        )
        events: Collection[Any] = reading(
            one.read, after, timeout=_POLL_SECONDS, app_session_id=app_session_id, scope=self._stop
        )
        self._absence.answered((one, app_session_id))
        return events

    def _sleep(self, seconds: float) -> None:
        self._stop.wait(seconds)

    def _handle(self, one: _List, event: object) -> None:
        try:
            one.handle(event)
        except Exception:
            logger.exception("%s could not handle %r", one.thread_name, event)


def _is_to_be_read_again(error: BaseException) -> bool:
    # Whatever error it is, the thread must go on: nothing else reads this list.
    return isinstance(error, Exception) and not isinstance(error, ScopeEnded)
