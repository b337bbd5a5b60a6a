"""Cleans up after all dead sessions of an owner, once or for as long as a session lives."""

from __future__ import annotations

import logging
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import NamedTuple

import tenacity

from ...background.cancellation import Deadline, Scope, ScopeEnded
from ...background.threads import EngineThread
from ...model.offers.prices import EXACT
from ...yagna.client import Yagna
from ..event_dispatcher import Emit
from ..payment.journal import Journal, journal_path, journals_of
from ..payment.journal_record import JournalOwner
from .dead_session import DeadSession

logger = logging.getLogger(__name__)

# Between two looks for invoices.
_PAUSES = tenacity.wait_exponential(multiplier=0.5, max=20.0)


class CleanupResult(NamedTuple):
    """What a cleanup has done, and what is left.

    Attributes:
        suspended: the names of the instances that stay suspended.
        problems: what could not be done, in words.
        creditors: the providers whose invoice has not come yet, once for each agreement.
        terminated: how many agreements were terminated.
        paid: how many GLM were paid.
    """

    suspended: list[str]
    problems: list[str]
    creditors: list[str]
    terminated: int
    paid: Decimal


def clean_up(
    yagna: Yagna,
    owner: JournalOwner,
    scope: Scope,
    emit: Emit,
    *,
    wait: float | None,
    end_suspended: bool = False,
    above_budget: bool = False,
) -> CleanupResult:
    """End what dead sessions left open, and pay what they owe, when the invoices come.

    Blocks until nothing is owed, or `wait` is over. Between two looks no journal is held, so that suspended
    instances can be resumed.

    Args:
        yagna: the daemon.
        owner: whose sessions.
        scope: cancelling it ends the cleanup.
        emit: gets an event for each thing that was done.
        wait: seconds to wait for invoices at most; None waits until `scope` is cancelled.
        end_suspended: whether to end suspended instances, too.
        above_budget: whether to pay invoices that exceed the budget of their session.
    """
    work = _Cleanup(yagna, owner, scope, emit, end_suspended, above_budget)
    left = Deadline(wait)

    def sleep(seconds: float) -> None:
        scope.wait(min(seconds, left.remaining()))

    looking = tenacity.Retrying(
        retry=tenacity.retry_if_result(lambda owes: owes),
        stop=lambda state: left.passed or scope.cancelled,
        wait=_PAUSES,
        sleep=sleep,
        retry_error_callback=lambda state: None,
    )
    looking(work.do_what_is_possible)
    return work.result


class _Cleanup:
    """One cleanup, which looks at the journals again and again.

    Attributes:
        result: what all looks have done, and what is left after the last one.
    """

    def __init__(
        self,
        yagna: Yagna,
        owner: JournalOwner,
        scope: Scope,
        emit: Emit,
        end_suspended: bool,
        above_budget: bool,
    ) -> None:
        self._yagna = yagna
        self._owner = owner
        self._scope = scope
        self._emit = emit
        self._end_suspended = end_suspended
        self._above_budget = above_budget
        self._ended: set[Path] = set()
        self._logged: set[str] = set()
        self.result = CleanupResult([], [], [], 0, Decimal(0))

    def do_what_is_possible(self) -> bool:
        """Look at all journals once; returns whether invoices are still to come."""
        suspended, problems, creditors, terminated, paid = self.result = self.result._replace(
            suspended=[], problems=[], creditors=[]
        )
        owes = False
        for path in journals_of(self._owner):
            try:
                journal = Journal.open_dead(path)
            except OSError as error:
                problems.append(
                    f"{path} can't be written, and what its session has left stays on the daemon: {error}; "
                    "make the folder and its files writable"
                )
                continue
            if journal is None:
                continue
            session = DeadSession(
                self._yagna,
                journal,
                self._owner.platform,
                self._scope,
                self._emit,
                above_budget=self._above_budget,
            )
            try:
                problems += self._clean_up_after(session, path)
            except ScopeEnded:
                return False
            finally:
                suspended += session.suspended
                creditors += session.creditors
                owes = owes or session.owes
                terminated += session.terminated
                paid = EXACT.add(paid, session.paid)
                self.result = self.result._replace(terminated=terminated, paid=paid)
                session.close()
        self._log(problems)
        return owes

    def _clean_up_after(self, session: DeadSession, path: Path) -> list[str]:
        if self._end_suspended:
            session.end_suspended()
        problems: list[str] = []
        if path not in self._ended or not session.is_ended:
            problems = session.end()
        if not problems:
            self._ended.add(path)
        return problems + session.pay()

    def _log(self, problems: list[str]) -> None:
        """Log each problem once: what failed is tried again at each look, and by the next session."""
        for problem in problems:
            if problem not in self._logged:
                self._logged.add(problem)
                logger.warning("cleaning up after an earlier session: %s", problem)


class BackgroundCleanup:
    """Cleans up while a session lives, on a thread of its own: late invoices come at any time.

    Args:
        yagna: the daemon.
        app_session_id: the session that lives.
        stop: cancelling it ends the thread.
        emit: gets an event for each thing that was done.
    """

    def __init__(self, yagna: Yagna, app_session_id: str, stop: Scope, emit: Emit) -> None:
        self._yagna = yagna
        self._app_session_id = app_session_id
        self._stop = stop
        self._emit = emit
        self._thread: EngineThread | None = None

    def is_needed(self, owner: JournalOwner) -> bool:
        """Return whether there are journals of other sessions, which may be dead."""
        own = journal_path(self._app_session_id)
        return any(path != own for path in journals_of(owner))

    def run_once(self, owner: JournalOwner) -> None:
        """Clean up what is possible now; blocks for that."""
        clean_up(self._yagna, owner, self._stop, self._emit, wait=0.0)

    def start(self, owner: JournalOwner) -> None:
        """Start the thread, if there is anything to do."""
        if self.is_needed(owner):
            work = partial(clean_up, self._yagna, owner, self._stop, self._emit, wait=None)
            self._thread = EngineThread("golem-cleanup", work).start()

    def join(self, timeout: float) -> list[str]:
        """Join the thread, `timeout` seconds at most; returns its name if it is stuck."""
        if self._thread is None or self._thread.join(timeout):
            return []
        return [self._thread.name]
